"""Child processes: what they return, and that none survives a deadline, a flood or a cancel."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from runtime import process

ENV = {"PATH": os.environ["PATH"]}

# Starts a child of its own that would live for a minute, says who both are, and waits.
FAMILY = ["sh", "-c", "sleep 60 & echo $$ $! > ids; wait"]
# The same, but leaves the child behind with the pipes in its hands.
ORPHAN = ["sh", "-c", "sleep 60 & echo $$ $! > ids"]


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


async def gone(pid: int) -> bool:
    """Wait until there is no such process; a killed grandchild is reaped by init, not by us."""
    try:
        async with asyncio.timeout(30):
            while _is_alive(pid):  # noqa: ASYNC110 - the kernel sets no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not stat.parent.parent.is_dir()


async def family(path: Path) -> list[int]:
    """Wait until the program above has said who it is."""
    async with asyncio.timeout(30):
        while len(pids := _pids(path)) < 2:  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)
    return pids


async def time_out(argv: list[str], path: Path, *, said: int = 1) -> None:
    """Run a program into its deadline, a later one where it had no time to say what it must."""
    for timeout_s in (0.2, 1.0, 5.0, 25.0):
        with pytest.raises(process.ProcessTimeout, match=f"did not end within {timeout_s:g} s"):
            await process.run(argv, cwd=path.parent, env=ENV, timeout_s=timeout_s)
        if len(_words(path)) >= said:
            return
    pytest.fail(f"{argv} never came to write {path.name}")


def _pids(path: Path) -> list[int]:
    return [int(pid) for pid in _words(path)]


def _words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


async def test_output_status_and_input_come_through(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read() * 2); print('e', file=sys.stderr); exit(3)"
    done = await process.run(python(code), cwd=tmp_path, env=ENV, input=b"ab", timeout_s=20)
    assert done == process.Completed(3, b"abab\n", b"e\n")


async def test_environment_is_exactly_what_is_given(tmp_path: Path) -> None:
    code = """
import os, sys
print(os.path.samefile(".", sys.argv[1]), "HOME" in os.environ, os.environ["COLOUR"])
"""
    argv = python(code, str(tmp_path))
    done = await process.run(argv, cwd=tmp_path, env={"COLOUR": "grey"}, timeout_s=20)
    assert done.stdout.split() == [b"True", b"False", b"grey"]


async def test_megabytes_pass_in_both_directions(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    data = os.urandom(3_000_000)
    done = await process.run(python(code), cwd=tmp_path, env=ENV, input=data, timeout_s=20)
    assert done.stdout == data


async def test_program_that_does_not_read_its_input_is_no_failure(tmp_path: Path) -> None:
    data = bytes(1_000_000)
    done = await process.run(["true"], cwd=tmp_path, env=ENV, input=data, timeout_s=20)
    assert done.returncode == 0


async def test_program_ended_by_a_signal_shows_it(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = await process.run(python(code), cwd=tmp_path, env=ENV, timeout_s=20)
    assert done.returncode == -signal.SIGKILL


async def test_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(process.ProcessNotFound, match=r"^no-such-tool: No such file"):
        await process.run(
            [str(tmp_path / "no-such-tool"), "secret"], cwd=tmp_path, env=ENV, timeout_s=1
        )


async def test_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    await time_out(FAMILY, tmp_path / "ids", said=2)
    for pid in await family(tmp_path / "ids"):
        assert await gone(pid)


async def test_cancel_kills_the_whole_group(tmp_path: Path) -> None:
    task = asyncio.get_running_loop().create_task(
        process.run(FAMILY, cwd=tmp_path, env=ENV, timeout_s=60)
    )
    pids = await family(tmp_path / "ids")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for pid in pids:
        assert await gone(pid)


async def test_program_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    await time_out(["sh", "-c", "trap '' TERM; echo $$ > ids; sleep 60"], tmp_path / "ids")
    for pid in _pids(tmp_path / "ids"):
        assert await gone(pid)


async def test_program_may_clean_up_when_it_is_told_to_stop(tmp_path: Path) -> None:
    argv = ["sh", "-c", "trap 'echo clean > mark; exit' TERM; echo ready > ids; sleep 60 & wait"]
    await time_out(argv, tmp_path / "ids")
    assert (tmp_path / "mark").read_text() == "clean\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_flood_is_cut_off(tmp_path: Path, stream: str) -> None:
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    with pytest.raises(process.OutputTooLarge, match="wrote more than 1000000 bytes"):
        await process.run(python(code), cwd=tmp_path, env=ENV, timeout_s=20, max_output=1_000_000)


async def test_output_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    code = "print('x' * 1000, end='')"
    done = await process.run(python(code), cwd=tmp_path, env=ENV, timeout_s=20, max_output=1000)
    assert len(done.stdout) == 1000


async def test_grandchild_that_holds_the_pipes_does_not_outlast_the_deadline(
    tmp_path: Path,
) -> None:
    await time_out(ORPHAN, tmp_path / "ids", said=2)
    for pid in await family(tmp_path / "ids"):
        assert await gone(pid)
