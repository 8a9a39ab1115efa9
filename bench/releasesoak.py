"""Kills the daemon, or the helm it runs, in the middle of releases, and looks at what is left.

Every round installs, upgrades or uninstalls one release and strikes at a moment of that: while helm
renders, while a record is pending, while a hook runs, while objects are applied, or at a random
time. Before the daemon is back the values or the chart may have changed, or the HelmRelease have
been deleted. Then the release must be whole or gone: the official helm says the same of it as the
HelmRelease does, no record is pending, its inventory and its namespace hold exactly what the chart
makes, and no hook, pod or process is left over.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from bench import bed as beds
from bench import moments, soakchart
from bench.bed import NAMESPACE, TIMEOUT_S
from bench.helm import Helm
from bench.moments import Moment, Moments, Operation
from devcluster import processes
from devcluster.api import is_ready
from devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAME: Final = "soak"
_TARGET: Final = "soak-target"
_RELEASES: Final = f"/apis/helm.toolkit.fluxcd.io/v2/namespaces/{NAMESPACE}/helmreleases"
_PATH: Final = f"{_RELEASES}/{_NAME}"
_KEPT: Final = 5
"""The revisions that a release keeps unless its HelmRelease says otherwise."""
_CHURN: Final = 0.25


class ReleaseSoakError(DevclusterError):
    """The cluster, the records or the HelmRelease are not as they must be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one round does.

    Args:
        action: ``install``, ``upgrade`` or ``uninstall``.
        meanwhile: what changes before the daemon is back: ``values``, ``chart``, ``deletion``,
            or nothing.
        victim: ``daemon`` or ``helm``.
        fails: whether the last hook of what is released fails, and the release is rolled back; to
            be mended by values meanwhile.
    """

    action: str
    meanwhile: str = ""
    victim: str = "daemon"
    fails: bool = False


PLANS: Final = (
    Plan("upgrade", "values"),
    Plan("upgrade", victim="helm"),
    Plan("upgrade", "deletion"),
    Plan("install"),
    Plan("upgrade", "chart"),
    Plan("uninstall"),
    Plan("install", "values"),
    Plan("upgrade"),
    Plan("upgrade", "values", fails=True),
)
"""One round after the other, and from the beginning again."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did.

    Args:
        plan: what it was to do.
        moment: when it struck.
        was_hit: whether a record was pending then, or a helm killed.
        recovered_s: from the start of the daemon, or the end of helm, until all was as it must be.
    """

    plan: Plan
    moment: Moment
    was_hit: bool
    recovered_s: float


class ReleaseSoak:
    """One HelmRelease that lives through everything.

    Args:
        bed: our own daemon on our own cluster, with pods.
        size: about how many ConfigMaps its chart makes.
        seed: of everything that is random.
        folder: for what helm keeps.
    """

    def __init__(self, bed: beds.Bed, size: int, seed: int, folder: Path) -> None:
        self._bed = bed
        self._random = random.Random(seed)  # noqa: S311 - to be repeatable, not secret
        self._moments = Moments(bed, _TARGET, self._random)
        self._repo = bed.git.repo(_NAME)
        if bed.cluster is None:
            raise ReleaseSoakError("only a cluster of our own is put through this")
        self._helm = Helm(bed.cluster.kubeconfig, NAMESPACE, folder)
        self._names = [f"object-{number:03}" for number in range(size)]
        self._value, self._chart, self._version = "begin", 0, 0
        self._is_wanted = self._fails = False
        self._decks: dict[tuple[Moment, ...], list[Moment]] = {}

    def begin(self) -> None:
        """Install the release, undisturbed, and remember how long that takes."""
        self._bed.namespace(_TARGET)
        self._push_chart()
        self._bed.follow(_NAME, self._bed.git.url(_NAME))
        start = time.monotonic()
        self._act("install")
        self._settle()
        self._moments.usual_s = time.monotonic() - start

    def strike(self, number: int) -> Round:
        """Do one round.

        Raises:
            ReleaseSoakError: something is not as it must be.
            TimeoutError: it did not converge.
        """
        plan = PLANS[number % len(PLANS)]
        before = self._version
        if plan.action != "uninstall":
            self._change(f"round {number}", fails=plan.fails)
        self._act(plan.action)
        operation = Operation(
            self._value, before, len(self._names), is_removal=plan.action == "uninstall"
        )
        moment = self._choose(plan)
        helm = self._moments.wait(moment, operation)
        was_hit = self._fell(plan, helm)
        self._alter(plan.meanwhile, number)
        start = time.monotonic()
        if plan.victim == "daemon" and self._bed.daemon:
            self._bed.daemon.start()
        if plan.meanwhile == "chart":
            self._bed.call_hook(_NAME)
        self._settle()
        if helm:
            self._until_gone(helm)
        return Round(plan, moment, was_hit, time.monotonic() - start)

    def end(self) -> None:
        """Uninstall the release.

        Raises:
            ReleaseSoakError: it left something behind.
        """
        if self._is_wanted:
            self._act("uninstall")
        self._settle()

    def _choose(self, plan: Plan) -> Moment:
        """Return the next moment: each comes once before one comes again."""
        if plan.victim == "helm":
            return Moment.RENDER
        known: tuple[Moment, ...]
        known = moments.OF_REMOVAL if plan.action == "uninstall" else moments.OF_RELEASE
        known = moments.OF_FAILURE if plan.fails else known
        deck = self._decks.setdefault(known, [])
        if not deck:
            deck += self._random.sample(known, len(known))
        return deck.pop()

    def _fell(self, plan: Plan, helm: int) -> bool:
        """Kill what is to be killed; say whether that came in the middle of something."""
        if plan.victim == "helm":
            if helm:
                os.kill(helm, signal.SIGKILL)
            return bool(helm)
        daemon = self._bed.daemon
        if daemon is None:
            raise ReleaseSoakError("only a daemon of our own can be struck")
        daemon.kill()
        records = (self._bed.api.get(moments.RECORDS) or {})["items"]
        return any(map(moments.is_under_way, records))

    def _change(self, value: str, *, fails: bool = False) -> None:
        """Want other values: every object says something new, some go and others come."""
        count = max(1, int(len(self._names) * _CHURN))
        gone = set(self._random.sample(self._names, count))
        numbers = self._random.sample(range(10**6), count)
        added = [f"object-{number:06}" for number in numbers]
        self._value, self._fails = value, fails
        self._names = [*(name for name in self._names if name not in gone), *added]

    def _act(self, action: str) -> None:
        api = self._bed.api
        self._is_wanted = action != "uninstall"
        match action:
            case "install":
                api.post(_RELEASES, _manifest(self._values))
            case "upgrade":
                # A merge patch: lists are replaced as a whole.
                api.patch(_PATH, {"spec": {"values": self._values}})
            case _:
                api.delete(_PATH)

    def _alter(self, meanwhile: str, number: int) -> None:
        """Change what is wanted while nobody is there to see it."""
        match meanwhile:
            case "values":
                self._change(f"round {number}, changed meanwhile")
                self._act("upgrade")
            case "chart":
                self._push_chart()
            case "deletion":
                self._act("uninstall")
            case _:
                pass

    @property
    def _values(self) -> dict[str, Any]:
        return soakchart.values(self._value, self._names, fails=self._fails)

    def _push_chart(self) -> None:
        self._chart += 1
        self._repo.push(soakchart.files(self._chart_version))

    @property
    def _chart_version(self) -> str:
        return f"1.{self._chart}.0"

    # What must be so afterwards ---------------------------------------------------------------

    def _settle(self) -> None:
        """Wait until the release is as it is wanted, and look at everything."""
        obj = self._bed.api.wait(_PATH, self._is_settled, TIMEOUT_S)
        self._wait_for_pods()
        if obj is None:
            self._version = 0
            self._verify_absence()
        else:
            self._version = obj["status"]["history"][0]["version"]
            self._verify(obj)

    def _is_settled(self, obj: dict[str, Any] | None) -> bool:
        if obj is None or not self._is_wanted:
            return obj is None and not self._is_wanted
        newest: dict[str, Any] = next(iter(obj.get("status", {}).get("history", [])), {})
        return (
            is_ready(obj)
            and newest.get("status") == "deployed"
            and newest.get("chartVersion") == self._chart_version
        )

    def _wait_for_pods(self) -> None:
        """Wait until no pod of a hook is left: the cluster deletes them after their Jobs."""
        path = f"/api/v1/namespaces/{_TARGET}/pods?labelSelector=batch.kubernetes.io%2Fjob-name"
        self._bed.api.wait(path, lambda found: not (found or {})["items"], TIMEOUT_S)

    def _until_gone(self, pid: int) -> None:
        """Wait for the end of a helm whose daemon is not there any more."""
        deadline = time.monotonic() + TIMEOUT_S
        while processes.runs(pid):
            if time.monotonic() > deadline:
                raise ReleaseSoakError(f"helm, process {pid}, goes on without its daemon")
            self._bed.pause(0.05)

    def _verify_absence(self) -> None:
        _expect("objects", set(self._live()), set())
        _expect("records", (self._bed.api.get(moments.RECORDS) or {})["items"], [])
        _expect("helm list", self._helm.json("list"), [])

    def _verify(self, obj: dict[str, Any]) -> None:
        live = self._live()
        _expect("objects", set(live), soakchart.objects(self._names))
        stale = sorted(
            name
            for (plural, name), item in live.items()
            if plural == "configmaps" and item["data"]["value"] != self._value
        )
        _expect("ConfigMaps with an old value", stale, [])
        entries = {entry["id"] for entry in obj["status"]["inventory"]["entries"]}
        _expect("inventory", entries, soakchart.inventory(_TARGET, self._names))
        self._ask_helm(str(self._version))

    def _ask_helm(self, version: str) -> None:
        helm = self._helm
        listed = [
            (each["name"], each["status"], each["revision"], each["chart"])
            for each in helm.json("list")
        ]
        _expect("helm list", listed, [(_NAME, "deployed", version, f"soak-{self._chart_version}")])
        history = [(str(each["revision"]), each["status"]) for each in helm.json("history", _NAME)]
        _expect("the newest of helm history", history[-1], (version, "deployed"))
        others = {status for _, status in history[:-1]} - {"superseded", "failed"}
        _expect("statuses of older revisions", others, set())
        if len(history) > _KEPT:
            raise ReleaseSoakError(f"helm history: {len(history)} revisions are kept")
        _expect("helm status", helm.json("status", _NAME)["info"]["status"], "deployed")
        _expect("helm get values", helm.json("get", "values", _NAME), self._values)
        manifest = {
            (f"{item['kind'].lower()}s", item["metadata"]["name"])
            for item in yaml.safe_load_all(helm.text("get", "manifest", _NAME))
            if item
        }
        _expect("helm get manifest", manifest, soakchart.objects(self._names))

    def _live(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return everything that the chart could have made and that is there."""
        found = {}
        for version, plural in soakchart.RESOURCES:
            root = "/api" if version == "v1" else "/apis"
            path = f"{root}/{version}/namespaces/{_TARGET}/{plural}"
            for item in (self._bed.api.get(path) or {})["items"]:
                found[plural, item["metadata"]["name"]] = item
        for key in (("configmaps", "kube-root-ca.crt"), ("serviceaccounts", "default")):
            found.pop(key, None)
        return found


