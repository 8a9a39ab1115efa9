"""Signatures of the Notary Project, verified by the official ``notation`` program.

The program asks no registry. The daemon fetches a signature with its own client, puts it with the
manifest that it should be of into an OCI layout, and lets the program judge that, in a home of its
own with the trust policy and the certificates, which is gone afterwards. Of this user's it sees
nothing. It gets one signature at a time, in the registry's order: as in Flux the first that counts
ends it, three are tried, and one that cannot be fetched is an error.
"""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from runtime import process
from sources.oci import keyless, manifests, trustpolicy
from sources.oci.cosign import UnverifiedError
from sources.oci.errors import ContentError, RegistryError
from sources.oci.manifests import Descriptor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from runtime.limits import Processes, Threads
    from runtime.process import Completed
    from sources.oci.client import Document, Registries, Repository
    from sources.oci.trustpolicy import Trust

SIGNATURE: Final = "application/vnd.cncf.notary.signature"
"""The artifact type of a signature."""
ATTEMPTS: Final = 3
"""Signatures of one manifest that are tried, as in Flux."""
ENVELOPE_BYTES: Final = 4 * 1024 * 1024
"""Bytes that the envelope of a signature may have."""
_MANIFESTS: Final = f"{manifests.OCI_MANIFEST}, application/vnd.oci.artifact.manifest.v1+json"
"""What signatures lie in; the latter is not made any more. What a registry's list calls them is
text of whoever pushed them, and belongs in no header."""
_MESSAGE: Final = 500
_ALL_FAILED: Final = "signature verification failed for all the signatures associated with"
_PREFIX: Final = "signature verification failed: "
_REASON: Final = re.compile(
    r"msg=Signature \S+ failed verification with error: (.*?)(?=\nlevel=|\nError: |\Z)", re.DOTALL
)
_ERROR: Final = re.compile(r"^Error: (.*)\Z", re.DOTALL | re.MULTILINE)
_SKIPPED: Final = re.compile(rb"^Trust policy is configured to skip ", re.MULTILINE)
_TOLERATED: Final = re.compile(rb"^Warning: authenticity was set to ", re.MULTILINE)


class _Content(msgspec.Struct):
    """What a signature's manifest holds; blobs are of a kind that is not made any more."""

    layers: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()


class _UncountedError(Exception):
    """One signature does not count; another may."""


@dataclass(frozen=True, slots=True)
class _Signature:
    """A signature as it lies in a registry."""

    manifest: Document
    envelopes: tuple[tuple[str, bytes], ...]
    """Digest and content: one, unless somebody made the manifest by hand."""


@dataclass(frozen=True, slots=True)
class Notation:
    """The program, and what it works with.

    Args:
        program: its path.
        processes: runs it.
        threads: makes and removes its homes.
        registries: where signatures are fetched.
    """

    program: Path
    processes: Processes
    threads: Threads
    registries: Registries

    async def verify(self, repository: Repository, digest: str, trust: Trust) -> bool:
        """Judge the signatures of a manifest by a trust policy.

        Args:
            repository: the manifest's; its name is what the policy's scopes are compared with.
            digest: the manifest's.
            trust: the policy and the certificates.

        Returns:
            Whether it is known who signed: False where the policy skips verification, or only
            logs that the signer is nobody whom it trusts.

        Raises:
            UnverifiedError: no signature counts, or the policy does not hold.
            RegistryError: the registry cannot be asked.
        """
        manifest = await self.registries.document(repository, digest)
        referrers = await self.registries.referrers(repository, digest)
        found = [each for each in referrers if each.artifact_type == SIGNATURE][:ATTEMPTS]
        async with self._home(repository, trust) as home:
            if not found:
                return await self._judge(home, manifest, None)
            reasons: list[str] = []
            for each in found:
                signature = await self._fetch(repository, digest, each)
                try:
                    return await self._judge(home, manifest, signature)
                except _UncountedError as err:
                    reasons.append(f"failed to verify signature with digest {each.digest}, {err}")
        raise UnverifiedError(_summary(reasons))

    async def _fetch(self, repository: Repository, digest: str, found: Descriptor) -> _Signature:
        """Return a signature with its envelope.

        Raises:
            UnverifiedError: it cannot be had.
        """
        try:
            manifest = await self.registries.document(repository, found.digest, _MANIFESTS)
            envelopes = [
                (each.digest, await self.registries.read(repository, each, ENVELOPE_BYTES))
                for each in _envelopes(manifest)
            ]
        except RegistryError as err:
            raise UnverifiedError(
                f'unable to retrieve digital signature with digest "{found.digest}" associated '
                f'with "{repository.name}@{digest}" from the Repository, error : {err}'
            ) from err
        return _Signature(manifest, tuple(envelopes))

    async def _judge(self, home: _Home, manifest: Document, signature: _Signature | None) -> bool:
        """Let the program judge one signature, or that there is none; see `verify`.

        Raises:
            _UncountedError: the signature does not count.
            UnverifiedError: the program says so of more than this signature.
        """
        layout = await self.threads.run(_lay_out, home.path, manifest, signature)
        argv = [
            str(self.program),
            "verify",
            "--verbose",
            "--oci-layout",
            f"--scope={home.scope}",
            f"{layout}@{manifest.descriptor.digest}",
        ]
        try:
            done = await self.processes.run(
                argv, cwd=home.path, env=home.environment, timeout_s=home.timeout_s
            )
        except process.ProcessError as err:
            raise UnverifiedError(str(err)) from err
        if done.returncode:
            _complain(done, home)
        return not (_SKIPPED.search(done.stdout) or _TOLERATED.search(done.stderr))

    @asynccontextmanager
    async def _home(self, repository: Repository, trust: Trust) -> AsyncIterator[_Home]:
        stack = ExitStack()
        try:
            path = await self.threads.run(_furnish, stack, trust)
            yield _Home(path, repository)
        finally:
            await self.threads.run(stack.close)


