"""Where the work of one object is done, and as whom.

Flux objects are read and their status is written with the daemon's own identity. What they bring
about is written as the ServiceAccount that they name, or that the cluster's settings name for those
that name none: so a tenant gets no further than its own rights. Watches stay the daemon's, since a
tenant need not be allowed to watch what it may write; they only tell that there is something to do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from api import meta
from kube import errors
from kube.connection import AuthError
from kube.objects import GVK, Resource
from reconcilers import accounts, kubeconfig
from runtime.errors import TerminalError, TransientError

if TYPE_CHECKING:
    from api.kustomize import KubeConfig
    from kube.apply import Applier
    from kube.client import Client
    from kube.discovery import Discovery
    from kube.remotes import Remote
    from kube.tracker import Tracker
    from reconcilers.context import ClusterContext

_ACCOUNTS: Final = Resource(GVK("", "v1", "ServiceAccount"), "serviceaccounts", is_namespaced=True)


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


class Direction(Protocol):
    """What says in the spec of a kind where it is applied, and as whom."""

    @property
    def service_account_name(self) -> str:
        """The ServiceAccount, empty for the cluster's default."""
        ...

    @property
    def kube_config(self) -> KubeConfig | None:
        """The way to another cluster; None for the object's own."""
        ...


class Directed(Protocol):
    """An object that has a target."""

    @property
    def metadata(self) -> meta.ObjectMeta:
        """Its metadata."""
        ...

    @property
    def spec(self) -> Direction:
        """Its spec."""
        ...

    def ref(self, cluster: str) -> meta.ObjectRef:
        """Return its key."""
        ...


async def find(context: ClusterContext, item: Directed) -> Target:
    """Return where an object is applied, and as whom.

    An object holds its remote cluster from here on; `forget` lets go of it.

    Raises:
        TransientError: its cluster cannot be reached now, or not with what it names.
        TerminalError: what it names is not served, or no name of a ServiceAccount.
        ApiError: its own cluster did not answer.
    """
    account, owner = _account(context, item), item.ref(context.name)
    where = item.spec.kube_config
    if where is None:
        context.remotes.release(owner)
        return _acting(_local(context), item.metadata.namespace, account)
    context.tracker.drop_owner(owner)
    try:
        way = await kubeconfig.credentials(context, owner, where)
        remote = await context.remotes.lease(owner, way)
        await remote.reached()
    except AuthError as err:
        context.remotes.release(owner)
        raise _unusable(str(err)) from err
    except errors.Unreachable as err:
        raise _unusable(err.message) from err
    return _acting(_of(remote), item.metadata.namespace, account)


def present(context: ClusterContext, item: Directed) -> Target | None:
    """Return where an object is applied as far as that is known without asking anybody."""
    try:
        account = _account(context, item)
    except TerminalError:
        return None
    if item.spec.kube_config is None:
        return _acting(_local(context), item.metadata.namespace, account)
    remote = context.remotes.held(item.ref(context.name))
    if remote is None or remote.fault:
        return None
    return _acting(_of(remote), item.metadata.namespace, account)


def forget(context: ClusterContext, owner: meta.ObjectRef) -> None:
    """Forget what an object owns, wherever that is."""
    context.tracker.drop_owner(owner)
    context.remotes.release(owner)


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
    """Return the ServiceAccount that works for an object; empty for nobody but the daemon.

    Raises:
        TerminalError: what it names is no name of one.
    """
    account = item.spec.service_account_name or context.settings.default_service_account
    if account and not accounts.NAME.fullmatch(account):
        text = f"{account!r} is not the name of a ServiceAccount"
        raise TerminalError(meta.RECONCILIATION_FAILED, text)
    return account


def _local(context: ClusterContext) -> Target:
    return Target(context.client, context.discovery, context.tracker, context.applier)


def _of(remote: Remote) -> Target:
    return Target(remote.client, remote.discovery, remote.tracker, remote.applier)


def _acting(target: Target, namespace: str, account: str) -> Target:
    if not account:
        return target
    client = target.client.impersonating(f"system:serviceaccount:{namespace}:{account}")
    return replace(target, client=client, applier=target.applier.using(client))


def _unusable(why: str) -> TransientError:
    return TransientError(meta.RECONCILIATION_FAILED, f"failed to build kube client: {why}")
