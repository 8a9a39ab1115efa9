"""The content that ``build`` and ``diff`` work on: an artifact, a revision, or a local directory.

An artifact is read from the daemon's own storage where that is on this machine, else downloaded;
either way its digest has to be the one that the source's status announces.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from api.source import GitRef, GitRepository
from daemon import kinds, report
from inspection import failure, objects
from kube import errors
from reconcilers import artifacts as fetched
from reconcilers import dependencies
from reconcilers.gitrepository import content, remote
from runtime.errors import GitOpsError, WaitingError
from sources import archive, giterrors, gitref, localtree
from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from api.artifact import Artifact
    from api.kustomize import Kustomization
    from daemon.settings import Settings
    from reconcilers.context import ArtifactSource, ClusterContext
    from sources.git import Repository
    from sources.gitref import Candidate, Reference
    from sources.tree import Tree

_SHA = re.compile(r"(?:.*@)?(?:sha1:)?([0-9a-f]{40})\Z")
_SHORT_SHA = re.compile(r"(?:.*@sha1:)?[0-9a-f]{7,39}\Z")


class Wanted(NamedTuple):
    """A Kustomization, and which content to build for it: its source's, unless told otherwise."""

    namespace: str
    name: str
    path: Path | None = None
    """A local directory in place of ``spec.path``."""
    revision: str | None = None
    """A branch, tag or commit of the source, fetched with its credentials."""
    patch: str = ""
    """A strategic merge patch that is put on top of ``spec.patches``; YAML."""


class Content(NamedTuple):
    """What to build."""

    item: Kustomization
    """With the path to build."""
    tree: Tree
    title: str
    """What it is, for people: a revision or a directory."""


async def find(
    context: ClusterContext, settings: Settings, wanted: Wanted, item: Kustomization
) -> Content:
    """Return the content that is asked for.

    Raises:
        failure.CommandError: it cannot be had; the message says why and what to do.
    """
    if wanted.path is not None:
        return await context.threads.run(_local, wanted.path, item)
    source = await _source(context, item)
    if wanted.revision is not None:
        tree, title = await fetch(context, source, wanted.revision)
        return Content(item, tree, title)
    artifact = source.status.artifact
    name = f"{source.KIND}/{source.metadata.namespace}/{source.metadata.name}"
    if artifact is None:
        raise failure.CommandError(
            f"{name} has no artifact yet; see `gitopsd get sources all`, or build from a local "
            "directory with --path"
        )
    file = await stored(context, settings, artifact)
    if file is not None:
        tree = archive.ArchiveTree(file, context.data_dir)
    else:
        tree = await elsewhere(context, artifact, name)
    return Content(item, tree, report.short_revision(artifact.revision))


# A local directory ------------------------------------------------------------------------------


def _local(path: Path, item: Kustomization) -> Content:
    """Take a directory for ``spec.path``; the repository around it is its source."""
    directory = path.expanduser().resolve()
    if not directory.is_dir():
        what = "is not a directory" if directory.exists() else "is not there"
        raise failure.UsageError(f"--path {path}: {what}")
    root = localtree.repository_of(directory)
    below = directory.relative_to(root).as_posix()
    spec = msgspec.structs.replace(item.spec, path=f"./{below}")
    tree = localtree.LocalTree(root, paths=_known_to_git(root))
    return Content(msgspec.structs.replace(item, spec=spec), tree, str(directory))


