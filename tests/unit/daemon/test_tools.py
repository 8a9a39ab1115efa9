from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon import settings, tools
from reconcilers.context import Tools

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.blocking("what a start looks at is looked at before anything is served")


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes a program that prints something for its version."""

    def make(relative: str, output: str) -> Path:
        path = tmp_path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho '{output}'\n")
        path.chmod(0o755)
        return path

    return make


def using(data_dir: Path, named: Path | None = None) -> settings.Settings:
    return settings.Settings(
        daemon=settings.Daemon(data_dir=data_dir), tools=settings.Tools(kustomize=named)
    )


async def test_setting_wins_over_the_tools_folder_and_path(
    tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = program("named/kustomize", "v5.8.2")
    beside = program("data/tools/kustomize", "v5.7.0")
    on_path = program("bin/kustomize", "v5.6.0")
    monkeypatch.setenv("PATH", str(on_path.parent))
    data = tmp_path / "data"

    assert tools.find_kustomize(using(data, named)) == named
    assert tools.find_kustomize(using(data)) == beside
    beside.unlink()
    assert tools.find_kustomize(using(data)) == on_path


async def test_missing_program_is_answered_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    found, complaint = await tools.look(using(tmp_path))

    assert found.kustomize is None
    assert complaint.startswith("kustomize is not installed; ")
    assert "install it with `brew" in complaint or "put it on PATH" in complaint


async def test_named_program_that_is_none_is_told_with_its_setting(tmp_path: Path) -> None:
    _, complaint = await tools.look(using(tmp_path, tmp_path / "nothing"))

    assert complaint.startswith("[tools] kustomize = ")


async def test_version_is_part_of_what_is_found(
    tmp_path: Path, program: Callable[[str, str], Path]
) -> None:
    named = program("kustomize", "v5.8.2")

    found, complaint = await tools.look(using(tmp_path, named))

    assert (found.kustomize, found.kustomize_version, complaint) == (named, "v5.8.2", "")


@pytest.mark.parametrize(
    ("output", "said"), [("v4.5.7", "too old"), ("hello", "does not tell its version")]
)
async def test_program_that_is_too_old_or_something_else_is_told(
    tmp_path: Path, program: Callable[[str, str], Path], output: str, said: str
) -> None:
    _, complaint = await tools.look(using(tmp_path, program("kustomize", output)))

    assert said in complaint


async def test_sops_is_looked_for_in_the_same_places_and_missed_by_nobody_else(
    tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    kustomize = program("data/tools/kustomize", "v5.8.2")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    data = using(tmp_path / "data")
    helm, cosign = str(tools.find_helm(data)), str(tools.find_cosign(data))
    assert "sops is not installed; install it with" in str(tools.find_sops(data))
    without = Tools(
        kustomize,
        "v5.8.2",
        helm_complaint=helm,
        cosign_complaint=cosign,
        notation_complaint=str(tools.find_notation(data)),
    )
    assert await tools.look(data) == (without, "")
    on_path = program("bin/sops", "sops 3.13.3")
    assert (await tools.look(data))[0].sops == on_path
    beside = program("data/tools/sops", "sops 3.13.3")
    assert (await tools.look(data))[0].sops == beside


async def test_cosign_is_looked_for_in_the_same_places(
    tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    data = using(tmp_path / "data")
    assert "sigstore/cosign/v3/cmd/cosign@" in (await tools.look(data))[0].cosign_complaint
    beside = program("data/tools/cosign", "v3.1.3")
    found, _ = await tools.look(data)
    assert (found.cosign, found.cosign_complaint) == (beside, "")


async def test_notation_is_looked_for_in_the_same_places(
    tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    data = using(tmp_path / "data")
    complaint = (await tools.look(data))[0].notation_complaint
    assert complaint.startswith("notation is not installed; ")
    assert complaint.endswith("or name it in config.toml as [tools] notation")
    beside = program("data/tools/notation", "1.3.2")
    found, _ = await tools.look(data)
    assert (found.notation, found.notation_complaint) == (beside, "")


async def test_named_sops_that_is_none_is_told_with_its_setting(tmp_path: Path) -> None:
    named = settings.Tools(sops=tmp_path / "nothing")
    found = tools.find_sops(settings.Settings(tools=named))
    assert str(found).startswith("[tools] sops = ")


async def test_helm_is_found_with_its_version(
    tmp_path: Path, program: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    data = using(tmp_path / "data")
    beside = program("data/tools/helm", "v4.3.1")

    found, complaint = await tools.look(data)

    assert (found.helm, found.helm_version, found.helm_complaint) == (beside, "v4.3.1", "")
    assert complaint.startswith("kustomize is not installed")


async def test_helm_3_is_refused_with_what_to_install(
    tmp_path: Path, program: Callable[[str, str], Path]
) -> None:
    three = settings.Tools(helm=program("helm", "v3.19.0"))
    loaded = settings.Settings(daemon=settings.Daemon(data_dir=tmp_path), tools=three)

    found, _ = await tools.look(loaded)

    assert found.helm is None
    assert "is v3.19.0, which is too old; " in found.helm_complaint


async def test_missing_helm_is_told_only_to_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    found, complaint = await tools.look(using(tmp_path))

    assert "helm is not installed; " in found.helm_complaint
    assert "helm" not in complaint
