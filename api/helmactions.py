"""What a HelmRelease says about each action on its release: install, upgrade, test and so on."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from api import rules
from api.durations import Duration
from api.meta import Struct


class Strategy(Struct, frozen=True, kw_only=True):
    """What to do about a failure."""

    RULES: ClassVar[tuple[rules.Rule, ...]] = (
        rules.Rule(
            "!has(self.retryInterval) || self.name != 'RemediateOnFailure'",
            ".retryInterval cannot be set when .name is 'RemediateOnFailure'",
        ),
    )

    name: Annotated[str, rules.one_of("RemediateOnFailure", "RetryOnFailure")]
    """Undo what failed as ``remediation`` says, or try again and again."""
    retry_interval: Duration | None = None
    """How soon to try again under ``RetryOnFailure``; 5 minutes where absent."""


class InstallRemediation(Struct, frozen=True, kw_only=True):
    """How a failed install is undone: by an uninstall."""

    retries: int = 0
    """How often to try again; a negative number sets no limit."""
    ignore_test_failures: bool | None = None
    """Takes no account of failed tests; ``test.ignoreFailures`` where absent."""
    remediate_last_failure: bool | None = None
    """Undoes the last failure too, when no retry remains."""


class UpgradeRemediation(Struct, frozen=True, kw_only=True):
    """How a failed upgrade is undone."""

    retries: int = 0
    """How often to try again; a negative number sets no limit."""
    ignore_test_failures: bool | None = None
    """Takes no account of failed tests; ``test.ignoreFailures`` where absent."""
    remediate_last_failure: bool | None = None
    """Undoes the last failure too, when no retry remains; true where absent and there are
    retries."""
    strategy: Annotated[str, rules.one_of("rollback", "uninstall")] = ""
    """By a rollback to the last good release (where empty), or by an uninstall."""


class Install(Struct, frozen=True, kw_only=True):
    """How the release is installed."""

    timeout: Duration | None = None
    """Time limit of each operation; ``spec.timeout`` where absent."""
    strategy: Strategy | None = None
    """What to do about a failure; ``RemediateOnFailure`` where absent."""
    remediation: InstallRemediation | None = None
    """How a failure is undone."""
    disable_take_ownership: bool = False
    """Refuses objects that exist and belong to no release or to another one."""
    disable_wait: bool = False
    """Does not wait until what was applied is healthy."""
    disable_wait_for_jobs: bool = False
    """Does not wait until Jobs have completed."""
    disable_hooks: bool = False
    """Runs no hooks."""
    disable_open_api_validation: bool = msgspec.field(
        default=False, name="disableOpenAPIValidation"
    )
    """Does not check rendered objects against the cluster's schemas."""
    disable_schema_validation: bool = False
    """Does not check values against the chart's schema."""
    replace: bool = False
    """Takes a name that an uninstalled release in the history has."""
    skip_crds: bool = msgspec.field(default=False, name="skipCRDs")
    """Deprecated: use ``crds``. Applies no CustomResourceDefinitions."""
    crds: Annotated[str, rules.one_of("Skip", "Create", "CreateReplace")] = ""
    """What to do with the CustomResourceDefinitions of the chart; ``Create`` where empty."""
    create_namespace: bool = False
    """Creates the namespace ``spec.targetNamespace`` where it is missing."""
    server_side_apply: bool | None = None
    """Applies by server-side apply; true where absent."""


class Upgrade(Struct, frozen=True, kw_only=True):
    """How the release is upgraded."""

    timeout: Duration | None = None
    """Time limit of each operation; ``spec.timeout`` where absent."""
    strategy: Strategy | None = None
    """What to do about a failure; ``RemediateOnFailure`` where absent."""
    remediation: UpgradeRemediation | None = None
    """How a failure is undone."""
    disable_take_ownership: bool = False
    """Refuses objects that exist and belong to no release or to another one."""
    disable_wait: bool = False
    """Does not wait until what was applied is healthy."""
    disable_wait_for_jobs: bool = False
    """Does not wait until Jobs have completed."""
    disable_hooks: bool = False
    """Runs no hooks."""
    disable_open_api_validation: bool = msgspec.field(
        default=False, name="disableOpenAPIValidation"
    )
    """Does not check rendered objects against the cluster's schemas."""
    disable_schema_validation: bool = False
    """Does not check values against the chart's schema."""
    force: bool = False
    """Replaces objects instead of patching them; without effect under server-side apply."""
    preserve_values: bool = False
    """Puts the values over those of the release before, instead of over the chart's alone."""
    cleanup_on_fail: bool = False
    """Deletes what a failed upgrade created."""
    crds: Annotated[str, rules.one_of("Skip", "Create", "CreateReplace")] = ""
    """What to do with the CustomResourceDefinitions of the chart; ``Create`` where empty."""
    chart_name_change_strategy: Annotated[str, rules.one_of("Reinstall", "InPlaceUpdate")] = ""
    """What to do when the chart has another name than that of the release; ``Reinstall`` where
    empty."""
    server_side_apply: Annotated[str, rules.one_of("enabled", "disabled", "auto")] = ""
    """Applies by server-side apply; ``auto`` (as the release before was applied) where empty."""


class Filter(Struct, frozen=True, kw_only=True):
    """Chooses tests by name."""

    name: Annotated[str, rules.sized(minimum=1, maximum=253)]
    """Name of the test."""
    exclude: bool = False
    """Leaves this test out, instead of running only tests that are named."""


class Testing(Struct, frozen=True, kw_only=True):
    """Whether and how the tests of the chart are run."""

    enable: bool = False
    """Runs the tests after an install or upgrade."""
    timeout: Duration | None = None
    """Time limit of each test; ``spec.timeout`` where absent."""
    ignore_failures: bool = False
    """Takes no account of tests that fail."""
    filters: tuple[Filter, ...] = ()
    """The tests to run; all where empty. An exclusion comes before everything else."""


class Rollback(Struct, frozen=True, kw_only=True):
    """How the release is rolled back."""

    timeout: Duration | None = None
    """Time limit of each operation; ``spec.timeout`` where absent."""
    disable_wait: bool = False
    """Does not wait until what was applied is healthy."""
    disable_wait_for_jobs: bool = False
    """Does not wait until Jobs have completed."""
    disable_hooks: bool = False
    """Runs no hooks."""
    recreate: bool = False
    """Without effect, as in Flux."""
    force: bool = False
    """Replaces objects instead of patching them; without effect under server-side apply."""
    cleanup_on_fail: bool = False
    """Deletes what a failed rollback created."""
    server_side_apply: Annotated[str, rules.one_of("enabled", "disabled", "auto")] = ""
    """Applies by server-side apply; ``auto`` (as the release that is gone back to was applied)
    where empty."""


class Uninstall(Struct, frozen=True, kw_only=True):
    """How the release is uninstalled."""

    timeout: Duration | None = None
    """Time limit of each operation; ``spec.timeout`` where absent."""
    disable_hooks: bool = False
    """Runs no hooks."""
    keep_history: bool = False
    """Keeps the records of the release."""
    disable_wait: bool = False
    """Does not wait until the objects are gone."""
    deletion_propagation: Annotated[str, rules.one_of("background", "foreground", "orphan")] = (
        "background"
    )
    """What becomes of the dependents of the objects that are deleted."""
