"""What a figure is made of: files of trials, columns of results or of learning curves. Where no trial has them, as in a
record of an experiment that does not write them, the figure is left out."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from analysis.results import Results, once


@dataclass(frozen=True)
class Needs:
    """`files`: names in a trial's folder; `fields` of its setting; `columns`: results; `curves`: columns of learning
    curves. All of them are needed; a * stands for any part of a name, and one such name is enough."""

    files: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()

    def met(self, results: Results) -> bool:
        """Whether a complete trial has all of them. As long as none is complete, fields are known and nothing else."""
        if not set(self.fields) <= set(map(str, results.rows)):
            return False
        if results.complete.empty:
            return True
        return (
            all(_among(name, set(map(str, results.complete))) for name in self.columns)
            and all(_among(name, _curve_columns(results)) for name in self.curves)
            and all(_has_file(results, name) for name in self.files)
        )


def _among(wanted: str, names: set[str]) -> bool:
    return any(fnmatchcase(name, wanted) for name in names) if "*" in wanted else wanted in names


@once
def _curve_columns(results: Results) -> set[str]:
    return {str(name) for name in results.curves}


@once
def _has_file(results: Results, name: str) -> bool:
    """Whether one of the complete trials has the file."""
    folders = map(Path, results.complete.get("folder", ()))
    return any(any(folder.glob(name)) if "*" in name else (folder / name).exists() for folder in folders)
