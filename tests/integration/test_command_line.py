"""The contract of the command line: quick answers, refusals that change nothing, the dry run."""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launch import refused

from runners.ddpm import trial
from runners.ddpm.manipulation_check import warnings
from runners.experiment import ExecutionContext
from runners.process.locks import lock
from study.design import cost as costs
from study.design import plan as planning
from study.design import registry, scales
from study.record import layout, reader

ROOT = Path(__file__).resolve().parents[2]


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
    assert min(seconds) < 1  # of three, the one that other work on the machine delayed least


def test_list_names_every_study_with_its_question():
    lines = run("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == registry.names()
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
    assert "9 trials = 3 arms x 3 seeds, 9 distinct trainings" in done.stdout
    assert "schedule=linear" in done.stdout
    assert "total_images = 3600000" in done.stdout
    assert "unknown until two seeds" in done.stdout  # what the design can see: the record has no pilot


def test_dry_run_of_the_reports_says_what_they_cost(tmp_path):
    """Trainings, FLOP, hours and the throughput that is assumed."""
    arguments = ["--study", "reports", "--scale", "paper", "--devices", "cpu", "--dry-run", "--record", tmp_path / "r"]
    text = run(*arguments).stdout
    assert "42 trials = 14 arms x 3 seeds, 24 distinct trainings" in text
    row = scales.find("paper")
    plan = planning.make("reports", registry.find("reports"), "paper", row, planning.Request())
    cost = costs.estimate(plan, row, tmp_path / "r", 1)
    assert len(plan.train_keys) == cost.missing_trainings == 24
    # R0 107, R1 3 x 251.5, R2 140.8, R4 3 x 1005.9 PFLOP: 3 x 31.0 GFLOP x images (R0: 13.2), three seeds each.
    assert cost.train_flop == pytest.approx(4.02e18, rel=0.01)
    assert f"{cost.train_flop / 1e18:.3g} EFLOP of training" in text
    # 60 TFLOP/s, fp32 settings at .25 of it; a trial's pictures and scores, and the preparation, come on top.
    fp32 = cost.train_flop - 3 * 3 * 3 * 31.03e9 * 3_601_800
    training = (cost.train_flop + fp32 * (1 / 0.25 - 1)) / 60e12
    assert training < cost.seconds < 1.2 * training
    assert f"about {cost.seconds / 3600:.1f} h on one machine that the scale is made for" in text
    assert "at 60 TFLOP/s, measured on one H100" in text


def test_dry_run_prints_the_disk_that_checkpoints_take(tmp_path):
    """The command with `--keep-checkpoints none`, and the same number for the other two."""
    arguments = ["--scale", "paper", "--devices", "cpu", "--keep-checkpoints", "none", "--record", tmp_path / "r"]
    printed = json.loads(run("--study", "schedules", "--dry-run", "--json", *arguments).stdout)
    network, row = 113_686_019 * 4, scales.find("paper")
    # The weights that stay (average and last step of 9 trainings), one checkpoint in training, 9 trials' pictures.
    wanted = {"all": 18 * network, "best": 2 * network, "none": 0}
    for keep, weights in wanted.items():
        plan = planning.make("schedules", registry.find("schedules"), "paper", row, planning.Request(keep=keep))
        cost = costs.estimate(plan, row, tmp_path / "r", 1)
        assert cost.disk_bytes == pytest.approx(weights + 4 * network + 9 * 6 * 2**20)
    assert printed["disk_bytes"] == cost.disk_bytes  # of "none", the last


def test_guidance_without_an_unconditional_branch_is_warned_of(tmp_path):
    arguments = ["--scale", "smoke", "--dry-run", "--record", tmp_path / "r"]
    done = run("--study", "guidance", "--set", "drop_probability=0.0", *arguments)
    assert done.returncode == 0
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Warning (guidance_scale=0.0, guidance_scale=1.5, guidance_scale=2.0 and 2 more): ")
    assert "there is no unconditional branch to guide from" in line
    plan = planning.make("guidance", registry.find("guidance"), "smoke", scales.find("smoke"), planning.Request())
    assert not any(warnings(trial.config) for trial in plan.trials)


BAD = {
    "no study": ([], "write --study NAME"),
    "unknown study": (["--study", "schedule"], "did you mean 'schedules'"),
    "unknown scale": (["--scale", "labtop"], "did you mean 'laptop'"),
    "unknown field": (["--set", "batch_szie=3"], "did you mean 'batch_size'"),
    "no value": (["--set", "lr"], "--set field=value"),
    "wrong type": (["--set", "lr=fast"], "(peak learning rate of AdamW): write a number, such as lr=0.0001."),
    "wrong whole number": (["--set", "batch_size=1.5"], "write a whole number, such as batch_size=128."),
    "no number": (["--set", "lr=nan"], "lr=nan is not finite: write a number, such as lr=0.0001."),
    "infinite": (["--set", "clip_norm=-inf"], "clip_norm=-inf is not finite: write a number"),
    "a field twice": (["--set", "lr=0.1", "--set", "lr=0.2"], "--set lr=... is given twice: leave one of them out."),
    "a field in capitals": (["--set", "LR=1"], "did you mean 'lr'?"),
    "a field by what it is": (["--set", "learning_rate=1"], "did you mean 'lr'?"),
    "all and more": (["--study", "all", "schedules"], "write --study all, or the names that you want"),
    "too many seeds": (["--seeds", "100000", "--dry-run"], "write 1000 or fewer"),
    "negative": (["--set", "lr=-1"], "must be above 0"),
    "a factor": (["--set", "schedule=linear"], "is a factor of the study"),
    "the seed": (["--set", "seed=3"], "write --seeds N"),
    "an unknown argument": (["--set", "model=unet(chanels=(16, 32))"], "did you mean 'channels'"),
    "trials of a grid": (["--trials", "5"], "is for a search"),
    "a searched field": (["--study", "search", "--set", "lr=0.1"], "is a factor of the study"),
    "fewer steps than the samplers": (["--study", "samplers", "--set", "timesteps=1"], "--set timesteps=2 or more"),
    "a network that is not matched": (["--study", "architectures", "--set", "image_size=32"], "leave model and image"),
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
    "half a worker": (["--per-device", "1.5"], "--per-device 1 or more, or auto"),
    "no data": (["--data", "/nowhere"], "is not there: give a folder of images"),
    "a digest by hand": (["--set", "data=folder(digest='x')"], "--data DIR"),
    "no evaluators": (["--evaluators", "0"], "evaluators=0 must be above 0"),
    "two numbers of evaluators": (["--evaluators", "2", "--set", "evaluators=3"], "leave one of them out"),
    "no evaluator": (["--evaluator", "/nowhere.pth"], "There is no file"),
    "read-only disk": (["--record", "/proc/record"], "cannot be written"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_one_sentence_and_starts_nothing(case, tmp_path):
    arguments, words = BAD[case]
    study = [] if "--study" in arguments or not arguments else ["--study", "schedules"]
    scale = [] if "--scale" in arguments else ["--scale", "smoke"]
    record = [] if "--record" in arguments else ["--record", str(tmp_path / "record")]
    # The cheapest one is refused by a process of its own, so that the exit code is seen too.
    done = (run if case == "no study" else refused)(*study, *scale, *record, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "record").exists()


def test_an_unknown_schedule_names_the_nearest(tmp_path):
    """`schedule` is the factor here, so the baseline of a study of another factor would set it; the check is shared."""
    code = "from runners import ddpm; ddpm.check(ddpm.Config(schedule='cosin'))"
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
        done = refused("--study", "schedules", "--scale", "smoke", "--evaluator", path, "--record", tmp_path / "record")
        assert done.returncode == 2
        assert "checkpoint.pth" in done.stderr
    assert not trap.exists()
    assert not (tmp_path / "record").exists()


def test_an_evaluator_of_another_size_is_refused(tmp_path):
    from runners.evaluation.surrogate import ResNet18

    torch.save({"model": ResNet18(classes=10).state_dict()}, tmp_path / "ten.pth")
    done = refused(
        "--study", "schedules", "--scale", "smoke", "--evaluator", tmp_path / "ten.pth", "--record", tmp_path / "r"
    )
    assert done.returncode == 2
    assert "24 outputs" in done.stderr
    torch.save({"model": ResNet18().state_dict()}, tmp_path / "right.pth")
    done = refused(
        "--study", "schedules", "--scale", "smoke", "--evaluator", tmp_path / "right.pth", "--record", tmp_path / "r"
    )
    assert done.returncode == 2  # it reads 64x64 images and the smoke scale has 16x16
    assert "is NOT the official evaluator" in done.stderr
    assert "image_size=64" in done.stderr


def test_several_evaluators_beside_the_users_own_are_refused(tmp_path):
    from runners.evaluation.surrogate import ResNet18

    torch.save({"model": ResNet18().state_dict()}, tmp_path / "own.pth")
    given = ("--scale", "smoke", "--evaluator", tmp_path / "own.pth", "--evaluators", 3, "--record", tmp_path / "r")
    done = refused("--study", "schedules", *given)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [
        "run.py: evaluators=3 are surrogates, and --evaluator names the one that scores: leave --evaluators or "
        "--evaluator out."
    ]


def dry(record: Path, *arguments: object) -> dict[str, float]:
    given = ("--study", "guidance", "--scale", "laptop", "--devices", "cpu", "--per-device", 1, "--record", record)
    done = refused(*given, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_dry_run_counts_the_surrogates_that_are_to_be_trained(tmp_path):
    """Of three the first is in the scale's own preparation; those that the record has take no time again."""
    one, three = dry(tmp_path), dry(tmp_path, "--evaluators", 3)
    each = scales.find("laptop").surrogate_seconds
    assert three["seconds"] - one["seconds"] == pytest.approx(2 * each)
    assert three["baseline"]["evaluators"] == 3
    assert three["study_id"] != one["study_id"]
    config = scales.find("laptop").config.replace(evaluators=3)
    places = trial.evaluator_places(config, ExecutionContext(str(tmp_path), "cpu"))
    assert len(set(places)) == 3
    places[1].parent.mkdir()
    places[1].touch()
    assert dry(tmp_path, "--evaluators", 3)["seconds"] == pytest.approx(one["seconds"] + each)


def test_dry_run_counts_only_the_passes_that_no_trial_has(tmp_path):
    """Of four passes over the lists a finished trial of one seed's s = 2 has two."""
    fresh = dry(tmp_path)
    plan = planning.make("guidance", registry.find("guidance"), "laptop", scales.find("laptop"), planning.Request())
    one = next(found.config for found in plan.trials if found.config.guidance_scale == 2.0)
    folder = layout.trial_folder(tmp_path, one.replace(sampling_seeds=2).trial_key)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(one.replace(sampling_seeds=2).to_dict()))
    (folder / "result.json").write_text("{}")
    grown = dry(tmp_path)
    spared = plan.experiment.cost(one).sample_flop / 2
    assert fresh["sample_flop"] - grown["sample_flop"] == pytest.approx(spared)
    prepared = scales.find("laptop").preparation_seconds  # of a record that has a trial nothing is to be prepared
    assert fresh["seconds"] - grown["seconds"] == pytest.approx(prepared + spared / 40e9)


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


def test_explaining_a_study_of_another_scale_names_those_that_are_there(miniature_record: Path) -> None:
    done = refused("--study", "schedules", "--scale", "paper", "--explain", "a", "--record", miniature_record)
    assert done.returncode == 2
    assert "has schedules-" in done.stderr
    assert "and not schedules-paper: write the --study and the --scale of one." in done.stderr


def test_a_record_that_is_a_file_and_a_study_that_is_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = refused("--study", "schedules", "--scale", "smoke", "--record", tmp_path / "file")
    assert done.stderr.endswith(f"--record {tmp_path / 'file'} is a file: give a folder.\n")
    assert f"{tmp_path} is a folder: write the path of a Python file" in refused("--study", tmp_path).stderr


def test_json_alone_runs_nothing(tmp_path: Path) -> None:
    done = refused("--study", "schedules", "--scale", "smoke", "--json", "--record", tmp_path / "record")
    assert json.loads(done.stdout)["study_id"] == "schedules-smoke"
    assert not (tmp_path / "record").exists()


@pytest.mark.parametrize(
    ("study", "wanted"),
    [
        ("schedules", "--study schedules --record 'a b'"),
        ("schedules-smoke", "--study schedules --scale smoke --record 'a b'"),
        ("my_study-gpu-folder-1a2b", "--study my_study --scale gpu --record 'a b'"),
    ],
)
def test_a_suggested_command_can_be_typed(study: str, wanted: str) -> None:
    assert reader.command(study, Path("a b")) == f"`python study/run.py {wanted}`"
