"""Workers per device: what is asked for, and what a benchmark decides."""

import json
import re
from pathlib import Path

import launch
import pytest

from analysis.narrative.warnings import warnings
from analysis.results import Results
from runners.process.cores import usable
from study.design.scales import SCALES
from study.executors.local import slots
from study.scheduling import devices


@pytest.mark.parametrize(
    ("rates", "memory_mb", "chosen"),
    [
        ({1: 100, 2: 190, 3: 270, 4: 275}, 1000, 3),  # the fourth brings 2 %
        ({1: 100, 2: 97, 3: 95}, 1000, 1),  # the device was full
        ({1: 100, 2: 105, 3: 140}, 1000, 3),  # two were unlucky
        ({1: 100, 2: 190, 3: 270}, 3000, 2),  # three would fill more than .8 of the memory
        ({1: 100}, 20_000, 1),  # there is no less than one
    ],
)
def test_what_a_benchmark_decides(rates: dict[int, float], memory_mb: float, chosen: int) -> None:
    seen = devices.Benchmark(rates, memory_mb, 10_000)
    assert seen.chosen == chosen
    assert str(seen).endswith(f"{memory_mb:,.0f} MB each of 10,000: {chosen} per device")


def test_a_benchmark_trains_for_real() -> None:
    seen = devices.benchmark("ddpm", SCALES["smoke"].config, "cpu", seconds=1.0)
    assert list(seen.rates) == list(range(1, usable() + 1))
    assert all(rate > 10 for rate in seen.rates.values())
    assert 100 < seen.memory_mb < seen.capacity_mb


def ready(memory_mb: float, held_mb: float, used_mb: float) -> dict[str, float]:
    return {"memory_mb": memory_mb, "held_mb": held_mb, "used_mb": used_mb}


@pytest.mark.parametrize(
    ("workers", "footprint"),
    [
        # On a CPU nothing is known of a worker but its own peak.
        ([ready(600, 0, 0), ready(610, 0, 0)], 610),
        # 2,000 MB of others, then 700 for a context and 4,000 for tensors a worker, which had 5,000 at their peak.
        ([ready(5000, 4000, 6700), ready(5000, 4000, 11_400), ready(5000, 4000, 16_100)], 5700),
        # The second was ready last, and sees all.
        ([ready(5000, 4000, 6700), ready(5000, 4000, 16_100), ready(5000, 4000, 11_400)], 5700),
        # Alone it cannot tell the others' 2,000 from its own.
        ([ready(5000, 4000, 6700)], 7700),
    ],
)
def test_a_worker_takes_its_context_too(workers: list[dict[str, float]], footprint: float) -> None:
    """Beside the tensors a process has a CUDA context and libraries on its GPU: half a gigabyte and more."""
    assert devices.footprint_mb(workers) == pytest.approx(footprint)


def test_a_network_that_cannot_train_is_refused() -> None:
    config = SCALES["smoke"].config.replace(model="unet(channels=(16, 32, 32), groups=7, layers=1)")
    with pytest.raises(ValueError, match=r"the benchmark of unet\(.* on cpu ended with .*groups=7 must divide"):
        devices.benchmark("ddpm", config, "cpu", seconds=0.1)


@pytest.mark.long
def test_a_study_with_auto_says_what_the_benchmark_saw_and_ends(tmp_path: Path) -> None:
    """Compiling, too, is tried where it is asked for. A C++ compiler that fails is what a laptop without one has: the
    trial's own benchmark says so, and goes on without."""
    (tmp_path / "broken").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "broken").chmod(0o755)
    # One process would start others that compile.
    environment = {"CXX": str(tmp_path / "broken"), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    small = "model=unet(attention=(), channels=(8,), groups=8, layers=1)"
    given = ["--compile", "on", "--study", "null", "--set", small]
    record = tmp_path / "record"
    done = launch.run(record, *given, workers="auto", environment=environment)
    assert done.returncode == 0, done.stderr
    assert re.search(r"benchmark: images/s of training by workers on the device \(1: .*\), .* per devic", done.stdout)
    assert "validation accuracy" in done.stdout
    assert re.search(r"torch\.compile took \d+ s: it failed: ", done.stdout)
    results = [json.loads(path.read_text()) for path in record.glob("trials/*/result.json")]
    assert [result["execution"] for result in results] == ["plainly"] * 2


def test_workers_beyond_the_cores_are_colocated() -> None:
    assert {slot.colocated for slot in slots(["cpu"], usable())} == {1}
    assert {slot.colocated for slot in slots(["cpu"], usable() + 1)} == {2}
    assert [(slot.device, slot.colocated) for slot in slots(["cuda:0"], 3)] == [("cuda:0", 3)] * 3


def test_the_report_warns_of_colocated_trials(miniature_record: Path) -> None:
    results = Results.open("schedules", miniature_record)
    for shared, warned in (([3] + [1] * 8, True), ([1] * 9, False)):
        found = warnings(results.of(results.study, results.rows.assign(packed=shared)))
        assert any("up to 3 trials shared a device" in text for text in found) == warned
