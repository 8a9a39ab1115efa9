"""What a call of a Receiver reaches, by its expressions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from api import meta
from api.notification import Receiver, ReceiverResource, ReceiverSpec
from reconcilers import filters
from reconcilers.filters import Call, FilterError
from runtime import cel
from runtime.errors import TerminalError
from runtime.limits import Threads

OBJECT: dict[str, Any] = {
    "apiVersion": "image.toolkit.fluxcd.io/v1",
    "kind": "ImageRepository",
    "metadata": {
        "name": "podinfo",
        "namespace": "apps",
        "generation": 3,
        "annotations": {"image": "ghcr.io/acme/podinfo"},
    },
    "spec": {"image": "secret"},
}
PUSHED = b"""{
  "action": "published", "id": 12345678901, "ratio": 1.5, "yes": true,
  "ref": "refs/heads/main",
  "image": {"source": "ghcr.io/acme/podinfo:v6.7.0"},
  "commits": [{"modified": ["apps/a.yaml", "README.md"]}]
}"""


def receiver(whole: str = "", *own: str) -> Receiver:
    resources = tuple(
        ReceiverResource(kind="ImageRepository", name="podinfo", filter=each)
        for each in own or [""]
    )
    spec = ReceiverSpec(type="generic", resources=resources, resource_filter=whole)
    return Receiver(metadata=meta.ObjectMeta(name="hook", namespace="apps"), spec=spec)


@pytest.fixture
async def context() -> Any:
    threads = Threads()
    yield SimpleNamespace(threads=threads)
    await threads.aclose()


async def passes(context: Any, whole: str, own: str = "", call: Call | None = None) -> bool:
    call = call or Call("application/json", PUSHED)
    ((_, found),) = await filters.of_call(context, receiver(whole, own), call)
    return found.passes(OBJECT)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("true", True),
        ("req.action == 'published'", True),
        ("req.ref == 'refs/heads/' + 'release'", False),
        ("req.image.source.split(':')[0] == res.metadata.annotations['image']", True),
        ("req.image.source.split(':').last().value().startsWith('v')", True),
        ("req.image.source.contains(res.metadata.name)", True),
        ("req.commits.exists(c, c.modified.exists(f, f.startsWith('apps/')))", True),
        ("res.kind == 'ImageRepository' && res.apiVersion.endsWith('/v1')", True),
        ("req.id == 12345678901 && req.id > 1 && type(req.id) == double", True),
        ("type(res.metadata.generation) == double && res.metadata.generation == 3", True),
        ("req.yes == true && req.ratio > 1.0", True),
        ("has(res.spec)", False),
        ("has(req.nothing) || 'nothing' in req", False),
    ],
)
async def test_expression_over_the_call_and_the_object(
    context: Any, expression: str, expected: bool
) -> None:
    assert await passes(context, expression) is expected
    assert await passes(context, "", expression) is expected


@pytest.mark.parametrize(
    ("whole", "own", "expected"),
    [("true", "true", True), ("true", "false", False), ("false", "true", False), ("", "", True)],
)
async def test_both_filters_must_hold(context: Any, whole: str, own: str, expected: bool) -> None:
    assert await passes(context, whole, own) is expected


async def test_each_resource_has_its_own_filter(context: Any) -> None:
    found = await filters.of_call(context, receiver("true", "true", "false", ""), Call())
    assert [each.passes(OBJECT) for _, each in found] == [True, False, True]


async def test_receiver_without_expressions_asks_nothing(context: Any) -> None:
    ((_, found),) = await filters.of_call(context, receiver(), Call("application/json", b"{"))
    assert not found
    assert found.passes({})


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_body_that_is_not_declared_as_json_is_not_seen(
    context: Any, content_type: str
) -> None:
    assert await passes(context, "size(req) == 0", call=Call(content_type, PUSHED))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"1", b"\xff", b"[" * 100_000])
async def test_declared_body_that_is_no_json_object_cannot_be_filtered_by(
    context: Any, body: bytes
) -> None:
    with pytest.raises(FilterError):
        await passes(context, "true", call=Call("application/json", body))


async def test_error_inside_an_expression_is_told(context: Any) -> None:
    with pytest.raises(cel.EvaluationError, match="no such key: nothing"):
        await passes(context, "req.nothing == 1")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (receiver("'test'"), "CEL expression output type mismatch: expected bool, got string"),
        (receiver("req.ok"), "CEL expression output type mismatch: expected bool, got dyn"),
        (receiver("request.ok == 1"), "failed to parse the CEL expression 'request.ok == 1': "),
        (receiver("", "true", "req."), "resources[1].filter: failed to parse the CEL expression"),
    ],
)
def test_expression_that_can_never_work_is_terminal(bad: Receiver, message: str) -> None:
    with pytest.raises(TerminalError) as caught:
        filters.check(bad)
    assert caught.value.reason == meta.INVALID_CEL_EXPRESSION
    prefix = "Reconciliation failed terminally due to configuration error: "
    assert caught.value.message.startswith(prefix + message)


def test_good_expressions_pass_the_check() -> None:
    filters.check(receiver("req.a == 1", "res.metadata.name == 'x'", ""))
    filters.check(receiver())
