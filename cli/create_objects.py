"""``gitopsd create source|kustomization|helmrelease``: write Flux objects, or print them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from cli import access, options
from inspection import failure, flux, following, kinds, objects
from kube import errors, manifests

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from kube.objects import JsonObject

_COMMON: Final = {"interval": ("interval", "how often to reconcile; default 1m")}
_TIMEOUT: Final = {"timeout": ("timeout", "time limit of each run")}
_SOURCE: Final = {
    **_TIMEOUT,
    "url": ("url", "address of the source"),
    "secret-ref": ("secretRef.name", "Secret with the credentials"),
    "provider": ("provider", "where credentials come from"),
}
_IGNORE: Final = {"ignore": ("ignore", "patterns of files to leave out")}
_REF: Final = {
    "branch": ("ref.branch", "branch to follow"),
    "tag": ("ref.tag", "tag to check out"),
    "semver": ("ref.semver", "range of versions"),
    "commit": ("ref.commit", "commit to pin"),
    "ref-name": ("ref.name", "full name of a reference"),
}
_OCI: Final = {
    "tag": ("ref.tag", "tag to pull"),
    "semver": ("ref.semver", "range of versions"),
    "digest": ("ref.digest", "digest to pin"),
}
_BUCKET: Final = {
    **_TIMEOUT,
    "bucket-name": ("bucketName", "name of the bucket"),
    "endpoint": ("endpoint", "address of the storage"),
    "region": ("region", "region of the bucket"),
    "prefix": ("prefix", "only objects that begin so"),
    "secret-ref": ("secretRef.name", "Secret with the credentials"),
    "provider": ("provider", "generic, aws, gcp or azure"),
}
_HELM: Final = {**_SOURCE, "type": ("type", "default or oci")}
_CHART: Final = {
    "chart": ("chart", "name of the chart"),
    "chart-version": ("version", "version or range of it"),
    "source": ("sourceRef", "where it is: KIND/NAME"),
}
_KUSTOMIZATION: Final = {
    **_TIMEOUT,
    "source": ("sourceRef", "where the manifests are: KIND/NAME[.NAMESPACE]"),
    "path": ("path", "directory in the source"),
    "prune": ("prune", "delete what left Git"),
    "wait": ("wait", "wait for the health of everything"),
    "force": ("force", "recreate objects whose immutable fields change"),
    "target-namespace": ("targetNamespace", "namespace of every object"),
    "depends-on": (
        "dependsOn",
        "what has to be ready first: [NAMESPACE/]NAME, several with commas",
    ),
    "service-account": ("serviceAccountName", "who applies"),
    "kubeconfig-secret-ref": ("kubeConfig.secretRef.name", "Secret with another cluster's access"),
    "decryption-provider": ("decryption.provider", "sops"),
    "decryption-secret": ("decryption.secretRef.name", "Secret with the keys"),
    "retry-interval": ("retryInterval", "how soon to try again"),
}
_RELEASE: Final = {
    **_TIMEOUT,
    "source": ("chart.spec.sourceRef", "where the chart is: KIND/NAME[.NAMESPACE]"),
    "chart": ("chart.spec.chart", "name of the chart"),
    "chart-version": ("chart.spec.version", "version or range of it"),
    "chart-ref": ("chartRef", "an OCIRepository or HelmChart in place of a source: KIND/NAME"),
    "release-name": ("releaseName", "name of the release"),
    "target-namespace": ("targetNamespace", "where it is installed"),
    "depends-on": (
        "dependsOn",
        "what has to be ready first: [NAMESPACE/]NAME, several with commas",
    ),
    "values-from": ("valuesFrom", "KIND/NAME, several with commas"),
    "values": ("values", "file with values, YAML; several with commas"),
    "service-account": ("serviceAccountName", "who installs"),
}
FIELDS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "GitRepository": {**_SOURCE, **_REF, **_IGNORE},
    "OCIRepository": {**_SOURCE, **_OCI, **_IGNORE},
    "Bucket": {**_BUCKET, **_IGNORE},
    "HelmRepository": _HELM,
    "HelmChart": _CHART,
    "Kustomization": _KUSTOMIZATION,
    "HelmRelease": _RELEASE,
}
"""For each kind the options, the field each fills, and what it is for."""
_REQUIRED: Final[Mapping[str, Sequence[str]]] = {
    "GitRepository": ("url",),
    "OCIRepository": ("url",),
    "HelmRepository": ("url",),
    "Bucket": ("bucketName", "endpoint"),
    "HelmChart": ("chart", "sourceRef"),
    "Kustomization": ("sourceRef",),
}
"""Fields without which an object of a kind is none."""
_SWITCHES: Final = frozenset({"prune", "wait", "force"})
_FLUX_WORDS: Final = {
    "GitRepository": "git",
    "OCIRepository": "oci",
    "Bucket": "bucket",
    "HelmRepository": "helm",
    "HelmChart": "chart",
}


def configure(what: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what can be created besides Secrets."""
    source = what.add_parser("source", help="a source of manifests or charts")
    words = source.add_subparsers(
        dest="kind", required=True, metavar="|".join(_FLUX_WORDS.values())
    )
    for kind, word in _FLUX_WORDS.items():
        _add(words.add_parser(word, help=f"a {kind}"), kind)
    _add(what.add_parser("kustomization", aliases=["ks"], help="a Kustomization"), "Kustomization")
    _add(what.add_parser("helmrelease", aliases=["hr"], help="a HelmRelease"), "HelmRelease")


