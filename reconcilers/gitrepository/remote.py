"""From a GitRepository's spec, and the Secret it names, to what `sources.git` needs to know."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from api import durations
from kube import errors
from kube.objects import GVK, Resource
from runtime.errors import TerminalError, TransientError
from sources import git
from sources.auth import basic

if TYPE_CHECKING:
    from api.source import GitRepository
    from reconcilers.context import ClusterContext

AUTHENTICATION_FAILED: Final = "AuthenticationFailed"
URL_INVALID: Final = "URLInvalid"
DEFAULT_TIMEOUT_S: Final = 60.0

_SECRETS: Final = Resource(GVK("", "v1", "Secret"), "secrets", is_namespaced=True)


async def repository(context: ClusterContext, obj: GitRepository) -> git.Repository:
    """Return the remote that an object names, with its credentials.

    Raises:
        TransientError: the Secret is missing or cannot be used.
        TerminalError: the URL does not parse.
    """
    credentials = basic.ANONYMOUS
    if obj.spec.secret_ref is not None:
        credentials = await _credentials(context, obj.metadata.namespace, obj.spec.secret_ref.name)
    try:
        url, credentials = basic.split_url(obj.spec.url, credentials)
    except basic.CredentialsError as err:
        raise unusable(err) from err
    except ValueError as err:
        raise TerminalError(URL_INVALID, f"failed to parse url: {err}") from err
    return git.Repository(url, credentials, durations.parse_or(obj.spec.timeout, DEFAULT_TIMEOUT_S))


def unusable(error: basic.CredentialsError) -> TransientError:
    """Return the leaf for a Secret whose content does not do; someone may mend it at any time."""
    return TransientError(
        AUTHENTICATION_FAILED, f"failed to configure authentication options: {error}"
    )


async def _credentials(context: ClusterContext, namespace: str, name: str) -> basic.Credentials:
    full_name = f"{namespace}/{name}"
    try:
        secret = await context.client.get(_SECRETS, namespace, name)
    except errors.ApiError as err:
        text = f"failed to get secret '{full_name}': {err.message}"
        raise TransientError(AUTHENTICATION_FAILED, text) from err
    try:
        data = {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}
        return basic.from_secret(data, full_name)
    except binascii.Error as err:
        raise unusable(basic.CredentialsError(f"secret '{full_name}' is not base64")) from err
    except basic.CredentialsError as err:
        raise unusable(err) from err
