"""The step that looks for signatures, before anything of an artifact is pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from reconcilers.source import signatures
from runtime import conditions
from runtime.errors import TransientError

if TYPE_CHECKING:
    from api.oci import OCIRepository
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from sources.oci.client import Repository


async def check(
    context: ClusterContext,
    attempt: Attempt[OCIRepository],
    repository: Repository,
    digest: str,
    revision: str,
) -> None:
    """Verify a manifest where ``spec.verify`` asks for it and it was not done before.

    It is done again for another revision, another generation, and after a failure, as in Flux;
    and each time where a trust policy lets anything pass, since then nothing was verified.

    Raises:
        TransientError: it carries no signature that counts, or that cannot be told.
    """
    wanted = attempt.obj.spec.verify
    if wanted is None:
        attempt.clear(meta.SOURCE_VERIFIED)
        return
    if _is_done(attempt, revision):
        return
    attempt.clear(meta.SOURCE_VERIFIED)
    namespace, name = attempt.obj.metadata.namespace, f"{repository.name}@{digest}"
    try:
        judge = await signatures.prepare(context, namespace, wanted, name)
        is_known = await judge(repository, digest)
    except signatures.FAILURES as err:
        attempt.clear(meta.FETCH_FAILED)
        attempt.condition = meta.SOURCE_VERIFIED
        text = signatures.explain(wanted, err)
        raise TransientError(signatures.VERIFICATION_ERROR, text) from err
    if is_known:
        text = f"verified signature of revision {revision}"
        attempt.set(meta.SOURCE_VERIFIED, "True", meta.SUCCEEDED, text)


def _is_done(attempt: Attempt[OCIRepository], revision: str) -> bool:
    known = conditions.get(attempt.conditions, meta.SOURCE_VERIFIED)
    return (
        attempt.artifact is not None
        and attempt.artifact.revision == revision
        and known is not None
        and known.status == "True"
        and known.observed_generation == attempt.obj.metadata.generation
    )
