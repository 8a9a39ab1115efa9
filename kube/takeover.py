"""Carries out the clean-up of `kube.cleanup` on one live object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from kube import cleanup, errors, wording
from kube.client import JSON_PATCH

if TYPE_CHECKING:
    from kube.objects import JsonObject
    from kube.target import Session, Target

TRIES: Final = 5
"""Tries at an object that others keep writing to."""
_STEP: Final = "metadata.managedFields cleanup failed"


async def take_over(session: Session, target: Target) -> None:
    """Merge other managers' leftovers into ours, so that the apply removes what is not declared.

    Raises:
        ObjectError: the server refused, or others kept writing meanwhile.
    """
    obj = target.desired.id
    desired = orjson.loads(session.reader.read(target.desired))
    for attempt in range(1, TRIES + 1):
        try:
            await _merge_managers(session, target, desired)
        except errors.NotFound:
            return
        except errors.Conflict as error:
            if attempt == TRIES:
                raise wording.failed(obj, _STEP, error) from error
        except errors.ApiError as error:
            raise wording.failed(obj, _STEP, error) from error
        else:
            return


async def migrate(session: Session, target: Target) -> bool:
    """Bring the managers' entries of an object to the API version that is applied.

    A version of a custom kind that gained a field with a default makes every apply fail with
    "field not declared in schema", as long as an entry is in a version without that field.

    Returns:
        Whether anything changed, so that trying again makes sense.

    Raises:
        ApiError: the server refused.
    """
    obj = target.desired.id
    metadata = await session.client.metadata(target.resource, obj.namespace, obj.name)
    body = cleanup.migration(metadata, target.desired.gvk.api_version)
    if body is not None:
        await _patch(session, target, body)
    return body is not None


async def _merge_managers(session: Session, target: Target, desired: JsonObject) -> None:
    obj = target.desired.id
    metadata = await session.client.metadata(target.resource, obj.namespace, obj.name)
    body = cleanup.patch(metadata, session.identity, desired)
    if body is not None:
        await _patch(session, target, body)


async def _patch(session: Session, target: Target, body: bytes) -> None:
    obj = target.desired.id
    await session.client.patch(
        target.resource,
        obj.namespace,
        obj.name,
        body,
        content_type=JSON_PATCH,
        manager=session.identity.manager,
    )
