"""FluxInstance: what a cluster is synchronised with, and which reconcilers are on there."""

from __future__ import annotations

from reconcilers.instance.reconciler import InstanceReconciler
from reconcilers.instance.scope import components, locked, on_instance, on_sync

__all__ = ["InstanceReconciler", "components", "locked", "on_instance", "on_sync"]
