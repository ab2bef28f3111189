"""Which studies there are: the files `study/studies/NAME.py`, and any file that a user names, each with a `STUDY`."""

from __future__ import annotations

import hashlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners import packages, readable
from runners.config import FIRST, nearest
from runners.experiment import Kind
from runners.experiment import find as find_experiment
from study.design.spec import StudySpec

STUDIES = Path(__file__).resolve().parent.parent / "studies"


def names() -> list[str]:
    """The studies: the files of study/studies."""
    return sorted(module.name for module in pkgutil.iter_modules([str(STUDIES)]))


def find(name: str) -> StudySpec:
    """The study of a name; ValueError with the nearest name when there is none."""
    if name not in names():
        raise ValueError(f"Unknown study {name!r}{nearest(name, names())}")
    return _study_of(importlib.import_module(f"study.studies.{name}"), f"study/studies/{name}.py")


def fitting(kind: Kind, experiment: str = FIRST) -> list[str]:
    """The studies of an experiment whose question makes sense for images of a kind."""
    specs = {name: find(name) for name in names()}
    return [name for name, spec in specs.items() if kind in spec.kinds and spec.experiment == experiment]


@dataclass(frozen=True)
class Named:
    """A study that was asked for: its name and its spec; where it is not one of study/studies, its file and that
    file's digest."""

    name: str
    spec: StudySpec
    digest: str = ""
    file: Path | None = None

    @property
    def files(self) -> Iterator[tuple[str, Path]]:
        """Name and path of what no commit of the project has: the study's file, modules beside it that it imported, and
        the files of its own experiment."""
        if self.file is None:
            return
        yield self.file.name, self.file
        folder, own = self.file.resolve().parent, packages.folder_of(self.spec.experiment)
        for path in packages.imported_from(folder):
            if own is None or own not in path.parents:
                yield path.relative_to(folder).as_posix(), path
        if own is not None:
            yield from ((path.relative_to(own.parent).as_posix(), path) for path in packages.files_of(own))


def asked(word: str) -> Named:
    """The study of a word of `--study`: a name, or the path of a file `my_study.py` that defines a `STUDY`.

    A study from a path is named after its file, and its id bears a digest of the file, and of its experiment where that
    is a folder beside it: an edited file is another study. The file is Python code, and it is run. Raises ValueError
    for what is neither.
    """
    path, wanted = Path(word), "write the path of a Python file that defines STUDY, or a name"
    fault = None if word in names() else readable.fault(path)
    if path.suffix != ".py" and (fault is None or fault.what == readable.ABSENT):
        return Named(word, find(word))
    if fault:
        raise ValueError(fault.sentence(word, wanted))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", path.stem):
        raise ValueError(f"{path.name} cannot name a study: use letters, digits and underscores, such as my_study.py.")
    if path.stem in names() and path.resolve() != (STUDIES / path.name).resolve():
        raise ValueError(f"{word} has the name of the study {path.stem!r} of this project: rename the file.")
    if path.resolve().parent == STUDIES:
        return Named(path.stem, find(path.stem))
    name = f"study_file_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path, loader=packages.AsWritten(name, str(path)))
    assert found is not None  # of a file that is there and ends in .py
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    packages.look_beside(path.parent)
    try:
        found.loader.exec_module(module)
    except Exception as error:  # whatever the user's file raises
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{word} cannot be read as a study ({reason}): correct the file.") from error
    spec = _study_of(module, word)
    experiment = find_experiment(spec.experiment).Config.identity() if packages.folder_of(spec.experiment) else ""
    digest = hashlib.sha256(path.read_bytes() + experiment.encode()).hexdigest()[:6]
    return Named(path.stem, spec, digest, path)


def _study_of(module: Any, where: str) -> StudySpec:
    spec = getattr(module, "STUDY", None)
    if not isinstance(spec, StudySpec):
        raise ValueError(f"{where} defines no STUDY: write STUDY = StudySpec(question=..., factors=..., baseline=...).")
    return spec
