"""The steps that turn a repository's index into an artifact.

A poll of an unchanged index is one conditional request, which is answered without the index, and
nothing to the API server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api import meta
from reconcilers.helmrepository import remote
from reconcilers.source import artifacts, links, secrets
from runtime.errors import TransientError
from sources.auth.errors import CredentialsError
from sources.helm import urls
from sources.helm.convert import InvalidIndexError
from sources.oci.errors import RegistryError, ThrottledError

if TYPE_CHECKING:
    from api.artifact import Artifact
    from api.charts import HelmRepository
    from reconcilers.context import ClusterContext
    from reconcilers.source.attempt import Attempt
    from sources.helm.repositories import Index
    from sources.helm.server import Repository

INDEXATION_FAILED: Final = "IndexationFailed"
LATEST: Final = "index.yaml"
_UNITS: Final = ("B", "kB", "MB", "GB")


async def produce(context: ClusterContext, attempt: Attempt[HelmRepository]) -> None:
    """Run the steps: storage, source, artifact. The first that fails ends it.

    Raises:
        GitOpsError: what the status is to say.
    """
    await links.check_storage(context, attempt, LATEST)
    repository = await remote.repository(context, attempt.obj)
    found = await _fetch(context, attempt, repository)
    if attempt.artifact is not None and attempt.artifact.revision == found.revision:
        links.tell_unchanged(attempt, found.revision)
    else:
        await _store(context, attempt, found)
    _succeed(attempt, found)


async def _fetch(
    context: ClusterContext, attempt: Attempt[HelmRepository], repository: Repository
) -> Index:
    fetching = "failed to fetch Helm repository index"
    try:
        with context.metrics.fetch(attempt.obj.KIND):
            return await context.charts.index(repository)
    except RegistryError as err:
        wait_s = err.retry_after_s if isinstance(err, ThrottledError) else None
        raise TransientError(meta.FAILED, f"{fetching}: {err}", retry_after_s=wait_s) from err
    except InvalidIndexError as err:
        text = f"failed to load Helm repository from index YAML: {err}"
        raise TransientError(INDEXATION_FAILED, text) from err
    except CredentialsError as err:
        raise secrets.unusable(err) from err
    except OSError as err:
        attempt.condition = meta.STORAGE_OPERATION_FAILED
        raise artifacts.unarchived(err) from err


async def _store(context: ClusterContext, attempt: Attempt[HelmRepository], found: Index) -> None:
    attempt.is_rebuilding = True
    text = f"new index revision '{found.revision}'"
    if attempt.artifact is not None:
        attempt.set(meta.ARTIFACT_OUTDATED, "True", artifacts.NEW_REVISION, text)
    attempt.show(f"building artifact: {text}")

    def put() -> Artifact:
        with found.path.open("rb") as file:
            name = f"index-{found.hex}.yaml"
            return context.storage.put_file(
                artifacts.owner(attempt.obj), name, found.revision, file
            )

    attempt.artifact = await artifacts.store(context, attempt, put)
    await links.update(context, attempt, LATEST)


def _succeed(attempt: Attempt[HelmRepository], found: Index) -> None:
    size = attempt.artifact.size if attempt.artifact else None
    shown = "unknown size" if size is None else f"size {_human(size)}"
    artifacts.succeed(
        attempt,
        found.revision,
        f"stored fetched index of {shown} from '{urls.shown(attempt.obj.spec.url)}'",
        stored=f"stored artifact: revision '{found.revision}'",
    )


def _human(size_bytes: float) -> str:
    """Return a size for people, with four digits, as Flux prints it."""
    unit = 0
    while size_bytes >= 1000 and unit < len(_UNITS) - 1:
        size_bytes, unit = size_bytes / 1000, unit + 1
    return f"{size_bytes:.4g}{_UNITS[unit]}"
