"""How a command ends when it cannot do what it was asked: one line for people, one exit status.

Exception tree::

    CommandError         it did not work (status 1)
    ├── UsageError       the command line or the settings are wrong (status 2)
    └── NoAnswerError    a question to which status 1 is an answer has none (status 2)
"""

from __future__ import annotations


class CommandError(Exception):
    """The command did not work; the message is printed without a traceback."""

    status = 1


class UsageError(CommandError):
    """The command cannot work as it was asked."""

    status = 2


class NoAnswerError(CommandError):
    """The command asks a question that status 0 and 1 answer, and there is no answer."""

    status = 2
