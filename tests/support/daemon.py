"""The daemon process of the end-to-end tests; the demo and the benchmark start theirs alike."""

from __future__ import annotations

from devcluster.daemon import Daemon

__all__ = ["Daemon"]
