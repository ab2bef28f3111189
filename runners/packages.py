"""Which experiments there are: the packages `runners/<name>/`, and a user's own beside the file of a study.

A user's own is code that changes, so its content is a part of what it is called: settings of edited code have other
keys. It is imported under its own name. Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib import machinery
from pathlib import Path
from typing import Any, NoReturn

from runners import readable
from runners.config import TYPES, StagedConfig

ROOM = Path(__file__).resolve().parent
INIT = "__init__.py"
REQUIRED = ("Config", "task", "run")
ASKED = ("task", "check", "warnings", "cost", "at_scale")  # before anything runs
ANSWERS = {"task": "Task", "cost": "Cost"}
_beside: list[Path] = []  # folders in which studies were found
_own: list[Path] = []  # users' own experiments that are imported
_known: dict[str, Any] = {}


class AsWritten(machinery.SourceFileLoader):
    """Compiles a user's file each time: the code that runs is the code whose digest is recorded.

    Python's own cache takes a file of the same size and second for the same file. Copying with its times, a checkout
    and an unpacked archive make such files.
    """

    def path_stats(self, path: str) -> NoReturn:
        raise OSError("no compiled file is looked for, and none is written")


def _finder(path: str) -> machinery.FileFinder:
    """For `sys.path_hooks`: how modules are found beside a user's study and inside a user's own experiment."""
    folder = Path(path).resolve()
    if folder not in _beside and not any(folder.is_relative_to(own) for own in _own):
        raise ImportError(path)
    compiled = (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES)
    return machinery.FileFinder(path, compiled, (AsWritten, machinery.SOURCE_SUFFIXES))


def names() -> list[str]:
    """The project's own experiments."""
    return sorted(path.parent.name for path in ROOM.glob(f"*/{INIT}") if _is_own(path.parent))


def _is_own(folder: Path) -> bool:
    """Whether a package of `runners` is an experiment, without importing it: it defines or imports `Config`."""
    return "Config" in (folder / INIT).read_text(encoding="utf-8")


def look_beside(folder: Path) -> None:
    """From now on experiments are found in this folder too, and what lies in it can be imported."""
    folder = folder.resolve()
    if folder not in _beside and folder != ROOM:
        _beside.append(folder)
        if _finder not in sys.path_hooks:
            sys.path_hooks.insert(0, _finder)
        for path in [path for path in sys.path_importer_cache if Path(path).resolve() == folder]:
            del sys.path_importer_cache[path]  # found before in the usual way
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def address(name: str) -> str:
    """What `find` takes in another process: the name of a package of `runners`, else the path of the package."""
    return name if (folder := folder_of(name)) is None else str(folder)


def folder_of(name: str) -> Path | None:
    """The folder of a user's own experiment; None for one of the project's. Raises ValueError as `find` does."""
    found = []
    for folder in _beside if name.isidentifier() else ():
        with readable.said(folder, "make it readable"):
            found += [folder / name] if (folder / name / INIT).is_file() else []
    if name.isidentifier() and (ROOM / name / INIT).is_file():
        if found:
            raise ValueError(
                f"{found[0]} has the name of a package of this project, runners/{name}: rename the folder."
            )
        return None
    if len(found) > 1:
        raise ValueError(f"{found[0]} and {found[1]} have one name: rename one, or run their studies one by one.")
    if not found:
        raise ValueError(_unknown(name))
    return found[0]


def _unknown(name: str) -> str:
    where = f" or of a folder beside the study's file ({', '.join(map(str, _beside))})" if _beside else ""
    for folder in _beside if name.isidentifier() else ():
        if (folder / name).is_dir():
            return f"{folder / name} is no experiment: it has no {INIT} that offers {', '.join(REQUIRED)}."
        if (folder / f"{name}.py").is_file():
            return f"{folder / name}.py is no experiment: move it to {folder / name}/{INIT}."
    return f"Unknown experiment {name!r}: write the name of a package of runners/, such as 'ddpm'{where}."


def find(name: str) -> Any:
    """The package of an experiment, by its name or its path (`address`).

    A user's own is Python code, and it is run. Raises ValueError for one that is not there or is none.
    """
    if Path(name).is_absolute():
        look_beside(Path(name).parent)
        name = Path(name).name
    if name not in _known:
        folder = folder_of(name)
        module = importlib.import_module(f"runners.{name}") if folder is None else _imported(folder)
        _check(module, f"runners/{name}" if folder is None else str(folder))
        _known[name] = module
    return _known[name]


