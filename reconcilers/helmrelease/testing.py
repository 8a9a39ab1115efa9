"""Runs the tests of a release: hooks of the event ``test``, the chosen ones, in weight order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from api import meta
from reconcilers.helmrelease import history as histories
from reconcilers.helmrelease import hooks, policy, records, waiting, words
from reconcilers.helmrelease import terms as all_terms
from reconcilers.helmrelease.decision import Action
from reconcilers.helmrelease.release import FAILURES, NothingRecorded
from reconcilers.kustomization.health import CancelledByNews
from runtime.errors import SupersededError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.helm import Snapshot
    from api.helmactions import Filter
    from kube.helm.record import Hook, Record
    from reconcilers.helmrelease.work import Work

_EVENT: Final = "test"


def chosen(tests: Sequence[Hook], filters: Sequence[Filter]) -> list[Hook]:
    """Return the tests that filters let run; one that is left out and named too does not run."""
    excluded = {each.name for each in filters if each.exclude}
    included = {each.name for each in filters if not each.exclude}
    return [
        test
        for test in tests
        if test.name not in excluded and (not included or test.name in included)
    ]


async def test(work: Work) -> None:
    """Run the tests and say how they went: history, condition, counters, event.

    Raises:
        NothingRecorded: they could not be run.
        SupersededError: something newer is to be released.
    """
    attempt, newest, last = work.attempt, work.newest, work.last
    if newest is None or last is None:
        raise AssertionError("what is tested is in the history and in storage")
    filters = work.spec.test.filters if work.spec.test else ()
    selected = chosen(hooks.of(last, _EVENT), filters)
    limit_s = all_terms.of(work.spec, Action.TEST).timeout_s
    rules = waiting.HookRules(work.rules)
    setting = hooks.Setting(attempt, work.owner, limit_s, work.find_news, rules)
    work.log(f"running {len(selected)} test(s)")
    failure = ""
    try:
        last = await hooks.run(setting, last, _EVENT, selected)
    except hooks.HookError as err:
        last, failure = err.record, str(err)
    except CancelledByNews as err:
        text = f"New reconciliation triggered by {err}"
        raise SupersededError(meta.HEALTH_CHECK_CANCELED, text) from err
    except FAILURES as err:
        raise NothingRecorded(words.test_failed(newest, str(err))) from err
    if selected:
        await work.storage.update(last)
        work.last = last
    newest = await _note(work, newest, last, selected)
    _tell(work, newest, failure)


async def _note(work: Work, newest: Snapshot, last: Record, selected: Sequence[Hook]) -> Snapshot:
    """Put the results into the history."""
    results = records.tests_of(last, [each.name for each in selected])
    made = msgspec.structs.replace(newest, test_hooks=results)
    others = work.attempt.status.history[1:]
    work.attempt.change(history=histories.recorded((newest, *others), made))
    return made


def _tell(work: Work, newest: Snapshot, failure: str) -> None:
    attempt = work.attempt
    if not failure:
        text = words.tested(newest)
        attempt.condition(meta.TEST_SUCCESS, "True", words.TEST_SUCCEEDED, text)
        attempt.notice(words.TEST_SUCCEEDED, text)
    else:
        text = words.test_failed(newest, failure)
        attempt.condition(meta.TEST_SUCCESS, "False", words.TEST_FAILED, text)
        attempt.notice(words.TEST_FAILED, work.with_log(text), severity="error")
        if not policy.ignores_test_failures(attempt.item.spec, attempt.status):
            attempt.count_failure(attempt.status.last_attempted_release_action)
    attempt.summarise()
