"""The contract of the command line: quick answers, refusals that change nothing, the dry run."""

from __future__ import annotations

import json
import os
import pickle
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from runners.locks import lock
from study import spec

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, timeout: float = 120, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "study/run.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, **options)


@pytest.mark.parametrize("option", ["--help", "--list"])
def test_answers_within_a_second(option):
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = run(option)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0
    assert statistics.median(seconds) < 1


def test_list_names_every_study_with_its_question():
    lines = run("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == spec.names()
    assert all(line.endswith("?") for line in lines)


def test_dry_run_as_json_touches_nothing(tmp_path):
    record = tmp_path / "record"
    done = run("--study", "schedules", "--scale", "laptop", "--seeds", "5", "--dry-run", "--json", "--record", record)
    plan = json.loads(done.stdout)
    assert plan["trials"] == plan["trainings"] == plan["missing_trials"] == 15
    assert list(plan["arms"]) == ["schedule=linear", "schedule=cosine", "schedule=squaredcos_cap_v2"]
    assert plan["seconds"] > 0
    assert not record.exists()


def test_dry_run_prints_an_aligned_table(tmp_path):
    done = run("--study", "schedules", "--scale", "paper", "--dry-run", "--record", tmp_path / "record")
    assert done.returncode == 0
    assert "9 trials, 9 distinct trainings" in done.stdout
    assert "schedule=linear" in done.stdout
    assert "total_images = 3600000" in done.stdout


@pytest.mark.parametrize("name", spec.names())
@pytest.mark.parametrize("scale", ["smoke", "laptop", "gpu", "paper"])
def test_every_study_has_a_plan_at_every_scale(name, scale, tmp_path):
    done = run("--study", name, "--scale", scale, "--dry-run", "--json", "--record", tmp_path / "record")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["missing_trials"] > 0


BAD = {
    "no study": ([], "write --study NAME"),
    "unknown study": (["--study", "schedule"], "did you mean 'schedules'"),
    "unknown scale": (["--scale", "labtop"], "did you mean 'laptop'"),
    "unknown field": (["--set", "batch_szie=3"], "did you mean 'batch_size'"),
    "no value": (["--set", "lr"], "--set field=value"),
    "wrong type": (["--set", "lr=fast"], "is not of type float"),
    "negative": (["--set", "lr=-1"], "must be above 0"),
    "a factor": (["--set", "schedule=linear"], "is a factor of the study"),
    "the seed": (["--set", "seed=3"], "write --seeds N"),
    "no seeds": (["--seeds", "0"], "write --seeds 1 or more"),
    "one timestep": (["--set", "timesteps=1"], "timesteps=2 or more"),
    "unknown sampler": (["--set", "sampler=ddimm"], "did you mean 'ddim'"),
    "too many steps": (["--set", "sampler=ddim(steps=2000)"], "cannot visit more"),
    "unknown model": (["--set", "model=unett"], "did you mean 'unet'"),
    "too deep": (["--set", "image_size=18"], "need an image_size"),
    "no CUDA": (["--devices", f"cuda:{torch.cuda.device_count()}"], "CUDA devices; write --devices cpu"),
    "unknown device": (["--devices", "gpu"], "write cpu, or cuda:0"),
    "a device twice": (["--devices", "cpu,cpu"], "--per-device N"),
    "no workers": (["--per-device", "0"], "--per-device 1 or more"),
    "no data": (["--data", "/nowhere"], "is no folder"),
    "a digest by hand": (["--set", "data=folder(digest='x')"], "--data DIR"),
    "no evaluator": (["--evaluator", "/nowhere.pth"], "There is no file"),
    "read-only disk": (["--record", "/proc/record"], "cannot be written"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_one_sentence_and_starts_nothing(case, tmp_path):
    arguments, words = BAD[case]
    study = [] if "--study" in arguments or not arguments else ["--study", "schedules"]
    scale = [] if "--scale" in arguments else ["--scale", "smoke"]
    record = [] if "--record" in arguments else ["--record", str(tmp_path / "record")]
    done = run(*study, *scale, *record, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "record").exists()


def test_an_unknown_schedule_names_the_nearest(tmp_path):
    """`schedule` is the factor here, so the baseline of a study of another factor would set it; the check is shared."""
    code = (
        "from runners.config import TrialConfig; from runners.check import check; check(TrialConfig(schedule='cosin'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "did you mean 'cosine'" in done.stderr


class Planted:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    trap = tmp_path / "trap"
    file = tmp_path / "checkpoint.pth"
    file.write_bytes(pickle.dumps({"model": Planted(trap)}))
    torch.save({"model": Planted(trap)}, tmp_path / "zip.pth")
    for path in (file, tmp_path / "zip.pth"):
        done = run("--study", "schedules", "--scale", "smoke", "--evaluator", path, "--record", tmp_path / "record")
        assert done.returncode == 2
        assert "checkpoint.pth" in done.stderr
    assert not trap.exists()
    assert not (tmp_path / "record").exists()


def test_an_evaluator_of_another_size_is_refused(tmp_path):
    from runners.evaluator import ResNet18

    torch.save({"model": ResNet18(classes=10).state_dict()}, tmp_path / "ten.pth")
    done = run(
        "--study", "schedules", "--scale", "smoke", "--evaluator", tmp_path / "ten.pth", "--record", tmp_path / "r"
    )
    assert done.returncode == 2
    assert "24 outputs" in done.stderr
    torch.save({"model": ResNet18().state_dict()}, tmp_path / "right.pth")
    done = run(
        "--study", "schedules", "--scale", "smoke", "--evaluator", tmp_path / "right.pth", "--record", tmp_path / "r"
    )
    assert done.returncode == 2  # it reads 64x64 images and the smoke scale has 16x16
    assert "is NOT the official evaluator" in done.stderr
    assert "image_size=64" in done.stderr


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path):
    """Files above 4 KiB cannot be written: what the kernel says of a full disk at the first real write."""
    record = tmp_path / "record"

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = run("--study", "schedules", "--scale", "smoke", "--record", record, preexec_fn=limit)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert not record.exists()


def test_a_study_that_is_being_run_is_refused(tmp_path):
    record = tmp_path / "record"
    with lock(record / "studies" / "schedules-smoke" / "lock"):
        done = run("--study", "schedules", "--scale", "smoke", "--record", record)
    assert done.returncode == 2
    assert f"by process {os.getpid()} since 20" in done.stderr
    assert not (record / "mlflow.db").exists()
    assert not (record / "cache").exists()
