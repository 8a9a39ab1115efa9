"""A plain client of a Kubernetes API server for those who watch from outside: demo and benchmark.

It keeps one connection, waits for nothing, and knows nothing of gitopsd, so that what it sees is
what any user of the cluster sees.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import math
import ssl
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from devcluster.errors import DevclusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
_FIRST_S, _LONGEST_S = 0.01, 0.05


class ApiError(DevclusterError):
    """The API server refused a request."""


class Credentials:
    """What a kubeconfig's current context says: where the server is, and who we are.

    Args:
        kubeconfig: its path; certificates and tokens in the file itself are understood.
    """

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        self.server: str = cluster["server"]
        self.headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self.ssl = _ssl_context(cluster, user)


class Api:
    """One keep-alive connection; for one thread at a time.

    Args:
        credentials: whom to ask, and as whom.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._address, self._ssl = urlsplit(credentials.server), credentials.ssl
        self._headers = {"Accept": "application/json", **credentials.headers}
        self._connection = self._connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def raw(
        self, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> tuple[int, bytes]:
        """Send one request and return its status and body; a lost connection is made anew once."""
        headers = self._headers | ({"Content-Type": content_type} if content_type else {})
        try:
            return self._send(method, path, body, headers)
        except (http.client.HTTPException, ConnectionError, ssl.SSLError):
            self._connection.close()
        try:
            return self._send(method, path, body, headers)
        except BaseException:
            self._connection.close()
            raise

    def get(self, path: str) -> dict[str, Any] | None:
        """Return an object, or None when there is none.

        Raises:
            ApiError: any other answer.
        """
        status, content = self.raw("GET", path)
        return (
            None if status == http.HTTPStatus.NOT_FOUND else _decoded("GET", path, status, content)
        )

    def post(self, path: str, obj: dict[str, Any]) -> dict[str, Any]:
        """Create an object.

        Raises:
            ApiError: it was refused.
        """
        answer = self.raw("POST", path, json.dumps(obj).encode(), "application/json")
        return _decoded("POST", path, *answer)

    def patch(self, path: str, patch: dict[str, Any], content_type: str = MERGE) -> dict[str, Any]:
        """Patch an object.

        Raises:
            ApiError: it was refused.
        """
        answer = self.raw("PATCH", path, json.dumps(patch).encode(), content_type)
        return _decoded("PATCH", path, *answer)

    def delete(self, path: str) -> None:
        """Delete an object, or a whole collection.

        Raises:
            ApiError: it was refused, for another reason than that it is not there.
        """
        status, content = self.raw("DELETE", path)
        if status != http.HTTPStatus.NOT_FOUND:
            _decoded("DELETE", path, status, content)

    def wait(
        self, path: str, holds: Callable[[dict[str, Any] | None], bool], timeout_s: float
    ) -> dict[str, Any] | None:
        """Ask for an object until something holds of it, and return it.

        Every 10 ms at first, later after a fiftieth of the time that has gone by, up to 50 ms: who
        looks takes time from what is looked at.

        Raises:
            TimeoutError: it did not come to hold; the message shows the object's conditions.
        """
        start = time.monotonic()
        pause = threading.Event()
        while not holds(obj := self.get(path)):
            waited = time.monotonic() - start
            if waited > timeout_s:
                raise TimeoutError(f"{path} is not as expected: {describe(obj)}")
            pause.wait(min(max(_FIRST_S, waited / 50), _LONGEST_S))
        return obj

    def wait_all(
        self,
        path: str,
        names: Iterable[str],
        holds: Callable[[dict[str, Any]], bool],
        timeout_s: float,
    ) -> None:
        """Watch a collection until something has held of each of some of its objects.

        Args:
            path: of the collection, in one namespace.
            names: of the objects.
            holds: is asked about each state of each object.
            timeout_s: how long to wait.

        Raises:
            TimeoutError: it did not come to hold of all; the message names one.
        """
        missing = set(names)
        if not missing:
            return
        with contextlib.closing(self.follow(path, timeout_s)) as states:
            for obj in states:
                if obj["metadata"]["name"] in missing and holds(obj):
                    missing.discard(obj["metadata"]["name"])
                    if not missing:
                        return
        raise TimeoutError(f"{path}/{min(missing)} is not as expected, nor {len(missing) - 1} more")

    def follow(self, path: str, timeout_s: float) -> Generator[dict[str, Any], None, None]:
        """Yield the objects of a collection as they are, then each one that is new or changed.

        On a connection of its own, which ends with the iterator.

        Args:
            path: of the collection, with or without a query.
            timeout_s: after so long the server ends it.

        Raises:
            ApiError: it was refused.
        """
        query = f"watch=true&timeoutSeconds={math.ceil(timeout_s)}"
        path = f"{path}{'&' if '?' in path else '?'}{query}"
        connection = self._connect(timeout_s)
        try:
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            if answer.status != http.HTTPStatus.OK:
                _decoded("GET", path, answer.status, answer.read())
            for line in answer:
                event = json.loads(line)
                if event["type"] in {"ADDED", "MODIFIED"}:
                    yield event["object"]
        finally:
            connection.close()

    def _connect(self, timeout_s: float = 30.0) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self._address.hostname or "",
            self._address.port or 443,
            timeout=timeout_s,
            context=self._ssl,
        )

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def condition(obj: dict[str, Any] | None, type_: str = "Ready") -> dict[str, Any]:
    """Return one condition of an object, or an empty one."""
    conditions = (obj or {}).get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == type_), {})


def is_ready(obj: dict[str, Any] | None, revision: str = "") -> bool:
    """Say whether a Flux object is Ready in its current generation, and at a revision if given."""
    if obj is None:
        return False
    status = obj.get("status", {})
    applied = status.get("lastAppliedRevision") or status.get("artifact", {}).get("revision", "")
    return (
        condition(obj).get("status") == "True"
        and status.get("observedGeneration") == obj["metadata"]["generation"]
        and revision in applied
    )


def describe(obj: dict[str, Any] | None) -> str:
    """Say in a line or two what an object's conditions are."""
    if obj is None:
        return "there is no such object"
    lines = [
        f"{each['type']}={each['status']} {each['reason']}: {each['message'][:300]}"
        for each in obj.get("status", {}).get("conditions", [])
    ]
    return "; ".join(lines) or "it has no conditions"


def _decoded(method: str, path: str, status: int, content: bytes) -> dict[str, Any]:
    if status >= http.HTTPStatus.BAD_REQUEST:
        raise ApiError(f"{method} {path}: {status} {content.decode(errors='replace')[:500]}")
    decoded: dict[str, Any] = json.loads(content)
    return decoded


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _ssl_context(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    ca = base64.b64decode(cluster.get("certificate-authority-data", "")).decode()
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"), cadata=ca or None
    )
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    if "client-certificate-data" in user:
        pair = [user["client-certificate-data"], user["client-key-data"]]
        with tempfile.NamedTemporaryFile() as file:  # the ssl module reads files alone
            file.write(b"\n".join(base64.b64decode(part) for part in pair))
            file.flush()
            context.load_cert_chain(file.name)
    return context
