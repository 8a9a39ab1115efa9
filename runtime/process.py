"""Run a command-line program: its own session, a deadline, bounded output, and no survivors.

A timeout around ``communicate()`` alone leaves the program running, and killing the program alone
leaves what it started. So each gets a session of its own, and on time-out, on too much output and
on cancellation the whole process group is told to stop, then killed, and awaited.

::

    ProcessError
    ├── ProcessNotFound    the program does not exist or may not be executed
    ├── ProcessTimeout     it ran longer than it was given
    └── OutputTooLarge     it wrote more than the caller can take
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")

MAX_OUTPUT = 64 * 1024 * 1024
"""Bytes that a program may write to one of its streams unless the caller says otherwise."""
GRACE_S = 1.0
"""Seconds between SIGTERM and SIGKILL: enough to remove a temporary file."""
REAP_S = 5.0
"""Seconds to wait for a killed program; only the kernel can make it longer."""

_CHUNK = 64 * 1024


class ProcessError(Exception):
    """A program did not run to its end. The message names the program, never its arguments."""


class ProcessNotFound(ProcessError):  # noqa: N818 - named like the KeyError it is
    """The program does not exist or may not be executed."""


class ProcessTimeout(ProcessError):  # noqa: N818 - named like TimeoutError's cause
    """The program ran longer than it was given; its process group was killed."""


class OutputTooLarge(ProcessError):  # noqa: N818 - says what is wrong
    """The program wrote more than the caller can take; its process group was killed."""


class _TooMuchError(Exception):
    """A stream went over its limit."""


@dataclass(slots=True, frozen=True)
class Completed:
    """A program that ran to its end, well or not."""

    returncode: int
    """The exit status; negative is the signal that ended it."""
    stdout: bytes
    stderr: bytes


async def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    input: bytes = b"",  # noqa: A002 - the name subprocess uses
    timeout_s: float,
    max_output: int = MAX_OUTPUT,
) -> Completed:
    """Run a program to its end and return what it wrote.

    Args:
        argv: the program and its arguments; must hold no secret, other users can read it.
        cwd: where it runs.
        env: its whole environment; nothing is inherited.
        input: what it reads from standard input.
        timeout_s: seconds until its process group is killed.
        max_output: bytes it may write to each stream.

    Returns:
        The result, whatever the exit status: what a failure means is the caller's to know.

    Raises:
        ProcessNotFound: there is no such program.
        ProcessTimeout: it took longer than ``timeout_s``.
        OutputTooLarge: it wrote more than ``max_output`` bytes to a stream.
    """
    program = os.path.basename(argv[0])  # noqa: PTH119 - argv is text
    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as err:
        raise ProcessNotFound(f"{program}: {err.strerror}") from err
    try:
        async with asyncio.timeout(timeout_s):
            return await _communicate(child, input, max_output)
    except TimeoutError as err:
        await _kill(child, GRACE_S)
        raise ProcessTimeout(f"{program} did not end within {timeout_s:g} s") from err
    except ExceptionGroup as err:
        await _kill(child, 0)
        raise OutputTooLarge(f"{program} wrote more than {max_output} bytes") from err
    except asyncio.CancelledError:
        await _kill(child, GRACE_S)
        raise


async def _communicate(
    child: asyncio.subprocess.Process, data: bytes, max_output: int
) -> Completed:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_feed(_present(child.stdin), data), name="stdin")
        stdout = tasks.create_task(_read(_present(child.stdout), max_output), name="stdout")
        stderr = tasks.create_task(_read(_present(child.stderr), max_output), name="stderr")
        returncode = await child.wait()
    return Completed(returncode, stdout.result(), stderr.result())


def _present(stream: T | None) -> T:
    """Tell the type checker what asking for a pipe guarantees."""
    return cast("T", stream)


async def _feed(stream: asyncio.StreamWriter, data: bytes) -> None:
    """Write the input; a program that ends without reading all of it does no wrong."""
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()
    with suppress(BrokenPipeError, ConnectionResetError):
        await stream.wait_closed()


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    chunks, size = [], 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise _TooMuchError
        chunks.append(chunk)
    return b"".join(chunks)


async def _kill(child: asyncio.subprocess.Process, grace_s: float) -> None:
    """Stop the whole process group and wait for its leader.

    The group is killed even where the leader has ended: what it started may be alive.
    """
    if grace_s:
        _signal(child, signal.SIGTERM)
        await _ended(child, grace_s)
    _signal(child, signal.SIGKILL)
    # Something that left the group may hold the pipes open; there is no public way to close them.
    child._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    await _ended(child, REAP_S)


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses to signal a zombie's group
        os.killpg(child.pid, number)


async def _ended(child: asyncio.subprocess.Process, timeout_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await child.wait()
