"""Which experiments there are, and what tells their settings apart."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from runners import experiment, packages
from runners.config import StagedConfig, train_field
from runners.ddpm.config import TrialConfig

CODE = """
from dataclasses import dataclass
from runners.config import StagedConfig, train_field

@dataclass(frozen=True)
class Config(StagedConfig):
    lr: float = train_field(0.1, "learning rate")
    seed: int = train_field(0, "training seed")

def task(config): ...
def run(config, context): ...
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two modules of a user's own experiment; what this process learns of it is forgotten afterwards."""
    for name, value in (("_beside", []), ("_known", {})):
        monkeypatch.setattr(packages, name, value)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "toy"
    path.mkdir()
    (path / "__init__.py").write_text(CODE)
    (path / "net.py").write_text("WIDTH = 3\n")
    packages.look_beside(tmp_path)
    yield path
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
        del sys.modules[name]


def test_keys_of_the_first_experiment_are_those_of_earlier_versions():
    assert TrialConfig().trial_key == "44136fa355b3"
    assert TrialConfig(seed=3, lr=0.1).train_key == "8a5feaeae0ce"
    assert TrialConfig.identity() == ""


def test_equal_fields_of_two_experiments_have_different_keys(folder):
    found = experiment.find("toy").Config
    same = dataclasses.make_dataclass(
        "Config",
        [(name, kind, train_field(default, name)) for name, kind, default in (("lr", float, 0.1), ("seed", int, 0))],
        bases=(StagedConfig,),
        frozen=True,
    )
    assert found().to_dict() == same().to_dict()
    assert found().trial_key != same().trial_key
    assert found.identity().startswith("toy@")


def test_it_is_found_by_its_path_and_what_it_leaves_out_is_filled_in(folder):
    assert packages.address("toy") == str(folder)
    assert packages.address("ddpm") == "ddpm"
    found = experiment.find(str(folder))
    assert found is experiment.find("toy")
    assert experiment.leaves_out(found, "steps")
    assert not experiment.leaves_out(experiment.find("ddpm"), "steps")
    assert found.warnings(found.Config()) == []
    assert list(found.prepare(found.Config(), None)) == []  # type: ignore[arg-type]
    assert experiment.reader_of(found) is None


def test_its_content_decides_what_it_is_called(folder):
    before = packages.digest_of(folder)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "net.pyc").write_bytes(b"1")
    (folder / ".notes").write_text("1")
    assert packages.digest_of(folder) == before
    (folder / "net.py").write_text("WIDTH = 4\n")
    assert packages.digest_of(folder) != before
    (folder / "net.py").rename(folder / "nets.py")
    (folder / "nets.py").write_text("WIDTH = 3\n")
    assert packages.digest_of(folder) != before


def test_types_may_be_written_as_types_or_as_text():
    fields = [("wide", bool, train_field(False, "width")), ("seed", "int", train_field(0, "training seed"))]
    found = dataclasses.make_dataclass("Config", fields, bases=(StagedConfig,), frozen=True)
    assert found.types() == {"wide": bool, "seed": int}


def test_an_edit_while_its_study_runs_is_a_sentence(folder):
    from runners.experiment import ExecutionContext
    from runners.process import worker
    from runners.process.protocol import Job

    job = Job("trial", 1, str(folder), {}, ExecutionContext(str(Path("/nowhere")), "cpu"), "toy@00000000")
    with pytest.raises(RuntimeError, match="was edited while its study ran: run the same command again"):
        list(worker._events(job))
