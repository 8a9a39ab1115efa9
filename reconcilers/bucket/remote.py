"""From a Bucket's spec, and the Secrets it names, to a store that can be listed and read."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from api import bucket as kind
from reconcilers.bucket import azuresecret
from reconcilers.bucket.lent import Borrower
from reconcilers.source import secrets
from runtime.errors import TerminalError, TransientError
from sources.auth import basic, tls
from sources.auth.errors import AUTHENTICATION_FAILED, CredentialsError
from sources.bucket import azure, gcs, s3, sts
from sources.bucket.sigv4 import Keys
from sources.web import Web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from api.bucket import Bucket, BucketSTS
    from api.meta import LocalReference
    from reconcilers.context import ClusterContext
    from sources.auth.proxy import Proxy
    from sources.auth.tls import Trust
    from sources.bucket.listing import Bucket as Store

CLIENT_ERROR: Final = "ClientError"
STS_INVALID: Final = "InvalidSTSConfiguration"
_ACCESS_KEY: Final = "accesskey"
_SECRET_KEY: Final = "secretkey"  # noqa: S105 - the name of a key
_ACCOUNT: Final = "serviceaccount"
_SERVICES: Final = frozenset({(kind.GENERIC, kind.LDAP), (kind.AWS, kind.AWS)})


@dataclass(frozen=True, slots=True)
class _Way:
    """How servers are reached for one object."""

    context: ClusterContext
    obj: Bucket
    proxy: Proxy | None

    def client(self, trust: Trust) -> Web:
        return Web(trust, self.proxy, self.context.contexts, self.context.threads)

    async def secret(self, reference: LocalReference | None) -> tuple[str, Mapping[str, bytes]]:
        """Return the name and the content of a Secret; nothing where none is named.

        Raises:
            TransientError: it cannot be read.
        """
        if reference is None:
            return "", {}
        namespace = self.obj.metadata.namespace
        _, data = await secrets.read(self.context, namespace, reference.name)
        return reference.name, data

    async def trust(self, reference: LocalReference | None) -> Trust:
        """Return what a Secret of certificates says.

        Raises:
            TransientError: it cannot be read, or says nothing.
        """
        if reference is None:
            return tls.SYSTEM
        name, data = await self.secret(reference)
        try:
            found = tls.trust(data, f"{self.obj.metadata.namespace}/{name}")
        except CredentialsError as err:
            raise _denied(f"failed to create TLS config: {err}") from err
        if found == tls.SYSTEM:
            raise _denied("certificate secret does not contain any TLS configuration")
        return found


@asynccontextmanager
async def store(context: ClusterContext, obj: Bucket) -> AsyncIterator[Store]:
    """Open the store that an object names, with its credentials and its proxy.

    Raises:
        TransientError: a Secret is missing or cannot be used, or a service refuses credentials.
        TerminalError: the spec contradicts itself.
    """
    proxy = None
    if obj.spec.proxy_secret_ref is not None:
        name = obj.spec.proxy_secret_ref.name
        proxy = await secrets.read_proxy(context, obj.metadata.namespace, name)
    way = _Way(context, obj, proxy)
    trust = await way.trust(obj.spec.cert_secret_ref)
    async with way.client(trust) as web:
        try:
            opened = await _opened(way, web, Borrower(context, obj, trust, proxy))
        except CredentialsError as err:
            raise secrets.unusable(err) from err
        except ValueError as err:
            raise TransientError(CLIENT_ERROR, str(err)) from err
        yield opened


async def _opened(way: _Way, web: Web, borrower: Borrower) -> Store:
    match way.obj.spec.provider:
        case kind.GCP:
            return await _gcs(way, web, borrower)
        case kind.AZURE:
            return await _azure(way, web, borrower)
        case _:
            return await _s3(way, web, borrower)


def _denied(text: str) -> TransientError:
    return TransientError(AUTHENTICATION_FAILED, text)


# Stores that are compatible with S3 -------------------------------------------------------------


async def _s3(way: _Way, web: Web, borrower: Borrower) -> Store:
    spec = way.obj.spec
    keys = _keys(*await way.secret(spec.secret_ref)) if spec.secret_ref else None
    place = s3.Place(spec.endpoint, spec.bucket_name, spec.region, not spec.insecure)
    if spec.sts is not None:
        _check_service(way.obj, spec.sts)
    if keys is None and spec.provider == kind.AWS:
        keys = await borrower.keys(place)
    elif keys is None and spec.sts is not None:
        keys = await _lent(way, spec.sts)
    return s3.S3(web, place, keys, way.context.clock)


def _keys(name: str, data: Mapping[str, bytes]) -> Keys:
    if not data.get(_ACCESS_KEY) or not data.get(_SECRET_KEY):
        raise _denied(
            f"invalid '{name}' secret data: required fields '{_ACCESS_KEY}' and '{_SECRET_KEY}'"
        )
    return Keys(basic.text(data, _ACCESS_KEY, name), basic.text(data, _SECRET_KEY, name))


def _check_service(obj: Bucket, service: BucketSTS) -> None:
    """Refuse a token service that the provider of the bucket takes no keys from.

    Raises:
        TerminalError: it is one.
    """
    provider = obj.spec.provider
    if (provider, service.provider) not in _SERVICES:
        raise TerminalError(
            STS_INVALID,
            f"STS provider '{service.provider}' is not supported for '{provider}' bucket provider",
        )


async def _lent(way: _Way, service: BucketSTS) -> Keys:
    """Return keys from a token service.

    Raises:
        TransientError: its Secret does not do.
        CredentialsError: it lends none.
    """
    name, data = await way.secret(service.secret_ref)
    if service.secret_ref and not (data.get("username") and data.get("password")):
        raise _denied(
            f"invalid '{name}' secret data for '{service.provider}' STS provider: "
            "required fields username, password"
        )
    username, password = (basic.text(data, key, name) for key in ("username", "password"))
    async with way.client(await way.trust(service.cert_secret_ref)) as web:
        return await sts.ldap_keys(web, service.endpoint, username, password)


# Google and Azure -------------------------------------------------------------------------------


async def _gcs(way: _Way, web: Web, borrower: Borrower) -> Store:
    spec, context = way.obj.spec, way.context
    # Flux asks Google wherever the endpoint points, so people write it in every form.
    endpoint = spec.endpoint.rpartition("://")[2].strip("/") or gcs.ENDPOINT
    if spec.secret_ref is None:
        token = await borrower.google(endpoint)
    else:
        name, data = await way.secret(spec.secret_ref)
        if _ACCOUNT not in data:
            raise _denied(f"invalid '{name}' secret data: required fields '{_ACCOUNT}'")
        account = gcs.account(data[_ACCOUNT])
        token = await gcs.token(web, account, context.threads, context.clock)
    return gcs.GCS(web, gcs.Place(spec.bucket_name, endpoint, not spec.insecure, token))


async def _azure(way: _Way, web: Web, borrower: Borrower) -> Store:
    spec, context = way.obj.spec, way.context
    place = azure.Place(spec.endpoint, spec.bucket_name)
    if spec.secret_ref is None:
        access = azure.Access(token=await borrower.azure())
    else:
        name, data = await way.secret(spec.secret_ref)
        access = await azuresecret.access(web, name, data, context.threads, context.clock)
    return azure.Azure(web, place, access, context.clock)
