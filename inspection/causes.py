"""What a message means: the kind of fault, and what somebody can do about it.

One table for the words of the API server, of Git remotes, of kustomize, sops and helm, and of the
kubelet. The first entry that matches decides, so the special ones stand before the general. Pure.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple


class Cause(enum.StrEnum):
    """The kinds of fault."""

    WRONG_REFERENCE = "wrong-reference"
    BAD_CREDENTIALS = "bad-credentials"
    SOURCE_UNREACHABLE = "source-unreachable"
    SOURCE_MISSING = "source-missing"
    SOURCE_FAILED = "source-failed"
    VERIFICATION_FAILED = "verification-failed"
    PATH_MISSING = "path-missing"
    BUILD_ERROR = "build-error"
    DECRYPTION_FAILED = "decryption-failed"
    VARIABLE_MISSING = "variable-missing"
    REFERENCE_MISSING = "reference-missing"
    IMMUTABLE_FIELD = "immutable-field"
    INVALID_MANIFEST = "invalid-manifest"
    MISSING_KIND = "missing-kind"
    NAMESPACE_MISSING = "namespace-missing"
    DENIED = "denied-by-rbac"
    QUOTA = "quota-exceeded"
    ADMISSION = "refused-by-admission"
    CONFLICT = "conflict"
    IMAGE_PULL = "image-pull"
    CRASHING = "container-crashes"
    UNSCHEDULABLE = "unschedulable"
    PROBE_FAILING = "probe-failing"
    FAILING_HEALTH = "failing-health"
    RELEASE_FAILED = "release-failed"
    DEPENDENCY_MISSING = "dependency-missing"
    DEPENDENCY_CYCLE = "dependency-cycle"
    SUSPENDED = "suspended"
    NOT_SERVED = "not-served"
    NOT_RECONCILED = "not-reconciled"
    IN_PROGRESS = "in-progress"
    UNKNOWN = "unknown"


class Meaning(NamedTuple):
    """A kind of fault with what to do about it."""

    cause: Cause
    remedies: tuple[str, ...]


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    meaning: Meaning


def _rule(cause: Cause, pattern: str, *remedies: str) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE), Meaning(cause, remedies))


_RULES: Final = (
    _rule(
        Cause.NOT_SERVED,
        r"not served by this version of gitopsd",
        "take the named field out of the spec, or let Flux's own controller serve this kind",
    ),
    _rule(
        Cause.DEPENDENCY_CYCLE,
        r"circular dependency detected",
        "take one dependsOn out of the circle that the message names",
    ),
    _rule(
        Cause.DEPENDENCY_MISSING,
        r"dependency '[^']*' not found",
        "create what dependsOn names, or correct its name and namespace",
    ),
    _rule(
        Cause.DECRYPTION_FAILED,
        r"decrypt|sops|no identity matched|failed to get the data key|\bage: ",
        "compare the recipients in the file's sops section with the key in the decryption Secret",
        "check that spec.decryption names the right Secret, with a key ending in .agekey or .asc",
        "encrypt the file again with `sops updatekeys` if the recipients are wrong",
    ),
    _rule(
        Cause.BAD_CREDENTIALS,
        r"authentication (failed|required)|authorization failed|permission denied \(publickey"
        r"|unauthorized|invalid username or password|bad credentials|\b401\b|knownhosts|host key"
        r"|no (private|ssh) key|failed to configure authentication|access denied.*(bucket|registry)"
        r"|denied: .*(requested access|permission)",
        "check the Secret that spec.secretRef names: its keys, and whether the token expired",
        "write it anew with `gitopsd create secret git` (or oci, helm)",
    ),
    _rule(
        Cause.WRONG_REFERENCE,
        r"couldn't find remote ref|reference not found|no branch|unknown (ref|revision)"
        r"|ref .* (does not exist|not found)|no match found for semver|not find the requested ref"
        r"|manifest unknown|no such (branch|tag)|remote has no|has no (branch|tag|reference)"
        r"|no .*version.* found|tag .* not found",
        "correct spec.ref: the branch, tag or version that it names is not there",
        "push the branch or tag if it is only missing",
    ),
    _rule(
        Cause.SOURCE_UNREACHABLE,
        r"cannot connect|cannot resolve|connection refused|no such host|tls handshake"
        r"|server stopped answering|did not accept a connection|repository not found"
        r"|closed the connection|x509|i/o timeout",
        "check the URL, and that this machine reaches it (proxy, DNS, certificates)",
    ),
    _rule(
        Cause.VERIFICATION_FAILED,
        r"verif(y|ication).*(fail|signature)|signature.*(invalid|verif|mismatch)",
        "check who signed the revision, and the keys in the Secret that spec.verify names",
    ),
    _rule(
        Cause.QUOTA,
        r"exceeded quota|forbidden: .*quota|must specify (limits|requests)|minimum .* usage per",
        "raise the ResourceQuota or LimitRange of the namespace, or ask for less in Git",
    ),
    _rule(
        Cause.DENIED,
        r"is forbidden: user|cannot (get|list|watch|create|patch|update|delete|impersonate)"
        r" resource|attempting to grant rbac permissions|forbidden: .*cannot",
        "give the named user or ServiceAccount the right that is missing (Role, RoleBinding)",
        "or let spec.serviceAccountName name an account that has it",
    ),
    _rule(
        Cause.IMMUTABLE_FIELD,
        r"(?<!not )\bimmutable\b|may not be changed|cannot change roleref"
        r"|updates to .* are forbidden|updates to .*spec for fields other than"
        r"|may not change once set|pod updates may not change fields",
        "take the change back, or give the object another name in Git",
        "or let gitopsd recreate it: spec.force: true, or the annotation "
        "kustomize.toolkit.fluxcd.io/force: enabled on the object",
    ),
    _rule(
        Cause.MISSING_KIND,
        r"no matches for kind|could not find the requested resource|resource mapping not found"
        r"|ensure crds are installed",
        "install the CustomResourceDefinition first: in this Kustomization, or in one that it "
        "names in dependsOn",
        "or correct apiVersion and kind",
    ),
    _rule(
        Cause.NAMESPACE_MISSING,
        r"namespaces? \"[^\"]*\" not found|namespace not specified",
        "create the namespace in Git, or set metadata.namespace or spec.targetNamespace",
    ),
    _rule(
        Cause.ADMISSION,
        r"admission webhook|validatingadmissionpolicy|violates podsecurity|denied the request",
        "change the manifest as the policy asks, or the policy",
    ),
    _rule(
        Cause.IMAGE_PULL,
        r"imagepullbackoff|errimagepull|failed to pull image|invalidimagename|errimageneverpull"
        r"|back-off pulling image",
        "check the image's name and tag, that it is in the registry, and imagePullSecrets",
    ),
    _rule(
        Cause.CRASHING,
        r"crashloopbackoff|back-off restarting failed container|exited with code|oomkilled"
        r"|runcontainererror|createcontainer(config)?error|startError",
        "read the container's log, of the previous run too: get_kubernetes_logs, or `gitopsd logs`",
    ),
    _rule(
        Cause.UNSCHEDULABLE,
        r"failedscheduling|unschedulable|nodes are available|insufficient (cpu|memory)"
        r"|untolerated taint|didn't match pod",
        "ask for less CPU or memory, add a node, or correct nodeSelector, affinity or tolerations",
    ),
    _rule(
        Cause.PROBE_FAILING,
        r"(readiness|liveness|startup) probe failed",
        "check the probe's path and port, and the container's log",
    ),
    _rule(
        Cause.PATH_MISSING,
        r"kustomization path not found|path .* does not exist",
        "correct spec.path, or push the directory to the branch that the source follows",
    ),
    _rule(
        Cause.VARIABLE_MISSING,
        r"variable .*(not set|no value|undefined)|substitut|post build failed|envsubst",
        "give the variable a value in spec.postBuild, or mark the object with "
        "kustomize.toolkit.fluxcd.io/substitute: disabled",
    ),
    _rule(
        Cause.REFERENCE_MISSING,
        r"(secret|configmap)s? \"?[^\s\"]*\"? (is )?not found|could not find (secret|configmap)"
        r"|(secrets|configmaps) \"[^\"]+\" not found|valuesfrom|values reference",
        "create the ConfigMap or Secret that the message names, or mark it optional",
    ),
    _rule(
        Cause.BUILD_ERROR,
        r"kustomize build failed|kustomization\.yaml|accumulat|failed to decode|yaml: "
        r"|not a kubernetes object|error converting|multiple kustomization|loading kv pairs",
        "build it locally with the same code: gitopsd build kustomization NAME --path DIR",
    ),
    _rule(
        Cause.CONFLICT,
        r"conflict with|apply failed with \d+ conflict|the object has been modified",
        "find out who else writes the field (get_drift), and let one of the two own it",
    ),
    _rule(
        Cause.INVALID_MANIFEST,
        r"dry-run failed|is invalid|unknown field|strict decoding|validation|required value",
        "correct the field that the message names; plan_change tries a correction without applying",
    ),
    _rule(
        Cause.RELEASE_FAILED,
        r"helm (install|upgrade|test|rollback|uninstall) failed|release .* failed"
        r"|execution error at|template:|chart .*(invalid|not found)",
        "render the chart with the same values (gitopsd diff helmrelease), or roll back",
    ),
    _rule(
        Cause.FAILING_HEALTH,
        r"timeout waiting for|failed early due to stalled|health check failed|progressdeadline"
        r"|context deadline exceeded",
        "look at the object that is not healthy: its conditions, its pods, their events and logs",
    ),
)
_BY_REASON: Final = {
    "DependencyNotReady": Cause.DEPENDENCY_MISSING,
    "ArtifactFailed": Cause.SOURCE_FAILED,
    "BuildFailed": Cause.BUILD_ERROR,
    "HealthCheckFailed": Cause.FAILING_HEALTH,
    "AccessDenied": Cause.DENIED,
    "InstallFailed": Cause.RELEASE_FAILED,
    "UpgradeFailed": Cause.RELEASE_FAILED,
    "RollbackFailed": Cause.RELEASE_FAILED,
    "ReconciliationFailed": Cause.INVALID_MANIFEST,
    "ImagePullBackOff": Cause.IMAGE_PULL,
    "ErrImagePull": Cause.IMAGE_PULL,
    "CrashLoopBackOff": Cause.CRASHING,
    "FailedScheduling": Cause.UNSCHEDULABLE,
}


def read(message: str, reason: str = "", *, is_source: bool = False) -> Meaning:
    """Return what a message means.

    Args:
        message: of a condition, an event, or a waiting container.
        reason: that came with it; decides where the message says nothing.
        is_source: whether a source says it, which applies nothing.
    """
    for rule in _RULES:
        if rule.pattern.search(message):
            return rule.meaning
    cause = _BY_REASON.get(reason)
    if cause is None:
        cause = Cause.SOURCE_FAILED if is_source else Cause.UNKNOWN
    return Meaning(cause, remedies(cause))


def remedies(cause: Cause) -> tuple[str, ...]:
    """Return what can be done about a kind of fault."""
    found = (rule.meaning.remedies for rule in _RULES if rule.meaning.cause is cause)
    return next(found, _OTHERS.get(cause, _DEFAULT))


_OTHERS: Final = {
    Cause.SUSPENDED: ("resume it when the reason for the suspension is gone",),
    Cause.SOURCE_MISSING: ("create the source that sourceRef names, or correct the reference",),
    Cause.NOT_RECONCILED: (
        "look whether the daemon runs and serves this kind: `gitopsd status`",
        "see who holds the Lease: another controller may reconcile it",
    ),
    Cause.IN_PROGRESS: ("wait for it: wait_for, or `gitopsd get --watch`",),
}
_DEFAULT: Final = ("read the message and the events of the object",)
