"""What a person sees: the real server on an indexed record, asked over its REST API and in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import synthetic_record
import synthetic_trial
from launch import ROOT

from analysis import report
from analysis.results import Results
from runners.ddpm.config import TrialConfig
from runners.process.files import read_lines
from study.record import layout, mlflow_index

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STUDY = "schedules-smoke"
TAGS = {"study": "schedules", "scale": "smoke"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "study" / "ui.py"), *map(str, arguments)]


def index(record: Path) -> None:
    """The launch that would have left this record: two seeds of three arms, one trial of which failed."""
    launch = mlflow_index.MlflowIndex(record, STUDY, synthetic_record.QUESTION)
    results = Results.open(STUDY, record)
    parent = launch.start_launch("launch", results.study, TAGS, {"launch/git.diff": ""})
    for trial in results.study.trials:
        folder, config = layout.trial_folder(record, trial.trial_key), TrialConfig.from_dict(trial.config)
        tags = TAGS | {"arm": trial.arm}
        if layout.state(folder) == "complete":
            launch.index_trial(parent, trial.name, config, folder, tags)
        else:
            run = launch.start_trial(parent, trial.name, config, tags)
            launch.fail_trial(run, synthetic_record.FAILURE, "failed")
    page = record / "page"
    page.mkdir()
    (page / "index.html").write_text("<title>report</title>")
    answer = report.answer_markdown(report.answer_of(results))
    launch.finish_launch(parent, "FAILED", page, answer=answer)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A record whose path has what URLs quote, the server's address, and the page that it tells to open."""
    record = synthetic_record.make(
        tmp_path_factory.mktemp("ui") / "my record? 100%20 #1", seeds=(0, 1), failed=[("cosine", 1)]
    )
    index(record)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(command("--record", record, "--port", port), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        study_id, page = server.stdout.readline().split()
        assert study_id == STUDY
        address = page.partition("/#/")[0]
        assert address == f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while not answers(port):
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not answer in 90 s"
            time.sleep(0.2)
        yield record, address, page
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def ask(address: str, path: str, body: dict[str, object] | None = None, **query: str) -> dict:
    url = f"{address}/api/2.0/mlflow/{path}?{urlencode(query)}"
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=30) as response:
        return json.load(response)


def experiment(address: str) -> dict:
    (found,) = ask(address, "experiments/search", {"max_results": 100})["experiments"]
    return found


def runs(address: str) -> dict[str, dict]:
    found = ask(address, "runs/search", {"experiment_ids": [experiment(address)["experiment_id"]]})["runs"]
    return {run["info"]["run_name"]: run for run in found}


def tags(thing: dict) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in thing["tags"]}


@pytest.mark.slow
def test_the_server_shows_the_studies_and_nothing_else(served):
    """One experiment, described by its question and its answer; the empty experiment that MLflow makes is gone."""
    _, address, _ = served
    found = experiment(address)
    assert found["name"] == STUDY
    first, *rest = tags(found)["mlflow.note.content"].splitlines()
    assert first == synthetic_record.QUESTION
    assert any(line.startswith("| schedule=linear | 2 | 0.610") for line in rest)
    parent = runs(address)["launch"]
    assert tags(parent["data"])["mlflow.note.content"].splitlines() == rest[1:]
    view = json.loads(json.loads(tags(found)["mlflow.sharedViewState.trials"])["state"])
    assert view["selectedColumns"][:3] == ["params.`schedule`", "params.`seed`", "metrics.`accuracy/validation`"]


@pytest.mark.slow
def test_the_server_shows_every_trial_under_its_launch(served):
    record, address, _ = served
    found = runs(address)
    parent = found.pop("launch")
    assert sorted(found) == sorted(
        f"schedule={name} seed={seed}" for name in synthetic_trial.SCHEDULES for seed in (0, 1)
    )
    assert {tags(run["data"])["mlflow.parentRunId"] for run in found.values()} == {parent["info"]["run_id"]}
    failed = found.pop("schedule=cosine seed=1")
    assert failed["info"]["status"] == "FAILED"
    assert {run["info"]["status"] for run in found.values()} == {"FINISHED"}
    listed = {
        name: {item["path"] for item in ask(address, "artifacts/list", run_id=run["info"]["run_id"])["files"]}
        for name, run in {"launch": parent, "failed": failed, "whole": found["schedule=linear seed=0"]}.items()
    }
    assert listed["launch"] == {"launch", "report"}
    assert listed["failed"] == {"traceback.txt"}
    assert {"grid_test.png", "grid_new_test.png", "result.json", "images"} <= listed["whole"]
    run_id = found["schedule=linear seed=0"]["info"]["run_id"]
    with urlopen(f"{address}/get-artifact?path=grid_test.png&run_uuid={run_id}", timeout=30) as response:
        folder = layout.trial_folder(record, tags(found["schedule=linear seed=0"]["data"])["trial_key"])
        assert response.read() == (folder / "grid_test.png").read_bytes()


