"""What is wrong with credentials.

::

    ValueError
    └── CredentialsError    a Secret, or a part of one, that cannot be used
"""

from __future__ import annotations

from typing import Final

AUTHENTICATION_FAILED: Final = "AuthenticationFailed"
"""The reason of conditions about credentials, as in Flux."""


class CredentialsError(ValueError):
    """A Secret that cannot be used; the text names keys, never values."""
