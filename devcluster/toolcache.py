"""Builds of the Go tools, made once and kept outside the checkout.

A build is named by a digest of everything that decides its content, so another version never meets
it, and it appears under that name by one rename, so a build that was cut short is never used. One
lock lets one build run at a time: two at once would take twice as long and twice the memory.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devcluster import gotoolchain
from devcluster.errors import BuildError
from devcluster.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

COSIGN_VERSION = "v3.1.3"
HELM_VERSION = "v4.3.1"
KUBERNETES_VERSION = "v1.36.3"
KUSTOMIZE_VERSION = "v5.8.2"
KWOK_VERSION = "v0.8.0"
NOTATION_VERSION = "v1.3.2"
"""Of the library, which is also that of the official program that it belongs to."""
REGISTRY_VERSION = "v3.1.2"
SOPS_VERSION = "v3.13.3"

CLUSTER_MODULE = Path(__file__).parent / "cluster"
NOTATION_MODULE = Path(__file__).parent / "notation"
_COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one tool is built.

    Args:
        name: the name of the program that comes out.
        version: shown while building, and part of the build's name.
        ldflags: for ``go build -ldflags``.
        module: a folder with a Go module to build; None installs ``package`` at ``version``.
        package: the path of a Go package, where there is no ``module``.
        links: further names for the program, for one that looks at its own name.
        minutes: how long a first build takes on two cores, for the reader's patience.
    """

    name: str
    version: str
    ldflags: str
    module: Path | None = None
    package: str = ""
    links: tuple[str, ...] = ()
    minutes: int = 1

    @property
    def key(self) -> str:
        """Twelve hex digits that change with anything that changes the program."""
        digest = hashlib.sha256()
        parts = [self.name, self.version, self.ldflags, self.package, sys.platform, machine()]
        digest.update("\0".join(parts).encode())
        if self.module:
            for name in ("go.mod", "go.sum", "main.go"):
                digest.update((self.module / name).read_bytes())
        return digest.hexdigest()[:12]

    def arguments(self) -> list[str]:
        """The arguments after ``go``; the program lands in ``GOBIN`` or beside ``-o``."""
        common = ["-v", "-trimpath", "-ldflags", self.ldflags]
        if self.module:
            return ["build", *common, "-o", self.name, "."]
        return ["install", *common, f"{self.package}@{self.version}"]


def _kubernetes_ldflags() -> str:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    facts = {
        "gitVersion": KUBERNETES_VERSION,
        "gitMajor": major,
        "gitMinor": minor,
        "gitCommit": "devcluster",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
    }
    package = "k8s.io/component-base/version"
    return " ".join(
        ["-s", "-w", *(f"-X {package}.{name}={value}" for name, value in facts.items())]
    )


CLUSTER = Recipe(
    name="devcluster",
    version=KUBERNETES_VERSION,
    ldflags=_kubernetes_ldflags(),
    module=CLUSTER_MODULE,
    links=_COMPONENTS,
    minutes=8,
)
HELM = Recipe(
    name="helm",
    version=HELM_VERSION,
    ldflags=f"-s -w -X helm.sh/helm/v4/internal/version.version={HELM_VERSION}",
    package="helm.sh/helm/v4/cmd/helm",
    minutes=3,
)
KUSTOMIZE = Recipe(
    name="kustomize",
    version=KUSTOMIZE_VERSION,
    ldflags=f"-s -w -X sigs.k8s.io/kustomize/api/provenance.version={KUSTOMIZE_VERSION}",
    package="sigs.k8s.io/kustomize/kustomize/v5",
)
KWOK = Recipe(
    name="kwok",
    version=KWOK_VERSION,
    ldflags=f"-s -w -X sigs.k8s.io/kwok/pkg/consts.Version={KWOK_VERSION}",
    package="sigs.k8s.io/kwok/cmd/kwok",
    minutes=3,
)
SOPS = Recipe(
    name="sops",
    version=SOPS_VERSION,
    ldflags="-s -w",
    package="github.com/getsops/sops/v3/cmd/sops",
    minutes=3,
)
REGISTRY = Recipe(
    name="registry",
    version=REGISTRY_VERSION,
    ldflags=f"-s -w -X github.com/distribution/distribution/v3/version.version={REGISTRY_VERSION}",
    package="github.com/distribution/distribution/v3/cmd/registry",
    minutes=3,
)
COSIGN = Recipe(
    name="cosign",
    version=COSIGN_VERSION,
    ldflags="-s -w",
    package="github.com/sigstore/cosign/v3/cmd/cosign",
    minutes=8,
)
NOTATION = Recipe(
    name="notation",
    version=NOTATION_VERSION,
    ldflags="-s -w",
    module=NOTATION_MODULE,
)
RECIPES = {
    recipe.name: recipe
    for recipe in (CLUSTER, COSIGN, HELM, KUSTOMIZE, KWOK, NOTATION, REGISTRY, SOPS)
}


