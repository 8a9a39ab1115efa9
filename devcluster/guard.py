"""Ends a cluster when its starter is gone: ``python -m devcluster.guard DIRECTORY``.

The starter holds the other end of our standard input, and never writes. However it ends, the system
closes that end, and the read below returns.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from devcluster.cluster import Cluster


def main() -> None:
    """Wait for the end of standard input, then stop the cluster of the given folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.stdin.buffer.read()
    Cluster(Path(sys.argv[1])).down()


if __name__ == "__main__":
    main()
