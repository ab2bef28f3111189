"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import miniature
import pytest


@pytest.fixture(scope="session")
def miniature_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic record of 3 arms x 3 seeds; read it, do not write to it."""
    return miniature.make(tmp_path_factory.mktemp("record"))
