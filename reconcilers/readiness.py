"""``dependsOn[].readyExpr``: when a dependency is ready, said as an expression.

It sees two whole objects, the dependant as ``self`` and the dependency as ``dep``. The cache
holds typed extracts, so both are read from the API server; where no expression is written, nothing
is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from kube import errors
from kube.objects import GVK
from reconcilers import dependencies
from runtime import cel
from runtime.errors import TerminalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.helm import HelmRelease
    from api.kustomize import Kustomization
    from kube.objects import JsonObject
    from reconcilers.context import ClusterContext
    from reconcilers.dependencies import Entry, Judge, Key


async def judge_of(context: ClusterContext, item: Kustomization | HelmRelease) -> Judge:
    """Read what the expressions of an object speak about, and return who judges by them.

    Raises:
        errors.ApiError: an object cannot be read.
    """
    gvk = GVK(item.GROUP, item.VERSION, item.KIND)
    entries: Sequence[Entry] = item.spec.depends_on
    pairs = zip(entries, dependencies.keys_of(item), strict=True)
    wanted = {key for entry, key in pairs if entry.ready_expr}
    objects: dict[Key, JsonObject] = {}
    if wanted:
        for key in sorted({dependencies.key_of(item), *wanted}):
            await _read(context, gvk, key, objects)
    own = objects.get(dependencies.key_of(item), {})

    def judge(entry: Entry, key: Key) -> str | None:
        name = dependencies.name_of(key)
        if key not in objects:
            return f"{name} not found"
        try:
            program = cel.check(entry.ready_expr, "self", "dep")
            is_ready = program.evaluate({"self": own, "dep": objects[key]})
        except cel.CompileError as err:
            why = f"terminal error: failed to evaluate dependency {entry.name}: {err}"
            raise TerminalError(
                meta.INVALID_CEL_EXPRESSION, f"{meta.FAILED_TERMINALLY}: {why}"
            ) from err
        except cel.EvaluationError as err:
            return str(err)
        return None if is_ready else f"{name} is not ready according to readyExpr eval"

    return judge


async def _read(
    context: ClusterContext, gvk: GVK, key: Key, objects: dict[Key, JsonObject]
) -> None:
    resource = await context.discovery.resource(gvk)
    try:
        objects[key] = await context.client.get(resource, *key)
    except errors.NotFound:
        return
