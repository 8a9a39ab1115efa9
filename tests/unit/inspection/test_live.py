from __future__ import annotations

import pytest

from inspection import failure, live, remote_file, requests
from kube.objects import GVK


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("deploy", "Deployment"),
        ("deployments", "Deployment"),
        ("pod", "Pod"),
        ("po", "Pod"),
        ("svc", "Service"),
        ("ns", "Namespace"),
        ("Certificate", "Certificate"),
    ],
)
def test_words_of_kubectl_are_spelt_as_in_manifests(word: str, kind: str) -> None:
    assert live.proper(word) == kind


def test_group_and_version_are_split() -> None:
    assert live.gvk("apps/v1", "Deployment") == GVK("apps", "v1", "Deployment")
    assert live.gvk("v1", "Pod") == GVK("", "v1", "Pod")


@pytest.mark.parametrize(
    ("page", "file"),
    [
        (
            "https://github.com/acme/fleet/blob/main/flux.yaml",
            "https://raw.githubusercontent.com/acme/fleet/main/flux.yaml",
        ),
        (
            "https://gitlab.com/acme/fleet/-/blob/main/flux.yaml",
            "https://gitlab.com/acme/fleet/-/raw/main/flux.yaml",
        ),
        (
            "https://gist.github.com/acme/0123abcd",
            "https://gist.githubusercontent.com/acme/0123abcd/raw",
        ),
        ("https://example.com/flux.yaml", "https://example.com/flux.yaml"),
    ],
)
def test_pages_lead_to_their_files(page: str, file: str) -> None:
    assert remote_file.raw_address(page) == file


@pytest.mark.parametrize(
    "url", ["oci://ghcr.io/acme/flux", "http://example.com/x", "file:///etc/passwd", "x"]
)
async def test_only_https_is_fetched(url: str) -> None:
    with pytest.raises(failure.UsageError, match="only https://"):
        await remote_file.fetch(url)


def test_kinds_of_the_operator_are_suspended_by_an_annotation() -> None:
    assert requests.is_operators(GVK("fluxcd.controlplane.io", "v1", "FluxInstance"))
    assert not requests.is_operators(GVK("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"))
    with pytest.raises(failure.UsageError, match="no Flux kind"):
        requests.check_is_flux(GVK("apps", "v1", "Deployment"))


def test_each_request_is_a_new_text() -> None:
    assert requests.token() != requests.token()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("", ""),
        ("app=web", "app=web"),
        ("app=web tier=db", "app=web,tier=db"),
        ("app=web, tier!=db", "app=web,tier!=db"),
        ("app==web  empty=", "app==web,empty="),
        ("tier in (web, db)", "tier in (web, db)"),
        ("app=web,tier notin (a, b)", "app=web,tier notin (a, b)"),
        ("!canary", "!canary"),
        (" app ", "app"),
    ],
)
def test_blanks_part_pairs_and_sets_stay_whole(given: str, sent: str) -> None:
    assert live.label_selector(given) == sent


def test_selector_of_a_workload_has_labels_and_expressions() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "zone", "operator": "NotIn", "values": ["c"]},
        {"key": "app", "operator": "Exists"},
        {"key": "canary", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"app": "web"}, "matchExpressions": expressions}

    found = live.selector_of({"spec": {"selector": selector}})

    assert found == "app=web,tier in (a,b),zone notin (c),app,!canary"


@pytest.mark.parametrize("workload", [{}, {"spec": {}}, {"spec": {"selector": None}}])
def test_workload_without_a_selector_selects_nothing(workload: dict[str, object]) -> None:
    assert live.selector_of(workload) == ""
