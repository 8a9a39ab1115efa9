"""The pure parts of a Kustomization's reconcile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from api.kustomize import Image, KustomizationSpec, SourceReference
from kube.objects import ObjectId
from reconcilers.kustomization import (
    applying,
    closure,
    finalise,
    generate,
    health,
    history,
    manifest,
    timing,
)
from reconcilers.kustomization.manifest import BuildError
from runtime.errors import TransientError
from tests.support.kustomizer import MemoryTree

if TYPE_CHECKING:
    from api.meta import Snapshot
    from tests.support.kustomizer import Files


def spec(**fields: Any) -> KustomizationSpec:
    defaults: dict[str, Any] = {
        "interval": "10m",
        "source_ref": SourceReference(kind="GitRepository", name="r"),
        "prune": True,
    }
    return KustomizationSpec(**(defaults | fields))


@pytest.mark.parametrize(
    ("fields", "interval", "retry", "timeout"),
    [
        ({}, 600, 600, 570),
        ({"retry_interval": "2m"}, 600, 120, 570),
        ({"timeout": "1s"}, 600, 600, 30),
        ({"timeout": "5m"}, 600, 600, 300),
        ({"interval": "45s"}, 45, 45, 30),
    ],
)
def test_timeout_has_a_floor_and_defaults_follow_the_interval(
    fields: dict[str, Any], interval: int, retry: int, timeout: int
) -> None:
    item = spec(**fields)
    assert timing.interval_s(item) == interval
    assert timing.retry_s(item) == retry
    assert timing.timeout_s(item) == timeout


@pytest.mark.parametrize(
    ("path", "expected"),
    [("", ""), (".", ""), ("./", ""), ("./a/b/", "a/b"), ("a/../b", "b"), ("/a", "a")],
)
def test_path_is_relative_to_the_source(path: str, expected: str) -> None:
    assert generate.normal_path(path) == expected


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "./../.."])
def test_path_that_leaves_the_source_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="leaves the source"):
        generate.normal_path(path)


def test_kustomization_file_is_found_in_kustomize_own_order() -> None:
    paths = frozenset({"a/Kustomization", "a/kustomization.yml", "b/x.yaml"})
    assert generate.file_in("a", paths) == "a/kustomization.yml"
    assert generate.file_in("b", paths) is None


def test_generated_file_lists_outermost_bases_and_plain_manifests_in_walk_order() -> None:
    files = dict.fromkeys(
        (
            "z.yaml",
            "a/x.yml",
            "a/kustomization.yaml",
            "a/sub/kustomization.yaml",
            "b/y.yaml",
            "t.txt",
        ),
        "",
    )
    assert generate.resources(MemoryTree(files).entries(), "") == ["a", "b/y.yaml", "z.yaml"]


def test_generated_file_of_nothing_has_a_placeholder() -> None:
    assert generate.generated([])["namespace"] == "_placeholder"


def test_root_file_without_resources_gets_build_metadata_as_in_flux() -> None:
    assert generate.known_fields({"namePrefix": "x"})["buildMetadata"] == ["originAnnotations"]
    assert "buildMetadata" not in generate.known_fields({"Resources": ["x"], "other": 1})


def test_images_merge_by_name_and_tag_and_digest_replace_as_a_pair() -> None:
    document = {"images": [{"name": "a", "newTag": "1"}, {"name": "b", "newName": "x"}]}
    images = (
        Image(name="a", digest="sha256:d"),
        Image(name="b", new_tag="2"),
        Image(name="c", new_name="y"),
    )
    changed = generate.override(document, spec(images=images), exists=lambda _: True)
    assert changed["images"] == [
        {"name": "a", "digest": "sha256:d"},
        {"name": "b", "newName": "x", "newTag": "2"},
        {"name": "c", "newName": "y"},
    ]
    assert document["images"][0] == {"name": "a", "newTag": "1"}


def test_field_of_the_wrong_type_fails_the_build() -> None:
    with pytest.raises(BuildError, match="'components'"):
        generate.override({"components": "x"}, spec(components=("y",)), exists=lambda _: True)


def walk(files: Files, directory: str, document: dict[str, Any]) -> closure.Closure:
    tree = MemoryTree(files)
    found = closure.Walk(frozenset(files), tree.read)
    found.follow(directory, document)
    return found.closure


def test_closure_follows_every_kind_of_reference() -> None:
    files = {
        "base/kustomization.yaml": "resources: [a.yaml]\n",
        "base/a.yaml": "",
        "o/p.yaml": "",
        "o/gen.txt": "",
        "o/vars.env": "",
        "o/schema.json": "",
        "o/unused.yaml": "",
    }
    document = {
        "resources": ["../base"],
        "patches": [{"path": "p.yaml"}, {"patch": "- op: remove\n"}],
        "configMapGenerator": [{"files": ["k=gen.txt"], "envs": ["vars.env"]}],
        "openapi": {"path": "schema.json"},
        "patchesStrategicMerge": ["none.yaml", "kind: X\nmetadata: {}\n"],
    }
    found = walk(files, "o", document)
    assert found.files == files.keys() - {"o/unused.yaml"}
    assert found.missing == {"o/none.yaml"}
    assert not found.remote
    assert not found.is_whole


def test_circular_bases_end() -> None:
    files = {
        "a/kustomization.yaml": "resources: [../b]\n",
        "b/kustomization.yaml": "resources: [../a]\n",
    }
    assert walk(files, "", {"resources": ["a"]}).files == set(files)


@pytest.mark.parametrize(
    "reference",
    ["https://example.com/x?ref=v1", "github.com/org/repo//path", "git@example.com:org/repo"],
)
def test_remote_base_is_recognised_and_restricts_the_build(reference: str) -> None:
    found = walk({}, "", {"resources": [reference]})
    assert found.remote == {reference}
    assert found.is_unsure


@pytest.mark.parametrize(
    "document",
    [
        {"resources": ["/etc/hosts"]},
        {"resources": ["../../x"]},
        {"resources": ["https://example.com/../../../etc"]},
        {"RESOURCES": ["../../x"]},
        {"patches": [{"Path": "/etc/hosts"}]},
        {"secretGenerator": [{"env": "/etc/hosts"}]},
        {"generators": ["kind: ConfigMapGenerator\nfiles: [/etc/hosts]\n"]},
        {"transformers": ["t.yaml"]},
    ],
)
def test_reference_out_of_the_source_fails_the_build(document: dict[str, Any]) -> None:
    files = {"o/t.yaml": "kind: PatchTransformer\npath: ../../etc/hosts\n"}
    with pytest.raises(BuildError, match="leaves the source's root"):
        walk(files, "o", document)


def test_plugin_directory_restricts_the_build_since_its_references_are_unknown() -> None:
    files = {"t/kustomization.yaml": "resources: [x.yaml]\n", "t/x.yaml": ""}
    found = walk(files, "", {"transformers": ["t"]})
    assert found.is_whole
    assert found.is_unsure


def test_history_counts_the_same_again_and_keeps_five() -> None:
    entries: tuple[Snapshot, ...] = ()
    for number, digest in enumerate("aabcdefa"):
        entries = history.record(
            entries,
            digest=digest,
            reason="ReconciliationSucceeded",
            took_s=0.5,
            now=f"t{number}",
            metadata={"revision": f"r{number}"},
        )
    assert [entry.digest for entry in entries] == ["a", "f", "e", "d", "c"]
    assert entries[0].total_reconciliations == 1  # it had left the list in between
    assert entries[0].last_reconciled_duration == "500ms"


def test_history_of_another_outcome_is_another_entry() -> None:
    first = history.record((), digest="a", reason="X", took_s=1, now="t", metadata={})
    both = history.record(first, digest="a", reason="Y", took_s=1, now="t", metadata={})
    again = history.record(both, digest="a", reason="X", took_s=1, now="u", metadata={})
    assert [(entry.last_reconciled_status, entry.total_reconciliations) for entry in again] == [
        ("X", 2),
        ("Y", 1),
    ]
    assert again[0].first_reconciled == "t"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"prune": True}, True),
        ({"prune": False}, False),
        ({"prune": False, "deletion_policy": "Delete"}, True),
        ({"prune": False, "deletion_policy": "WaitForTermination"}, True),
        ({"prune": True, "deletion_policy": "Orphan"}, False),
        ({"prune": True, "deletion_policy": "Delete", "suspend": True}, False),
    ],
)
def test_deletion_policy(fields: dict[str, Any], expected: bool) -> None:
    assert finalise.deletes(spec(**fields)) is expected


SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"data": {"k": "ENC[AES256_GCM,data:x]"}},
        {"stringData": {"k": "ENC[AES256_GCM,data:x]"}},
        {"data": {}, "sops": {"mac": "ENC[...]"}},
    ],
)
def test_encrypted_secret_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TransientError, match="Secret/n/s is SOPS encrypted"):
        manifest.Finish({}).object({**SECRET, **fields}, "x")


def test_other_secrets_are_not() -> None:
    assert not manifest.is_encrypted({**SECRET, "stringData": {"k": "plain"}})
    assert not manifest.is_encrypted({**SECRET, "kind": "ConfigMap", "data": {"k": "ENC[x"}})


@pytest.mark.parametrize("obj", [{}, {"apiVersion": "v1", "kind": "A"}, {**SECRET, "metadata": 5}])
def test_object_without_identity_is_told_by_its_place(obj: dict[str, Any]) -> None:
    with pytest.raises(BuildError, match=r"name from: x.yaml document 1"):
        manifest.check_identity(obj, "x.yaml document 1")


def test_document_that_is_no_object_is_told_by_its_number() -> None:
    with pytest.raises(BuildError, match=r"a.yaml document 2 is not a Kubernetes object"):
        list(manifest.objects(iter([None, [1]]), "a.yaml"))


def test_health_check_without_version_means_apps() -> None:
    assert health.named_gvk("", "Deployment").api_version == "apps/v1"
    assert health.named_gvk("v1", "Service").group == ""


def test_inventory_is_written_in_the_order_of_applying() -> None:
    entries = [
        (ObjectId("n", "z", "", "ConfigMap"), "v1"),
        (ObjectId("", "n", "", "Namespace"), "v1"),
        (ObjectId("n", "a", "apps", "Deployment"), "v1"),
    ]
    written = applying.as_status(applying.in_order(entries))
    assert [entry.id for entry in written.entries] == [
        "_n__Namespace",
        "n_z__ConfigMap",
        "n_a_apps_Deployment",
    ]
    assert msgspec.to_builtins(written)["entries"][0] == {"id": "_n__Namespace", "v": "v1"}
