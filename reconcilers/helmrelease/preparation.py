"""From a HelmRelease to what a run works with: its chart object, chart, values, cluster, records.

A HelmRelease that has come to mean another release is dealt with here: the old one is uninstalled
first, from where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from api import meta
from kube.helm import digest
from reconcilers import targets
from reconcilers.helmrelease import chartobject, finalise, names, prerequisites, values, words
from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease.program import Place
from reconcilers.helmrelease.state import Wanted
from reconcilers.helmrelease.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from kube.health_rules import HealthRules
    from reconcilers.context import ClusterContext
    from reconcilers.helmrelease.attempt import Attempt
    from reconcilers.helmrelease.chart import Chart
    from reconcilers.helmrelease.render import Renderer
    from reconcilers.helmrelease.values import Values


async def prepare(
    context: ClusterContext,
    attempt: Attempt,
    renderer: Renderer,
    find_news: Callable[[], str | None],
) -> Work | None:
    """Gather what a run works with.

    Returns:
        None where another release was uninstalled; what it is to be now comes in the next run.

    Raises:
        GitOpsError: something is missing; with Flux's reason and words.
        ApiError: the API server refused, or did not answer.
    """
    item = attempt.item
    prerequisites.check_spec(item)
    prerequisites.check_access(context, item)
    rules = prerequisites.find_health_rules(item)
    await chartobject.sync(attempt)
    await prerequisites.check_dependencies(context, item)
    artifact = prerequisites.find_artifact(context, item)
    composed = await values.compose(context, item)
    chart = await prerequisites.load_chart(attempt, artifact)
    attempt.opened = await targets.find(context, item)
    if is_elsewhere(attempt, chart):
        await move(attempt)
        return None
    _note(attempt, chart, composed)
    return _work(attempt, chart, composed, rules, renderer, find_news)


def is_elsewhere(attempt: Attempt, chart: Chart) -> bool:
    """Whether the release that there is, is not the one that is wanted."""
    item, status = attempt.item, attempt.status
    newest = histories.latest(status.history)
    if not status.storage_namespace or newest is None:
        return False
    upgrade = item.spec.upgrade
    strategy = upgrade.chart_name_change_strategy if upgrade else ""
    is_renamed = newest.chart_name != chart.name and strategy != "InPlaceUpdate"
    return (
        status.storage_namespace != names.storage_namespace(item)
        or newest.namespace != names.release_namespace(item)
        or newest.name != names.release_name(item)
        or is_renamed
    )


async def move(attempt: Attempt) -> None:
    """Uninstall the release that there is, from where it is.

    Raises:
        TransientError: it could not be uninstalled.
    """
    attempt.condition(meta.RECONCILING, "True", meta.PROGRESSING, words.FULFILLING)
    await finalise.remove(attempt)
    attempt.change(history=(), storage_namespace="")
    attempt.forgive()
    attempt.summarise()


def _note(attempt: Attempt, chart: Chart, composed: Values) -> None:
    """Let the status tell what is attempted; anything new gives back the attempts that failed."""
    status, generation = attempt.status, attempt.item.metadata.generation
    is_new = (
        status.last_attempted_generation != generation
        or status.last_attempted_revision != chart.version
        or status.last_attempted_config_digest != composed.digest
    )
    if is_new or attempt.is_reset:
        attempt.forgive()
    attempt.change(
        storage_namespace=names.storage_namespace(attempt.item),
        last_attempted_generation=generation,
        last_attempted_revision=chart.version,
        last_attempted_revision_digest=chart.oci_digest,
        last_attempted_config_digest=composed.digest,
        last_attempted_values_checksum="",
        last_release_revision=0,
    )


def _work(
    attempt: Attempt,
    chart: Chart,
    composed: Values,
    rules: HealthRules,
    renderer: Renderer,
    find_news: Callable[[], str | None],
) -> Work:
    item, client = attempt.item, attempt.target.client
    storage_namespace = names.storage_namespace(item)
    return Work(
        attempt,
        Place(client, names.release_namespace(item), storage_namespace),
        finalise.storage_of(attempt, storage_namespace),
        rules,
        find_news,
        names.release_name(item),
        chart=chart,
        values=composed,
        wanted=Wanted(
            chart.name,
            chart.version,
            composed.digest,
            digest.of_post_renderers(item.spec.post_renderers),
            digest.of_common_metadata(item.spec.common_metadata),
        ),
        renderer=renderer,
    )
