"""``provider: aws`` and ``azure``: an identity opens a cloud's repositories.

The cluster can vouch for a ServiceAccount, and a cloud that trusts the cluster's issuer lends what
it is annotated with. Where an object names none, it is the identity of the daemon's own machine,
if the cluster may use that (`reconcilers.ambient`).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from kube import errors
from reconcilers import accounts, ambient
from reconcilers.source import secrets
from sources.auth import basic, codecommit, devops, roles, tls
from sources.auth.errors import CredentialsError
from sources.auth.lent import Lender, Loan
from sources.web import Web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from api.source import GitRepository
    from reconcilers.context import ClusterContext
    from sources.auth.ambient.machine import Machine
    from sources.auth.basic import Credentials
    from sources.auth.proxy import Proxy

AWS: Final = "aws"
AZURE: Final = "azure"
PROVIDERS: Final = (AWS, AZURE)


async def credentials(
    context: ClusterContext, obj: GitRepository, proxy: Proxy | None
) -> Credentials:
    """Return credentials that borrow from the object's provider when they are needed.

    Raises:
        TransientError: the ServiceAccount, its annotations or the Secret do not do.
    """
    namespace, spec = obj.metadata.namespace, obj.spec
    data: dict[str, bytes] = {}
    if spec.secret_ref is not None:
        _, data = await secrets.read(context, namespace, spec.secret_ref.name)
    try:
        trust = tls.trust(data, namespace)
        if not spec.service_account_name:
            ambient.check(trust)
            lender = _ambient(ambient.machine(context), context, obj)
            return replace(basic.ANONYMOUS, trust=trust, lender=lender)
        found = await accounts.notes(context, namespace, spec.service_account_name)
        role, borrow = _role(_Borrower(context, obj, proxy), found)
    except errors.ApiError as err:
        who = f"{namespace}/{spec.service_account_name}"
        raise secrets.unusable(
            CredentialsError(f"ServiceAccount '{who}' cannot be read: {err.message}")
        ) from err
    except CredentialsError as err:
        raise secrets.unusable(err) from err
    borrower = (context.name, namespace, spec.service_account_name, spec.provider, role)
    identity = tls.digest(b"lent", *(part.encode() for part in borrower))
    return replace(basic.ANONYMOUS, trust=trust, lender=Lender(identity, borrow, context.clock))


def _ambient(machine: Machine, context: ClusterContext, obj: GitRepository) -> Lender:
    """Return a lender of the machine's own identity.

    Raises:
        CredentialsError: the URL is not the cloud's.
    """
    url = obj.spec.url

    async def aws() -> Loan:
        found = await machine.aws(codecommit.place(url))
        return codecommit.loan(found.value, found.ends_at, context.clock)

    async def azure() -> Loan:
        found = await machine.azure(devops.SCOPE)
        return Loan(lambda _url: f"Bearer {found.value}", found.ends_at)

    if obj.spec.provider == AWS:
        where = "/".join(codecommit.place(url))
        return Lender(tls.digest(b"ambient", where.encode()), aws, context.clock)
    devops.check_host(url)
    return Lender(tls.digest(b"ambient", AZURE.encode()), azure, context.clock)


class _Borrower:
    """Borrows for one object."""

    def __init__(self, context: ClusterContext, obj: GitRepository, proxy: Proxy | None) -> None:
        self.context, self.obj, self.proxy = context, obj, proxy

    async def aws(self, role: str) -> Loan:
        """Borrow keys of a role.

        Raises:
            CredentialsError: nobody lends any.
        """
        spec, namespace = self.obj.spec, self.obj.metadata.namespace
        token = await self._token(roles.AUDIENCE)
        session = f"{spec.service_account_name}.{namespace}.{codecommit.region(spec.url)}"
        async with self._web() as web:
            clock = self.context.clock
            return await codecommit.borrow(web, spec.url, role, token, clock, session)

    async def azure(self, tenant: str, client: str) -> Loan:
        """Borrow a token of an application.

        Raises:
            CredentialsError: nobody lends any.
        """
        token = await self._token(devops.AUDIENCE)
        async with self._web() as web:
            return await devops.borrow(web, tenant, client, token, self.context.clock)

    def _web(self) -> Web:
        return Web(tls.SYSTEM, self.proxy, self.context.contexts, self.context.threads)

    async def _token(self, audience: str) -> str:
        namespace, account = self.obj.metadata.namespace, self.obj.spec.service_account_name
        try:
            return (await accounts.token(self.context, namespace, account, (audience,))).token
        except errors.ApiError as err:
            raise CredentialsError(
                f"no token for the ServiceAccount {namespace}/{account}: {err.message}"
            ) from err


def _role(
    borrower: _Borrower, annotations: dict[str, str]
) -> tuple[str, Callable[[], Awaitable[Loan]]]:
    """Return who the ServiceAccount is in the cloud, and how to borrow as that.

    Raises:
        CredentialsError: the annotations do not say, or the URL is not the cloud's.
    """
    url = borrower.obj.spec.url
    if borrower.obj.spec.provider == AWS:
        codecommit.region(url)
        role = roles.check_role(annotations.get(roles.ROLE, ""))
        return role, partial(borrower.aws, role)
    devops.check_url(url)
    tenant, client = annotations.get(devops.TENANT, ""), annotations.get(devops.CLIENT, "")
    devops.check_application(tenant, client)
    return f"{tenant}/{client}", partial(borrower.azure, tenant, client)
