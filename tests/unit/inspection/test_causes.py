"""The words that are classified here are what the daemon and the API server really say."""

from __future__ import annotations

import pytest

from inspection import causes
from inspection.causes import Cause

GIT = "failed to checkout and determine revision: unable to clone 'https://example.com/fleet.git': "
MESSAGES = [
    (f'{GIT}couldn\'t find remote ref "refs/heads/nowhere"', Cause.WRONG_REFERENCE),
    (f"{GIT}no match found for semver: >=9", Cause.WRONG_REFERENCE),
    (f"{GIT}authentication required", Cause.BAD_CREDENTIALS),
    (f"{GIT}authentication failed: the server refused the credentials", Cause.BAD_CREDENTIALS),
    (f"{GIT}cannot connect: [Errno 111] Connection refused", Cause.SOURCE_UNREACHABLE),
    (f"{GIT}TLS handshake failed: certificate verify failed", Cause.SOURCE_UNREACHABLE),
    (
        "kustomization path not found: stat /tmp/x/nowhere: no such file or directory",
        Cause.PATH_MISSING,
    ),
    (
        (
            "kustomize build failed: accumulating resources: accumulation err='accumulating "
            "resources from 'missing.yaml': open /missing.yaml: no such file'"
        ),
        Cause.BUILD_ERROR,
    ),
    (
        "decryption failed for 'Secret/a/b': Error getting data key: 0 successful groups required",
        Cause.DECRYPTION_FAILED,
    ),
    (
        (
            "Secret/shop/db is SOPS encrypted, configuring decryption is required for this secret "
            "to be reconciled"
        ),
        Cause.DECRYPTION_FAILED,
    ),
    (
        (
            'Service/shop/web dry-run failed (Invalid): Service "web" is invalid: spec.clusterIPs: '
            "Invalid value: []string(nil): primary clusterIP can not be unset, field is immutable"
        ),
        Cause.IMMUTABLE_FIELD,
    ),
    (
        (
            'Deployment/shop/web dry-run failed (Invalid): Deployment.apps "web" is invalid: '
            "spec.selector: Invalid value: ...: field is immutable"
        ),
        Cause.IMMUTABLE_FIELD,
    ),
    (
        (
            'Certificate/shop/web dry-run failed: no matches for kind "Certificate" in version '
            '"cert-manager.io/v1"'
        ),
        Cause.MISSING_KIND,
    ),
    (
        (
            'ConfigMap/other/a dry-run failed (Forbidden): configmaps "a" is forbidden: User '
            '"system:serviceaccount:shop:deployer" cannot patch resource "configmaps" in API group '
            '"" in the namespace "other"'
        ),
        Cause.DENIED,
    ),
    (
        (
            'ConfigMap/shop/c dry-run failed (Forbidden): configmaps "c" is forbidden: exceeded '
            "quota: few, requested: count/configmaps=1, used: count/configmaps=2, limited: 2"
        ),
        Cause.QUOTA,
    ),
    ('Back-off pulling image "registry.invalid/app:1"', Cause.IMAGE_PULL),
    ("back-off 5m0s restarting failed container=app: CrashLoopBackOff", Cause.CRASHING),
    ("0/3 nodes are available: 3 Insufficient memory", Cause.UNSCHEDULABLE),
    ("circular dependency detected: a/b -> a/c -> a/b", Cause.DEPENDENCY_CYCLE),
    ("dependency 'flux-system/infra' not found", Cause.DEPENDENCY_MISSING),
    (
        (
            'ConfigMap/shop/a dry-run failed (BadRequest): admission webhook "policy.example.com" '
            "denied the request: no labels"
        ),
        Cause.ADMISSION,
    ),
    ('ConfigMap/shop/a not found: namespaces "shop" not found', Cause.NAMESPACE_MISSING),
    (
        (
            'Deployment/shop/web dry-run failed (Invalid): Deployment.apps "web" is invalid: '
            "spec.template.spec.containers: Required value"
        ),
        Cause.INVALID_MANIFEST,
    ),
    (
        (
            "health check failed after 30s: timeout waiting for: [Deployment/shop/web status: "
            "'InProgress']"
        ),
        Cause.FAILING_HEALTH,
    ),
    (
        "the field is not served by this version of gitopsd: spec.verify",
        Cause.NOT_SERVED,
    ),
]


@pytest.mark.parametrize(("message", "cause"), MESSAGES)
def test_message_means_one_kind_of_fault(message: str, cause: Cause) -> None:
    assert causes.read(message).cause is cause


def test_message_that_says_nothing_is_read_by_its_reason() -> None:
    assert causes.read("Something is odd", "BuildFailed").cause is Cause.BUILD_ERROR
    assert causes.read("Something is odd", is_source=True).cause is Cause.SOURCE_FAILED
    assert causes.read("Something is odd").cause is Cause.UNKNOWN


@pytest.mark.parametrize("cause", Cause)
def test_every_kind_of_fault_says_what_to_do(cause: Cause) -> None:
    assert all(causes.remedies(cause))
