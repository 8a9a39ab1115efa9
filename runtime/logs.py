"""Logging: one JSON line per record, fields bound to the running work, and no secrets.

A message is a constant; what varies is a field, given through ``extra`` or bound for a block of
code by `bind`. Every text that leaves, traceback included, passes `redact`.
"""

from __future__ import annotations

import contextvars
import datetime as dt
import json
import logging
import re
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import orjson

from runtime.errors import GitOpsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from types import TracebackType

_EMPTY: Mapping[str, object] = MappingProxyType({})
_bound: contextvars.ContextVar[Mapping[str, object]] = contextvars.ContextVar(
    "fields", default=_EMPTY
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_REPLACEMENT = "***"
_SECRETS = (
    # user:password@ or token@ in a URL
    (re.compile(r"(?<=://)[^/\s'\"]+@"), f"{_REPLACEMENT}@"),
    # an Authorization header, or what looks like one
    (
        re.compile(r"\b(bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
        rf"\1 {_REPLACEMENT}",
    ),
    # tokens that say what they are: GitHub's and GitLab's, and JSON web tokens
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-)[A-Za-z0-9_-]{16,}"), _REPLACEMENT),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), _REPLACEMENT),
    # secrets in a query; a backslash ends one, since it may belong to JSON's own escapes
    (
        re.compile(
            r"(?<=[?&])(access_token|token|password|sig|signature|secret)=[^&\s'\"\\]+",
            re.IGNORECASE,
        ),
        rf"\1={_REPLACEMENT}",
    ),
)


class bind:  # noqa: N801 - reads as the verb it is: with logs.bind(cluster="home"): ...
    """Adds fields to what is logged inside the ``with`` block, by this task and those it starts."""

    __slots__ = ("_fields", "_token")

    def __init__(self, **fields: object) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._token = _bound.set({**_bound.get(), **self._fields})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _bound.reset(self._token)


def fields() -> Mapping[str, object]:
    """Return the fields that are bound here."""
    return _bound.get()


def redact(text: str) -> str:
    """Return ``text`` without URL credentials, bearer tokens and tokens of known shape."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class FailureLog:
    """Logs a failure that repeats once, the same again only at DEBUG, and its end.

    Failures of one key are the same when they have the same type and, inside the taxonomy, the same
    reason. Those outside the taxonomy are bugs and come with a traceback.

    Args:
        logger: where to.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._failing: dict[Hashable, _Failing] = {}

    def failed(self, key: Hashable, error: Exception, message: str, **details: object) -> None:
        """Log one more failure of ``key``.

        Args:
            key: what failed.
            error: how.
            message: a constant.
            details: further fields of the record.
        """
        is_known = isinstance(error, GitOpsError)
        kind = (type(error), error.reason if isinstance(error, GitOpsError) else "")
        known = self._failing.get(key)
        is_repeated = known is not None and known.kind == kind
        failing = self._failing[key] = _Failing(kind, known.failures + 1 if known else 1)
        level = logging.WARNING if is_known else logging.ERROR
        extra = {
            "error": str(error) or type(error).__name__,
            "failures": failing.failures,
            **details,
        }
        if kind[1]:
            extra["reason"] = kind[1]
        self._logger.log(
            logging.DEBUG if is_repeated else level,
            message,
            exc_info=None if is_known else error,
            stacklevel=2,
            extra=extra,
        )

    def recovered(self, key: Hashable, message: str, **details: object) -> None:
        """Log that ``key`` is well, if it was failing."""
        failing = self._failing.pop(key, None)
        if failing is not None:
            self._logger.info(
                message, extra={"failures": failing.failures, **details}, stacklevel=2
            )


class _Failing(NamedTuple):
    kind: tuple[type[Exception], str]
    failures: int


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, fields, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, redacted."""
        entry: dict[str, Any] = {
            "ts": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        try:
            line = orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # half a pair of surrogates, as in a file name that is no UTF-8
            line = json.dumps(entry, default=str)
        return redact(line)


class ConsoleFormatter(logging.Formatter):
    """Formats a record for people: time, level, message, then the fields as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, redacted, with a traceback below it where there is one."""
        pairs = " ".join(f"{name}={_plain(value)}" for name, value in _fields(record).items())
        local = _moment(record).astimezone()
        line = f"{local:%H:%M:%S} {record.levelname:<7} {record.getMessage()} {pairs}".rstrip()
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return redact(line)


def configure(level: str = "INFO", *, stream: TextIO | None = None, style: str = "") -> None:
    """Send everything that is logged to one stream, in place of any earlier configuration.

    Args:
        level: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``, in any case.
        stream: where to; standard error by default.
        style: ``json``, ``console``, or empty for ``console`` on a terminal and ``json`` elsewhere.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    is_console = style == "console" or (not style and stream.isatty())
    handler.setFormatter(ConsoleFormatter() if is_console else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False


def _moment(record: logging.LogRecord) -> dt.datetime:
    return dt.datetime.fromtimestamp(record.created, dt.UTC)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    return {**_bound.get(), **extra}


def _plain(value: object) -> str:
    text = str(value)
    return repr(text) if not text or " " in text or "\n" in text else text
