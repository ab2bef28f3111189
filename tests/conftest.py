"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic_record


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker is left with a long one at the end; within a file as written."""
    seconds = {
        path: sum(bool(item.get_closest_marker("slow")) for item in items if item.path == path)
        for path in {item.path for item in items}
    }
    items.sort(key=lambda item: (-seconds[item.path], str(item.path)))


@pytest.fixture(scope="session")
def miniature_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic record of 3 arms x 3 seeds; read it, do not write to it."""
    return synthetic_record.make(tmp_path_factory.mktemp("record"))
