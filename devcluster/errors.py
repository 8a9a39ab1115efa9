"""Failures of the development cluster.

::

    DevclusterError      says what failed and what to do about it
    ├── BuildError       a Go program could not be built
    └── StartError       a program of the cluster did not come up
"""

from __future__ import annotations


class DevclusterError(Exception):
    """A failure whose message is all that its reader needs."""


class BuildError(DevclusterError):
    """A Go program could not be built."""


class StartError(DevclusterError):
    """A program of the cluster ended early, or did not answer in time."""
