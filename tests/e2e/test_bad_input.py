"""Bad input through the whole daemon.

Each test breaks one Kustomization of a repository that has two. It must say so in its Ready
condition and in an event, keep what it had applied, let the other one go on, and recover when the
input is mended.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from bench.fixtures import dump
from tests.support import estate
from tests.support.estate import config_map, says

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bench.bed import Bed
    from devcluster.cluster import Cluster

pytestmark = pytest.mark.leftovers("connections to the Git server live as long as the daemon")

_EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
_RULES = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    _EVERYTHING | {"resources": ["namespaces", "customresourcedefinitions", "leases"]},
    _EVERYTHING | {"resources": ["events"]},
    *(
        _EVERYTHING | {"apiGroups": [group]}
        for group in (
            "source.toolkit.fluxcd.io",
            "kustomize.toolkit.fluxcd.io",
            "notification.toolkit.fluxcd.io",
            "fluxcd.controlplane.io",
        )
    ),
]
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_GROUP = "tenants-only"


@pytest.fixture(scope="module")
def bed(audited: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """A daemon that may write to those namespaces alone that say so."""
    rules = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": _GROUP},
        "rules": _RULES,
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _GROUP},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": _GROUP,
        },
        "subjects": [_subject()],
    }
    for each in (rules, binding):
        audited.kubectl("apply", "-f", "-", input=dump(each))
    folder = tmp_path_factory.mktemp("estate")
    with estate.running({"home": audited}, folder, groups=(_GROUP,)) as running:
        yield running["home"]


class Case(estate.Tenant):
    """A tenant of two Kustomizations: ``good``, and ``bad``, whose input is going to be broken."""

    def __init__(self, bed: Bed, name: str) -> None:
        super().__init__(bed, name)
        self.bed, self._rounds = bed, 0
        admit(bed, name)
        self.push(
            {
                "good/a.yaml": config_map(name, "good", round="0"),
                "bad/kept.yaml": config_map(name, "kept", k="1"),
            }
        )
        self.kustomize("good")
        self.kustomize("bad", retryInterval="1s")
        self.until_applied("good")
        self.until_applied("bad")

    def break_it(self, files: Mapping[str, str | None], reason: str, text: str = "") -> str:
        """Push something bad below ``bad/`` and return the condition's message."""
        self.push({f"bad/{path}": content for path, content in files.items()})
        return self.see_refused(reason, text)

    def see_refused(self, reason: str, text: str = "", *, lost: bool = False) -> str:
        """Return the condition's message, having seen all that holds of any bad input."""
        message = self.until_refused("bad", reason, text)
        estate.until(lambda: self._is_told(reason, message), f"an event {reason}: {message}")
        if not lost:
            assert self.live("kept") is not None
            assert f"{self.name}_kept__ConfigMap" in self.inventory("bad")
        self.see_good_go_on()
        return message

    def see_good_go_on(self) -> None:
        """Push a change of the other Kustomization and wait until it is applied."""
        self._rounds += 1
        value = str(self._rounds)
        self.push({"good/a.yaml": config_map(self.name, "good", round=value)})
        self.until_live("good", says(round=value))
        self.until_applied("good")

    def mend(self, files: Mapping[str, str | None]) -> None:
        """Push the remedy below ``bad/`` and wait until all is well."""
        self.push({f"bad/{path}": content for path, content in files.items()})
        self.see_mended()

    def see_mended(self) -> None:
        """Wait until all is well at the last commit."""
        self.until_applied("bad")
        assert self.live("kept") is not None

    def _is_told(self, reason: str, message: str) -> bool:
        head = message[:200]
        found = [each for each in self.events("bad", reason) if head in each["message"]]
        return any(each["type"] == "Warning" for each in found)


@pytest.fixture
def case(bed: Bed) -> Iterator[Case]:
    made = Case(bed, f"bad-{uuid.uuid4().hex[:8]}")
    yield made
    made.end()


# What cannot be read ------------------------------------------------------------------------


def test_yaml_that_does_not_parse_names_file_and_line(case: Case) -> None:
    message = case.break_it({"x.yaml": "a:\n  - b\n c: d\n"}, "BuildFailed")
    assert "bad/x.yaml" in message
    assert "line 3" in message
    case.mend({"x.yaml": config_map(case.name, "x")})
    assert case.live("x")


def test_missing_path_is_named_and_prunes_nothing(case: Case) -> None:
    case.push({"bad/kept.yaml": None})
    message = case.see_refused("ArtifactFailed", "path not found")
    assert "./bad" in message
    case.mend({"kept.yaml": config_map(case.name, "kept", k="2")})
    assert says(k="2")(case.live("kept"))