@dataclass(frozen=True, slots=True)
class _Home:
    path: Path
    repository: Repository

    @property
    def scope(self) -> str:
        return str(self.repository.name)

    @property
    def timeout_s(self) -> float:
        return self.repository.timeout_s

    @property
    def environment(self) -> dict[str, str]:
        """What the program finds: a proxy is for those whom it asks whether a certificate holds."""
        return {
            "HOME": str(self.path),
            "NOTATION_CONFIG": str(self.path / "config"),
            "NOTATION_CACHE": str(self.path / "cache"),
            "NOTATION_LIBEXEC": str(self.path / "libexec"),
            "NOTATION_EXPERIMENTAL": "1",
            **keyless.proxy_environment(self.repository.proxy),
        }


def _envelopes(manifest: Document) -> tuple[Descriptor, ...]:
    """Return what the one envelope of a signature is; the program refuses any other number."""
    try:
        content = msgspec.json.decode(manifest.content, type=_Content)
    except msgspec.MsgspecError as err:
        raise ContentError(f"failed to parse its manifest: {err}") from err
    found = content.layers or content.blobs
    return found if len(found) == 1 else ()


def _furnish(stack: ExitStack, trust: Trust) -> Path:
    """Make a home, and in it what the program calls its configuration."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitopsd-notation-")))
    config = home / "config"
    config.mkdir()
    (config / trustpolicy.POLICY).write_bytes(trust.policy)
    for store in trust.stores:
        folder = config / "truststore" / "x509" / store.type / store.name
        folder.mkdir(parents=True)
        for name, content in trust.content(store):
            (folder / name).write_bytes(content)
    return home


def _lay_out(home: Path, manifest: Document, signature: _Signature | None) -> Path:
    """Write a manifest, and perhaps one signature of it, as an OCI layout."""
    layout = Path(tempfile.mkdtemp(prefix="layout-", dir=home))
    documents = [manifest, *([signature.manifest] if signature else [])]
    blobs = [(each.descriptor.digest, each.content) for each in documents]
    for digest, content in [*blobs, *(signature.envelopes if signature else ())]:
        path = layout / "blobs" / digest.replace(":", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    index = {
        "schemaVersion": 2,
        "mediaType": manifests.OCI_INDEX,
        "manifests": [
            {
                "mediaType": each.descriptor.media_type,
                "digest": each.descriptor.digest,
                "size": each.descriptor.size,
            }
            for each in documents
        ],
    }
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return layout


def _complain(done: Completed, home: _Home) -> None:
    """Raise what the program complains of; see `Notation.verify`."""
    text = done.stderr.decode(errors="replace").strip()
    found = _ERROR.search(text)
    told = found[1] if found else text
    if told.startswith(_ALL_FAILED):
        reason = _REASON.search(text)
        raise _UncountedError(_shown(reason[1], home) if reason else "notation gave no reason")
    raise UnverifiedError(_shown(told.removeprefix(_PREFIX), home) or "notation gave no reason")


def _shown(text: str, home: _Home) -> str:
    """Return what the program said on one line, without the names of our folders."""
    plain = " ".join(text.replace(f"{home.path}/", "").split())
    return "".join(each for each in plain if each.isprintable())[:_MESSAGE]


def _summary(reasons: Sequence[str]) -> str:
    """Say why none counts, in Flux's words, which name no reasons where the limit is reached."""
    if len(reasons) >= ATTEMPTS:
        return (
            "signature evaluation stopped. The configured limit of "
            f"{ATTEMPTS} signatures to verify per artifact exceeded"
        )
    return "\n".join(["signature verification failed", *reasons])
