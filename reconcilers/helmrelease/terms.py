"""How an action is carried out: what its part of the spec says, with Flux's defaults. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kube.helm import record
from reconcilers.helmrelease import policy
from reconcilers.helmrelease.decision import Action

if TYPE_CHECKING:
    from api.helm import HelmReleaseSpec
    from kube.helm.record import Record

_REPLACE: Final = "CreateReplace"


@dataclass(frozen=True, slots=True)
class Terms:
    """How one action is carried out."""

    timeout_s: float = policy.TIMEOUT_S
    """How long each operation on the cluster may take, in seconds."""
    waits: bool = True
    """Whether the objects have to become well, or to be gone."""
    waits_for_jobs: bool = True
    has_hooks: bool = True
    applies_definitions: bool = False
    """Whether the chart's own definitions are applied before."""
    cleans_up: bool = False
    """Whether what a failure has created is deleted."""
    replaces: bool = False
    """Whether an install may take the name of a release that was uninstalled."""
    creates_namespace: bool = False
    validates: bool = False
    """Whether every object is tried before anything is written."""
    takes_over: bool = True
    """Whether objects that belong to nobody, or to another release, become this one's."""
    force: bool = False
    """Whether objects are replaced instead of patched; not where the server applies them."""
    replaces_definitions: bool = False
    """Whether definitions that exist are replaced; not where the server applies them."""


def of(spec: HelmReleaseSpec, action: Action) -> Terms:
    """Return how an action is carried out."""
    match action:
        case Action.INSTALL:
            return _install(spec)
        case Action.UPGRADE:
            return _upgrade(spec)
        case Action.ROLLBACK:
            return _rollback(spec)
        case Action.UNINSTALL:
            return of_uninstall(spec)
        case Action.TEST:
            own = spec.test.timeout if spec.test else None
            return Terms(policy.timeout_s(spec, own))
        case _:
            return Terms(policy.timeout_s(spec))


def apply_method(spec: HelmReleaseSpec, action: Action, before: Record | None) -> str:
    """Return how the objects of a revision are written.

    Args:
        spec: the HelmRelease's.
        action: an install, an upgrade or a rollback.
        before: the newest record; for a rollback the one that is gone back to. Where nothing else
            is asked for its way is kept.

    Returns:
        ``ssa`` for the server's apply, or ``csa`` for merges on the client.
    """
    if action is Action.INSTALL:
        is_refused = spec.install is not None and spec.install.server_side_apply is False
        return record.CLIENT_SIDE if is_refused else record.SERVER_SIDE
    options = spec.rollback if action is Action.ROLLBACK else spec.upgrade
    match options.server_side_apply if options else "":
        case "enabled":
            return record.SERVER_SIDE
        case "disabled":
            return record.CLIENT_SIDE
        case _:
            is_kept = before is not None and before.is_client_side
            return record.CLIENT_SIDE if is_kept else record.SERVER_SIDE


def of_uninstall(spec: HelmReleaseSpec) -> Terms:
    """Return how a release is uninstalled."""
    found = spec.uninstall
    if found is None:
        return Terms(policy.timeout_s(spec))
    return Terms(
        policy.timeout_s(spec, found.timeout),
        waits=not found.disable_wait,
        has_hooks=not found.disable_hooks,
    )


def _install(spec: HelmReleaseSpec) -> Terms:
    found = spec.install
    if found is None:
        return Terms(policy.timeout_s(spec), applies_definitions=True, validates=True)
    return Terms(
        policy.timeout_s(spec, found.timeout),
        waits=not found.disable_wait,
        waits_for_jobs=not found.disable_wait_for_jobs,
        has_hooks=not found.disable_hooks,
        applies_definitions=found.crds != "Skip" and not (found.skip_crds and not found.crds),
        replaces=found.replace,
        validates=not found.disable_open_api_validation,
        creates_namespace=found.create_namespace and bool(spec.target_namespace),
        takes_over=not found.disable_take_ownership,
        replaces_definitions=found.crds == _REPLACE,
    )


def _upgrade(spec: HelmReleaseSpec) -> Terms:
    found = spec.upgrade
    if found is None:
        return Terms(policy.timeout_s(spec), applies_definitions=True, validates=True)
    return Terms(
        policy.timeout_s(spec, found.timeout),
        waits=not found.disable_wait,
        waits_for_jobs=not found.disable_wait_for_jobs,
        has_hooks=not found.disable_hooks,
        applies_definitions=found.crds != "Skip",
        cleans_up=found.cleanup_on_fail,
        validates=not found.disable_open_api_validation,
        takes_over=not found.disable_take_ownership,
        force=found.force,
        replaces_definitions=found.crds == _REPLACE,
    )


def _rollback(spec: HelmReleaseSpec) -> Terms:
    found = spec.rollback
    if found is None:
        return Terms(policy.timeout_s(spec))
    return Terms(
        policy.timeout_s(spec, found.timeout),
        waits=not found.disable_wait,
        waits_for_jobs=not found.disable_wait_for_jobs,
        has_hooks=not found.disable_hooks,
        cleans_up=found.cleanup_on_fail,
        force=found.force,
    )
