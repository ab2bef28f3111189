"""An experiment beside a study's file: the page that explains it, run as it stands, and what of it is refused."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN, refused, table_of

from runners import packages
from study.record import reader
from study.record.layout import study_files

PAGE = (ROOT / "docs" / "own_experiment.md").read_text(encoding="utf-8")
EXPERIMENT, STUDY = re.findall(r"```python\n(.*?)```", PAGE, re.S)
FINISHED = "trials/*[0-9a-f]/result.json"  # not in a folder that is being written, *.partial
NOWHERE = "/nonexistent/record"  # of what is refused before a record is touched
SEARCH = """
from study.spec import Range, StudySpec

STUDY = StudySpec(
    question="Which learning rate is best?",
    experiment="my_experiment",
    space={"lr": Range(1e-4, 1e-1, log=True)},
    trials=6,
    finalists=2,
    selection_seeds=1,
)
"""


def copied(folder: Path) -> Path:
    """The page's two files in a folder; the path of the study."""
    (folder / "my_experiment").mkdir(parents=True)
    (folder / "my_experiment" / "__init__.py").write_text(EXPERIMENT, encoding="utf-8")
    (folder / "my_study.py").write_text(STUDY, encoding="utf-8")
    return folder / "my_study.py"


def line(study: Path, record: Path, *arguments: str) -> list[str]:
    program = [sys.executable, "study/run.py", "--study", str(study), "--record", str(record), "--devices", "cpu"]
    return [*program, "--per-device", "1", *arguments]


def run(study: Path, record: Path, *arguments: str, drawn: bool = False) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) if drawn else UNDRAWN
    program = line(study, record, *arguments)
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


# --- the page ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The page's study at scale laptop with its report; its folder, its record and its output."""
    folder = tmp_path_factory.mktemp("own")
    study, record = copied(folder), folder / "record"
    return study, record, run(study, record, "--scale", "laptop", drawn=True)


def test_the_page_has_two_files_of_few_lines():
    assert "class Config" in EXPERIMENT
    assert "STUDY =" in STUDY
    assert len(EXPERIMENT.splitlines()) <= 70


@pytest.mark.slow
def test_the_page_runs_as_it_stands(finished):
    _, record, done = finished
    table = table_of(done.stdout)
    assert re.search(r"hidden=4 .* worse", table)
    rows = reader.load("my_study", record)
    assert len(rows) == 9
    assert (rows["state"] == "complete").all()
    assert set(rows["hidden"]) == {4, 16, 64}
    wide, narrow = (rows[rows["hidden"] == width]["accuracy/test"].mean() for width in (64, 4))
    assert 0.8 < wide < 1
    assert narrow < wide - 0.2


@pytest.mark.slow
def test_its_report_has_what_was_recorded_and_nothing_of_images(finished):
    _, record, _ = finished
    page = next(record.glob("studies/*/report/index.html"))
    drawn = {path.stem for path in (page.parent / "figures").glob("*.png")}
    assert drawn == {"accuracy_by_arm", "differences", "learning_curves"}
    text = re.sub(r'"data:[^"]*"|<[^>]+>', " ", page.read_text(encoding="utf-8"))
    for word in ("not recorded", "nan", "Guidance", "Sampler", "DDIM", "evaluator", "older version"):
        assert not (found := re.search(rf".{{40}}\b{word}\b.{{40}}", text)), found
    assert re.search(r"Compute per trial \(mean of each arm\): [\d.]+ to [\d.]+ s of training\.", text)


@pytest.mark.slow
def test_its_trials_are_in_mlflow_with_their_fields_and_the_code(finished):
    from mlflow import MlflowClient

    _, record, _ = finished
    client = MlflowClient(tracking_uri=f"sqlite:///{record.resolve()}/mlflow.db")
    study = reader.load_study("my_study", record)
    found = client.search_runs([client.get_experiment_by_name(study.study_id).experiment_id])
    trials = [one for one in found if one.data.tags["kind"] == "trial"]
    assert len(trials) == 9
    assert {one.data.params["hidden"] for one in trials} == {"4", "16", "64"}
    assert all(
        "accuracy/test" in one.data.metrics and "curve/accuracy/validation" in one.data.metrics for one in trials
    )
    launch = next(one for one in found if one.data.tags["kind"] == "launch")
    kept = {each.path for each in client.list_artifacts(launch.info.run_id, "launch")}
    assert kept >= {"launch/my_study.py", "launch/my_experiment"}


@pytest.mark.slow
def test_its_record_needs_no_code(finished, tmp_path):
    """Read, explained, checked and reported where the experiment is not."""
    _, record, done = finished
    moved = tmp_path / "elsewhere"
    shutil.copytree(record, moved)
    program = [sys.executable, "analysis/report.py", "--record", str(moved)]
    again = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, env=UNDRAWN)
    assert again.returncode == 0, again.stderr
    assert table_of(done.stdout).split("report")[0].splitlines()[2] in again.stdout
    program = [sys.executable, "-m", "study.doctor", "--record", str(moved), "--repair"]
    checked = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, env=UNDRAWN)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    study = reader.load_study("my_study", moved)
    assert [study.config(trial).trial_key for trial in study.trials] == [trial.trial_key for trial in study.trials]
    assert study.config_type.replicated() == {"seed"}


