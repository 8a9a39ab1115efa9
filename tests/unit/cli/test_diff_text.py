from __future__ import annotations

import re
from pathlib import Path

import msgspec

from api.kustomize import Kustomization
from cli import diff_text
from inspection import plan
from inspection.rendering import Rendered
from kube.fielddiff import MISSING, Change
from kube.objects import ObjectId
from kube.preview import Outcome, Preview
from reconcilers.kustomization.store import Build

ITEM = msgspec.convert(
    {
        "metadata": {"name": "apps", "namespace": "flux-system"},
        "spec": {
            "interval": "1m",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": "fleet"},
        },
    },
    type=Kustomization,
)
RENDERED = Rendered(ITEM, Build(Path("x"), "", "", "", {}), "main@sha1:01234567")
WEB = ObjectId("shop", "web", "apps", "Deployment")
SECRET = ObjectId("shop", "login", "", "Secret")


def shown(*found: Preview, is_coloured: bool = False) -> list[str]:
    return diff_text.render(RENDERED, found, is_coloured=is_coloured).splitlines()


def changed(*changes: Change, obj: ObjectId = WEB) -> Preview:
    return Preview(obj, "v1", Outcome.CHANGED, changes)


def test_nothing_to_change_is_one_line() -> None:
    assert shown(Preview(WEB, "v1", Outcome.UNCHANGED)) == [
        "Kustomization/flux-system/apps at main@sha1:01234567",
        "",
        "No changes: 1 unchanged",
    ]


def test_each_outcome_has_a_mark_and_the_sum_comes_last() -> None:
    lines = shown(
        Preview(WEB, "v1", Outcome.CREATED),
        Preview(WEB, "v1", Outcome.RECREATED, note="field is\nimmutable"),
        Preview(WEB, "v1", Outcome.PRUNED),
        Preview(WEB, "v1", Outcome.REFUSED, note="Deployment/shop/web dry-run failed"),
        Preview(WEB, "v1", Outcome.KEPT, note="spec.prune is off"),
        Preview(WEB, "v1", Outcome.UNCHANGED),
    )

    assert lines[2:] == [
        "+ Deployment/shop/web created",
        "± Deployment/shop/web recreated: field is immutable",
        "- Deployment/shop/web pruned",
        "! Deployment/shop/web dry-run failed",
        "· Deployment/shop/web kept: spec.prune is off",
        "",
        "1 created, 1 recreated, 1 pruned, 1 unchanged, 1 kept, 1 refused",
    ]


def test_fields_are_told_one_a_line() -> None:
    lines = shown(
        changed(
            Change(("spec", "replicas"), 1, 3),
            Change(("spec", "paused"), MISSING, True),
            Change(("spec", "old"), {"a": "b"}, MISSING),
        )
    )

    assert lines[3:6] == [
        "    ~ spec.replicas: 1 → 3",
        "    + spec.paused: true",
        '    - spec.old: {"a":"b"}',
    ]


def test_text_of_several_lines_shows_the_lines_that_differ() -> None:
    before = "".join(f"line {number}\n" for number in range(9))
    lines = shown(changed(Change(("data", "a.conf"), before, before.replace("line 4", "new"))))

    assert lines[3:10] == [
        '    ~ data["a.conf"]:',
        "      @@ -3,5 +3,5 @@",
        "       line 2",
        "       line 3",
        "      -line 4",
        "      +new",
        "       line 5",
    ]


def test_missing_line_end_is_told() -> None:
    lines = shown(changed(Change(("data", "a"), "x\n", "x")))

    assert lines[3:5] == ["    ~ data.a:", "      (only the line end at the end)"]


def test_long_values_are_cut() -> None:
    line = shown(changed(Change(("data", "a"), MISSING, "x" * 1000)))[3]

    assert line.endswith("…")
    assert len(line) < 250


def test_colours_change_nothing_but_colours() -> None:
    found = (changed(Change(("a",), 1, 2)), Preview(WEB, "v1", Outcome.CREATED))
    coloured = shown(*found, is_coloured=True)

    assert any("\x1b[32m" in line for line in coloured)
    assert [re.sub("\x1b\\[[0-9]+m", "", line) for line in coloured] == shown(*found)


def test_values_of_a_secret_are_masked_in_both_forms() -> None:
    found = plan.masked(changed(Change(("data", "p"), "geheim", "anders"), obj=SECRET))

    assert shown(found)[3] == '    ~ data.p: "*** (before)" → "*** (after)"'
    assert "geheim" not in str(diff_text.as_json("home", RENDERED, [found]))


def test_json_names_absent_sides_by_leaving_them_out() -> None:
    (obj,) = diff_text.as_json("home", RENDERED, [changed(Change(("a",), MISSING, None))])[
        "objects"
    ]

    assert obj["outcome"] == "changed"
    assert obj["changes"] == [{"field": "a", "after": None}]


def test_suspended_kustomization_is_said_to_be() -> None:
    spec = msgspec.structs.replace(ITEM.spec, suspend=True)
    item = msgspec.structs.replace(ITEM, spec=spec)
    text = diff_text.render(RENDERED._replace(item=item), [], is_coloured=False)

    assert "(suspended: the daemon does not apply it)" in text
    assert text.endswith("No changes: no objects")
