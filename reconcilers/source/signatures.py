"""Whether an artifact in a registry is signed by whom ``spec.verify`` trusts.

What the object names is read first, then signatures are looked for: Flux's HelmChart shows a
failure of the one otherwise than of the other.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from api.oci import NOTATION
from reconcilers.source import secrets
from runtime.errors import TransientError
from sources.oci import cosign, keyless, notation, trustpolicy
from sources.oci.cosign import UnverifiedError
from sources.oci.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from api.oci import OCIVerification
    from reconcilers.context import ClusterContext
    from sources.oci.client import Repository

    Judge: TypeAlias = Callable[[Repository, str], Awaitable[bool]]
    """Looks for a signature of a manifest that counts, and returns whether it is known whose it is;
    False where a trust policy lets it pass without. Raises one of `FAILURES`."""

VERIFICATION_ERROR: Final = "VerificationError"
"""The reason of conditions about signatures, as in Flux."""
FAILURES: Final = (UnverifiedError, RegistryError, TransientError)
"""How a verification ends that does not find what it looks for."""


async def prepare(
    context: ClusterContext, namespace: str, wanted: OCIVerification, subject: str
) -> Judge:
    """Return what judges signatures, with all that the object names.

    Args:
        context: the cluster.
        namespace: where the Secrets are.
        wanted: whom to trust.
        subject: what messages call the thing that is to be signed.

    Raises:
        UnverifiedError: the program is missing, or a Secret does not hold what it should.
        TransientError: a Secret is missing or cannot be read.
    """
    secret = wanted.secret_ref.name if wanted.secret_ref else ""
    if wanted.provider == NOTATION:
        if not secret:
            raise UnverifiedError(f"verification secret cannot be empty: '{subject}'")
        return await _by_policy(context, namespace, secret)
    if secret:
        return await _by_keys(context, namespace, secret)
    return await _without_keys(context, namespace, wanted)


def explain(wanted: OCIVerification, error: Exception) -> str:
    """Return what conditions say of one of `FAILURES`, as in Flux."""
    is_keyless = wanted.provider != NOTATION and wanted.secret_ref is None
    provider = f"{wanted.provider} keyless" if is_keyless else wanted.provider
    return f"failed to verify the signature using provider '{provider}': {error}"


async def _by_policy(context: ClusterContext, namespace: str, secret: str) -> Judge:
    name, data = await secrets.read(context, namespace, secret)
    trust = await context.threads.run(trustpolicy.read, data, name)
    program = context.tools.notation
    if program is None:
        raise UnverifiedError(context.tools.notation_complaint)
    judge = notation.Notation(program, context.processes, context.threads, context.oci)
    return partial(judge.verify, trust=trust)


async def _by_keys(context: ClusterContext, namespace: str, secret: str) -> Judge:
    name, data = await secrets.read(context, namespace, secret)
    trusted = await context.threads.run(cosign.keys, data, name)

    async def judge(repository: Repository, digest: str) -> bool:
        await cosign.verify(context.oci, context.threads, repository, digest, trusted)
        return True

    return judge


async def _without_keys(context: ClusterContext, namespace: str, wanted: OCIVerification) -> Judge:
    program = context.tools.cosign
    if program is None:
        raise UnverifiedError(context.tools.cosign_complaint)
    root = b""
    if wanted.trusted_root_secret_ref is not None:
        name, data = await secrets.read(context, namespace, wanted.trusted_root_secret_ref.name)
        root = data.get(keyless.TRUSTED_ROOT, b"")
        if not root:
            raise UnverifiedError(f"secret '{name}' has no '{keyless.TRUSTED_ROOT}'")
    identities: Sequence[keyless.Identity] = [
        keyless.Identity(each.issuer, each.subject) for each in wanted.match_oidc_identity
    ]
    folder = context.data_dir / "sigstore"
    checker = keyless.Cosign(program, context.processes, context.threads, folder)

    async def judge(repository: Repository, digest: str) -> bool:
        await checker.verify(repository, digest, identities, root)
        return True

    return judge
