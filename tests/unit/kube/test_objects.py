"""Names of Kubernetes things."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.objects import GVK, ObjectId, PartialObject, Resource

DEPLOYMENTS = Resource(GVK("apps", "v1", "Deployment"), "deployments", is_namespaced=True)
NODES = Resource(GVK("", "v1", "Node"), "nodes", is_namespaced=False)
ROLES = Resource(GVK("rbac.authorization.k8s.io", "v1", "Role"), "roles", is_namespaced=True)


def test_path_of_collection_object_and_subresource() -> None:
    assert DEPLOYMENTS.path() == "/apis/apps/v1/deployments"
    assert DEPLOYMENTS.path("a") == "/apis/apps/v1/namespaces/a/deployments"
    assert DEPLOYMENTS.path("a", "b") == "/apis/apps/v1/namespaces/a/deployments/b"
    assert DEPLOYMENTS.path("a", "b", "status") == "/apis/apps/v1/namespaces/a/deployments/b/status"


def test_cluster_scoped_path_ignores_a_namespace() -> None:
    assert NODES.path("a", "b") == "/api/v1/nodes/b"


def test_colon_of_a_role_name_stays_in_the_path() -> None:
    assert ROLES.path("a", "system:x").endswith("/roles/system:x")


@pytest.mark.parametrize("name", ["a/b", "../secrets/x", "a?watch=1", "a#b", "a b", "é"])
def test_name_never_leaves_its_place_in_the_path(name: str) -> None:
    path = DEPLOYMENTS.path("n", name)
    assert path.count("/") == DEPLOYMENTS.path("n", "x").count("/")
    assert not set("?# é") & set(path)


def test_kind_of_a_manifest() -> None:
    assert GVK.of({"apiVersion": "apps/v1", "kind": "Deployment"}) == DEPLOYMENTS.gvk
    assert GVK.of({"apiVersion": "v1", "kind": "Node"}).api_version == "v1"
    with pytest.raises(KeyError):
        GVK.of({"kind": "Node"})


def test_inventory_id_escapes_the_colon_of_rbac_names() -> None:
    entry_id = ObjectId("", "system:x", "rbac.authorization.k8s.io", "ClusterRole")
    assert entry_id.entry == "_system__x_rbac.authorization.k8s.io_ClusterRole"
    assert ObjectId.parse(entry_id.entry) == entry_id


NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True)


@given(NAMES, NAMES, NAMES | st.just(""))
def test_inventory_id_reads_back(namespace: str, name: str, group: str) -> None:
    entry_id = ObjectId(namespace, name, group, "Thing")
    assert ObjectId.parse(entry_id.entry) == entry_id


@pytest.mark.parametrize("entry", ["", "a", "a_b", "a_b_c"])
def test_text_that_is_no_inventory_id_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="inventory id"):
        ObjectId.parse(entry)


def test_managers_come_with_the_metadata() -> None:
    raw = (
        b'{"kind":"PartialObjectMetadata","metadata":{"name":"a","resourceVersion":"7","managedFields":'
        b'[{"manager":"m","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1",'
        b'"fieldsV1":{"f:data":{"f:k":{}}}}]},"spec":{"ignored":1}}'
    )
    (entry,) = msgspec.json.decode(raw, type=PartialObject).metadata.managed_fields
    assert (entry.manager, entry.operation, bytes(entry.fields_v1)) == (
        "m",
        "Apply",
        b'{"f:data":{"f:k":{}}}',
    )