@pytest.mark.slow
def test_the_same_command_runs_nothing_and_explain_lists_the_trials(finished):
    study, record, _ = finished
    again = run(study, record, "--scale", "laptop")
    assert "every trial is in the record: nothing to run" in again.stdout
    told = run(study, record, "--scale", "laptop", "--explain", "hidden=4").stdout
    assert len(re.findall(r"complete .* trials/[0-9a-f]{12}", told)) == 6
    assert "hidden=4, compared with hidden=16" in told
    planned = run(study, record, "--scale", "laptop", "--seeds", "4", "--dry-run").stdout
    assert "to run: 3 trials, 3 trainings" in planned
    assert "measured in this record" not in planned or "GFLOP" in planned


@pytest.mark.slow
def test_a_killed_study_goes_on(tmp_path):
    study, record = copied(tmp_path / "own"), tmp_path / "record"
    with subprocess.Popen(line(study, record), cwd=ROOT, env=UNDRAWN, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 120
        while not list(record.glob(FINISHED)) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for path in record.glob(FINISHED)}
    assert 0 < len(before) < 9
    run(study, record)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (reader.load("my_study", record)["state"] == "complete").all()


@pytest.mark.slow
def test_a_search_over_one_field(tmp_path):
    study, record = copied(tmp_path / "own").with_name("my_search.py"), tmp_path / "record"
    study.write_text(SEARCH, encoding="utf-8")
    done = run(study, record, "--scale", "smoke")
    assert "Importance by fANOVA" in done.stdout
    found = reader.load_study("my_search", record)
    assert found.search is not None
    assert found.search.finished == 6
    assert found.search.best is not None


@pytest.mark.long
def test_edited_code_is_another_study_with_other_trials(tmp_path):
    study, record = copied(tmp_path / "own"), tmp_path / "record"
    run(study, record, "--scale", "smoke")
    code = study.with_name("my_experiment") / "__init__.py"
    code.write_text(EXPERIMENT.replace("TRAINING = 32, 1000", "TRAINING = 32, 500"), encoding="utf-8")
    run(study, record, "--scale", "smoke")
    assert len(study_files(record)) == 2
    assert len(list(record.glob(FINISHED))) == 6


# --- what is refused -----------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The page's study; what it makes known to this process is forgotten afterwards."""
    monkeypatch.setattr(packages, "_beside", [])
    monkeypatch.setattr(packages, "_known", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield copied(tmp_path / "own")
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_experiment"]:
        del sys.modules[name]


def sentence(*arguments: object) -> str:
    done = refused("--devices", "cpu", "--record", NOWHERE, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return str(done.stderr)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def task(config):\n", "def task(config):\n    1 / 0\n", "failed (ZeroDivisionError: division by zero, line"),
        ("def task(config):\n", "def task(config):\n    return None\n", "returned None: let it return a Task"),
        ("def check(config):\n", "def check(config):\n    config.nothing\n", "failed (AttributeError:"),
        ("def cost(config):\n", "def cost(config):\n    return 3\n", "returned 3: let it return a Cost"),
    ],
)
def test_code_that_fails_is_named_with_its_line(tmp_path, old, new, said):
    study = copied(tmp_path / "own")
    code = study.with_name("my_experiment") / "__init__.py"
    assert old in EXPERIMENT
    code.write_text(EXPERIMENT.replace(old, new), encoding="utf-8")
    program = [*line(study, Path(NOWHERE)), "--dry-run", "--scale", "smoke"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, env=UNDRAWN)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_field_of_another_experiment_is_named_with_it(own):
    said = sentence("--study", own, "--dry-run", "--set", "guidance_scale=2")
    assert "guidance_scale is a field of the experiment ddpm, and this study runs my_experiment" in said
    assert "hidden, lr, steps, seed" in said
    assert "Unknown field 'hiden': did you mean 'hidden'?" in sentence("--study", own, "--dry-run", "--set", "hiden=2")


def test_a_study_that_mixes_experiments(own):
    own.write_text(STUDY.replace('"hidden": (4, 16, 64)', '"hidden": (4, 16), "schedule": ("linear", "cosine")'))
    said = sentence("--study", own, "--dry-run")
    assert "'schedule', a field of the experiment ddpm and not of my_experiment: a study has one experiment" in said
    arms = 'arms={"one": {}, "other": {"experiment": "ddpm"}},'
    own.write_text(re.sub(r"factors=.*|baseline=.*", "", STUDY).replace('experiment="my', arms + ' experiment="my'))
    said = sentence("--study", own, "--dry-run")
    assert "The study varies the experiment: a study has one, so write experiment= of its StudySpec" in said


def test_files_that_nobody_reads(own, tmp_path):
    said = sentence("--study", own, "--dry-run", "--data", tmp_path)
    assert "The experiment my_experiment reads no files of yours: leave --data out." in said
    said = sentence("--study", own, "--dry-run", "--evaluators", "2")
    assert "--evaluators: the experiment my_experiment has no evaluator; leave it out." in said


def test_a_setting_and_a_scale_that_it_does_not_have(own):
    assert "hidden=0 is no layer: write hidden=1 or more." in _with_factor(own, "(0, 16)")
    own.write_text(STUDY)
    said = sentence("--study", own, "--dry-run", "--scale", "gpu")
    assert "The experiment my_experiment has no scale 'gpu': write --scale smoke or laptop." in said
    said = sentence("--study", own, "--per-device", "auto")
    assert "the experiment my_experiment has no `steps` to benchmark: write --per-device 1" in said


def _with_factor(own: Path, values: str) -> str:
    own.write_text(STUDY.replace("(4, 16, 64)", values))
    return sentence("--study", own, "--dry-run")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("class Config(", "class Setting(", "it has no Config"),
        ("def task(", "def a_task(", "it has no task"),
        ("seed: int =", "sed: int =", "has no training seed: write seed: int = train_field(0, 'training seed')"),
        ("hidden: int =", "hidden: list =", "The field 'hidden' of"),
        ('train_field(16, "units of the hidden layer")', "16", "has no stage, or no default of its type"),
        ('train_field(16, "units', 'train_field(16.0, "units', "has no stage, or no default of its type"),
        ("@dataclass(frozen=True)", "@dataclass", "cannot be imported as an experiment (TypeError"),
        ("import time", "import tme", "cannot be imported as an experiment (ModuleNotFoundError"),
        ('"validation", "choose"', '"validation", "report"', "has no list to choose by"),
        ('SCALES = {"smoke"', 'SCALES = {"tiny"', "names an unknown scale 'tiny'"),
    ],
)
def test_a_folder_that_is_no_experiment(own, before, after, said):
    assert before in EXPERIMENT
    code = EXPERIMENT.replace(before, after)
    (own.with_name("my_experiment") / "__init__.py").write_text(code, encoding="utf-8")
    assert said in sentence("--study", own, "--dry-run")


