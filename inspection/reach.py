"""How far the content of a source has come: who takes it, and whether they are at its revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from inspection import flux, masking

if TYPE_CHECKING:
    from api.meta import ObjectRef
    from inspection.flux import FluxObject
    from inspection.survey import Survey


class Reached(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One object that takes content from a source, or from what another one made of it."""

    id: str
    """``Kind/namespace/name``."""
    state: str
    revision: str = ""
    is_there: bool
    """Whether it is at the revision that its source has now."""
    owns: int = 0
    """How many objects it applied."""
    message: str = ""
    """Of the Ready condition, where it is not Ready."""


def of_source(survey: Survey, source: FluxObject) -> tuple[Reached, ...]:
    """Return who takes the content of a source, a HelmChart before the releases that it is for."""
    found: list[Reached] = []
    seen, pending = {source.ref}, [source]
    while pending:
        giver = pending.pop(0)
        for taker in survey.objects.values():
            if taker.ref not in seen and giver.ref in _givers(survey, taker):
                seen.add(taker.ref)
                pending.append(taker)
                found.append(_reached(giver, taker))
    return tuple(found)


def _givers(survey: Survey, taker: FluxObject) -> tuple[ObjectRef, ...]:
    """Return what an object takes its content from: its chart if there is one, else its source."""
    if taker.chart is not None and survey.get(taker.chart) is not None:
        return (taker.chart,)
    return (taker.source,) if taker.source is not None else ()


def _reached(giver: FluxObject, taker: FluxObject) -> Reached:
    observed = str(taker.status.get("observedSourceArtifactRevision") or taker.revision)
    is_ready = taker.state is flux.State.READY
    return Reached(
        id=str(taker.ref),
        state=taker.state,
        revision=taker.revision,
        is_there=is_ready and bool(observed) and observed == giver.revision,
        owns=len(taker.inventory),
        message="" if is_ready else masking.text(taker.message),
    )
