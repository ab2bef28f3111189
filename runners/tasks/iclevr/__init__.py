"""i-CLEVR: scenes of one to three objects out of 24, the user's folder or rendered here."""

from __future__ import annotations

from collections.abc import Mapping

from runners.config import Scalar
from runners.tasks.iclevr.source import produce, stored, task

__all__ = ["OF_FILES", "SCALES", "SOURCES", "produce", "stored", "task"]

SOURCES = ("rendered", "folder")
OF_FILES = ("folder",)
SCALES: Mapping[str, Mapping[str, Scalar]] = {"workstation": {"flips": True}}  # a label says nothing of left and right