def _known_to_git(root: Path) -> Sequence[str] | None:
    """Return the files that Git has or would add; None where Git cannot tell."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    try:
        answer = subprocess.run(
            [*command, "--exclude-standard", "--deduplicate"], capture_output=True, check=False
        )
    except OSError:
        return None
    if answer.returncode:
        return None
    return [name for name in answer.stdout.decode("utf-8", "surrogateescape").split("\0") if name]


# The source -------------------------------------------------------------------------------------


async def _source(context: ClusterContext, item: Kustomization) -> ArtifactSource:
    """Return the source of a Kustomization.

    Raises:
        failure.CommandError: it is not there, or of a kind that is not served.
    """
    key = dependencies.source_of(item)
    kind = kinds.BY_NAME.get(key.kind)
    if kind is None:
        raise failure.CommandError(
            f"sources of kind {key.kind} are not served; build from a directory with --path"
        )
    try:
        found: Any = await objects.get(context.client, kind, key.namespace, key.name)
    except errors.NotFound as err:
        raise failure.MissingError(
            f"{key}, the source of Kustomization/{item.metadata.namespace}/{item.metadata.name}, "
            "is not there; build from a local directory with --path"
        ) from err
    source: ArtifactSource = found
    return source


async def fetch(context: ClusterContext, source: ArtifactSource, revision: str) -> tuple[Tree, str]:
    """Fetch a revision of a source's repository into the command's own store.

    Returns:
        Its content, and what it is, for people.

    Raises:
        failure.CommandError: it cannot be had.
    """
    if not isinstance(source, GitRepository):
        raise failure.CommandError(
            f"--revision {revision}: only a GitRepository has others than the one that it follows, "
            f"and the source is of kind {source.KIND}"
        )
    if source.spec.include:
        raise failure.CommandError(
            f"--revision {revision}: GitRepository/{source.metadata.namespace}/"
            f"{source.metadata.name} includes other artifacts; build from a directory with --path"
        )
    try:
        repository = await remote.repository(context, source)
        candidate, reference = await _resolve(context, repository, revision)
        commit = await context.git.fetch(repository, reference, candidate)
        tree = await content.compose(context, source, repository, commit)
    except (GitOpsError, CredentialsError) as err:
        raise failure.CommandError(f"--revision {revision}: {err}") from err
    return tree, report.short_revision(commit.revision)


async def _resolve(
    context: ClusterContext, repository: Repository, revision: str
) -> tuple[Candidate, Reference]:
    """Return the commit that a person's words mean: a commit, a full name, a branch or a tag."""
    full = _SHA.match(revision)
    if full:
        references = [gitref.reference(GitRef(commit=full[1]))]
    elif revision.startswith("refs/"):
        references = [gitref.reference(GitRef(name=revision))]
    else:
        references = [gitref.reference(GitRef(branch=revision))]
        references.append(gitref.reference(GitRef(tag=revision)))
    failures = []
    for reference in references:
        try:
            return await context.git.resolve(repository, reference), reference
        except giterrors.GitOperationError as err:
            if not isinstance(err.__cause__, gitref.UnresolvedError):
                raise
            failures.append(err)
    hint = "; give a commit with all of its 40 digits" if _SHORT_SHA.match(revision) else ""
    raise failure.CommandError(
        f"{repository.url} has no branch and no tag {revision!r}{hint}"
    ) from failures[0]


# The artifact -----------------------------------------------------------------------------------


def _is_intact(file: Path, artifact: Artifact) -> bool:
    """Whether a file is there, readable, and what the artifact says."""
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return False
    return artifact.digest == f"sha256:{digest}"


async def stored(context: ClusterContext, settings: Settings, artifact: Artifact) -> Path | None:
    """Return the file of an artifact where the daemon keeps it on this machine, whole."""
    file = settings.data_dir / "artifacts" / context.name / artifact.path
    return file if await context.threads.run(_is_intact, file, artifact) else None


async def elsewhere(context: ClusterContext, artifact: Artifact, name: str) -> Tree:
    """Return the content of an artifact that is not in the daemon's folder on this machine.

    Raises:
        failure.CommandError: nobody serves it, or something else is served.
    """
    advice = (
        "does the daemon run, and is its [listen] artifacts_url reachable from here? "
        "--path DIR and --revision REV do without the artifact"
    )
    try:
        return await fetched.open_tree(context, artifact)
    except WaitingError as err:
        raise failure.CommandError(
            f"the artifact of {name} is not at {artifact.url}; {advice}"
        ) from err
    except GitOpsError as err:
        raise failure.CommandError(
            f"the artifact of {name} cannot be fetched from {artifact.url}: {err}; {advice}"
        ) from err
