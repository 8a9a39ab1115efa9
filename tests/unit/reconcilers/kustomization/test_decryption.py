"""Building what is encrypted, with the real sops and gpg."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from reconcilers.context import Tools
from reconcilers.kustomization import keys as decryption_keys
from reconcilers.kustomization import manifest, planning, private, store
from reconcilers.kustomization.manifest import BuildError
from reconcilers.kustomization.sealed import Sealed
from reconcilers.kustomization.variables import Variables
from runtime.errors import TransientError
from runtime.limits import Threads
from tests.support import encrypting
from tests.support.building import SPEC, make
from tests.support.encrypting import seal
from tests.support.kustomizer import MemoryTree, config_map, kustomize_program

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from reconcilers.kustomization.build import Builder
    from reconcilers.kustomization.keys import Keys
    from tests.support.encrypting import PgpKey

AGE = encrypting.age_key()
KEYS = decryption_keys.of_secret({"a.agekey": AGE.identity.encode()}, "ns/sops")
FINISH = manifest.Finish({"kustomize.toolkit.fluxcd.io/name": "apps"})
SECRET = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: ns\n"


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    made = Threads()
    yield made
    await made.aclose()


@pytest.fixture
def builder(tmp_path: Path, threads: Threads) -> Builder:
    program = encrypting.sops_program()
    return make(tmp_path, threads, tools=Tools(kustomize_program(), "v5.8.2", program))


@pytest.fixture(scope="module")
def pgp() -> Iterator[PgpKey]:
    with encrypting.pgp_key() as key:
        yield key


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path: Path) -> Iterator[None]:
    """Look everywhere a build writes for what must not stay."""
    yield
    folders = private.PrivateFolders(tmp_path / "builds")
    assert not list(private._parent().glob(f"{folders._prefix}*"))
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in found if b"hunter2" in path.read_bytes()]


def request(
    files: dict[str, str], keys: Keys = KEYS, variables: Variables | None = None
) -> planning.Request:
    return planning.Request("ns.apps", MemoryTree(files), SPEC, FINISH, variables, keys)


def secret(name: str = "s", value: str = "hunter2") -> str:
    return SECRET.format(name=name) + f"stringData:\n  k: {value}\n"


async def objects(builder: Builder, wanted: planning.Request) -> dict[str, Any]:
    built = await builder.build(wanted)
    with store.Reader(built.build) as reader:
        found = [orjson.loads(reader.read(item)) for item in built.build.desired]
    return {each["metadata"]["name"]: each for each in found}


def decoded(obj: dict[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in obj["data"].items()}


async def test_encrypted_secret_is_opened_and_its_block_is_gone(builder: Builder) -> None:
    files = {"s.yaml": seal(secret(), AGE), "c.yaml": config_map("c", "ns", k="1")}
    found = await objects(builder, request(files))
    assert decoded(found["s"]) == {"k": "hunter2"}
    assert "sops" not in found["s"]
    assert found["c"]["data"] == {"k": "1"}


async def test_object_of_another_kind_is_opened_too(builder: Builder) -> None:
    text = "apiVersion: x.io/v1\nkind: Foo\nmetadata: {name: a}\nspec: {token: hunter2, n: 3}\n"
    found = await objects(builder, request({"a.yaml": seal(text, AGE, only="^spec$")}))
    assert found["a"]["spec"] == {"token": "hunter2", "n": 3}


async def test_directory_without_anything_encrypted_needs_no_kustomize(builder: Builder) -> None:
    built = await builder.build(request({"c.yaml": config_map("c", "ns", k="1")}))
    assert built.way == "plain"


async def test_values_of_a_secret_are_opened_in_every_format(builder: Builder) -> None:
    texts = {
        "a.yaml": seal("password: hunter2\n", AGE, only=""),
        "b.json": seal('{"password": "hunter2"}', AGE, "json", only=""),
        "c.env": seal("password=hunter2\n", AGE, "dotenv", only=""),
        "d.ini": seal("[a]\npassword = hunter2\n", AGE, "ini", only=""),
        "e": seal(b"\x00hunter2", AGE, "binary", only=""),
        "plain": "hello",
    }
    lines = [f"  {key}: {base64.b64encode(text.encode()).decode()}" for key, text in texts.items()]
    text = SECRET.format(name="s") + "data:\n" + "\n".join(lines) + "\n"
    found = decoded((await objects(builder, request({"s.yaml": text})))["s"])
    assert found["a.yaml"] == "password: hunter2\n"
    assert orjson.loads(found["b.json"]) == {"password": "hunter2"}
    assert found["c.env"] == "password=hunter2\n"
    assert "hunter2" in found["d.ini"]
    assert found["e"] == "\x00hunter2"
    assert found["plain"] == "hello"


async def test_files_that_generators_and_patches_read_are_opened_before_the_build(
    builder: Builder,
) -> None:
    kustomization = (
        "resources: [base, c.yaml]\ngeneratorOptions: {disableNameSuffixHash: true}\n"
        "secretGenerator:\n- name: files\n  namespace: ns\n"
        "  files: [config.yaml=sealed.txt, token]\n"
        "- name: envs\n  namespace: ns\n  envs: [vars.env]\npatches: [{path: patch.yaml}]\n"
    )
    files = {
        "kustomization.yaml": kustomization,
        "c.yaml": config_map("c", "ns", k="1"),
        "sealed.txt": seal("password: hunter2\n", AGE, only=""),
        "token": seal(b"hunter2", AGE, "binary", only=""),
        "vars.env": seal("A=hunter2\n", AGE, "dotenv", only=""),
        "patch.yaml": seal(config_map("c", "ns", k="hunter2"), AGE),
        "base/kustomization.yaml": "secretGenerator:\n- name: base\n  namespace: ns\n"
        "  envs: [b.env]\ngeneratorOptions: {disableNameSuffixHash: true}\n",
        "base/b.env": seal("B=hunter2\n", AGE, "dotenv", only=""),
    }
    found = await objects(builder, request(files))
    assert decoded(found["files"]) == {"config.yaml": "password: hunter2\n", "token": "hunter2"}
    assert decoded(found["envs"]) == {"A": "hunter2"}
    assert decoded(found["base"]) == {"B": "hunter2"}
    assert found["c"]["data"] == {"k": "hunter2"}


async def test_pgp_keys_open_what_is_encrypted_for_them(builder: Builder, pgp: PgpKey) -> None:
    keys = decryption_keys.of_secret({"dev.asc": pgp.private}, "ns/sops")
    found = await objects(builder, request({"s.yaml": seal(secret(), pgp)}, keys))
    assert decoded(found["s"]) == {"k": "hunter2"}


async def test_pgp_key_that_is_none_is_named(builder: Builder, pgp: PgpKey) -> None:
    keys = decryption_keys.of_secret({"dev.asc": b"nonsense"}, "ns/sops")
    with pytest.raises(TransientError) as error:
        await builder.build(request({"s.yaml": seal(secret(), pgp)}, keys))
    head = "failed to import 'dev.asc' data from sops decryption Secret 'ns/sops': "
    assert error.value.message.startswith(head)


async def test_unchanged_secret_costs_no_process(
    builder: Builder, tmp_path: Path, threads: Threads
) -> None:
    files = {"s.yaml": seal(secret(), AGE)}
    await objects(builder, request(files))
    builder._workplace.sops._program = tmp_path / "none"
    again = request(files | {"c.yaml": config_map("c", "ns", k="1")})
    assert decoded((await objects(builder, again))["s"]) == {"k": "hunter2"}
    await threads.run(builder._store.drop, "ns.apps")
    assert decoded((await objects(builder, again))["s"]) == {"k": "hunter2"}
    with pytest.raises(BuildError, match="decryption failed for"):
        await builder.build(request({"s.yaml": seal(secret(), AGE)}))


async def test_file_for_somebody_else_names_the_object_and_the_recipient(builder: Builder) -> None:
    other = encrypting.age_key()
    with pytest.raises(BuildError) as error:
        await builder.build(request({"s.yaml": seal(secret(), other)}))
    message = str(error.value)
    assert message.startswith("decryption failed for 'Secret.v1.[noGrp]/s': Failed to get the data")
    assert other.recipient in message
    assert AGE.identity not in message


async def test_generator_input_for_somebody_else_names_the_file(builder: Builder) -> None:
    files = {
        "kustomization.yaml": "secretGenerator: [{name: a, envs: [a.env]}]\n",
        "a.env": seal("A=hunter2\n", encrypting.age_key(), "dotenv", only=""),
    }
    with pytest.raises(BuildError, match=r"error decrypting sources: a\.env: Failed to get"):
        await builder.build(request(files))


async def test_object_that_was_reordered_or_renamed_is_opened_and_a_changed_file_is_not(
    builder: Builder,
) -> None:
    renamed = seal(secret(), AGE).replace("name: s\n", "name: t\n")
    assert decoded((await objects(builder, request({"s.yaml": renamed})))["t"]) == {"k": "hunter2"}
    files = {
        "kustomization.yaml": "secretGenerator: [{name: a, files: [a.yaml]}]\n",
        "a.yaml": seal("a: hunter2\nb_unencrypted: x\n", AGE, only="").replace(": x\n", ": y\n"),
    }
    with pytest.raises(BuildError, match=r"error decrypting sources: a.yaml: MAC mismatch"):
        await builder.build(request(files))


async def test_annotation_leaves_an_object_as_it_is(builder: Builder) -> None:
    text = (
        "apiVersion: x.io/v1\nkind: Foo\nmetadata:\n  name: a\n  annotations:\n"
        "    kustomize.toolkit.fluxcd.io/decrypt: Disabled\nspec: {token: hunter2}\n"
    )
    found = await objects(builder, request({"a.yaml": seal(text, AGE, only="^spec$")}))
    assert found["a"]["spec"]["token"].startswith("ENC[")


async def test_secret_that_opts_out_is_refused_like_one_without_decryption(
    builder: Builder,
) -> None:
    text = secret().replace(
        "  namespace: ns\n",
        "  namespace: ns\n  annotations: {kustomize.toolkit.fluxcd.io/decrypt: disabled}\n",
    )
    with pytest.raises(TransientError, match="Secret/ns/s is SOPS encrypted"):
        await builder.build(request({"s.yaml": seal(text, AGE)}))


async def test_variables_are_replaced_in_what_was_opened(builder: Builder) -> None:
    variables = Variables({"v": "yes"}, ("1",))
    files = {"s.yaml": seal(secret(value="hunter2-${v}"), AGE)}
    found = await objects(builder, request(files, variables=variables))
    assert decoded(found["s"]) == {"k": "hunter2-yes"}


async def test_too_large_a_file_is_refused(builder: Builder) -> None:
    text = seal("A=hunter2\n", AGE, "dotenv", only="") + "#" * (5 * 1024 * 1024)
    files = {"kustomization.yaml": "secretGenerator: [{name: a, envs: [a.env]}]\n", "a.env": text}
    with pytest.raises(BuildError, match=r"a.env: cannot decrypt file with size \(52\d+ bytes\)"):
        await builder.build(request(files))


async def test_path_out_of_the_source_is_refused(builder: Builder) -> None:
    files = {"kustomization.yaml": "secretGenerator: [{name: a, envs: [../../etc/passwd]}]\n"}
    with pytest.raises(BuildError, match="leaves the source's root"):
        await builder.build(request(files))


async def test_two_kustomization_files_in_one_directory_are_refused(builder: Builder) -> None:
    files = {
        "kustomization.yaml": "resources: [base]\n",
        "base/kustomization.yaml": "{}\n",
        "base/Kustomization": "{}\n",
    }
    with pytest.raises(BuildError, match="found multiple kustomization files in base"):
        await builder.build(request(files))


async def test_missing_program_says_what_to_do(tmp_path: Path, threads: Threads) -> None:
    without = make(tmp_path, threads)
    with pytest.raises(BuildError, match=r"sops program was not found; install it or name it"):
        await without.build(request({"s.yaml": seal(secret(), AGE)}))


async def test_leftovers_of_a_killed_process_are_swept(
    builder: Builder, tmp_path: Path, threads: Threads
) -> None:
    folders = private.PrivateFolders(tmp_path / "builds")
    left = await threads.run(folders.make)
    build = tmp_path / "builds/build-x"
    await threads.run(build.mkdir, parents=True)
    await builder.build(request({"c.yaml": config_map("c", "ns", k="1")}))
    assert not await threads.run(left.exists)
    assert not await threads.run(build.exists)


async def test_program_reaches_no_network_without_credentials_of_a_service(
    builder: Builder, tmp_path: Path, threads: Threads
) -> None:
    spy = tmp_path / "sops"
    await threads.run(spy.write_text, '#!/bin/sh\n/usr/bin/env > "$HOME/../seen"\necho "{}"\n')
    await threads.run(spy.chmod, 0o755)
    builder._workplace.sops._program = spy
    seen = await threads.run(private._parent) / "seen"
    try:
        for secrets, proxy in (({}, True), ({"sops.vault-token": b"t"}, False)):
            keys = decryption_keys.of_secret({"a.agekey": AGE.identity.encode()} | secrets, "n/s")
            await builder._workplace.sops.open(keys, [_sealed(str(proxy))])
            env = await threads.run(seen.read_text)
            assert ("HTTPS_PROXY=http://127.0.0.1:9" in env) is proxy
            assert "SOPS_AGE_KEY=AGE-SECRET-KEY-1" in env
            assert "HOME=/root" not in env
            assert "SOPS_CONFIG=/dev/null" in env
    finally:
        await threads.run(seen.unlink)


def _sealed(text: str) -> Sealed:
    return Sealed(text.encode(), "json", "json", is_whole=True)
