"""Records that a run of helm is shown in place of those of the cluster.

Helm applies objects only together with writing a record of its own. Where the daemon writes the
record, helm works on a shelf: it finds the records that lie there, and what it writes is said to be
written and forgotten. So the record in the cluster stays the daemon's alone, pending from before
the first object until after the last hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qs

import orjson

from kube import selectors
from kube.helm import record as records
from kube.helm import storage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kube.helm.record import Record

_TAKEN: Final = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "taken"}}
_LIST: Final = {"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "1"}}


class Answer(NamedTuple):
    """What helm is told."""

    status: int
    body: bytes


class Shelf:
    """The records that helm finds.

    Args:
        shown: the records; packing them blocks.
    """

    def __init__(self, shown: Iterable[Record] = ()) -> None:
        made = (storage.as_secret(each, records.encode(each)) for each in shown)
        self._secrets: dict[str, dict[str, Any]] = {each["metadata"]["name"]: each for each in made}

    def answer(self, method: str, name: str, query: str) -> Answer:
        """Answer a request for records.

        Args:
            method: the HTTP method.
            name: of the Secret; empty where it is about all of them.
            query: of the request, percent-encoded.
        """
        if method == "POST":
            return Answer(201, orjson.dumps(_TAKEN))
        if method != "GET":
            return Answer(200, orjson.dumps(_TAKEN))
        if not name:
            return Answer(200, orjson.dumps({**_LIST, "items": self._selected(query)}))
        found = self._secrets.get(name)
        return Answer(200, orjson.dumps(found)) if found else _missing(name)

    def _selected(self, query: str) -> list[dict[str, Any]]:
        text = parse_qs(query).get("labelSelector", [""])[0]
        selector = selectors.parse(text)
        found = self._secrets.values()
        return [each for each in found if selector.matches(each["metadata"]["labels"])]


def _missing(name: str) -> Answer:
    status = {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "reason": "NotFound",
        "message": f'secrets "{name}" not found',
        "details": {"name": name, "kind": "secrets"},
        "code": 404,
    }
    return Answer(404, orjson.dumps(status))
