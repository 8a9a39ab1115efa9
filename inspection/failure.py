"""How a command ends when it cannot do what it was asked: one line for people, one exit status.

Exception tree::

    CommandError         it did not work (status 1)
    ├── MissingError     the object that was named is not there
    ├── DeniedError      it may not be read, so nobody knows whether it is there
    ├── RefusedError     it is kept from doing it: Flux manages the object, or another write runs
    ├── UsageError       the command line or the settings are wrong (status 2)
    └── NoAnswerError    a question to which status 1 is an answer has none (status 2)
"""

from __future__ import annotations


class CommandError(Exception):
    """The command did not work; the message is printed without a traceback."""

    status = 1


class MissingError(CommandError):
    """The object that was named is not there."""


class DeniedError(CommandError):
    """The user may not see what was asked for."""


class RefusedError(CommandError):
    """It is not done although it could be; the message says what to do instead."""


class UsageError(CommandError):
    """The command cannot work as it was asked."""

    status = 2


class NoAnswerError(CommandError):
    """The command asks a question that status 0 and 1 answer, and there is no answer."""

    status = 2
