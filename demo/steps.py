"""What happens in the demo, one function each; a function returns how many seconds it took.

A step ends when the cluster shows the outcome. What does not happen within a minute raises
`TimeoutError`.
"""

from __future__ import annotations

import http
import time
from typing import TYPE_CHECKING, Any

from devcluster.api import is_ready
from devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.stand import Stand

_FLUX = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations"
_INSTANCE = "/apis/fluxcd.controlplane.io/v1/namespaces/flux-system/fluxinstances/flux"
_LIMITS = "/api/v1/namespaces/platform/configmaps/limits"
_FEATURE = "/apis/example.com/v1/namespaces/platform/features/dark-mode"
_BANNER = "/api/v1/namespaces/shop/configmaps/banner"
_SERVICE = "/api/v1/namespaces/shop/services/cart"
_DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/web"
_KUSTOMIZATIONS = ("flux-system", "infrastructure", "apps")


class StepError(DevclusterError):
    """Something else happened than what should have."""


def apply_instance(stand: Stand) -> float:
    """Let one FluxInstance, applied with kubectl, set everything up."""
    start = time.monotonic()
    stand.cluster.kubectl("apply", "-f", "-", input=stand.instance())
    for name in _KUSTOMIZATIONS:
        stand.since(start, f"{_FLUX}/{name}", _is_ready_at(stand.repo.head))
    return stand.since(start, _INSTANCE, _has_ready_condition)


def push_change(stand: Stand) -> float:
    """Push another value for a ConfigMap, with the webhook that a Git provider sends."""
    path = stand.repo.work / "k8s/infrastructure/limits.yaml"
    stand.repo.push({"k8s/infrastructure/limits.yaml": path.read_text().replace('"100"', '"250"')})
    start = _announce(stand)
    return stand.since(start, _LIMITS, _data("requests-per-second", "250"))


def push_overlay(stand: Stand) -> float:
    """Push another value for the generator: a ConfigMap of a new name, and who uses it."""
    name = "k8s/apps/overlays/demo/kustomization.yaml"
    text = (stand.repo.work / name).read_text()
    stand.repo.push({name: text.replace("LOG_LEVEL=info", "LOG_LEVEL=debug")})
    before = _settings_of(stand.api.get(_DEPLOYMENT))
    start = _announce(stand)
    return stand.since(start, _DEPLOYMENT, lambda obj: _settings_of(obj) != before)


def push_deletion(stand: Stand) -> float:
    """Push the removal of a file."""
    stand.repo.push({}, delete=["k8s/infrastructure/limits.yaml"])
    start = _announce(stand)
    return stand.since(start, _LIMITS, lambda obj: obj is None)


def edit_by_hand(stand: Stand) -> float:
    """Change a live ConfigMap."""
    start = time.monotonic()
    stand.api.patch(_BANNER, {"data": {"text": "Out of order"}})
    return stand.since(start, _BANNER, _data("text", "Welcome"))


def edit_custom_resource(stand: Stand) -> float:
    """Change a live custom resource."""
    start = time.monotonic()
    stand.api.patch(_FEATURE, {"spec": {"enabled": True}})
    return stand.since(start, _FEATURE, lambda obj: obj is not None and not obj["spec"]["enabled"])


def delete_by_hand(stand: Stand) -> float:
    """Delete a live Service."""
    uid = (stand.api.get(_SERVICE) or {})["metadata"]["uid"]
    start = time.monotonic()
    stand.api.delete(_SERVICE)
    return stand.since(
        start, _SERVICE, lambda obj: obj is not None and obj["metadata"]["uid"] != uid
    )


def ask_for_nothing(stand: Stand) -> float:
    """Ask for a reconcile with nothing to do, as ``flux reconcile`` does."""
    start = time.monotonic()
    token = f"demo-{start}"
    annotations = {"reconcile.fluxcd.io/requestedAt": token}
    stand.api.patch(f"{_FLUX}/apps", {"metadata": {"annotations": annotations}})
    return stand.since(start, f"{_FLUX}/apps", _has_handled(token))


def refuse_forgery(stand: Stand) -> float:
    """Post a webhook that is signed with another secret."""
    start = time.monotonic()
    status, _ = stand.daemon.push_webhook(stand.url, secret=b"a guess")
    if status != http.HTTPStatus.UNAUTHORIZED:
        raise StepError(f"a forged webhook was answered {status}")
    return time.monotonic() - start


STEPS: tuple[tuple[str, Callable[[Stand], float]], ...] = (
    ("FluxInstance applied: repository fetched, 3 Kustomizations Ready", apply_instance),
    ("change pushed, signed webhook: ConfigMap updated", push_change),
    ("overlay pushed, signed webhook: Deployment rolled to new settings", push_overlay),
    ("deletion pushed, signed webhook: object pruned", push_deletion),
    ("reconcile requested, nothing to do", ask_for_nothing),
    ("ConfigMap edited by hand: put back", edit_by_hand),
    ("custom resource edited by hand: put back", edit_custom_resource),
    ("Service deleted by hand: created again", delete_by_hand),
    ("webhook with a forged signature: refused", refuse_forgery),
)


def _announce(stand: Stand) -> float:
    """Post the signed webhook of a push; return when it was sent."""
    start = time.monotonic()
    status, answer = stand.daemon.push_webhook(stand.url)
    if status >= http.HTTPStatus.BAD_REQUEST:
        raise StepError(f"the webhook was answered {status} {answer.decode(errors='replace')}")
    return start


def _is_ready_at(commit: str) -> Callable[[dict[str, Any] | None], bool]:
    return lambda obj: is_ready(obj, commit)


def _has_ready_condition(obj: dict[str, Any] | None) -> bool:
    conditions = (obj or {}).get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _has_handled(token: str) -> Callable[[dict[str, Any] | None], bool]:
    return lambda obj: (obj or {}).get("status", {}).get("lastHandledReconcileAt") == token


def _data(key: str, value: str) -> Callable[[dict[str, Any] | None], bool]:
    return lambda obj: (obj or {}).get("data", {}).get(key) == value


def _settings_of(deployment: dict[str, Any] | None) -> str:
    if deployment is None:
        return ""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return str(container["envFrom"][0]["configMapRef"]["name"])