def _imported(folder: Path) -> Any:
    """A user's own package. Raises ValueError for whatever it raises, and where its name is that of another module."""
    name, digest = folder.name, digest_of(folder)
    _own.append(folder)
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or Path(found.origin).resolve() != (folder / INIT).resolve():
        raise ValueError(f"{folder} has the name of another Python module, {name!r}: rename the folder.")
    try:
        module = importlib.import_module(name)
    except Exception as error:  # whatever the user's code raises
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{folder} cannot be imported as an experiment ({reason}): correct it.") from error
    if isinstance(config := getattr(module, "Config", None), type):
        config._identity = f"{name}@{digest}"  # type: ignore[attr-defined]
    for asked in ASKED:
        if callable(function := getattr(module, asked, None)):
            setattr(module, asked, _guarded(function, f"{asked} of {folder}", ANSWERS.get(asked)))
    return module


def _guarded(function: Callable[..., Any], name: str, kind: str | None) -> Callable[..., Any]:
    """The function of a user's own package, whose every error is a ValueError that says where it is; `kind`: the name
    of the class that it has to return, None for whatever it returns."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **named: Any) -> Any:
        try:
            found = function(*arguments, **named)
        except ValueError:
            raise  # what it says of a setting
        except Exception as error:  # whatever the user's code raises
            line = error.__traceback__.tb_next.tb_lineno if error.__traceback__ and error.__traceback__.tb_next else 0
            where = f", line {line}" if line else ""
            raise ValueError(f"{name} failed ({type(error).__name__}: {error}{where}): correct it.") from error
        if kind is not None and type(found).__name__ != kind:
            raise ValueError(f"{name} returned {found!r}: let it return a {kind} of runners.experiment.")
        return found

    return guarded


def files_of(folder: Path) -> Iterator[Path]:
    """The files of a user's own package; none that Python or the system put there."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield path


def imported_from(folder: Path) -> list[Path]:
    """The files in a user's folder that this process has imported: modules beside a study, not installed libraries and
    not this project, which may lie in the folder too."""
    ours = [ROOM.parent / room for room in ("study", "runners", "analysis", "benchmarks")]
    installed = [*map(Path, sysconfig.get_paths().values()), Path(sys.prefix), Path(sys.base_prefix)]
    found = {Path(str(getattr(module, "__file__", None) or "")).resolve() for module in [*sys.modules.values()]}
    return sorted(
        path
        for path in found
        if folder in path.parents
        and path.is_file()
        and not {"site-packages", "dist-packages"} & {*path.parts}
        and not any(other in path.parents for other in (*ours, *installed))
    )


def digest_of(folder: Path) -> str:
    """8 hex digits of what is in a user's own package: names and contents of its files."""
    digest = hashlib.sha256()
    with readable.said(folder, "make it readable"):
        for path in files_of(folder):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


# --- what an experiment must have ----------------------------------------------------------------------


def _check(module: Any, where: str) -> None:
    """Raises ValueError, with what to write instead, for a package that is no experiment."""
    lacking = [name for name in REQUIRED if not hasattr(module, name)]
    if lacking:
        raise ValueError(f"{where} is no experiment (it has no {' and no '.join(lacking)}): add what is missing.")
    config = module.Config
    if not (isinstance(config, type) and issubclass(config, StagedConfig) and config is not StagedConfig):
        raise ValueError(f"The Config of {where} is no setting: write class Config(StagedConfig), a frozen dataclass.")
    for field in dataclasses.fields(config):
        if field.type not in (*TYPES, *TYPES.values()):
            raise ValueError(
                f"The field {field.name!r} of {where} has the type {field.type}: write str, int, float or bool."
            )
        if "stage" not in field.metadata or type(field.default) is not config.types()[field.name]:
            kind = config.types()[field.name].__name__
            raise ValueError(
                f"The field {field.name!r} of {where} has no stage, or no default of its type: write "
                f"{field.name}: {kind} = train_field(<a {kind}>, 'what it is'), or sample_field."
            )
    if config.types().get("seed") is not int:
        raise ValueError(
            f"The Config of {where} has no training seed: write seed: int = train_field(0, 'training seed')."
        )
