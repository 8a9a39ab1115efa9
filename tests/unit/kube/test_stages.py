"""Flux's stages and sort order."""

from __future__ import annotations

import random

import pytest

from kube import stages
from kube.objects import ObjectId
from kube.stages import Stage


def named(kind: str, group: str = "", name: str = "x", namespace: str = "") -> ObjectId:
    return ObjectId(namespace, name, group, kind)


@pytest.mark.parametrize(
    ("obj", "stage"),
    [
        (named("CustomResourceDefinition", "apiextensions.k8s.io"), Stage.DEFINITIONS),
        (named("CustomResourceDefinition", "example.com"), Stage.OBJECTS),
        (named("Namespace"), Stage.DEFINITIONS),
        (named("Namespace", "example.com"), Stage.OBJECTS),
        (named("ClusterRole", "rbac.authorization.k8s.io"), Stage.DEFINITIONS),
        (named("StorageClass", "storage.k8s.io"), Stage.CLASSES),
        (named("AnyClass", "example.com"), Stage.CLASSES),
        (named("ClusterRoleBinding", "rbac.authorization.k8s.io"), Stage.OBJECTS),
        (named("ConfigMap"), Stage.OBJECTS),
    ],
)
def test_stage_of_a_kind(obj: ObjectId, stage: Stage) -> None:
    assert stages.stage_of(obj) is stage


def test_custom_stage_names_kinds_with_and_without_a_group() -> None:
    custom = frozenset({"Secret", "example.com/Thing"})
    assert stages.stage_of(named("Secret"), custom) is Stage.CUSTOM
    assert stages.stage_of(named("Thing", "example.com"), custom) is Stage.CUSTOM
    assert stages.stage_of(named("Thing"), custom) is Stage.OBJECTS
    assert stages.stage_of(named("Namespace"), frozenset({"Namespace"})) is Stage.DEFINITIONS


def test_only_definitions_and_classes_are_awaited() -> None:
    assert [stage for stage in Stage if stage.is_awaited] == [Stage.DEFINITIONS, Stage.CLASSES]


def test_order_is_known_kinds_then_others_by_group_then_webhooks() -> None:
    wanted = [
        named("CustomResourceDefinition", "apiextensions.k8s.io"),
        named("Namespace"),
        named("ServiceAccount"),
        named("ConfigMap", name="a", namespace="a"),
        named("ConfigMap", name="b", namespace="a"),
        named("ConfigMap", name="a", namespace="b"),
        named("Secret"),
        named("Deployment", "apps"),
        named("PodDisruptionBudget", "policy"),
        named("Pod"),
        named("ReplicaSet", "apps"),
        named("Job", "batch"),
        named("Ingress", "networking.k8s.io"),
        named("MutatingWebhookConfiguration", "admissionregistration.k8s.io"),
        named("ValidatingWebhookConfiguration", "admissionregistration.k8s.io"),
    ]
    shuffled = random.Random(3).sample(wanted, len(wanted))
    assert sorted(shuffled, key=stages.sort_key) == wanted


def test_known_kind_of_another_group_sorts_as_the_known_one() -> None:
    foreign, core = named("Service", "example.com", "a"), named("Service", "", "b")
    assert sorted([core, foreign], key=stages.sort_key) == [foreign, core]


def test_deletion_goes_backwards_in_waves_of_equal_rank() -> None:
    objects = [
        named("Namespace"),
        named("ConfigMap", name="a"),
        named("ConfigMap", name="b"),
        named("Thing", "a.example.com"),
        named("Thing", "b.example.com"),
    ]
    assert stages.deletion_waves(objects) == [
        [named("Thing", "b.example.com")],
        [named("Thing", "a.example.com")],
        [named("ConfigMap", name="b"), named("ConfigMap", name="a")],
        [named("Namespace")],
    ]
