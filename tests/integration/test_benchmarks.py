"""The benchmark's parts run, at a size of seconds, and its verdict is about its numbers."""

import json
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from launch import ROOT, UNDRAWN

from benchmarks import bench, gpu, growth, harness, laptop, loops
from runners.ddpm.trial import build_model
from runners.ddpm.validation import check
from study.design.scales import SCALES

SMOKE = SCALES["smoke"].config.replace(prediction="eps", weighting="uniform", precision="fp32")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_every_loop_trains_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "STEPS", 2)
    monkeypatch.setattr(loops, "FILES", 2 * SMOKE.batch_size)
    passed = []
    own = loops.build_model

    def counted(config):
        network = own(config)
        network.register_forward_pre_hook(lambda _, inputs: passed.append(len(inputs[0])))
        return network

    monkeypatch.setattr(loops, "build_model", counted)
    config, scenes = SMOKE.replace(total_images=2 * SMOKE.batch_size), loops.scenes(16)
    for side in (loops.ours, loops.of_the_reports, loops.scaled_down_before, loops.in_memory):
        passed.clear()
        assert side(config, *scenes) > 0
        assert passed == [SMOKE.batch_size] * 2, side


def test_both_samplers_draw_every_image() -> None:
    config = SMOKE.replace(timesteps=3, sampler="ddpm", guidance_scale=2.0)
    model, passes = build_model(config).eval(), []
    model.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
    assert loops.sampled_at_once(config, model) > 0
    assert passes == [2 * loops.SAMPLED] * 3
    passes.clear()
    assert loops.sampled_one_by_one(config, model) > 0
    assert passes == [1] * (2 * 3 * loops.SAMPLED)


@pytest.mark.slow
def test_a_trial_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "SCENES", "rendered(scenes=60, view='near')")
    parts = harness.around_a_trial(rounds=1, images=64, sampler="ddim(steps=2)")
    assert set(parts) == {"sampling", "scoring", "harness"}
    assert parts["sampling"] > 0
    assert parts["harness"] > 0
    assert parts["scoring"] > 0


def test_shared_trainings_are_counted_once() -> None:
    hours = harness.sharing(train_seconds=3600.0, trial_seconds=0.0)
    assert hours == {"shared": pytest.approx(3), "alone": pytest.approx(18)}  # 3 seeds, 6 scales


def test_a_report_is_timed_outside_of_the_tests() -> None:
    """As `make bench` does it: a process of its own, which has this repository on its path and nothing else."""
    code = "from benchmarks import harness; harness.REPORTS[2] = (2, 1); print(harness.report_seconds(2))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=UNDRAWN)
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 100


def test_the_table_of_a_gpu_has_its_columns_on_a_cpu_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LADDER", tuple(gpu.LADDER[row] for row in (0, 1, 3, 6, 8)))
    monkeypatch.setattr(loops, "STEPS", 2)
    monkeypatch.setattr(loops, "FILES", 4)
    config = SMOKE.replace(sampler="ddim(steps=2)", timesteps=50)
    monkeypatch.setattr(gpu, "CONDITIONS", 2)
    found = gpu.measure([config], torch.device("cpu"), batches=(2,), rounds=1)
    assert [(row["precision"], row["execution"]) for row in found["training"]] == [
        ("fp32", "plainly"),
        ("tf32", "plainly"),
        ("bf16_copy", "plainly"),
        ("bf16_copy", "channels last, as a CUDA graph"),
    ]  # compiled at another batch size only
    for row in found["training"]:
        assert row["MFU"] == pytest.approx(row["images/s"] * 3 * 0.031e9 / found["bf16 peak FLOP/s"], rel=0.05)
        assert row["memory MB"] > 0
    (beside,) = found["plain loops"]
    assert beside["ours, images/s"] == max(row["images/s"] for row in found["training"])
    assert beside["ours / in memory"] == pytest.approx(beside["ours, images/s"] / beside["in memory, images/s"])
    assert [(row["precision"], row["sampler"]) for row in found["sampling"]] == [
        (at, sampler) for at in ("bf16", "bf16_copy") for sampler in ("ddpm", "ddim")
    ]
    assert min(row["seconds"] for row in found["sampling"]) > 0
    assert math.isfinite(gpu.peak_flop(torch.device("cpu"), 64, 1))


@pytest.mark.parametrize("name", laptop.VARIANTS)
def test_every_variant_of_the_laptop_scale_can_run(name: str) -> None:
    check(laptop.CHOSEN.replace(**laptop.VARIANTS[name]))


@pytest.mark.slow
def test_variants_train_for_the_same_time_and_a_second_command_runs_nothing(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(laptop, "CHOSEN", SMOKE.replace(warmup_images=0))
    monkeypatch.setattr(laptop, "ROUNDS", 1)
    monkeypatch.setattr(laptop, "ProcessPoolExecutor", lambda count, context: ThreadPoolExecutor(1))
    line = ["--record", str(tmp_path), "--seconds", "2", "--seeds", "1", "--variant", "base", "--variant", "narrower"]
    assert laptop.main(line) == 0
    first = capsys.readouterr()
    rates = json.loads((tmp_path / "rates.json").read_text())
    assert set(rates) == {"base", "narrower"}
    images = json.loads((tmp_path / "found.json").read_text())["images"]
    assert {name: max(1, round(rate * 2 / 1000)) * 1000 for name, rate in rates.items()} == images
    assert "| base |" in first.out
    assert "| narrower |" in first.out
    monkeypatch.setattr(laptop.loops, "ours", None)  # rates are known
    monkeypatch.setattr(laptop.trial, "build_model", None)  # trials are there
    assert laptop.main(line) == 0
    assert capsys.readouterr().out == first.out


def test_an_unknown_variant_names_the_nearest(capsys) -> None:
    with pytest.raises(SystemExit):
        laptop.main(["--record", "/nonexistent", "--variant", "bass"])
    assert "did you mean 'base'?" in capsys.readouterr().err


def test_growth_is_measured_around_real_databases(tmp_path: Path) -> None:
    found = growth.grown(12, tmp_path)
    assert found.trials == len(list(tmp_path.glob("trials/*/result.json"))) == 12
    assert found.per_trial > 0
    assert found.start > 0
    assert (tmp_path / "mlflow.db").exists()
    assert (tmp_path / "optuna.db").exists()


def test_a_ratio_that_misses_fails_and_a_time_does_not() -> None:
    good = {name: 9.0 for name in bench.AT_LEAST} | {name: 0.001 for name in bench.AT_MOST}
    assert bench.missed(good) == ([], [])
    ratios, slow = bench.missed(good | {"sampling / one by one": 1.2, "--dry-run": 9.0})
    assert ratios == ["MISSED: sampling / one by one is 1.2, the target at least 1.5"]
    assert slow == ["slow: --dry-run took 9.0 s, the target 3 s is for an idle machine"]
    assert bench.missed(good | {"harness, share of a laptop trial": 0.03})[0]
    names = set(bench.AT_LEAST) | set(bench.AT_MOST) | set(bench.SECONDS)
    source = Path(bench.__file__).read_text()
    made = ("report of ", "start of ", "resume of ", "harness, s per ", "harness per ")  # with their numbers of trials
    assert all(source.count(f'"{name}"') >= 2 or name.startswith(made) for name in names)
