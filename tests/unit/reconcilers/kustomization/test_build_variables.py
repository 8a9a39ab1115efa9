"""Building with variables: which way is taken, what is read again, what never meets the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from reconcilers.kustomization import build, manifest, planning, store
from reconcilers.kustomization.manifest import BuildError
from reconcilers.kustomization.variables import Variables
from runtime.limits import Threads
from tests.support.building import SPEC, make
from tests.support.kustomizer import MemoryTree, config_map

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FINISH = manifest.Finish({"kustomize.toolkit.fluxcd.io/name": "apps"})


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    made = Threads()
    yield made
    await made.aclose()


@pytest.fixture
def builder(tmp_path: Path, threads: Threads) -> build.Builder:
    return make(tmp_path, threads)


def request(
    files: dict[str, str], version: str = "1", *, is_secret: bool = False, **values: str
) -> planning.Request:
    variables = Variables(values, (version,), is_secret=is_secret)
    return planning.Request("ns.apps", MemoryTree(files), SPEC, FINISH, variables)


def data(built: build.Built) -> list[Any]:
    with store.Reader(built.build) as reader:
        return [orjson.loads(reader.read(item)).get("data") for item in built.build.desired]


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_quotes_do_not_survive_so_kustomize_builds(builder: build.Builder) -> None:
    built = await builder.build(
        request({"a.yaml": config_map("a", "ns", k="${v}", n="1")}, v="yes")
    )
    assert built.way == "kustomize"
    assert data(built) == [{"k": True, "n": "1"}]


async def test_files_without_a_dollar_need_no_kustomize(builder: build.Builder) -> None:
    files = {f"{n}.yaml": config_map(f"cm{n}", "ns", k="yes") for n in range(3)}
    assert (await builder.build(request(files, v="1"))).way == "plain"
    files["1.yaml"] = config_map("cm1", "ns", k="${v}")
    built = await builder.build(request(files, v="x"))
    assert built.way == "kustomize"
    assert data(built) == [{"k": "yes"}, {"k": "x"}, {"k": "yes"}]


async def test_units_of_a_build_without_variables_are_not_copied_into_one_with(
    builder: build.Builder,
) -> None:
    files = {"a.yaml": config_map("a", "ns", k="${v}")}
    without = planning.Request("ns.apps", MemoryTree(files), SPEC, FINISH)
    assert data(await builder.build(without)) == [{"k": "${v}"}]
    assert data(await builder.build(request(files, v="x"))) == [{"k": "x"}]
    assert data(await builder.build(without)) == [{"k": "${v}"}]


async def test_same_versions_are_not_built_again_and_others_are(builder: build.Builder) -> None:
    files = {"a.yaml": config_map("a", "ns", k="${v}")}
    first = await builder.build(request(files, v="x"))
    assert (await builder.build(request(files, v="x"))).build is first.build
    assert data(await builder.build(request(files, version="2", v="z"))) == [{"k": "z"}]


async def test_what_a_secret_holds_never_meets_the_disk(
    builder: build.Builder, tmp_path: Path
) -> None:
    files = {"a.yaml": config_map("a", "ns", k="${v}"), "b.yaml": config_map("b", "ns", k="1")}
    await builder.build(request({"b.yaml": files["b.yaml"]}, is_secret=True))
    built = await builder.build(request(files, is_secret=True, v="hunter2"))
    assert data(built) == [{"k": "hunter2"}, {"k": "1"}]
    kept = files_below(tmp_path)
    assert {file.name for file in kept} == {"a.yaml", "b.yaml"}  # as they are in Git
    assert not [file for file in kept if b"hunter2" in file.read_bytes()]
    assert b"hunter2" not in (built.build.private or b"")
    assert "hunter2" not in repr(built) + repr(request(files, v="hunter2"))


async def test_private_build_is_used_again_until_a_restart(
    builder: build.Builder, tmp_path: Path, threads: Threads
) -> None:
    files = {"a.yaml": config_map("a", "ns", k="${v}")}
    await builder.build(request(files, is_secret=True, v="x"))
    assert (await builder.build(request(files, is_secret=True, v="x"))).way == "reused"
    restarted = make(tmp_path, threads)
    assert (await restarted.build(request(files, is_secret=True, v="x"))).way == "kustomize"


async def test_private_build_copies_what_did_not_change(builder: build.Builder) -> None:
    files = {f"{n}.yaml": config_map(f"cm{n}", "ns", k="${v}") for n in range(3)}
    await builder.build(request(files, is_secret=True, v="x"))
    files["1.yaml"] = config_map("cm1", "ns", k="-${v}-")
    built = await builder.build(request(files, is_secret=True, v="x"))
    assert data(built) == [{"k": "x"}, {"k": "-x-"}, {"k": "x"}]


async def test_build_that_is_private_no_longer_has_a_file_again(
    builder: build.Builder, tmp_path: Path
) -> None:
    files = {"a.yaml": config_map("a", "ns", k="${v}")}
    await builder.build(request(files, is_secret=True, v="x"))
    built = await builder.build(request(files, v="x", version="2"))
    assert built.build.path.is_file()
    assert data(built) == [{"k": "x"}]


async def test_block_scalars_with_backslashes_survive(builder: build.Builder) -> None:
    text = config_map("a", "ns") + "data:\n  k: |\n    match \\? ${v}\n    $${keep}\n"
    built = await builder.build(request({"a.yaml": text}, v="x"))
    assert data(built) == [{"k": "match \\? x\n${keep}\n"}]


async def test_unknown_variable_fails_the_build(builder: build.Builder) -> None:
    with pytest.raises(BuildError, match=r"post build failed for 'ConfigMap.v1.\[noGrp\]/a'"):
        await builder.build(request({"a.yaml": config_map("a", "ns", k="${w}")}, v="x"))
