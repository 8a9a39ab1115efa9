"""systemd's notification protocol: one datagram a change, nothing where nobody listens."""

from __future__ import annotations

import os
import socket


def send(state: str, *, address: str | None = None) -> bool:
    """Tell the service manager something, such as ``READY=1`` or ``WATCHDOG=1``.

    Args:
        state: one or more ``NAME=value`` lines.
        address: the manager's socket; default ``$NOTIFY_SOCKET``.

    Returns:
        Whether a manager is there and was told.
    """
    address = os.environ.get("NOTIFY_SOCKET") if address is None else address
    if not address:
        return False
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto(state.encode(), name)
        except OSError:
            return False
    return True


def watchdog_interval_s() -> float | None:
    """Return how often the manager wants to hear ``WATCHDOG=1``: half of what it tolerates."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000
