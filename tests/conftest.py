"""What several test files share."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest
import synthetic_record

# A background job of a script ignores Ctrl-C, and what runs under nohup the hang-up of a terminal: so would every study
# that a test starts and ends.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker is left with a long one at the end; within a file as written."""
    slow = Counter(item.path for item in items if {"slow", "long"} & {mark.name for mark in item.iter_markers()})
    items.sort(key=lambda item: (-slow[item.path], str(item.path)))


@pytest.fixture(scope="session")
def miniature_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic record of 3 arms x 3 seeds; read it, do not write to it."""
    return synthetic_record.make(tmp_path_factory.mktemp("record"))
