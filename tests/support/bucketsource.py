"""A Bucket that tests write as users do, and reconcile when they want; see `gitsource`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from api.bucket import Bucket
from reconcilers import bucket
from tests.support.written import Written

if TYPE_CHECKING:
    from tests.support.reconciling import Desk
    from tests.support.s3 import BucketBox


class BucketSource(Written):
    """The Bucket ``fleet`` of a test, and the Secret ``keys`` with its credentials."""

    def __init__(self, desk: Desk, box: BucketBox, namespace: str) -> None:
        super().__init__(desk, Bucket, bucket.reconciler(desk.context), namespace)
        self.box = box

    async def secret(self, name: str = "keys", **data: str) -> None:
        """Write a Secret; the keys of the server's user where nothing else is given."""
        keys = self.box.server.keys
        await self.desk.create(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "namespace": self.namespace},
                "stringData": data or {"accesskey": keys.access_key, "secretkey": keys.secret_key},
            }
        )

    async def apply(self, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        """Write it as a user would."""
        base = {
            "bucketName": self.box.name,
            "endpoint": self.box.server.endpoint,
            "insecure": True,
            "interval": "1m",
            "secretRef": {"name": "keys"},
        }
        given = {key: value for key, value in (base | spec).items() if value is not None}
        await self.write(given, annotations)
