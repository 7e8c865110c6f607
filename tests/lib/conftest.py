from collections.abc import AsyncIterator

import pytest

from tests.static_site import StaticSite, running_site


@pytest.fixture
async def site() -> AsyncIterator[StaticSite]:
    async with running_site() as running:
        yield running
