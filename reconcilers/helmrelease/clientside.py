"""Merges a revision's objects into the live ones on the client, as Helm does without the server's.

Helm itself does it, with its three-way merge of the manifest before, the manifest wanted and the
live object. All that helm is given is this: a chart whose one template prints the objects as the
record has them, and a shelf (`kube.helm.shelf`) with the record before. So checks, adoption and
patches are Helm's, while values, hooks, waits, records and what is deleted stay the daemon's.

Of the record before helm sees no more than the objects that are wanted still: it deletes what is
wanted no longer without asking whose it is by now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from kube import errors, inventory, plain, pool
from kube.apply import ApplyError
from kube.changes import Action as Outcome
from kube.changes import Change, ChangeSet
from kube.helm import record as records
from kube.helm.shelf import Shelf
from kube.objects import ObjectId
from reconcilers.helmrelease import bundle, drift, objects, policy, words
from reconcilers.helmrelease.decision import Action
from reconcilers.helmrelease.program import HelmError
from runtime.process import ProcessError

if TYPE_CHECKING:
    from pathlib import Path

    from kube.desired import Desired
    from kube.helm.record import Record
    from kube.inventory import Entries
    from kube.objects import JsonObject
    from reconcilers.helmrelease.bundle import Bundle
    from reconcilers.helmrelease.terms import Terms
    from reconcilers.helmrelease.work import Work

CHART: Final = "./wanted"
_HEAD: Final = "apiVersion: v2\nname: wanted\nversion: 1.0.0\n"
_TEMPLATE: Final = """\
{{- range $path, $_ := .Files.Glob "objects/*" }}
---
{{ $.Files.Get $path }}
{{- end }}
"""
_TRIAL: Final = "--dry-run=server"
_TARGET: Final = 1
"""The revision on the shelf that a rollback goes back to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """One revision to merge."""

    work: Work
    action: Action
    terms: Terms
    record: Record
    """The revision."""
    wanted: Bundle
    """Its objects."""
    base: Record | None
    """The revision before, as Helm takes it; None for an install."""


async def check(merge: Merge) -> None:
    """Let helm look at the objects: at their kinds and fields, and at whose they are now.

    Raises:
        HelmError: it refuses them.
        ProcessError: it did not end.
        OSError: there is no place to run it in.
    """
    if merge.wanted.desired and merge.action is not Action.ROLLBACK:
        await _run(merge, _TRIAL)


async def apply(merge: Merge, before: Entries) -> ChangeSet:
    """Merge the objects; the books then name these and those of before.

    Returns:
        What was created, where a failure is to be cleaned up.

    Raises:
        ApplyError: helm failed; some objects may have been merged.
    """
    work, attempt = merge.work, merge.work.attempt
    tracker = attempt.target.tracker
    tracker.set_inventory(attempt.ref, inventory.union(before, merge.wanted.entries))
    if not merge.wanted.desired:
        return ChangeSet()
    created = await _missing(merge) if merge.terms.cleans_up else ChangeSet()
    work.log("merging by helm")
    with tracker.processing(attempt.ref):
        try:
            await _run(merge)
        except (HelmError, ProcessError, OSError) as err:
            raise ApplyError([str(err)], created) from err
        finally:
            tracker.unsettle(attempt.ref)
    _warn_of_unknown_fields(merge)
    return created


def _warn_of_unknown_fields(merge: Merge) -> None:
    """Tell of fields that the server drops, since helm leaves the check to an apply."""
    desired = merge.wanted.desired
    lines = [f"{each.id}: {', '.join(each.unknown)}" for each in desired if each.unknown]
    if lines:
        told = "\n".join(["fields that the kind does not have:", *lines])
        merge.work.attempt.notice(words.UNKNOWN_FIELDS, told)


