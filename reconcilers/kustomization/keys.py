"""The keys that open a Kustomization's encrypted files: from its Secret to what ``sops`` reads.

The names in the Secret are Flux's. Keys reach the program by its environment, which nobody but this
user can read; OpenPGP keys and certificates by a private folder that is gone afterwards.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from api import meta
from kube import errors, manifests, references
from kube.objects import ObjectId
from reconcilers import referenced
from reconcilers.kustomization.lending import Lender
from reconcilers.workload import Identity
from runtime.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from api.kustomize import Kustomization
    from reconcilers.context import ClusterContext

_AGE: Final = ".agekey"
_PGP: Final = ".asc"
_AGE_LINE: Final = re.compile(r"AGE-SECRET-KEY-(?:PQ-)?1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]+\Z")
_AWS: Final = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}
_AZURE: Final = {
    "tenantId": "AZURE_TENANT_ID",
    "tenant": "AZURE_TENANT_ID",
    "clientId": "AZURE_CLIENT_ID",
    "appId": "AZURE_CLIENT_ID",
    "clientSecret": "AZURE_CLIENT_SECRET",
    "password": "AZURE_CLIENT_SECRET",
    "clientCertificatePassword": "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "authorityHost": "AZURE_AUTHORITY_HOST",
}
"""Fields of Flux's file and of what ``az ad sp create-for-rbac`` prints."""


class KeyFormatError(ValueError):
    """A value is not the key that its name says; the message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens the encrypted files of one Kustomization."""

    digest: str
    """Changes whenever a key does."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables of the program."""
    pgp: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """OpenPGP private keys, by their name in the Secret."""
    certificate: bytes = field(default=b"", repr=False)
    """A client certificate for Azure with its key, PEM."""
    origin: str = ""
    """The Secret, ``namespace/name``, for messages."""
    lender: Lender | None = None
    """Gets what clouds lend; None where nobody is named to whom they could."""

    @property
    def needs_network(self) -> bool:
        """Whether there are credentials of a key service."""
        return bool(self.env.keys() - {"SOPS_AGE_KEY"})


async def gather(context: ClusterContext, item: Kustomization) -> Keys | None:
    """Return the keys of a Kustomization; None where nothing is to be decrypted.

    Raises:
        TransientError: the Secret cannot be read, or holds something that is no key.
    """
    spec = item.spec.decryption
    if spec is None:
        return None
    name = spec.secret_ref.name if spec.secret_ref else ""
    found = await (_of_named(context, item, name) if name else _of_daemon(context))
    if not spec.service_account_name:
        return found
    identity = Identity(context, item.metadata.namespace, spec.service_account_name)
    parts = (found.digest, *identity.who)
    digest = _digest({str(number): part.encode() for number, part in enumerate(parts)})
    return replace(found, digest=digest, lender=Lender(identity))


async def _of_named(context: ClusterContext, item: Kustomization, name: str) -> Keys:
    namespace = item.metadata.namespace
    origin = f"{namespace}/{name}"
    target = ObjectId(namespace, name, "", references.SECRET)
    try:
        secret = await referenced.read(context, target, item.ref(context.name))
    except errors.ApiError as err:
        text = f"cannot get sops decryption Secret '{origin}': {err.message}"
        raise TransientError(meta.BUILD_FAILED, text) from err
    return of_secret(referenced.data_of(secret), origin)


def of_secret(data: Mapping[str, bytes], origin: str) -> Keys:
    """Return the keys in a Secret's data.

    Args:
        data: the decoded values.
        origin: the Secret, for messages.

    Raises:
        TransientError: a value is not what its name says.
    """
    ages: list[str] = []
    env: dict[str, str] = {}
    pgp: dict[str, bytes] = {}
    certificate = b""
    for name, value in sorted(data.items()):
        try:
            if name.endswith(_AGE):
                ages += _age(value)
            elif name.endswith(_PGP):
                pgp[name] = value
            elif name in _READERS:
                env |= _READERS[name](value)
        except (KeyFormatError, UnicodeDecodeError, manifests.ManifestError) as err:
            problem = str(err) if isinstance(err, KeyFormatError) else "it cannot be read"
            raise failure(name, origin, problem) from err
    if ages:
        env["SOPS_AGE_KEY"] = "\n".join(ages)
    if pem := env.pop(_CERTIFICATE, ""):
        certificate = pem.encode()
    return Keys(_digest(data), env, pgp, certificate, origin)


def failure(name: str, origin: str, problem: str) -> TransientError:
    """Return the error for a key that cannot be used, in Flux's words."""
    text = f"failed to import '{name}' data from sops decryption Secret '{origin}': {problem}"
    return TransientError(meta.BUILD_FAILED, text)


async def _of_daemon(context: ClusterContext) -> Keys:
    """Return the daemon-wide key, for a Kustomization that names none."""
    try:
        value = await context.threads.run(context.age_key)
        ages = _age(value) if value else []
    except ValueError as err:
        text = f"the age key file of the daemon cannot be used: {err}"
        raise TransientError(meta.BUILD_FAILED, text) from err
    env = {"SOPS_AGE_KEY": "\n".join(ages)} if ages else {}
    return Keys(_digest({"": value or b""}), env)


def _digest(data: Mapping[str, bytes]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for name, value in sorted(data.items()):
        for part in (name.encode(), value):
            state.update(len(part).to_bytes(8, "big") + part)
    return state.hexdigest()


def _age(value: bytes) -> list[str]:
    lines = [line.strip() for line in value.decode().splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise KeyFormatError("it holds no age identity")
    for number, line in enumerate(lines, start=1):
        if line in found and not _AGE_LINE.match(line):
            raise KeyFormatError(f"line {number} is no age identity")
    return found


def _vault(value: bytes) -> dict[str, str]:
    return {"VAULT_TOKEN": value.decode().strip()}


def _aws(value: bytes) -> dict[str, str]:
    found = _mapping(value)
    if not (found.get("aws_access_key_id") and found.get("aws_secret_access_key")):
        raise KeyFormatError("it needs aws_access_key_id and aws_secret_access_key")
    return {_AWS[name]: str(found[name]) for name in _AWS if found.get(name)}


_CERTIFICATE: Final = "certificate"
"""Stands for the environment variable that names the certificate's file, once there is one."""


def _azure(value: bytes) -> dict[str, str]:
    found = _mapping(value)
    env = {_AZURE[name]: str(found[name]) for name in _AZURE if found.get(name)}
    if found.get("clientCertificate"):
        env[_CERTIFICATE] = str(found["clientCertificate"])
    if found.get("clientCertificateSendChain"):
        env["AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"] = "true"
    if "AZURE_CLIENT_ID" not in env:
        raise KeyFormatError("it needs a clientId")
    if "AZURE_CLIENT_SECRET" not in env and _CERTIFICATE not in env:
        raise KeyFormatError("it needs a clientSecret or a clientCertificate")
    return env


def _gcp(value: bytes) -> dict[str, str]:
    """Take a service account's key; other kinds may name local files and programs."""
    if _mapping(value).get("type") != "service_account":
        raise KeyFormatError("it is no key of a service account")
    return {"GOOGLE_CREDENTIALS": value.decode()}


def _mapping(value: bytes) -> dict[str, Any]:
    found = manifests.load(value)
    if not isinstance(found, dict):
        raise KeyFormatError("it is no mapping")
    return found


_READERS: Final[Mapping[str, Callable[[bytes], dict[str, str]]]] = {
    "sops.vault-token": _vault,
    "sops.aws-kms": _aws,
    "sops.azure-kv": _azure,
    "sops.gcp-kms": _gcp,
}