def test_a_folder_that_is_not_there_or_has_a_name_that_is_taken(own):
    folder = own.with_name("my_experiment")
    (folder / "__init__.py").unlink()
    assert "is no experiment: it has no __init__.py" in sentence("--study", own, "--dry-run")
    shutil.rmtree(folder)
    assert f"or of a folder beside the study's file ({own.parent})" in sentence("--study", own, "--dry-run")
    for name, said in (("json", "has the name of another Python module, 'json'"), ("ddpm", "of this project")):
        (own.with_name(name)).mkdir()
        (own.with_name(name) / "__init__.py").write_text(EXPERIMENT, encoding="utf-8")
        own.write_text(STUDY.replace('"my_experiment"', f'"{name}"'))
        assert said in sentence("--study", own, "--dry-run")


def test_two_studies_of_two_experiments_of_one_name(own, tmp_path):
    other = copied(tmp_path / "other").rename(tmp_path / "other" / "my_other.py")
    assert "have one name: rename one" in sentence("--study", own, other, "--dry-run")


# --- files of the user's -------------------------------------------------------------------------------

READER = """

@dataclass(frozen=True)
class Found:
    count: int
    changes: dict

    def sentences(self, config):
        return [f"{self.count} numbers, and hidden is {config.hidden}."]


def read(inputs, cache=None):
    import hashlib
    from pathlib import Path

    text = Path(inputs["data"]).read_text()
    yield from ()  # no file of this size needs its progress shown
    return Found(len(text.split()), {"source": f"numbers(digest={hashlib.sha256(text.encode()).hexdigest()[:6]!r})"})
"""


def test_an_experiment_reads_files_of_its_own(own, tmp_path):
    field = '    source: str = train_field("digits", "which numbers")\n    seed: int'
    code = own.with_name("my_experiment") / "__init__.py"
    code.write_text(EXPERIMENT.replace("    seed: int", field) + READER, encoding="utf-8")
    numbers = tmp_path / "numbers.txt"
    numbers.write_text("1 2 3")
    done = refused("--devices", "cpu", "--record", NOWHERE, "--study", own, "--dry-run", "--data", numbers)
    assert done.returncode == 0, done.stderr
    assert "3 numbers, and hidden is 16." in done.stderr
    assert re.search(r"source = numbers\(digest='[0-9a-f]{6}'\)", done.stdout)
    assert str(numbers) not in done.stdout
    said = sentence("--study", own, "--dry-run", "--data", numbers, "--set", "source=mine")
    assert "--data sets source=numbers(digest=" in said
    assert "and --set source=mine: leave one of them out" in said