def _add(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("name", help=f"name of the {kind}")
    for option, (_, explained) in {**FIELDS[kind], **_COMMON}.items():
        if option in _SWITCHES:
            parser.add_argument(f"--{option}", action="store_true", help=explained)
        else:
            parser.add_argument(f"--{option}", default="", help=explained)
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label")
    parser.add_argument("--export", action="store_true", help="print YAML and write nothing")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until it is ready")
    parser.add_argument("--wait-timeout", default="5m", help="how long to wait; default 5m")
    options.add_namespace(parser)
    options.add_cluster(parser)
    parser.set_defaults(flux_kind=kind)


def execute(args: argparse.Namespace) -> int:
    """Write the object and wait until it is ready, or print it."""
    manifest = build(args)
    if args.export:
        print(f"---\n{manifests.dump(manifest).decode()}", end="")
        return 0
    kind = kinds.find(args.flux_kind)
    timeout_s = options.seconds(args.wait_timeout)
    cluster = access.the_one(args)

    async def main() -> None:
        async with access.client(cluster) as client:
            body = msgspec.json.encode(manifest)
            try:
                await client.apply(
                    kind.resource, body, args.namespace, args.name, manager=objects.MANAGER
                )
            except (errors.Invalid, errors.BadRequest) as err:
                raise failure.UsageError(str(err)) from err
            print(f"✔ {kind.name} {args.name} written in {args.namespace} namespace")
            if args.no_wait:
                return
            seen = following.changes(client, kind.resource, args.namespace, args.name)
            try:
                async with asyncio.timeout(timeout_s), aclosing(seen) as changes:
                    async for obj in changes:
                        if obj and _is_settled(flux.FluxObject(cluster.name, obj)):
                            break
            except TimeoutError as err:
                raise failure.CommandError(
                    f"{kind.name}/{args.namespace}/{args.name} was not ready within "
                    f"{args.wait_timeout}; `gitopsd debug {kind.name}/{args.name}` tells why"
                ) from err

    with access.explained(cluster):
        access.run(main(), f"waiting for {kind.name} {args.name}")
    if not args.no_wait:
        print(f"✔ {kind.name} {args.name} is ready")
    return 0


def _is_settled(obj: flux.FluxObject) -> bool:
    """Tell whether an object is ready.

    Raises:
        failure.CommandError: it failed.
    """
    if obj.state is flux.State.FAILED and obj.is_current:
        raise failure.CommandError(f"{obj.ref} failed: {obj.message}")
    return obj.state is flux.State.READY


def build(args: argparse.Namespace) -> JsonObject:
    """Return the object that the options describe.

    Raises:
        failure.UsageError: an option cannot be understood.
    """
    kind, given = args.flux_kind, vars(args)
    spec: JsonObject = {"interval": "1m"}
    if kind == "Kustomization":
        spec["prune"] = False
    for option, (path, _) in {**FIELDS[kind], **_COMMON}.items():
        value = given[option.replace("-", "_")]
        if value:
            _put(spec, path.split("."), _value(option, value, args))
    _check_complete(kind, spec)
    found = kinds.find(kind)
    metadata: JsonObject = {"name": args.name, "namespace": args.namespace}
    if args.label:
        metadata["labels"] = dict(_pair(each) for each in args.label)
    return {
        "apiVersion": found.gvk.api_version,
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def _check_complete(kind: str, spec: JsonObject) -> None:
    """Refuse an object that lacks what its kind cannot be without.

    Raises:
        failure.UsageError: the message names the options.
    """
    options_of = {path: option for option, (path, _) in FIELDS[kind].items()}
    missing = [f"--{options_of[path]}" for path in _REQUIRED.get(kind, ()) if path not in spec]
    if kind == "HelmRelease" and "chartRef" not in spec:
        chart = spec.get("chart", {}).get("spec", {})
        wanted = {"chart": "--chart", "sourceRef": "--source"}
        missing = [option for field, option in wanted.items() if field not in chart]
        if len(missing) == len(wanted):
            raise failure.UsageError(
                "give --chart and --source KIND/NAME, or --chart-ref KIND/NAME"
            )
    if missing:
        raise failure.UsageError(f"give {' and '.join(missing)} too")


def _put(spec: JsonObject, path: list[str], value: object) -> None:
    for key in path[:-1]:
        spec = spec.setdefault(key, {})
    spec[path[-1]] = value


def _value(option: str, value: object, args: argparse.Namespace) -> object:
    text = str(value)
    if option in {"source", "chart-ref"}:
        return _reference(text, args.namespace)
    if option == "depends-on":
        return [_named(each) for each in text.split(",")]
    if option == "values-from":
        parts = (options.split_object(each) for each in text.split(","))
        return [{"kind": kind, "name": name} for kind, name in parts]
    if option == "values":
        merged: JsonObject = {}
        for file in text.split(","):
            merged |= _values_of(file)
        return merged
    return value


def _reference(text: str, namespace: str) -> dict[str, str]:
    word, name = options.split_object(text)
    name, dot, where = name.partition(".")
    found = {"kind": kinds.find(word).name, "name": name}
    return found | ({"namespace": where} if dot and where != namespace else {})


def _named(text: str) -> dict[str, str]:
    namespace, slash, name = text.strip().partition("/")
    return {"name": name, "namespace": namespace} if slash else {"name": namespace}


def _values_of(file: str) -> JsonObject:
    text = options.read_file(file)
    try:
        found = manifests.load(text, file)
    except manifests.ManifestError as err:
        raise failure.UsageError(str(err)) from err
    if not isinstance(found, dict):
        raise failure.UsageError(f"{file}: values are one mapping")
    return found


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise failure.UsageError(f"--label {text}: write KEY=VALUE")
    return key, value
