"""Ready-made requests: the two of the operator's server by the same names, and three of ours."""

from __future__ import annotations

from typing import Final, NamedTuple


class Argument(NamedTuple):
    """One argument of a prompt."""

    name: str
    description: str
    is_required: bool = True
    default: str = ""


class Prompt(NamedTuple):
    """One prompt."""

    name: str
    title: str
    description: str
    arguments: tuple[Argument, ...]
    text: str
    """With the arguments' names in braces."""

    def render(self, given: dict[str, str]) -> str:
        """Return the message.

        Raises:
            ValueError: an argument is missing or unknown.
        """
        known = {each.name for each in self.arguments}
        if extra := sorted(given.keys() - known):
            raise ValueError(f"{self.name} has no argument {extra[0]!r}; it has {sorted(known)}")
        missing = [
            each.name for each in self.arguments if each.is_required and each.name not in given
        ]
        if missing:
            raise ValueError(f"{self.name} needs the argument {missing[0]!r}")
        values = {each.name: given.get(each.name) or each.default for each in self.arguments}
        return self.text.format(**values)


_CLUSTER: Final = Argument("cluster", "Name of the cluster", is_required=False, default="current")
_NAMED: Final = (
    Argument("name", "Name of the object"),
    Argument("namespace", "Namespace of the object"),
    _CLUSTER,
)
_WHERE: Final = (
    "If the cluster is not `current`, pass its name as the argument `cluster` of every tool."
)

PROMPTS: Final = (
    Prompt(
        "debug_flux_kustomization",
        "Debug a Kustomization",
        "Find out why a Kustomization does not do what it should",
        _NAMED,
        "Troubleshoot the Flux Kustomization {name} in namespace {namespace} on the {cluster} "
        f"cluster. {_WHERE}\n"
        "1. Call explain_not_ready with kind Kustomization: it walks from the source to the pods "
        "and returns the first cause with its evidence.\n"
        "2. If that is not enough: get_flux_instance for the state of the cluster, "
        "get_kubernetes_resources for the Kustomization (events are in status.events), its source, "
        "and the objects of its inventory that are not healthy; get_kubernetes_logs for pods.\n"
        "3. If the cause is a change in Git: rollback_hint, and plan_change for the correction.\n"
        "4. Report: the root cause, the evidence, the correction in Git (file and field), and what "
        "you checked. Do not change anything in the cluster.",
    ),
    Prompt(
        "debug_flux_helmrelease",
        "Debug a HelmRelease",
        "Find out why a HelmRelease does not do what it should",
        _NAMED,
        "Troubleshoot the Flux HelmRelease {name} in namespace {namespace} on the {cluster} "
        f"cluster. {_WHERE}\n"
        "1. Call explain_not_ready with kind HelmRelease.\n"
        "2. If that is not enough: get_kubernetes_resources for the HelmRelease, its chart source "
        "(spec.chartRef, or spec.chart.spec.sourceRef), the ConfigMaps and Secrets of "
        "spec.valuesFrom (values of Secrets are masked), and the objects of its inventory; "
        "get_kubernetes_logs for pods that do not run.\n"
        "3. Compare the chart's version and the values with what worked: rollback_hint.\n"
        "4. Report: the root cause, the evidence, the correction in Git, and what you checked. "
        "Do not change anything in the cluster.",
    ),
    Prompt(
        "debug_cluster",
        "Debug a cluster",
        "Find everything that is wrong in a cluster, by cause",
        (_CLUSTER,),
        f"Find out what is wrong on the {{cluster}} cluster. {_WHERE}\n"
        "1. list_clusters, then get_flux_instance: what fails, and does anybody reconcile?\n"
        "2. dependency_graph: begin with the failing objects that need no other failing one; the "
        "rest often follows from them.\n"
        "3. explain_not_ready for each of those, one call each.\n"
        "4. get_drift: does somebody change things by hand again and again?\n"
        "5. Report as a table: object, cause, evidence, correction in Git. Group what has one "
        "cause. Change nothing.",
    ),
    Prompt(
        "review_change",
        "Review a change",
        "Tell what a branch or a directory would do to the live cluster before it is merged",
        (
            Argument("name", "Name of the Kustomization"),
            Argument("namespace", "Its namespace", is_required=False, default="flux-system"),
            Argument("change", "A branch or commit, or a local directory"),
            _CLUSTER,
        ),
        "Review the change {change} for the Kustomization {name} in namespace {namespace} on the "
        f"{{cluster}} cluster. {_WHERE}\n"
        "1. plan_change, with path if the change is a directory, else with revision.\n"
        "2. Look at what would be pruned, recreated or refused first: say for each whether that "
        "is meant. A recreated StatefulSet or PersistentVolumeClaim, a removed namespace or "
        "definition, and a Service whose selector changes deserve a warning.\n"
        "3. trace the objects that change to see what depends on them (dependency_graph).\n"
        "4. Report: a summary in two sentences, the risks, questions to the author, and whether "
        "you would merge it. Apply nothing.",
    ),
    Prompt(
        "onboard_repository",
        "Onboard a repository",
        "Write the objects that let a cluster follow a Git repository",
        (
            Argument("url", "Address of the repository"),
            Argument("path", "Directory with the manifests", is_required=False, default="./"),
            Argument("namespace", "Where the objects go", is_required=False, default="flux-system"),
            _CLUSTER,
        ),
        "Write what the {cluster} cluster needs to follow {path} of {url}, in namespace "
        f"{{namespace}}. {_WHERE}\n"
        "1. get_flux_instance: is the cluster served? get_kubernetes_resources: is there a "
        "GitRepository for this address already? Re-use it.\n"
        "2. Write a GitRepository (a secretRef if the repository is private: the user makes it "
        "with `gitopsd create secret git`; never ask for the credentials here) and a Kustomization "
        "with prune: true, wait: true, a timeout, and dependsOn where it needs something.\n"
        "3. search_flux_docs for fields that you are not sure of.\n"
        "4. Show the YAML, and say where in the fleet's repository it belongs. Apply it only when "
        "the user says so (apply_kubernetes_manifest), then wait_for it.",
    ),
)
"""Every prompt."""
BY_NAME: Final = {each.name: each for each in PROMPTS}