def machine() -> str:
    """Return Go's name for this machine's architecture."""
    name = platform.machine().lower()
    return {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(
        name, name
    )


def cache_dir() -> Path:
    """Return the folder of everything that is kept between checkouts.

    ``$XDG_CACHE_HOME/gitopsd`` where that is set, ``~/Library/Caches/gitopsd`` on macOS,
    ``~/.cache/gitopsd`` elsewhere.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if given:
        return Path(given) / "gitopsd"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gitopsd"
    return Path.home() / ".cache" / "gitopsd"


def folder(recipe: Recipe) -> Path:
    """Return the folder where a recipe's programs are, or would be."""
    return cache_dir() / "builds" / f"{recipe.name}-{recipe.version}-{recipe.key}"


def ensure(recipe: Recipe) -> Path:
    """Return the folder with a recipe's programs, building them the first time.

    Raises:
        BuildError: the build failed; the message says what to do.
    """
    target = folder(recipe)
    if target.is_dir():
        return target
    with _build_lock():
        if not target.is_dir():
            _build(recipe, target)
    return target


def seed(recipe: Recipe, program: Path) -> Path:
    """Keep a program that was built elsewhere from the same inputs, as if `ensure` had built it."""
    target = folder(recipe)
    with _build_lock():
        if not target.is_dir():
            with _staging(target) as staging:
                shutil.copy2(program, staging / recipe.name)
                _publish(recipe, staging, target)
    return target


def _build(recipe: Recipe, target: Path) -> None:
    go = gotoolchain.find(cache_dir() / "go")
    progress = Progress(
        f"building {recipe.name} {recipe.version} (about {recipe.minutes} min, once)"
    )
    with _staging(target) as staging:
        if recipe.module:
            for name in ("go.mod", "go.sum", "main.go"):
                shutil.copy2(recipe.module / name, staging / name)
        result = gotoolchain.run(go, recipe.arguments(), staging, progress)
        if result.status != 0 or not (staging / recipe.name).is_file():
            progress.done("failed")
            raise BuildError(_advice(recipe, result.tail))
        _publish(recipe, staging, target)
    progress.done()


def _publish(recipe: Recipe, staging: Path, target: Path) -> None:
    """Leave nothing but the program and its links in the folder, then give it its name."""
    for path in staging.iterdir():
        if path.name != recipe.name:
            path.unlink()
    (staging / recipe.name).chmod(0o755)
    for name in recipe.links:
        (staging / name).symlink_to(recipe.name)
    staging.chmod(0o755)
    staging.rename(target)


def _advice(recipe: Recipe, tail: str) -> str:
    return (
        f"building {recipe.name} {recipe.version} failed; the last lines were:\n{tail}\n"
        "What usually helps: a network that reaches a Go module proxy (GOPROXY and HTTPS_PROXY\n"
        f"are honoured), 5 GB of free disk for {cache_dir()} and Go's own caches\n"
        "(`go clean -cache` empties them), 3 GB of free memory.\n"
        "Run the same command again: finished parts are kept."
    )


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """Give a folder beside the target that is gone afterwards, unless it was renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def _build_lock() -> Iterator[None]:
    path = cache_dir() / "build.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build of the tools to end", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
