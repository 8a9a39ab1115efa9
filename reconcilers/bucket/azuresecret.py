"""What a Secret in Flux's layout lets one present to Azure's storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from runtime.errors import TransientError
from sources.auth import basic
from sources.auth.errors import AUTHENTICATION_FAILED, CredentialsError
from sources.bucket import azure, entra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.clock import Clock
    from runtime.limits import Threads
    from sources.web import Web

_KNOWN: Final = ("clientId", "accountKey", "sasKey", "authorityHost")
_PROOFS: Final = ("clientSecret", "clientCertificate")


async def access(
    web: Web, name: str, data: Mapping[str, bytes], threads: Threads, clock: Clock
) -> azure.Access:
    """Return what to present: a token of Entra ID, an account key or a signature, in this order.

    Args:
        web: how to reach Entra ID.
        name: of the Secret, for messages.
        data: the Secret's content.
        threads: signs.
        clock: the time of what is signed.

    Raises:
        TransientError: the Secret holds nothing of that.
        CredentialsError: it holds what cannot be used, or what Entra ID refuses.
    """
    if not any(key in data for key in _KNOWN):
        raise TransientError(
            AUTHENTICATION_FAILED,
            f"invalid '{name}' secret data: requires a 'clientId' or 'accountKey' field, a "
            "combination of 'tenantId', 'clientId' and 'clientSecret', or 'tenantId', 'clientId' "
            "and 'clientCertificate'",
        )
    if data.get("tenantId") and data.get("clientId") and any(data.get(key) for key in _PROOFS):
        client = _client(name, data)
        return azure.Access(token=await entra.token(web, client, threads, clock))
    if data.get("accountKey") and not data.get("clientId"):
        return azure.Access(account_key=azure.account_key(basic.text(data, "accountKey", name)))
    if data.get("sasKey") and not data.get("clientId"):
        return azure.Access(sas=_signature(basic.text(data, "sasKey", name)))
    raise CredentialsError(
        f"secret '{name}' asks for an identity that Azure gives to its own machines; outside of "
        "Azure it needs 'tenantId' and 'clientSecret' or 'clientCertificate', an 'accountKey', or "
        "a 'sasKey'"
    )


def _client(name: str, data: Mapping[str, bytes]) -> entra.Client:
    authority = basic.text(data, "authorityHost", name) or entra.AUTHORITY
    if urlsplit(authority).scheme not in {"http", "https"}:
        raise CredentialsError(f"secret '{name}': 'authorityHost' is no https:// address")
    chain = basic.text(data, "clientCertificateSendChain", name).lower()
    return entra.Client(
        tenant=basic.text(data, "tenantId", name),
        id=basic.text(data, "clientId", name),
        secret=basic.text(data, "clientSecret", name),
        certificate=data.get("clientCertificate", b""),
        password=data.get("clientCertificatePassword", b""),
        sends_chain=chain in {"1", "true"},
        authority=authority,
    )


def _signature(text: str) -> str:
    signature = text.removeprefix("?")
    if "sig=" not in signature or any(character.isspace() for character in signature):
        raise CredentialsError("'sasKey' is no shared access signature: it has a 'sig='")
    return signature
