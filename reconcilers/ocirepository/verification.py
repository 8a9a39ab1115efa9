"""The step that looks for signatures, before anything of an artifact is pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from api.oci import COSIGN
from reconcilers.source import secrets
from runtime import conditions
from runtime.errors import TransientError
from sources.oci import cosign
from sources.oci.errors import RegistryError

if TYPE_CHECKING:
    from api.oci import OCIRepository, OCIVerification
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from sources.oci.client import Repository

VERIFICATION_ERROR: Final = "VerificationError"


async def check(
    context: ClusterContext,
    attempt: Attempt[OCIRepository],
    repository: Repository,
    digest: str,
    revision: str,
) -> None:
    """Verify a manifest where ``spec.verify`` asks for it and it was not done before.

    It is done again for another revision, another generation, and after a failure, as in Flux.

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
    try:
        await verify(context, attempt.obj.metadata.namespace, wanted, repository, digest)
    except (cosign.UnverifiedError, RegistryError, TransientError) as err:
        # What is new is not announced: it would hide from Ready why it is not taken.
        attempt.clear(meta.ARTIFACT_OUTDATED)
        attempt.condition = meta.SOURCE_VERIFIED
        text = f"failed to verify the signature using provider '{provider(wanted)}': {err}"
        raise TransientError(VERIFICATION_ERROR, text) from err
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


async def verify(
    context: ClusterContext,
    namespace: str,
    wanted: OCIVerification,
    repository: Repository,
    digest: str,
) -> None:
    """Verify a manifest.

    Args:
        context: the cluster.
        namespace: of the Secrets that ``wanted`` names.
        wanted: which signatures count.
        repository: where the manifest and its signatures are.
        digest: of the manifest.

    Raises:
        UnverifiedError: it carries no signature that counts.
        RegistryError: that cannot be told.
        TransientError: a Secret is missing or cannot be read.
    """
    if wanted.secret_ref is None:
        raise cosign.UnverifiedError("not served")
    name, data = await secrets.read(context, namespace, wanted.secret_ref.name)
    trusted = await context.threads.run(cosign.keys, data, name)
    await cosign.verify(context.oci, context.threads, repository, digest, trusted)


def provider(wanted: OCIVerification) -> str:
    """Return what messages call the way of verification, as in Flux."""
    is_keyless = wanted.secret_ref is None and wanted.provider == COSIGN
    return f"{wanted.provider} keyless" if is_keyless else wanted.provider
