"""i-CLEVR: scenes of one to three objects out of 24, the user's folder or rendered here."""

from __future__ import annotations

from collections.abc import Mapping

from runners.config import Scalar
from runners.tasks.iclevr.labels import ABOUT
from runners.tasks.iclevr.source import produce, stored, task

__all__ = ["ABOUT", "SCALES", "SOURCES", "produce", "stored", "task"]

SOURCES = ("rendered", "folder")
SCALES: Mapping[str, Mapping[str, Scalar]] = {}  # the table of scales is made for it