@pytest.mark.slow
def test_scores_are_bars_and_curves_are_lines_over_images(served):
    """A score has the step 0, so that no curve of the same list ends in it; a curve has its own name."""
    record, address, _ = served
    run = runs(address)["schedule=linear seed=0"]
    lines = read_lines(layout.trial_folder(record, tags(run["data"])["trial_key"]) / "metrics.jsonl")

    def history(name: str) -> list[tuple[int, float]]:
        query = {"run_id": run["info"]["run_id"], "metric_key": name}
        return [
            (int(metric["step"]), metric["value"]) for metric in ask(address, "metrics/get-history", **query)["metrics"]
        ]

    assert history("accuracy/validation") == [(0, 0.6)]
    for name in ("loss", "accuracy/validation"):
        assert history(f"curve/{name}") == [(line["images"], line[name]) for line in lines if name in line]
    steps = {metric["key"].startswith("curve/"): int(metric["step"]) for metric in run["data"]["metrics"]}
    assert steps == {True: lines[-1]["images"], False: 0}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the pages were not looked at")
def test_the_page_that_it_tells_to_open_shows_question_columns_and_trials(served, tmp_path):
    assert CHROMIUM is not None
    line = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    line += ["--window-size=1900,1000", "--virtual-time-budget=20000", "--dump-dom", served[2]]
    page = subprocess.run(line, capture_output=True, text=True, timeout=120).stdout
    assert synthetic_record.QUESTION in page
    columns = {"params.`schedule`", "params.`seed`", "metrics.`accuracy/validation`", "metrics.`accuracy/unseen`"}
    assert columns <= set(re.findall('col-id="([^"]*)"', page))
    names = re.findall(">(schedule=[a-z0-9_]+ seed=[0-9])<", page)
    assert sorted(names) == sorted(runs(served[1]).keys() - {"launch"})
    assert names[0] == "schedule=squaredcos_cap_v2 seed=1"  # the best first


def test_what_cannot_be_shown_is_said_in_one_sentence(miniature_record, tmp_path):
    lost = tmp_path / "lost record"
    for arguments in (["--record", lost], ["--record", lost, "--optuna"], ["--record", miniature_record]):
        done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert f"{arguments[1]} records no study: give the --record DIR of a study, or run one" in done.stderr
    assert not lost.exists()
    lost.mkdir()
    (lost / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = command("--record", lost, "--port", taken.getsockname()[1])
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch(r"ui.py: Port \d+ cannot be used, .*: give --port N\.\n", done.stderr)


def processes_of(record: Path) -> list[str]:
    """The command lines of whatever serves a record."""
    lines = [
        path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)
    ]
    return [line for line in lines if str(record) in line]


def readable(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc on this machine")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ending_it_in_the_middle_of_its_start_leaves_no_traceback_and_no_process(number, tmp_path):
    """A Ctrl-C goes to all processes of the terminal; a polite end and a terminal that closes do too, or to one."""
    record = synthetic_record.make(tmp_path / "record", seeds=(0,))
    index(record)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        line = command("--record", record, "--port", free.getsockname()[1])
    server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert server.stdout is not None
    while "The server is up" not in server.stdout.readline():
        assert server.poll() is None
    while len(processes_of(record)) < 2:  # the server's own beside the command
        time.sleep(0.05)
    time.sleep(1)  # in the middle of its imports
    os.killpg(server.pid, number)
    _, errors = server.communicate(timeout=30)
    assert (server.returncode, errors) == (0, "")
    assert processes_of(record) == []


# Presses Ctrl-C while a module is imported.
CTRL_C = """
import os, signal, sys
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("PRESSED_AT"):
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
"""


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("study/ui.py", "study.record.reader"),
        ("study/run.py --study null --dry-run", "study.design.registry"),
        ("-m study.doctor", "study.record.integrity"),
        ("analysis/report.py --record {}", "pandas"),
    ],
)
def test_a_ctrl_c_while_it_loads_its_libraries_ends_a_command_without_a_traceback(
    line, module, miniature_record, tmp_path
):
    (tmp_path / "sitecustomize.py").write_text(CTRL_C)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PRESSED_AT": module}
    words = line.format(miniature_record).split()
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60
    )
    assert (done.returncode, done.stderr) == (130, "")
