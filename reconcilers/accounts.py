"""Tokens of ServiceAccounts, for others who trust the cluster's word about who somebody is."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from api import meta
from kube.objects import GVK, Resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconcilers.context import ClusterContext

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""What a ServiceAccount may be called."""
TOKEN_S: Final = 3600
"""Seconds for which a token is asked."""
_ACCOUNTS: Final = Resource(GVK("", "v1", "ServiceAccount"), "serviceaccounts", is_namespaced=True)


class Token(meta.Struct, frozen=True):
    """A token."""

    token: str
    expiration_timestamp: dt.datetime


class _TokenRequest(meta.Struct, frozen=True):
    status: Token


async def token(
    context: ClusterContext, namespace: str, account: str, audiences: Sequence[str]
) -> Token:
    """Return a token of a ServiceAccount.

    Raises:
        ApiError: there is no such ServiceAccount, or no token of it for us.
    """
    path = f"serviceaccounts/{account}/token"
    resource = Resource(GVK("", "v1", "TokenRequest"), path, is_namespaced=True)
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": TOKEN_S},
    }
    raw = await context.client.create(
        resource, namespace, orjson.dumps(body), manager=meta.DAEMON_MANAGER
    )
    return msgspec.json.decode(raw, type=_TokenRequest).status


async def notes(context: ClusterContext, namespace: str, account: str) -> dict[str, str]:
    """Return the annotations of a ServiceAccount.

    Raises:
        ApiError: there is no such ServiceAccount.
    """
    found = await context.client.get(_ACCOUNTS, namespace, account)
    given: dict[str, str] = found["metadata"].get("annotations") or {}
    return given
