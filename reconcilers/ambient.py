"""Who may be what the daemon's own machine is in a cloud.

Whoever may write a source chooses what is read with that identity, so a cluster gets it by a switch
in ``config.toml`` alone, never where tenants are kept apart, and it is shown to nobody but hosts of
the cloud whose certificate the system trusts: a proxy and a certificate of the object's own
together would read along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sources.auth.errors import CredentialsError

if TYPE_CHECKING:
    from reconcilers.context import ClusterContext
    from sources.auth.ambient.machine import Machine
    from sources.auth.tls import Trust


def machine(context: ClusterContext) -> Machine:
    """Return the machine whose identity the objects of a cluster may use.

    Raises:
        CredentialsError: they may not; the message says what to do.
    """
    if context.settings.default_service_account:
        raise CredentialsError(
            "tenants are kept apart in this cluster, so none of its objects may use the cloud "
            "identity of the daemon's machine: name a serviceAccountName or a secretRef"
        )
    if context.machine is None:
        raise CredentialsError(
            "this cluster may not use the cloud identity of the daemon's machine: name a "
            "serviceAccountName or a secretRef, or set ambient_cloud_identity = true in its "
            "[[clusters]] table of config.toml"
        )
    return context.machine


def check(trust: Trust, *, insecure: bool = False) -> None:
    """Let the machine's identity be seen by nobody on the way.

    Raises:
        CredentialsError: somebody could.
    """
    if trust.ca or trust.accepts_any or insecure:
        raise CredentialsError(
            "the cloud identity of the daemon's machine goes only to servers whose certificate the "
            "system trusts: leave out ca.crt and insecure"
        )