def soak(
    folder: Path, *, size: int, rounds: int, seed: int, say: Callable[[str], None]
) -> list[Round]:
    """Run a whole soak on a cluster of its own.

    Args:
        folder: for everything it makes.
        size: about how many ConfigMaps the chart makes.
        rounds: how often something is struck.
        seed: of everything that is random.
        say: is told of every round.

    Raises:
        ReleaseSoakError: something is not as it must be.
        TimeoutError: it did not converge.
    """
    done = []
    with beds.ours(folder, pods=True) as bed:
        run = ReleaseSoak(bed, size, seed, folder / "helm")
        run.begin()
        say(f"a release of {size} ConfigMaps installed; seed {seed}")
        for number in range(rounds):
            result = run.strike(number)
            done.append(result)
            plan = result.plan
            meanwhile = f", {plan.meanwhile} meanwhile" if plan.meanwhile else ""
            hit = "in the middle" if result.was_hit else "before or after it"
            say(
                f"round {number + 1} of {rounds}: {plan.action}, {plan.victim} killed "
                f"{result.moment.value}, {hit}{meanwhile}; "
                f"whole again in {result.recovered_s:.1f} s"
            )
        run.end()
    return done


def _manifest(values: dict[str, Any]) -> dict[str, Any]:
    source = {"kind": "GitRepository", "name": _NAME}
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": _NAME, "namespace": NAMESPACE},
        "spec": {
            "interval": "1h",
            "releaseName": _NAME,
            "targetNamespace": _TARGET,
            "chart": {"spec": {"chart": "./chart", "interval": "1h", "sourceRef": source}},
            "upgrade": {"crds": "CreateReplace", "remediation": {"retries": 3}},
            "values": values,
        },
    }


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise ReleaseSoakError(f"{what}: found {_shown(found)}, expected {_shown(wanted)}")


def _shown(found: object) -> str:
    return str(sorted(found) if isinstance(found, set) else found)[:1000]
