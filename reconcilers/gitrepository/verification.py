"""``spec.verify``: whether a revision carries the signatures that it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from reconcilers import steps
from reconcilers.source import secrets
from runtime import process
from runtime.errors import TerminalError, TransientError
from sources import gitsignature

if TYPE_CHECKING:
    from api.source import GitRepository
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from sources.git import Commit, Repository
    from sources.gitsignature import Keys, Signed

VERIFICATION_ERROR: Final = "VerificationError"
INVALID_MODE: Final = "InvalidVerificationMode"
INVALID_OBJECT: Final = "InvalidGitObject"
INVALID_TAG: Final = "InvalidTagSignature"
INVALID_COMMIT: Final = "InvalidCommitSignature"

HEAD: Final = "HEAD"
TAG: Final = "Tag"
BOTH: Final = "TagAndHEAD"
_CALLED: Final = {"": HEAD, "head": HEAD}


def is_due(obj: GitRepository) -> bool:
    """Tell whether the present artifact was not verified as it is to be now, as Flux judges it."""
    if obj.spec.verify is None:
        return False
    observed, wanted = obj.status.source_verification_mode, _mode(obj)
    return observed != wanted and observed != BOTH


async def verify(
    context: ClusterContext,
    attempt: Attempt[GitRepository],
    repository: Repository,
    commit: Commit,
) -> None:
    """Check the signatures of a commit, and of the tag that led to it.

    Raises:
        TransientError: one is missing or is not by a key of the Secret.
        TerminalError: a tag is to be verified, and the reference names none.
        gitstore.DamagedError: the store has lost something.
    """
    if attempt.obj.spec.verify is None:
        forget(attempt)
        return
    attempt.condition = meta.SOURCE_VERIFIED
    attempt.clear(meta.ARTIFACT_OUTDATED)  # by what, is not known before
    mode = _mode(attempt.obj)
    keys = await _keys(context, attempt.obj)
    checker = _Checker(context, repository, commit, keys)
    found = [await checker.tag()] if mode in {TAG, BOTH} else []
    found += [await checker.commit()] if mode in {HEAD, BOTH} else []
    text = "verified signature of" + "".join(f"\n\t- {line}" for line in found)
    attempt.observed["source_verification_mode"] = mode
    attempt.set(meta.SOURCE_VERIFIED, "True", meta.SUCCEEDED, text)
    attempt.notices.append(steps.Notice(text, meta.SUCCEEDED, is_trace=True))
    attempt.condition = meta.FETCH_FAILED


def forget(attempt: Attempt[GitRepository]) -> None:
    """Say nothing of signatures where nobody asks for them."""
    attempt.clear(meta.SOURCE_VERIFIED)
    attempt.observed["source_verification_mode"] = None


class _Checker:
    """Checks the objects of one commit."""

    def __init__(
        self, context: ClusterContext, repository: Repository, commit: Commit, keys: Keys
    ) -> None:
        self._context = context
        self._repository = repository
        self._commit = commit
        self._keys = keys
        self._verifier = gitsignature.Verifier(context.processes, context.threads)

    async def commit(self) -> str:
        """Return what was verified of the commit."""
        sha = self._commit.sha
        signed = gitsignature.of_commit(await self._raw(sha))
        key = await self._verify(signed, INVALID_COMMIT, f"commit '{sha}'")
        return f"commit '{sha}' with key '{key}'"

    async def tag(self) -> str:
        """Return what was verified of the tag."""
        tag = self._commit.candidate.tag
        if tag is None:
            raise TerminalError(
                INVALID_MODE,
                "cannot verify tag object's signature if a tag reference is not specified",
            )
        raw = await self._raw(tag.sha) if tag.sha else b""
        target, name = gitsignature.tagged(raw)
        shown = f"{name}@{tag.sha}" if tag.sha else tag.name
        signed = gitsignature.of_tag(raw)
        if not signed.signature:
            text = f"cannot verify signature of tag '{shown}' since it is not signed"
            raise TransientError(INVALID_OBJECT, text)
        if target != self._commit.sha:
            text = f"signature verification of tag '{shown}' failed: it is of object {target}"
            raise TransientError(INVALID_TAG, text)
        key = await self._verify(signed, INVALID_TAG, f"tag '{shown}'")
        return f"tag '{shown}' with key '{key}'"

    async def _raw(self, sha: str) -> bytes:
        return await self._context.git.raw(self._repository, sha)

    async def _verify(self, signed: Signed, reason: str, what: str) -> str:
        try:
            return await self._verifier.verify(signed, self._keys)
        except gitsignature.SignatureError as err:
            text = f"signature verification of {what} failed: {err}"
            raise TransientError(reason, text) from err
        except process.ProcessError as err:
            text = f"signature verification of {what} failed: {err}"
            raise TransientError(VERIFICATION_ERROR, text) from err


def _mode(obj: GitRepository) -> str:
    mode = obj.spec.verify.mode if obj.spec.verify else ""
    return _CALLED.get(mode, mode)


async def _keys(context: ClusterContext, obj: GitRepository) -> Keys:
    name = obj.spec.verify.secret_ref.name if obj.spec.verify else ""
    try:
        _, data = await secrets.read(context, obj.metadata.namespace, name)
    except TransientError as err:
        text = f"public keys secret error: {err.message}"
        raise TransientError(VERIFICATION_ERROR, text) from err
    return gitsignature.keys(data)
