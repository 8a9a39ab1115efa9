"""What goes wrong between us and a registry, in words for its users.

::

    RegistryError
    ├── DeniedError         the registry wants credentials, or refused the ones presented
    ├── NotFoundError       there is no such repository, tag, manifest or blob
    ├── ThrottledError      the registry asks to slow down
    ├── ConnectionFailed    it could not be reached, or did not answer as a registry does
    └── ContentError        what it sent is not what was asked for: digest, size, format, limits
"""

from __future__ import annotations


class RegistryError(Exception):
    """A registry did not give what was asked for; the text holds no secret."""


class DeniedError(RegistryError):
    """The registry wants credentials, or did not accept those presented."""


class NotFoundError(RegistryError):
    """The registry has no such thing, or does not show it to us."""


class ThrottledError(RegistryError):
    """The registry asks to slow down.

    Args:
        text: see `RegistryError`.
        retry_after_s: seconds for which it asks to be left alone, None where it does not say.
    """

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class ConnectionFailed(RegistryError):  # noqa: N818 - named like TimeoutError's cause
    """The registry could not be reached, or broke off."""


class ContentError(RegistryError):
    """What was sent is not what was asked for."""
