from __future__ import annotations

import json

import pytest

from cli import get, get_text
from daemon import kinds
from inspection import failure
from tests.support.fluxobjects import flux, git, kustomization

FOUND = [git(), kustomization("apps", "shop_a__ConfigMap", "shop_b__ConfigMap")]


def test_table_is_the_flux_clis() -> None:
    text = get_text.tables([FOUND[1]], get_text.Layout())

    header, line = text.splitlines()
    assert header.split() == ["NAME", "REVISION", "SUSPENDED", "READY", "MESSAGE"]
    assert line.split()[:4] == ["apps", "main@sha1:7e0b4c5a", "False", "True"]


def test_wide_table_tells_the_source_and_how_much_is_owned() -> None:
    layout = get_text.Layout(is_wide=True, with_cluster=True, with_namespace=True)
    header, line = get_text.tables([FOUND[1]], layout).splitlines()

    assert header.split()[:2] == ["CLUSTER", "NAMESPACE"]
    assert "GitRepository/fleet" in line
    assert line.split()[-3] == "2"


def test_kinds_have_tables_of_their_own() -> None:
    text = get_text.tables(FOUND, get_text.Layout(by_kind=True))

    assert [part.splitlines()[0] for part in text.split("\n\n")] == [
        "GitRepository",
        "Kustomization",
    ]


def test_json_of_one_object_is_the_object_and_of_several_a_list_with_clusters() -> None:
    assert json.loads(get_text.as_json(FOUND[:1], is_single=True))["metadata"]["name"] == "fleet"
    listed = json.loads(get_text.as_json(FOUND, is_single=False))
    assert [(each["cluster"], each["object"]["kind"]) for each in listed] == [
        ("home", "GitRepository"),
        ("home", "Kustomization"),
    ]


def test_names_are_those_of_kubectl(capsys: pytest.CaptureFixture[str]) -> None:
    get_text.print_all(FOUND, "name", get_text.Layout())

    assert capsys.readouterr().out.splitlines() == [
        "gitrepository.source.toolkit.fluxcd.io/fleet",
        "kustomization.kustomize.toolkit.fluxcd.io/apps",
    ]


def test_yaml_leaves_out_the_managers(capsys: pytest.CaptureFixture[str]) -> None:
    obj = git()
    obj.raw["metadata"]["managedFields"] = [{}]
    get_text.print_all([obj], "yaml", get_text.Layout())

    out = capsys.readouterr().out
    assert out.startswith("---\napiVersion: ")
    assert "managedFields" not in out


def test_words_choose_all_kinds_sources_or_one() -> None:
    assert get.chosen(["all"]) == (kinds.ALL, [])
    chosen, names = get.chosen(["sources"])
    assert {"GitRepository"} <= {kind.name for kind in chosen}
    assert "Kustomization" not in {kind.name for kind in chosen}
    assert names == []
    assert get.chosen(["ks", "a", "b"]) == ((kinds.KUSTOMIZATION,), ["a", "b"])


@pytest.mark.parametrize(
    ("selector", "names"), [("ready=false", ["bad", "new"]), ("Ready=True", ["good"])]
)
def test_status_selects_by_a_condition(selector: str, names: list[str]) -> None:
    found = [
        kustomization("good"),
        kustomization("bad", ready="False"),
        kustomization("new", ready=None),
    ]
    condition = get.status_selector(selector)

    assert [each.name for each in found if get.is_wanted(each, [], condition)] == names


def test_selector_that_is_none_is_refused() -> None:
    for text in ("ready", "ready=maybe"):
        with pytest.raises(failure.UsageError, match="write ready=false"):
            get.status_selector(text)


def test_helm_release_shows_its_charts_version() -> None:
    release = flux("HelmRelease", "web", history=[{"chartVersion": "6.5.0"}])

    assert "6.5.0" in get_text.cells(release, get_text.Layout())