def test_path_that_leaves_the_repository_is_refused(case: Case) -> None:
    case.patch("bad", {"path": "./../../../etc"})
    message = case.see_refused("ArtifactFailed", "leaves the source")
    assert "../../../etc" in message
    case.patch("bad", {"path": "./bad"})
    case.see_mended()


def test_symlink_to_a_manifest_outside_is_not_followed(case: Case) -> None:
    case.repo.symlink("bad/x.yaml", "../../../../../../../../etc/hostname")
    case.repo.symlink("bad/y.yaml", "../good/a.yaml")
    case.push({"bad/kept.yaml": config_map(case.name, "kept", k="2")})
    case.until_live("kept", says(k="2"))
    case.see_mended()
    assert case.inventory("bad") == {f"{case.name}_kept__ConfigMap"}
    case.see_good_go_on()


@pytest.mark.parametrize("target", ["/etc", "../../../../../../../../etc"])
def test_symlink_that_leaves_the_repository_reads_nothing(case: Case, target: str) -> None:
    case.repo.symlink("bad/etc", target)
    overlay = "resources: [kept.yaml]\nconfigMapGenerator:\n- name: x\n  files: [etc/passwd]\n"
    message = case.break_it({"kustomization.yaml": overlay}, "BuildFailed")
    assert "etc/passwd" in message
    assert "root:" not in message
    case.mend({"kustomization.yaml": "resources: [kept.yaml]\n"})


def test_empty_directory_prunes_what_it_declared_and_comes_back(case: Case) -> None:
    case.push({"bad/kept.yaml": None, "bad/.gitkeep": ""})
    case.until_applied("bad")
    case.until_live("kept", lambda obj: obj is None)
    assert case.inventory("bad") == set()
    case.see_good_go_on()
    case.mend({"kept.yaml": config_map(case.name, "kept", k="1")})


# What the server refuses --------------------------------------------------------------------


def test_unknown_kind_names_kind_and_object(case: Case) -> None:
    text = dump(_object("example.com/v1", "Riddle", case.name, "x"))
    message = case.break_it({"x.yaml": text}, "ReconciliationFailed")
    assert message == (
        f"Riddle/{case.name}/x dry-run failed: "
        'no matches for kind "Riddle" in version "example.com/v1"'
    )
    case.mend({"x.yaml": None})


def test_schema_violation_names_the_field(case: Case) -> None:
    text = config_map(case.name, "x") + "data:\n  k: {nested: true}\n"
    text = text.replace("data: {}\n", "", 1)
    message = case.break_it({"x.yaml": text}, "ReconciliationFailed")
    assert f"ConfigMap/{case.name}/x dry-run failed" in message
    assert ".data.k" in message
    case.mend({"x.yaml": config_map(case.name, "x", k="nested")})


def test_object_declared_twice_is_named(case: Case) -> None:
    twice = {"x.yaml": config_map(case.name, "x", k="1"), "y.yaml": config_map(case.name, "x")}
    message = case.break_it(twice, "BuildFailed")
    assert "may not add resource with an already registered id" in message
    assert "ConfigMap.v1.[noGrp]/x" in message
    case.mend({"y.yaml": None})


def test_immutable_field_names_the_object_and_keeps_it(case: Case) -> None:
    case.mend({"s.yaml": _sealed(case.name, "one")})
    uid = _uid(case.live("s"))
    message = case.break_it({"s.yaml": _sealed(case.name, "two")}, "ReconciliationFailed")
    assert f"ConfigMap/{case.name}/s" in message
    assert "immutable" in message
    assert _uid(case.live("s")) == uid
    case.mend({"s.yaml": _sealed(case.name, "one")})


def test_five_megabytes_in_one_manifest_are_refused(case: Case) -> None:
    message = case.break_it(
        {"x.yaml": config_map(case.name, "x", k="x" * 5_000_000)}, "ReconciliationFailed"
    )
    assert f"ConfigMap/{case.name}/x" in message
    assert len(message) < 40_000
    case.mend({"x.yaml": None})


# Whom it belongs to -------------------------------------------------------------------------


def test_namespace_that_the_daemon_may_not_write_to_is_named(case: Case) -> None:
    closed = f"{case.name}-closed"
    case.bed.namespace(closed)
    text = config_map(closed, "x", k="1")
    message = case.break_it({"x.yaml": text}, "ReconciliationFailed", "forbidden")
    assert f"ConfigMap/{closed}/x" in message
    admit(case.bed, closed)
    case.see_mended()
    assert case.bed.api.get(case.bed.config_map(closed, "x"))


