"""Building: what is built again, what is copied, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api.kustomize import CommonMetadata, Image, KustomizationSpec, Patch, Selector
from reconcilers.context import Tools
from reconcilers.kustomization import build, manifest, planning, store
from reconcilers.kustomization.manifest import BuildError
from runtime.limits import Threads
from tests.support.building import SPEC, make
from tests.support.kustomizer import MemoryTree, config_map

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sources.tree import Entry
    from tests.support.kustomizer import Files

FINISH = manifest.Finish({"kustomize.toolkit.fluxcd.io/name": "apps"})


class Counting(MemoryTree):
    """A tree that notes which files were read."""

    def __init__(self, files: Files) -> None:
        super().__init__(files)
        self.read_paths: list[str] = []
        self.listed = 0

    def entries(self) -> list[Entry]:
        self.listed += 1
        return super().entries()

    def read(self, path: str) -> bytes:
        self.read_paths.append(path)
        return super().read(path)


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    made = Threads()
    yield made
    await made.aclose()


@pytest.fixture
def builder(tmp_path: Path, threads: Threads) -> build.Builder:
    return make(tmp_path, threads)


def request(files: Files, *, finish: manifest.Finish = FINISH, **spec: Any) -> planning.Request:
    merged = KustomizationSpec(
        **{
            name: spec.get(name, getattr(SPEC, name))
            for name in KustomizationSpec.__struct_fields__
        }
    )
    return planning.Request("ns.apps", Counting(files), merged, finish)


def read_paths(asked: planning.Request) -> list[str]:
    assert isinstance(asked.tree, Counting)
    return asked.tree.read_paths


def objects(built: build.Built) -> list[dict[str, Any]]:
    with store.Reader(built.build) as reader:
        return [orjson.loads(reader.read(item)) for item in built.build.desired]


def many(number: int) -> dict[str, str | bytes]:
    return {f"{n:04}.yaml": config_map(f"cm{n}", "ns", k="1") for n in range(number)}


async def test_tree_of_many_kustomizations_is_listed_once(builder: build.Builder) -> None:
    files = {f"{name}/a.yaml": config_map(name, "ns", k="1") for name in ("a", "b", "c")}
    first = request(files, path="./a")
    tree = first.tree
    assert isinstance(tree, Counting)
    for name in ("a", "b", "c"):
        asked = replace(first, name=f"ns.{name}", spec=request(files, path=f"./{name}").spec)
        assert objects(await builder.build(asked))[0]["metadata"]["name"] == name
    assert tree.listed == 1


async def test_plain_directory_needs_no_kustomize(tmp_path: Path, threads: Threads) -> None:
    built = await make(tmp_path, threads, tools=Tools()).build(request(many(3)))
    assert built.way == "plain"
    assert [obj["metadata"]["name"] for obj in objects(built)] == ["cm0", "cm1", "cm2"]
    assert objects(built)[0]["metadata"]["labels"] == FINISH.owner_labels


async def test_same_content_is_not_built_again(builder: build.Builder) -> None:
    first = await builder.build(request(many(3)))
    again = request(many(3))
    second = await builder.build(again)
    assert second.way == "reused"
    assert second.build is first.build
    assert not read_paths(again)


async def test_one_changed_file_is_the_only_one_read(builder: build.Builder) -> None:
    await builder.build(request(many(20)))
    changed = request(many(20) | {"0007.yaml": config_map("cm7", "ns", k="2")})
    built = await builder.build(changed)
    assert read_paths(changed) == ["0007.yaml"]
    assert objects(built)[7]["data"] == {"k": "2"}
    assert objects(built)[19]["data"] == {"k": "1"}


async def test_restart_takes_the_file_without_reading_a_manifest(
    tmp_path: Path, threads: Threads
) -> None:
    await make(tmp_path, threads).build(request(many(5)))
    again = request(many(5))
    built = await make(tmp_path, threads).build(again)
    assert built.way == "reused"
    assert not read_paths(again)
    assert len(objects(built)) == 5


async def test_fields_that_were_left_out_are_remembered_over_a_restart(
    tmp_path: Path, threads: Threads
) -> None:
    files = {"a.yaml": config_map("a", "ns", k="1") + "\ndta: {}\n"}
    for way in ("plain", "reused"):
        built = await make(tmp_path, threads).build(request(files))
        assert built.way == way
        assert [item.unknown for item in built.build.desired] == [("dta",)]
        assert "dta" not in objects(built)[0]


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"x" * 4000])
async def test_damaged_file_is_built_again(tmp_path: Path, threads: Threads, damage: bytes) -> None:
    built = await make(tmp_path, threads).build(request(many(5)))
    built.build.path.write_bytes(damage)
    again = await make(tmp_path, threads).build(request(many(5)))
    assert again.way == "plain"
    assert len(objects(again)) == 5


async def test_file_lost_under_a_running_daemon_is_built_again(builder: build.Builder) -> None:
    built = await builder.build(request(many(5)))
    built.build.path.unlink()
    again = await builder.build(request(many(5) | {"0001.yaml": config_map("cm1", "ns", k="2")}))
    assert len(objects(again)) == 5


async def test_build_file_is_private(builder: build.Builder) -> None:
    built = await builder.build(request(many(1)))
    assert built.build.path.stat().st_mode & 0o777 == 0o600


async def test_other_common_metadata_builds_everything_again(builder: build.Builder) -> None:
    await builder.build(request(many(2)))
    finish = manifest.Finish(FINISH.owner_labels, {"team": "x"})
    built = await builder.build(
        request(many(2), finish=finish, common_metadata=CommonMetadata(labels={"team": "x"}))
    )
    assert all(obj["metadata"]["labels"]["team"] == "x" for obj in objects(built))


async def test_files_beside_the_path_do_not_matter(builder: build.Builder) -> None:
    await builder.build(request({"a/x.yaml": config_map("a", "ns"), "b/y.yaml": "one"}, path="a"))
    built = await builder.build(
        request({"a/x.yaml": config_map("a", "ns"), "b/y.yaml": "two"}, path="./a/")
    )
    assert built.way == "reused"


async def test_overlay_depends_on_its_bases_and_on_nothing_else(builder: build.Builder) -> None:
    files = {
        "base/kustomization.yaml": "resources: [cm.yaml]\n",
        "base/cm.yaml": config_map("a", "ns", k="1"),
        "overlay/kustomization.yaml": "resources: [../base]\npatches: [{path: p.yaml}]\n",
        "overlay/p.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: ns}\n"
        "data: {p: x}\n",
        "other/x.yaml": "one",
    }
    built = await builder.build(request(files, path="overlay"))
    assert built.way == "kustomize"
    assert objects(built)[0]["data"] == {"k": "1", "p": "x"}
    same = await builder.build(request(files | {"other/x.yaml": "two"}, path="overlay"))
    assert same.way == "reused"
    files["base/cm.yaml"] = config_map("a", "ns", k="2")
    other = await builder.build(request(files, path="overlay"))
    assert other.way == "kustomize"
    assert objects(other)[0]["data"] == {"k": "2", "p": "x"}


async def test_spec_changes_reach_kustomize(builder: build.Builder) -> None:
    deployment = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"
        "spec: {template: {spec: {containers: [{name: c, image: 'nginx:1'}]}}}\n"
    )
    built = await builder.build(
        request(
            {"d.yaml": deployment},
            name_prefix="pre-",
            target_namespace="there",
            images=(Image(name="nginx", new_tag="2"),),
            patches=(
                Patch(
                    patch='[{"op": "add", "path": "/spec/replicas", "value": 3}]',
                    target=Selector(kind="Deployment"),
                ),
            ),
        )
    )
    (found,) = objects(built)
    assert found["metadata"]["name"] == "pre-d"
    assert found["metadata"]["namespace"] == "there"
    assert found["spec"]["replicas"] == 3
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:2"


async def test_patches_and_names_of_the_spec_come_after_those_of_the_file(
    builder: build.Builder,
) -> None:
    file = (
        "resources: [c.yaml]\nnamePrefix: inner-\nnameSuffix: -inner\n"
        "patches: [{target: {kind: ConfigMap}, patch: "
        '\'[{"op": "add", "path": "/data", "value": {"from": "file", "only": "file"}}]\'}]\n'
    )
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
    patch = '[{"op": "replace", "path": "/data/from", "value": "spec"}]'
    built = await builder.build(
        request(
            {"kustomization.yaml": file, "c.yaml": config},
            name_prefix="outer-",
            patches=(Patch(patch=patch, target=Selector(kind="ConfigMap")),),
        )
    )
    (found,) = objects(built)
    assert found["data"] == {"from": "spec", "only": "file"}
    assert found["metadata"]["name"] == "outer-c-inner"


async def test_nested_kustomization_is_a_resource_of_the_generated_one(
    builder: build.Builder,
) -> None:
    files = {
        "x.yaml": config_map("x", "ns"),
        "sub/kustomization.yaml": "namePrefix: p-\nresources: [y.yaml]\n",
        "sub/y.yaml": config_map("y", "ns"),
        "sub/not-listed.yaml": config_map("z", "ns"),
    }
    built = await builder.build(request(files))
    assert sorted(obj["metadata"]["name"] for obj in objects(built)) == ["p-y", "x"]


async def test_scalar_that_kustomize_reads_otherwise_goes_through_kustomize(
    builder: build.Builder,
) -> None:
    text = "apiVersion: x.io/v1\nkind: Foo\nmetadata: {name: a}\nspec: {v: yes}\n"
    built = await builder.build(request({"x.yaml": text}))
    assert built.way == "kustomize"
    assert objects(built)[0]["spec"] == {"v": "yes"}


async def test_empty_directory_builds_nothing(builder: build.Builder) -> None:
    built = await builder.build(request({"README.md": "hello"}))
    assert built.build.desired == []


async def test_lists_are_flattened(builder: build.Builder) -> None:
    text = orjson.dumps(
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
                for name in ("a", "b")
            ],
        }
    )
    built = await builder.build(request({"x.yaml": text}))
    assert [obj["metadata"]["name"] for obj in objects(built)] == ["a", "b"]


async def test_five_megabyte_manifest_builds(builder: build.Builder) -> None:
    built = await builder.build(
        request({"x.yaml": config_map("a", "ns") + "data:\n  k: " + "x" * 5_000_000 + "\n"})
    )
    assert built.build.desired[0].length > 5_000_000


async def test_missing_kustomize_says_what_to_do(tmp_path: Path, threads: Threads) -> None:
    without = make(tmp_path, threads, tools=Tools())
    with pytest.raises(BuildError, match=r"install it or name it in config.toml"):
        await without.build(request({"kustomization.yaml": "resources: []\n"}))


async def test_unknown_fields_of_the_root_file_vanish(builder: build.Builder) -> None:
    files = {
        "kustomization.yaml": "resources: [x.yaml]\nunknownField: 1\n",
        "x.yaml": config_map("a", "ns"),
    }
    assert len((await builder.build(request(files))).build.desired) == 1


async def test_remote_base_is_refused_where_settings_say_so(
    tmp_path: Path, threads: Threads
) -> None:
    strict = make(tmp_path, threads, allow_remote_bases=False)
    files = {"kustomization.yaml": "resources: [https://example.com/base?ref=v1]\n"}
    with pytest.raises(BuildError, match=r"remote bases are not allowed: https://example.com"):
        await strict.build(request(files))


async def test_nothing_is_left_behind_by_a_build_that_fails(
    builder: build.Builder, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="kustomize build failed"):
        await builder.build(request({"kustomization.yaml": "resources: [none.yaml]\n"}))
    assert not list((tmp_path / "builds").glob("build-*"))


async def test_message_never_quotes_an_object(builder: build.Builder) -> None:
    files = {
        "kustomization.yaml": "resources: [s.yaml]\n",
        "s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {1: hunter2}\n",
    }
    with pytest.raises(BuildError) as caught:
        await builder.build(request(files))
    assert "hunter2" not in str(caught.value)


async def test_same_object_in_two_api_versions_is_refused(builder: build.Builder) -> None:
    text = "apiVersion: x.io/{}\nkind: Foo\nmetadata: {{name: a}}\n"
    files = {"a.yaml": text.format("v1"), "b.yaml": text.format("v2")}
    with pytest.raises(BuildError, match="Foo/a is declared twice"):
        await builder.build(request(files))


async def test_missing_components_are_skipped_only_where_asked(builder: build.Builder) -> None:
    files = {"kustomization.yaml": "resources: [x.yaml]\n", "x.yaml": config_map("a", "ns")}
    built = await builder.build(
        request(files, components=("none",), ignore_missing_components=True)
    )
    assert len(built.build.desired) == 1
    with pytest.raises(BuildError):
        await builder.build(request(files, components=("none",)))
    with pytest.raises(BuildError, match="must be local and relative"):
        await builder.build(request(files, components=("https://example.com/c",)))


def directories(tmp_path: Path) -> dict[str, set[str]]:
    """Return the files in each build directory."""
    return {
        each.name: {str(file.relative_to(each)) for file in each.rglob("*") if file.is_file()}
        for each in (tmp_path / "builds").glob("build-*")
    }


def overlay(number: int, value: str = "1") -> Files:
    """Return a directory of ConfigMaps that kustomize builds; the first says something."""
    files = {
        f"{n}.yaml": config_map(f"cm{n}", "ns", k=value if n == 0 else "1") for n in range(number)
    }
    return files | {"kustomization.yaml": f"resources: [{', '.join(files)}]\n"}


async def test_second_build_with_kustomize_reads_only_what_changed(
    builder: build.Builder, tmp_path: Path
) -> None:
    await builder.build(request(overlay(5)))
    (kept,) = directories(tmp_path)
    asked = request(overlay(5, "2"))
    built = await builder.build(asked)
    assert objects(built)[0]["data"] == {"k": "2"}
    assert set(read_paths(asked)) == {"kustomization.yaml", "0.yaml"}
    assert set(directories(tmp_path)) == {kept}


async def test_what_the_spec_adds_is_not_kept(builder: build.Builder, tmp_path: Path) -> None:
    text = config_map("cm0", "ns", k="1", s="hush")
    built = await builder.build(request(overlay(2), patches=(Patch(patch=text),)))
    assert objects(built)[0]["data"] == {"k": "1", "s": "hush"}
    assert list(directories(tmp_path).values()) == [{"0.yaml", "1.yaml"}]


async def test_directories_of_an_earlier_process_are_removed(
    tmp_path: Path, threads: Threads
) -> None:
    await make(tmp_path, threads).build(request(overlay(2)))
    (before,) = directories(tmp_path)
    later = make(tmp_path, threads)
    await later.build(request(overlay(2, "2")))
    assert before not in directories(tmp_path)


async def test_dropped_build_leaves_no_directory(builder: build.Builder, tmp_path: Path) -> None:
    await builder.build(request(overlay(2)))
    await builder._workplace.drop("ns.apps")
    assert directories(tmp_path) == {}
