"""Where the work of one object is done, and as whom.

Flux objects are read and their status is written with the daemon's own identity. What they bring
about is written as the ServiceAccount that they name, or that the cluster's settings name for those
that name none: so a tenant gets no further than its own rights. Watches stay the daemon's, since a
tenant need not be allowed to watch what it may write; they only tell that there is something to do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from api import meta
from kube import errors
from kube.objects import GVK, Resource
from runtime.errors import TerminalError

if TYPE_CHECKING:
    from kube.apply import Applier
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.tracker import Tracker
    from reconcilers.context import ClusterContext

_ACCOUNTS = Resource(GVK("", "v1", "ServiceAccount"), "serviceaccounts", is_namespaced=True)
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Target:
    """One cluster, as one user."""

    client: Client
    """Writes, reads and deletes as that user."""
    discovery: Discovery
    tracker: Tracker
    """The books and watches of the cluster, shared by all users."""
    applier: Applier
    """Applies as that user."""


class Impersonating(Protocol):
    """What says in the spec of a kind as whom it is applied."""

    @property
    def service_account_name(self) -> str:
        """The ServiceAccount, empty for the cluster's default."""
        ...


class Directed(Protocol):
    """An object that has a target."""

    @property
    def metadata(self) -> meta.ObjectMeta:
        """Its metadata."""
        ...

    @property
    def spec(self) -> Impersonating:
        """Its spec."""
        ...


def find(context: ClusterContext, item: Directed) -> Target:
    """Return where an object is applied, and as whom.

    Raises:
        TerminalError: what it names is no name of a ServiceAccount.
    """
    everybody = Target(context.client, context.discovery, context.tracker, context.applier)
    account = _account(context, item)
    if not account:
        return everybody
    if not _NAME.fullmatch(account):
        text = f"{account!r} is not the name of a ServiceAccount"
        raise TerminalError(meta.RECONCILIATION_FAILED, text)
    return _acting(everybody, item.metadata.namespace, account)


def present(context: ClusterContext, item: Directed) -> Target | None:
    """Return where an object is applied as far as that is known at once, else None."""
    try:
        return find(context, item)
    except TerminalError:
        return None


async def may_act(context: ClusterContext, item: Directed) -> bool:
    """Tell whether the ServiceAccount that works for an object is there.

    As in Flux it is looked up in the object's own cluster, also where it works in another one.

    Raises:
        ApiError: the API server did not say.
    """
    account = _account(context, item)
    if not account:
        return True
    try:
        await context.client.metadata(_ACCOUNTS, item.metadata.namespace, account)
    except errors.NotFound:
        return False
    return True


def _account(context: ClusterContext, item: Directed) -> str:
    return item.spec.service_account_name or context.settings.default_service_account


def _acting(target: Target, namespace: str, account: str) -> Target:
    client = target.client.impersonating(f"system:serviceaccount:{namespace}:{account}")
    return replace(target, client=client, applier=target.applier.using(client))
