"""i-CLEVR: scenes of one to three objects out of 24, the user's folder or rendered here."""

from runners.tasks.iclevr.source import produce, stored, task

__all__ = ["OF_FILES", "SOURCES", "produce", "stored", "task"]

SOURCES = ("rendered", "folder")
OF_FILES = ("folder",)
