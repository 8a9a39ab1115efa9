"""The Secrets that a source names, read with the daemon's own rights from its own namespace."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from kube import errors
from kube.objects import GVK, Resource
from runtime.errors import TransientError
from sources.auth import proxy
from sources.auth.errors import AUTHENTICATION_FAILED, CredentialsError

if TYPE_CHECKING:
    from reconcilers.context import ClusterContext
    from sources.auth.proxy import Proxy

_SECRETS: Final = Resource(GVK("", "v1", "Secret"), "secrets", is_namespaced=True)


async def read(context: ClusterContext, namespace: str, name: str) -> tuple[str, dict[str, bytes]]:
    """Return the full name of a Secret, for messages, and its content.

    Raises:
        TransientError: it is not there, or cannot be read.
    """
    full_name = f"{namespace}/{name}"
    try:
        secret = await context.client.get(_SECRETS, namespace, name)
    except errors.ApiError as err:
        text = f"failed to get secret '{full_name}': {err.message}"
        raise TransientError(AUTHENTICATION_FAILED, text) from err
    try:
        data = secret.get("data") or {}
        return full_name, {key: base64.b64decode(value) for key, value in data.items()}
    except binascii.Error as err:
        raise unusable(CredentialsError(f"secret '{full_name}' is not base64")) from err


async def read_proxy(context: ClusterContext, namespace: str, name: str) -> Proxy:
    """Return the proxy that a Secret describes.

    Args:
        context: the cluster.
        namespace: of the Secret.
        name: of the Secret.

    Raises:
        TransientError: it is not there, or cannot be used.
    """
    full_name, data = await read(context, namespace, name)
    try:
        return proxy.from_secret(data, full_name)
    except CredentialsError as err:
        text = f"failed to configure proxy options: {err}"
        raise TransientError(AUTHENTICATION_FAILED, text) from err


def unusable(error: CredentialsError) -> TransientError:
    """Return the leaf for a Secret whose content does not do; someone may mend it at any time."""
    return TransientError(
        AUTHENTICATION_FAILED, f"failed to configure authentication options: {error}"
    )
