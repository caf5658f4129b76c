"""Everything below here needs a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Client
from tests.support.release import installed_chart


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def release(cluster: Client) -> Iterator[Client]:
    """The cluster with this tree's chart installed: operator and NATS run."""
    with installed_chart(cluster):
        yield cluster
