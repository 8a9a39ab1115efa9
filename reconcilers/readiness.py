"""``dependsOn[].readyExpr``: when a dependency is ready, said as an expression.

It sees two whole objects, the Kustomization as ``self`` and the dependency as ``dep``. The cache
holds typed extracts, so both are read from the API server; where no expression is written, nothing
is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from api.kustomize import Kustomization
from kube import errors
from kube.objects import GVK
from reconcilers import dependencies
from runtime import cel
from runtime.errors import TerminalError

if TYPE_CHECKING:
    from api.kustomize import Dependency
    from kube.objects import JsonObject
    from reconcilers.context import ClusterContext
    from reconcilers.dependencies import Judge, Key

_GVK: Final = GVK(Kustomization.GROUP, Kustomization.VERSION, Kustomization.KIND)


async def judge_of(context: ClusterContext, item: Kustomization) -> Judge:
    """Read what the expressions of a Kustomization speak about, and return who judges by them.

    Raises:
        errors.ApiError: an object cannot be read.
    """
    pairs = zip(item.spec.depends_on, dependencies.keys_of(item), strict=True)
    wanted = {key for entry, key in pairs if entry.ready_expr}
    objects: dict[Key, JsonObject] = {}
    if wanted:
        for key in sorted({dependencies.key_of(item), *wanted}):
            await _read(context, key, objects)
    own = objects.get(dependencies.key_of(item), {})

    def judge(entry: Dependency, key: Key) -> str | None:
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


async def _read(context: ClusterContext, key: Key, objects: dict[Key, JsonObject]) -> None:
    resource = await context.discovery.resource(_GVK)
    try:
        objects[key] = await context.client.get(resource, *key)
    except errors.NotFound:
        return
