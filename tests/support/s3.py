"""A real S3-compatible server: moto's, in a process of its own, which verifies every signature.

Objects are put through botocore, so that what is read by the project's own signatures was written
by somebody else's.

::

    bucket = server.bucket()
    bucket.put("apps/web.yaml", b"...")
    S3(web, bucket.place, server.keys, clock)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import botocore.session

from sources.bucket.s3 import Place
from sources.bucket.sigv4 import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = Keys("", "")
_RUNNING = re.compile(r"Running on http://127\.0\.0\.1:(\d+)")
_UNVERIFIED = 3
"""Requests before signatures are verified: those that make the user."""
_EVERYTHING = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
)


@dataclass
class Server:
    """One such server."""

    port: int
    keys: Keys = NOBODY
    """Of a user who may do everything."""

    @property
    def endpoint(self) -> str:
        """Where it is, as a Bucket names it."""
        return f"127.0.0.1:{self.port}"

    @cached_property
    def s3(self) -> Any:
        """A client of botocore, as the user who may do everything."""
        return self._client("s3")

    def key(self) -> str:
        """Make an encryption key, and return its ARN."""
        kms = self._client("kms")
        arn: str = kms.create_key()["KeyMetadata"]["Arn"]
        kms.close()
        return arn

    def close(self) -> None:
        """End what keeps connections open."""
        self.s3.close()

    def _client(self, service: str) -> Any:
        return botocore.session.get_session().create_client(
            service,
            endpoint_url=f"http://{self.endpoint}",
            region_name="us-east-1",
            aws_access_key_id=self.keys.access_key or "nobody",
            aws_secret_access_key=self.keys.secret_key or "nothing",
        )

    def bucket(self) -> BucketBox:
        """Return a new bucket."""
        box = BucketBox(self, f"box-{uuid.uuid4().hex[:12]}")
        self.s3.create_bucket(Bucket=box.name)
        return box

    @contextmanager
    def open_to_all(self) -> Iterator[None]:
        """Verify nothing for the time of the block."""
        self._verify_after(10**9)
        yield
        self._verify_after(0)

    def _verify_after(self, requests: int) -> None:
        address = f"http://{self.endpoint}/moto-api/reset-auth"
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(address, str(requests).encode(), plain)
        urllib.request.urlopen(request, timeout=60).close()

    def admit(self) -> None:
        """Make the user, and verify every signature from then on."""
        iam = self._client("iam")
        iam.create_user(UserName="ada")
        made = iam.create_access_key(UserName="ada")["AccessKey"]
        iam.put_user_policy(UserName="ada", PolicyName="all", PolicyDocument=_EVERYTHING)
        iam.close()
        self.keys = Keys(made["AccessKeyId"], made["SecretAccessKey"])


@dataclass
class BucketBox:
    """A bucket."""

    server: Server
    name: str

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.server.endpoint, self.name, is_secure=False)

    def put(self, key: str, body: bytes | str) -> None:
        """Write an object."""
        content = body.encode() if isinstance(body, str) else body
        self.server.s3.put_object(Bucket=self.name, Key=key, Body=content)

    def fill(self, objects: dict[str, str]) -> None:
        """Write several objects."""
        for key, text in objects.items():
            self.put(key, text)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.server.s3.delete_object(Bucket=self.name, Key=key)


@contextmanager
def running(directory: Path) -> Iterator[Server]:
    """Run one on a free port of 127.0.0.1; what it says goes to a file in ``directory``."""
    log = directory / "moto.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_UNVERIFIED)},
        )
    try:
        server = Server(_port(process, log))
        server.admit()
        yield server
        server.close()
    finally:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    """Return the port, once it listens.

    Raises:
        RuntimeError: it ended instead.
    """
    pause = threading.Event()
    while process.poll() is None:
        if found := _RUNNING.search(log.read_text()):
            return int(found[1])
        pause.wait(0.05)
    raise RuntimeError(f"moto's server does not run: {log.read_text()}")
