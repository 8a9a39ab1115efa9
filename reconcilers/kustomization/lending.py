"""What clouds lend for decryption, to the ServiceAccount that a Kustomization names.

The encrypted texts tell which clouds hold their keys; no other is asked for anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from api import meta
from runtime.errors import TransientError
from sources.auth import roles
from sources.auth.errors import CredentialsError
from sources.oci import clouds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconcilers.workload import Identity

_AWS_KEY: Final = re.compile(rb"arn:(aws[a-z-]*):kms:([a-z0-9-]+):")
_AZURE_KEY: Final = re.compile(
    rb"https://[a-z0-9-]+\.(?:vault\.azure\.(?:net|cn)|vault\.usgovcloudapi\.net"
    rb"|managedhsm\.azure\.net)",
    re.IGNORECASE,
)
_GOOGLE_KEY: Final = re.compile(rb"projects/[^/\s\"]+/locations/[^/\s\"]+/keyRings/")
_AWS, _AZURE, _GOOGLE = "AWS_ACCESS_KEY_ID", "AZURE_CLIENT_ID", "GOOGLE_OAUTH_ACCESS_TOKEN"
_BY_WORD: Final = {"AZURE_TOKEN_CREDENTIALS": "WorkloadIdentityCredential"}
"""Has Azure's library take the cluster's word and nothing else."""
_GOOGLE_FILE: Final = "GOOGLE_CREDENTIALS"


class Lent(NamedTuple):
    """What the ``sops`` program gets of it."""

    env: dict[str, str]
    """Environment variables."""
    files: dict[str, bytes]
    """Contents of files, by the environment variable that names each."""


@dataclass(frozen=True, slots=True)
class Lender:
    """Borrows for some texts.

    Args:
        identity: as whom.
    """

    identity: Identity

    async def lend(self, texts: Iterable[bytes], own: Collection[str]) -> Lent:
        """Return what opens texts whose keys are in a cloud.

        Args:
            texts: the encrypted ones.
            own: environment variables that a Secret gives; its clouds are not asked.

        Raises:
            TransientError: a cloud lends nothing; the message says what to do.
        """
        content = b"\n".join(texts)
        try:
            return await self._borrow(content, own)
        except CredentialsError as err:
            who = f"{self.identity.namespace}/{self.identity.account}"
            text = f"cannot decrypt as ServiceAccount '{who}': {err}"
            raise TransientError(meta.BUILD_FAILED, text) from err

    async def _borrow(self, content: bytes, own: Collection[str]) -> Lent:
        lent = Lent({}, {})
        if _AWS not in own and (found := _AWS_KEY.search(content)):
            lent.env.update(await self._aws(found[1].decode(), found[2].decode()))
        if _AZURE not in own and _AZURE_KEY.search(content):
            tenant, application, word = await self.identity.application()
            lent.env.update({"AZURE_TENANT_ID": tenant, _AZURE: application, **_BY_WORD})
            lent.files["AZURE_FEDERATED_TOKEN_FILE"] = word.encode()
        if _GOOGLE_FILE not in own and _GOOGLE_KEY.search(content):
            lent.env[_GOOGLE] = (await self.identity.google((clouds.GOOGLE_SCOPE,))).value
        return lent

    async def _aws(self, partition: str, region: str) -> dict[str, str]:
        domain = roles.DOMAINS.get(partition)
        if domain is None:
            raise CredentialsError(f"keys of AWS's partition '{partition}' are not served")
        keys = (await self.identity.aws((region, domain))).value
        env = {_AWS: keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
        return env | ({"AWS_SESSION_TOKEN": keys.session_token} if keys.session_token else {})
