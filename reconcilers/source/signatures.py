"""Whether an artifact in a registry is signed by whom ``spec.verify`` trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.oci import COSIGN
from reconcilers.source import secrets
from runtime.errors import TransientError
from sources.oci import cosign, keyless
from sources.oci.cosign import UnverifiedError
from sources.oci.errors import RegistryError

if TYPE_CHECKING:
    from api.oci import OCIVerification
    from reconcilers.context import ClusterContext
    from sources.oci.client import Repository

VERIFICATION_ERROR: Final = "VerificationError"
"""The reason of conditions about signatures, as in Flux."""
FAILURES: Final = (UnverifiedError, RegistryError, TransientError)
"""How a verification ends that does not find what it looks for."""


async def verify(
    context: ClusterContext,
    namespace: str,
    wanted: OCIVerification,
    repository: Repository,
    digest: str,
) -> None:
    """Return once a signature that counts is found.

    Args:
        context: the cluster.
        namespace: where the Secrets are.
        wanted: whom to trust.
        repository: the manifest's.
        digest: the manifest's.

    Raises:
        UnverifiedError: there is none.
        RegistryError: the registry cannot be asked.
        TransientError: a Secret is missing or cannot be read.
    """
    if wanted.secret_ref is not None:
        await _by_keys(context, namespace, wanted.secret_ref.name, repository, digest)
    else:
        await _without_keys(context, namespace, wanted, repository, digest)


def explain(wanted: OCIVerification, error: Exception) -> str:
    """Return what conditions say of one of `FAILURES`, as in Flux."""
    is_keyless = wanted.provider == COSIGN and wanted.secret_ref is None
    provider = f"{wanted.provider} keyless" if is_keyless else wanted.provider
    return f"failed to verify the signature using provider '{provider}': {error}"


async def _by_keys(
    context: ClusterContext, namespace: str, secret: str, repository: Repository, digest: str
) -> None:
    name, data = await secrets.read(context, namespace, secret)
    trusted = await context.threads.run(cosign.keys, data, name)
    await cosign.verify(context.oci, context.threads, repository, digest, trusted)


async def _without_keys(
    context: ClusterContext,
    namespace: str,
    wanted: OCIVerification,
    repository: Repository,
    digest: str,
) -> None:
    program = context.tools.cosign
    if program is None:
        raise UnverifiedError(context.tools.cosign_complaint)
    root = b""
    if wanted.trusted_root_secret_ref is not None:
        name, data = await secrets.read(context, namespace, wanted.trusted_root_secret_ref.name)
        root = data.get(keyless.TRUSTED_ROOT, b"")
        if not root:
            raise UnverifiedError(f"secret '{name}' has no '{keyless.TRUSTED_ROOT}'")
    identities = [
        keyless.Identity(each.issuer, each.subject) for each in wanted.match_oidc_identity
    ]
    checker = keyless.Cosign(
        program, context.processes, context.threads, context.data_dir / "sigstore"
    )
    await checker.verify(repository, digest, identities, root)