def test_namespace_that_does_not_exist_is_named(case: Case) -> None:
    absent = f"{case.name}-absent"
    admitted = config_map(absent, "x", k="1")
    message = case.break_it({"x.yaml": admitted}, "ReconciliationFailed")
    assert absent in message
    case.bed.namespace(absent)
    admit(case.bed, absent)
    case.see_mended()


def test_namespace_that_is_being_deleted_is_named(case: Case) -> None:
    ending = f"{case.name}-ending"
    case.bed.namespace(ending)
    admit(case.bed, ending)
    held = _object("v1", "ConfigMap", ending, "held")
    held["metadata"]["finalizers"] = ["example.com/held"]
    case.bed.api.post(f"/api/v1/namespaces/{ending}/configmaps", held)
    case.bed.api.delete(f"/api/v1/namespaces/{ending}")
    text = config_map(ending, "x", k="1")
    message = case.break_it({"x.yaml": text}, "ReconciliationFailed", "terminated")
    assert ending in message
    release: dict[str, Any] = {"metadata": {"finalizers": []}}
    case.bed.api.patch(case.bed.config_map(ending, "held"), release)
    case.mend({"x.yaml": None})


def test_dependency_cycle_is_told_by_its_members_alone(case: Case) -> None:
    bad, other = case.kustomization("bad"), case.kustomization("other")
    case.push({"other/o.yaml": config_map(case.name, "o")})
    case.patch("bad", {"dependsOn": [{"name": other}]})
    case.kustomize("other", dependsOn=[{"name": bad}])
    message = case.see_refused("DependencyNotReady", "circular dependency")
    assert f"{bad} -> " in message
    assert f"{other} -> " in message
    case.until_refused("other", "DependencyNotReady", "circular dependency")
    case.patch("bad", {"dependsOn": []})
    case.see_mended()
    case.until_applied("other")


def test_object_of_another_kustomization_goes_back_when_it_is_let_go(case: Case) -> None:
    good, bad = (case.kustomization(folder) for folder in ("good", "bad"))
    uid = _uid(case.live("good"))
    case.push({"bad/good.yaml": config_map(case.name, "good", round="bad")})
    case.until_applied("bad")
    case.until_live("good", lambda obj: _owner(obj) == bad)
    case.push({"bad/good.yaml": None})
    case.until_applied("bad")
    case.until_told("bad", "Progressing", f"{good} declares it too")
    case.until_live("good", lambda obj: _owner(obj) == good and says(round="0")(obj))
    case.until_told("good", "Progressing", f"ConfigMap/{case.name}/good configured")
    assert _uid(case.live("good")) == uid
    assert f"{case.name}_good__ConfigMap" not in case.inventory("bad")
    case.see_good_go_on()


# What Git does meanwhile --------------------------------------------------------------------


def test_revision_force_pushed_away_during_the_fetch_is_survived(case: Case) -> None:
    git = case.bed.git
    before = len(git.requests)
    case.mend({"x.yaml": config_map(case.name, "x", k="before")})
    needed = len(git.requests) - before
    before = len(git.requests)
    with git.stalled(after=needed - 1):
        case.push({"bad/x.yaml": config_map(case.name, "x", k="lost")})
        git.wait_for_requests(before + needed)
        case.repo.rewrite({"bad/x.yaml": config_map(case.name, "x", k="after")})
        case.repo.forget()
    case.until_live("x", says(k="after"))
    case.see_mended()
    case.see_good_go_on()


def _uid(obj: dict[str, Any] | None) -> str:
    return str((obj or {})["metadata"]["uid"])


def _owner(obj: dict[str, Any] | None) -> str:
    labels = (obj or {}).get("metadata", {}).get("labels", {})
    return str(labels.get("kustomize.toolkit.fluxcd.io/name"))


def admit(bed: Bed, namespace: str) -> None:
    """Let the daemon write to a namespace."""
    binding = _object("rbac.authorization.k8s.io/v1", "RoleBinding", namespace, _GROUP)
    binding["roleRef"] = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "cluster-admin",
    }
    binding["subjects"] = [_subject()]
    bed.api.post(f"{_RBAC}/namespaces/{namespace}/rolebindings", binding)


def _subject() -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": _GROUP}


def _object(version: str, kind: str, namespace: str, name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _sealed(namespace: str, value: str) -> str:
    return config_map(namespace, "s", k=value) + "immutable: true\n"
