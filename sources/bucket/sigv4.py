"""AWS Signature Version 4, in request headers or in a URL.

Of the libraries that only sign, AWS's own needs Python 3.12, and the other one reads the machine's
clock by a call that Python has deprecated; those that bring a signature along weigh more than the
daemon. The tests hold these few lines to AWS's published examples and to botocore.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

    from yarl import URL

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_UNRESERVED: Final = "-_.~"
_NOTHING: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """Whom to sign as."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    """Of keys that were lent for a while."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for."""

    region: str
    service: str = "s3"


def host(url: URL) -> str:
    """Return what the ``Host`` header says: the port only where it is not the usual one."""
    found = url.host_port_subcomponent
    if found is None:
        raise ValueError("a URL without a host cannot be signed")
    return found


def path(text: str) -> str:
    """Percent-encode a path as S3 does for signing: once, slashes left alone."""
    return quote(text, safe=f"/{_UNRESERVED}")


def query(parameters: Iterable[tuple[str, str]]) -> str:
    """Return parameters as a query, percent-encoded and in the order that is signed."""
    encoded = (
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in parameters
    )
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def sign(
    method: str,
    target: str,
    headers: Mapping[str, str],
    keys: Keys,
    scope: Scope,
    now: dt.datetime,
    body: bytes = b"",
) -> dict[str, str]:
    """Return the headers that a signed request has, those given included.

    Args:
        method: such as ``GET``.
        target: path and query as they will be sent, the query made by `query`.
        headers: all are signed; ``Host`` has to be among them.
        keys: whose signature.
        scope: region and service.
        now: the time of the signature, aware; servers accept a quarter of an hour.
        body: what is sent.
    """
    stamp, content = f"{now:%Y%m%dT%H%M%SZ}", hashlib.sha256(body).hexdigest()
    all_headers = {**headers, "x-amz-content-sha256": content, "x-amz-date": stamp}
    if keys.session_token:
        all_headers["x-amz-security-token"] = keys.session_token
    signed = sorted((name.lower(), " ".join(value.split())) for name, value in all_headers.items())
    names = ";".join(name for name, _ in signed)
    where, _, parameters = target.partition("?")
    lines = "".join(f"{name}:{value}\n" for name, value in signed)
    request = f"{method}\n{where}\n{parameters}\n{lines}\n{names}\n{content}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    credential = f"{keys.access_key}/{'/'.join(_credential(scope, stamp))}"
    all_headers["Authorization"] = (
        f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, "
        f"Signature={signature(keys, scope, stamp, digest)}"
    )
    return all_headers


def presign(
    url: URL, headers: Mapping[str, str], keys: Keys, scope: Scope, now: dt.datetime, lasts_s: int
) -> str:
    """Return a URL by which whoever has it may send one GET in our name.

    Args:
        url: its host and what is asked for; signed like the rest.
        headers: further ones that have to be sent along; all are signed.
        keys: whose signature.
        scope: region and service.
        now: the time of the signature, aware.
        lasts_s: seconds for which the URL is good.
    """
    stamp = f"{now:%Y%m%dT%H%M%SZ}"
    lines = sorted((name.lower(), value) for name, value in {**headers, "Host": host(url)}.items())
    names = ";".join(name for name, _ in lines)
    signed = {
        **url.query,
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{keys.access_key}/{'/'.join(_credential(scope, stamp))}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(lasts_s),
        "X-Amz-SignedHeaders": names,
    }
    if keys.session_token:
        signed["X-Amz-Security-Token"] = keys.session_token
    parameters = query(signed.items())
    heads = "".join(f"{name}:{value}\n" for name, value in lines)
    request = f"GET\n{url.raw_path}\n{parameters}\n{heads}\n{names}\n{_NOTHING}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    given = signature(keys, scope, stamp, digest)
    return f"{url.origin()}{url.raw_path}?{parameters}&X-Amz-Signature={given}"


def signature(keys: Keys, scope: Scope, stamp: str, digest: str) -> str:
    """Return the signature of a request.

    Args:
        keys: whose.
        scope: region and service.
        stamp: the time, as the request has it; begins with eight digits of a date.
        digest: SHA-256 of the canonical request.
    """
    credential = _credential(scope, stamp)
    text = "\n".join((ALGORITHM, stamp, "/".join(credential), digest))
    return _mac(_key(keys, credential), text).hex()


def _credential(scope: Scope, stamp: str) -> tuple[str, ...]:
    return stamp[:8], scope.region, scope.service, "aws4_request"


def _key(keys: Keys, credential: Iterable[str]) -> bytes:
    key = f"AWS4{keys.secret_key}".encode()
    for part in credential:
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
