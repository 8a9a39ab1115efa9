"""Why a chart could not be made: Flux's reasons, and what each means for the object.

::

    Exception
    └── BuildError    one of the problems below, with its details
"""

from __future__ import annotations

from typing import Final, NamedTuple

from api import meta
from runtime.errors import GitOpsError, TerminalError, TransientError


class Problem(NamedTuple):
    """One way in which it fails."""

    reason: str
    summary: str
    """How the message begins."""
    condition: str
    """The condition that says so."""
    is_final: bool
    """Whether only a change of the object or of its source can help."""


REFERENCE: Final = Problem(
    "InvalidChartReference", "invalid chart reference", meta.FETCH_FAILED, is_final=True
)
PULL: Final = Problem("ChartPullError", "chart pull error", meta.FETCH_FAILED, is_final=False)
METADATA: Final = Problem(
    "MetadataPatchError", "chart metadata patch error", meta.BUILD_FAILED, is_final=True
)
VALUES: Final = Problem(
    "ValuesFilesError", "values files merge error", meta.BUILD_FAILED, is_final=True
)
DEPENDENCIES: Final = Problem(
    "DependencyBuildError", "dependency build error", meta.BUILD_FAILED, is_final=False
)
PACKAGE: Final = Problem(
    "ChartPackageError", "chart package error", meta.BUILD_FAILED, is_final=False
)
VERIFICATION: Final = Problem(
    "ChartVerificationError", "chart verification error", meta.BUILD_FAILED, is_final=False
)


class BuildError(Exception):
    """A chart could not be made.

    Args:
        problem: in which way.
        details: what exactly is wrong.
        retry_after_s: seconds until the next try, where a server asks for that.
    """

    def __init__(
        self, problem: Problem, details: object, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{problem.summary}: {details}")
        self.problem = problem
        self.retry_after_s = retry_after_s

    def leaf(self) -> GitOpsError:
        """Return what the status is to say, and what happens next."""
        if self.problem.is_final:
            return TerminalError(self.problem.reason, str(self))
        return TransientError(self.problem.reason, str(self), retry_after_s=self.retry_after_s)