async def define(work: Work, definitions: list[JsonObject], *, replaces: bool) -> Entries:
    """Create the chart's own definitions, and wait until their kinds are served.

    Args:
        work: the release.
        definitions: the definitions, changed in place.
        replaces: whether those that exist are replaced; else they stay as they are.

    Raises:
        ApplyError: one was refused, or its kind is not served in time.
    """
    attempt = work.attempt
    threads, discovery = attempt.context.threads, attempt.target.discovery
    found = await bundle.of_objects(definitions, work.owner, discovery, threads)
    with await threads.open(found.open) as reader:
        session = drift.session(attempt, reader, rules=None)
        await plain.define(session, found.desired, replaces=replaces)
    return found.entries


def arguments(merge: Merge) -> list[str]:
    """Return helm's arguments for a merge."""
    name, terms = merge.record.name, merge.terms
    match merge.action:
        case Action.ROLLBACK:
            found = ["rollback", name, str(_TARGET), "--history-max=0"]
        case Action.UPGRADE:
            found = ["upgrade", name, CHART, "--history-max=0", "--reset-values"]
        case _:
            found = ["install", name, CHART]
    found += ["--server-side=false", "--no-hooks"]
    if terms.force:
        found.append("--force-replace")
    if merge.action is not Action.ROLLBACK:
        found += ["--take-ownership"] if terms.takes_over else []
        found += [] if terms.validates else ["--disable-openapi-validation"]
    return found


async def _run(merge: Merge, *more: str) -> None:
    work = merge.work
    threads = work.attempt.context.threads
    base = await _base(merge)
    shelf = await threads.run(_shelf, merge, base)
    async with work.renderer.helm.session(work.place, shelf) as session:
        if merge.action is not Action.ROLLBACK:
            await threads.run(_lay_out, merge.record, session.folder)
        limit_s = max(merge.terms.timeout_s, policy.TIMEOUT_S)  # waits alone may be shorter
        await session.run([*arguments(merge), *more], timeout_s=limit_s)


async def _base(merge: Merge) -> list[JsonObject]:
    """Return those objects of the revision before that are wanted still."""
    if merge.base is None:
        return []
    attempt = merge.work.attempt
    found = await attempt.context.threads.run(objects.of_record, merge.base)
    for obj in found:
        await bundle.place(obj, merge.base.namespace, attempt.target.discovery)
    wanted = {each.id for each in merge.wanted.desired}
    return [obj for obj in found if ObjectId.of(obj) in wanted]


def _shelf(merge: Merge, base: list[JsonObject]) -> Shelf:
    """Return the records that helm finds. Blocking: packs them."""
    if merge.base is None:
        return Shelf()
    manifest = "".join(f"---\n{orjson.dumps(obj).decode()}\n" for obj in base)
    before = merge.base.changed(manifest=manifest, hooks=())
    before = before.with_info(status=records.DEPLOYED)
    if merge.action is not Action.ROLLBACK:
        return Shelf([before])
    target = merge.record.changed(version=_TARGET, hooks=()).with_info(status=records.SUPERSEDED)
    return Shelf([target, before.changed(version=_TARGET + 1)])


def _lay_out(record: Record, folder: Path) -> None:
    """Write the chart that prints the objects. Blocking."""
    chart = folder / CHART
    for place in (chart / "templates", chart / "objects"):
        place.mkdir(parents=True)
    (chart / "Chart.yaml").write_text(_HEAD)
    (chart / "templates" / "objects.yaml").write_text(_TEMPLATE)
    for number, obj in enumerate(objects.of_record(record)):
        (chart / "objects" / f"{number:06}.json").write_bytes(orjson.dumps(obj))


async def _missing(merge: Merge) -> ChangeSet:
    """Return the objects that are not there yet, as what the merge will have created."""
    at = merge.work.attempt.target
    client, found = at.client.managing(), ChangeSet()

    async def look(each: Desired) -> None:
        try:
            resource = await at.discovery.resource(each.gvk)
            await client.metadata(resource, each.id.namespace, each.id.name)
        except errors.NotFound:
            found.extend([Change(each.id, each.version, Outcome.CREATED)])

    await pool.each(merge.wanted.desired, look)
    return found
