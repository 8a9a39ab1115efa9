"""What the tests of reconcilers share: a desk where each is run by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support import reconciling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from devcluster.access import Access
    from tests.support.reconciling import Desk


@pytest.fixture
async def desk(cluster: Access, tmp_path: Path) -> AsyncIterator[Desk]:
    """Everything reconcilers need, on the session's cluster."""
    async with reconciling.running(cluster, tmp_path) as each:
        yield each
        await asyncio.to_thread(each.context.git.close)
