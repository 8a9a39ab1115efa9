"""Runs the helm program against a cluster, with no secret on its command line or on disk.

Its requests go through a listener on loopback, which sends them on over the daemon's own connection
and as the user that acts for the release: helm gets no credentials of a cluster, but a token of its
own that is good for one run. On the way the names of release Secrets are moved to the namespace of
the records, for which helm has no option.

::

    HelmError            helm ended with an error; message as helm words it, without its prefixes
    └── HelmMissing      there is no helm program
    ProcessTimeout       (of `runtime.process`) helm took too long and was killed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kube.client import Client


class HelmError(Exception):
    """Helm ended with an error; the message is its own, without ``Error:`` and the like."""


class HelmMissing(HelmError):  # noqa: N818 - says what is wrong
    """There is no helm program."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run works, and as whom."""

    client: Client
    """Sends helm's requests on, with its identity."""
    cluster: str
    """Names the cluster in caches of discovery: its own for a remote one."""
    namespace: str
    """The namespace that is released to."""
    storage_namespace: str
    """The namespace of the records."""


class Helm:
    """The helm program of this machine. An async context manager."""

    async def run(
        self, place: Place, arguments: Sequence[str], *, values: bytes = b"", timeout_s: float
    ) -> bytes:
        """Run helm and return what it printed.

        Args:
            place: where.
            arguments: the command and its options, without ``--namespace`` and ``--kubeconfig``.
            values: standard input, for ``-f -``.
            timeout_s: seconds until it is told to stop.

        Raises:
            HelmError: it failed.
            ProcessTimeout: it took too long.
        """
        raise NotImplementedError
