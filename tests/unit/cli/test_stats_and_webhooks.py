from __future__ import annotations

from cli import debug, drift, stats, trace, webhooks
from daemon import report
from inspection import diagnosis, reach, survey
from inspection import trace as tracing
from tests.support.fluxobjects import REVISION, flux, git, kustomization


def test_objects_are_counted_as_the_flux_cli_counts_them() -> None:
    source = git()
    source.raw["status"]["artifact"]["size"] = 2048
    found = survey.of(
        "home",
        [
            source,
            kustomization("a"),
            kustomization("b", ready="False"),
            kustomization("c", ready="False", spec={"suspend": True}),
        ],
    )

    counts = stats.counts("home", found)

    text = stats.render(counts, with_cluster=False)
    assert [line.split() for line in text.splitlines()] == [
        ["RECONCILERS", "RUNNING", "FAILING", "SUSPENDED", "STORAGE"],
        ["GitRepository", "1", "0", "0", "2.0", "KiB"],
        ["Kustomization", "2", "1", "1", "-"],
    ]
    assert stats.render(counts, with_cluster=True).splitlines()[1].startswith("home")


def test_webhook_has_the_address_under_which_it_is_called() -> None:
    receiver = flux(
        "Receiver",
        "push",
        {"type": "generic", "resources": [{"kind": "GitRepository", "name": "fleet"}]},
        webhookPath="/hook/abc",
    )

    found = webhooks.hook(receiver, "https://hooks.example.com")

    assert found.url == "https://hooks.example.com/hook/abc"
    assert found.wakes == ("GitRepository/fleet",)
    assert "(not reconciled yet)" in webhooks.hook(flux("Receiver", "new"), "http://x").url


def test_drift_names_who_and_which_fields() -> None:
    found = report.Correction(
        time="2026-01-02T12:00:00Z",
        cluster="home",
        owner="Kustomization/flux-system/apps",
        object="ConfigMap/shop/a",
        change="edited",
        who="kubectl-edit",
        fields=("data.k", "data.l"),
    )

    line = drift.render([found]).splitlines()[1]
    assert "kubectl-edit" in line
    assert "data.k, data.l" in line


def test_cause_is_shown_with_the_way_to_it() -> None:
    found = diagnosis.Diagnosis(
        object="Kustomization/a/b",
        is_ready=False,
        cause="image-pull",
        at="Pod/a/web",
        summary="web is not healthy",
        evidence=("Pod/a/web: ErrImagePull",),
        remedies=("check the image",),
        chain=(
            diagnosis.Link(id="Kustomization/a/b", state="Failed"),
            diagnosis.Link(id="Pod/a/web", state="Failed"),
        ),
    )

    lines = debug.render(found).splitlines()

    assert lines[0] == "✗ web is not healthy"
    assert "  └─ Pod/a/web (Failed)" in lines
    assert "    check the image" in lines


def test_trace_ends_with_the_commit() -> None:
    found = tracing.Trace(
        steps=(tracing.Step(role="object", kind="Pod", namespace="a", name="web"),),
        is_managed=True,
        commit=tracing.Commit(sha="abc", author="Ada", subject="Add web"),
    )

    assert trace.render(found).splitlines()[-2:] == ["commit abc Ada", "    Add web"]


def test_source_is_shown_with_whom_it_reaches() -> None:
    here = reach.Reached(
        id="Kustomization/flux-system/apps", state="Ready", revision=REVISION, is_there=True, owns=3
    )
    behind = reach.Reached(id="Kustomization/flux-system/web", state="Failed", is_there=False)
    step = tracing.Step(role="object", kind="GitRepository", namespace="flux-system", name="fleet")
    found = tracing.Trace(steps=(step,), is_managed=True, reached=(here, behind))

    header, first, second = trace.render(found).splitlines()[-3:]

    assert header.split() == ["REACHES", "STATUS", "REVISION", "THERE", "OWNS"]
    assert first.split() == [here.id, "Ready", "main@sha1:7e0b4c5a", "yes", "3"]
    assert second.split() == [behind.id, "Failed", "no"]
