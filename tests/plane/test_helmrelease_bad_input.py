"""Bad input to a release: said where people look, nothing applied of it, and mended at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from api import meta
from kube import errors
from tests.support import helmcharts, releaser
from tests.support.releaser import at_revision, condition, ready, unready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.releaser import World

pytestmark = pytest.mark.blocking("the helm that judges is run in the loop's thread")

GOOD = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: good}
data: {k: {{ .Values.k | quote }}}
"""
SCHEMA = '{"properties": {"port": {"type": "integer", "maximum": 65535}}}'
FILES = {"values.yaml": "k: v\n", "templates/good.yaml": GOOD}
CRD = "apiextensions.k8s.io/v1/CustomResourceDefinition"


@pytest.fixture
async def world(cluster: Access, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with releaser.running(cluster, tmp_path, namespace) as running:
        yield running


async def until_refused(world: World, name: str, reason: str, *told: str) -> str:
    """Wait until a release says a reason and some texts; return the message."""

    def says(item: Any) -> bool:
        is_so = item is not None and unready(reason)(item)
        return is_so and all(each in condition(item, meta.READY)[2] for each in told)

    item = await world.until_shown(name, says)
    return condition(item, meta.READY)[2]


async def test_values_that_a_schema_forbids_name_the_value(world: World) -> None:
    await world.push(helmcharts.pack("demo", {**FILES, "values.schema.json": SCHEMA}))
    await world.release("demo", values={"port": 70000})
    message = await until_refused(world, "demo", "InstallFailed", "/port", "65,535")
    assert message.startswith(f"Helm install failed for release {world.namespace}/demo")
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "good")
    assert world.history("demo") == []
    await world.event("InstallFailed", "/port")
    await world.release("demo", values={"port": 80})
    await world.until("demo", ready)


async def test_nothing_but_definitions_is_applied_beside_an_invalid_object(
    world: World, namespace: str
) -> None:
    kind = f"B{namespace.removeprefix('test-')}"
    plural = kind.lower()
    custom = f"{{apiVersion: example.com/v1, kind: {kind}, metadata: {{name: one}}}}"
    bad = "{apiVersion: v1, kind: Service, metadata: {name: bad}, spec: {ports: [{port: 99999}]}}"
    files = {
        **FILES,
        "crds/a.yaml": helmcharts.definition(kind, plural),
        "templates/custom.yaml": custom,
        "templates/bad.yaml": bad,
    }
    await world.push(helmcharts.pack("demo", files))
    await world.release("demo")
    await until_refused(world, "demo", "InstallFailed", f"Service/{namespace}/bad", "99999")
    assert await world.live(CRD, f"{plural}.example.com")
    for what, name in (("ConfigMap", "good"), (f"example.com/v1/{kind}", "one")):
        with pytest.raises(errors.NotFound):
            await world.live(what, name)
    assert world.history("demo") == []
    files["templates/bad.yaml"] = bad.replace("99999", "80")
    await world.push(helmcharts.pack("demo", files, version="1.0.1"))
    await world.until("demo", ready)
    assert await world.live(f"example.com/v1/{kind}", "one")


async def test_a_key_that_values_lack_is_named_and_waited_for(world: World, namespace: str) -> None:
    await world.put("ConfigMap", "settings", other="k: o\n")
    await world.push(helmcharts.pack("demo", FILES))
    reference = {"kind": "ConfigMap", "name": "settings", "valuesKey": "prod.yaml"}
    await world.release("demo", valuesFrom=[reference])
    where = f"ConfigMap chart values reference '{namespace}/settings' with key 'prod.yaml'"
    await until_refused(world, "demo", "ValuesError", where, "key not found")
    await world.put("ConfigMap", "settings", **{"prod.yaml": "k: late\n"})
    await world.until("demo", ready)
    assert (await world.live("ConfigMap", "good"))["data"] == {"k": "late"}


async def test_an_object_of_another_release_is_refused_until_it_may_be_taken(
    world: World, namespace: str
) -> None:
    await world.push(helmcharts.pack("demo", FILES))
    await world.release("first", values={"k": "first"})
    await world.until("first", ready)
    refuses = {"disableTakeOwnership": True}
    await world.release("second", values={"k": "second"}, install=refuses)
    message = await until_refused(world, "second", "InstallFailed", 'ConfigMap "good"')
    assert '"first"' in message
    assert "cannot be imported into the current release" in message
    assert (await world.live("ConfigMap", "good"))["data"] == {"k": "first"}
    assert world.history("second") == []
    await world.release("second", values={"k": "second"}, install={"disableTakeOwnership": False})
    await world.until("second", ready)
    live = await world.live("ConfigMap", "good")
    assert live["data"] == {"k": "second"}
    assert live["metadata"]["annotations"][meta.HELM_RELEASE_NAME] == "second"


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        pytest.param("{{ fail \"no\" }}", "demo/templates/bad.yaml:1:", id="template"),
        pytest.param(
            "{apiVersion: v1, kind: Secret, metadata: {name: b}, dta: {}}",
            'unknown field "dta"',
            id="object",
        ),
    ],
)  # fmt: skip
async def test_an_upgrade_that_cannot_be_leaves_the_release_as_it_is(
    world: World, bad: str, told: str
) -> None:
    await world.push(helmcharts.pack("demo", FILES))
    await world.release("demo", upgrade={"remediation": {"retries": 3}})
    await world.until("demo", ready)
    before = await world.live("ConfigMap", "good")
    changed = {**FILES, "values.yaml": "k: changed\n", "templates/bad.yaml": bad}
    await world.push(helmcharts.pack("demo", changed, version="2.0.0"))
    await until_refused(world, "demo", "UpgradeFailed", told)
    assert await world.live("ConfigMap", "good") == before
    assert world.history("demo") == [(1, "deployed")]
    del changed["templates/bad.yaml"]
    await world.push(helmcharts.pack("demo", changed, version="2.0.1"))
    await world.until("demo", at_revision(2))
    assert (await world.live("ConfigMap", "good"))["data"] == {"k": "changed"}


async def test_a_release_that_no_secret_holds_is_refused_before_it_is_applied(
    world: World,
) -> None:
    await world.push(helmcharts.pack("demo", {**FILES, "files/large": os.urandom(1_200_000)}))
    await world.release("demo")
    message = await until_refused(world, "demo", "InstallFailed", "a Secret holds 1048576")
    assert message.endswith(": leave files out of the chart demo by its .helmignore, or split it")
    with pytest.raises(errors.NotFound):
        await world.live("ConfigMap", "good")
    assert world.history("demo") == []
    await world.push(helmcharts.pack("demo", FILES, version="1.0.1"))
    await world.until("demo", ready)
