"""What the runners promise when things go wrong: nothing is lost, nothing gets in.

Every test injects a fault from outside (a kill, a torn file, a full disk, a fake lack of memory) and names what is
promised. The trainings are tiny and all on one thread, so that their numbers can be compared bit for bit.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from test_evaluator import CreatesFile
from test_train import TINY, images_and_labels
from torch import nn

from runners.ddpm import checkpoints, sample, trainings, trial
from runners.ddpm.config import TrialConfig
from runners.ddpm.steps import TrainProgress
from runners.ddpm.train import Training, train
from runners.evaluation import evaluator, surrogate
from runners.evaluation.evaluator import Evaluator
from runners.evaluation.networks import ResNet18
from runners.experiment import ExecutionContext, Note
from runners.process import files, heartbeat, memory, protocol, worker
from runners.tasks.iclevr import folder as folders
from runners.tasks.iclevr import images as scene_images
from runners.tasks.iclevr.images import Images
from runners.tasks.iclevr.labels import LABELS, multi_hot

ROOT = Path(__file__).resolve().parent.parent.parent
CPU = torch.device("cpu")
STEPS = TINY.replace(total_images=80, batch_size=1)  # 80 steps, a report every two of them, two points of the curve
NEVER = 1e9


class Small(nn.Module):
    """A network of two convolutions that sees its timestep and its labels: a step of it takes a millisecond."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.labels, self.leave = nn.Conv2d(3, 8, 3, 1, 1), nn.Linear(25, 8), nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, x, t, c):
        condition = self.labels(torch.cat([c, t[:, None] / 1000], 1))[:, :, None, None]
        return self.leave(torch.nn.functional.silu(self.enter(x) + condition))


@pytest.fixture(autouse=True)
def _one_thread_and_no_wish_to_end(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(heartbeat._State, "ending", False)


def scenes() -> Images:
    images, labels = images_and_labels(24)
    return Images(images, labels, np.arange(24), np.arange(24), {"validation": [("red cube",)]}, "digest")


@functools.cache
def tiny_evaluator() -> Evaluator:
    torch.manual_seed(0)
    return Evaluator(ResNet18(width=4, stem="half").eval(), {})


def turn(folder: Path, config: TrialConfig = STEPS, model: nn.Module | None = None):
    """One process's turn at the training in `folder`."""
    return trainings.run(config, folder, model or Small(), CPU, scenes(), tiny_evaluator(), 2)


def notes_of(folder: Path, **arguments) -> list[str]:
    return [event.text for event in turn(folder, **arguments) if isinstance(event, Note)]


def outcome(folder: Path) -> dict[str, object]:
    """All that a training leaves, but for the seconds that it took."""
    found: dict[str, object] = {f"{which}": (folder / f"{which}.safetensors").read_bytes() for which in ("ema", "raw")}
    found["curve"] = [
        {name: value for name, value in line.items() if name not in ("seconds", "images_per_second")}
        for line in files.read_lines(folder / trainings.CURVE)
    ]
    found["treatment"] = trainings.facts(folder)["treatment"]
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, object]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed") / STEPS.train_key
    list(turn(folder))
    return outcome(folder)


# --- interrupted and resumed is uninterrupted ---------------------------------------------------------


class Crash(BaseException):
    """As sudden as a power cut: nobody handles it."""


def raise_after(monkeypatch, beats: int, error: type[BaseException]) -> None:
    left = iter(range(beats))

    def tick() -> None:
        if next(left, None) is None:
            raise error

    monkeypatch.setattr(heartbeat, "tick", tick)


def in_turns(folder: Path, interrupt: Callable[[], None]) -> int:
    """Start again and again, `interrupt` being called before each start; how many turns it took."""
    for turns in range(1, 500):
        interrupt()
        with contextlib.suppress(Crash, heartbeat.Stopped):
            list(turn(folder))
            return turns
    raise AssertionError("it gets nowhere")


def test_stopped_after_any_step_it_ends_as_the_uninterrupted_one(undisturbed, tmp_path, monkeypatch):
    """Every step, also one in the middle of a report, and every sampling step of a point of the curve."""
    beats = iter([*range(1, 100, 3)])
    folder = tmp_path / STEPS.train_key
    turns = in_turns(folder, lambda: raise_after(monkeypatch, int(next(beats)), heartbeat.Stopped))
    assert turns > 8
    assert outcome(folder) == undisturbed


@pytest.mark.parametrize("seed", range(2))
def test_crashed_at_any_moment_it_ends_as_the_uninterrupted_one(undisturbed, tmp_path, monkeypatch, seed):
    """Nothing is saved on the way out; the last checkpoint is from any time before, or there is none."""
    rng = np.random.default_rng(seed)

    def interrupt() -> None:
        monkeypatch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0 if rng.random() < 0.7 else NEVER)
        raise_after(monkeypatch, int(rng.integers(1, 25)), Crash)

    folder = tmp_path / STEPS.train_key
    assert in_turns(folder, interrupt) > 3
    assert outcome(folder) == undisturbed


def test_closed_after_any_event_it_ends_as_the_uninterrupted_one(undisturbed, tmp_path):
    folder = tmp_path / STEPS.train_key
    turns = 0
    while not trainings.finished(folder):
        turns += 1
        with contextlib.closing(turn(folder)) as events:
            for _ in range(2):  # the lines of the turns before, and one event more
                next(events, None)
    assert turns > 15
    assert outcome(folder) == undisturbed


def test_a_lost_curve_comes_back_from_the_checkpoint(undisturbed, tmp_path, monkeypatch):
    folder = tmp_path / STEPS.train_key
    raise_after(monkeypatch, 30, heartbeat.Stopped)
    with pytest.raises(heartbeat.Stopped):
        list(turn(folder))
    (folder / trainings.CURVE).write_text('{"images": 4, "lo')
    monkeypatch.undo()
    list(turn(folder))
    assert outcome(folder) == undisturbed


def test_a_score_is_not_written_twice(undisturbed, tmp_path, monkeypatch):
    """Stopped while a point is drawn, so that the checkpoint is older than the point; then killed right after the line
    of its score."""
    folder = tmp_path / STEPS.train_key
    with monkeypatch.context() as patch:
        raise_after(patch, 45, heartbeat.Stopped)  # 40 steps, and half of the sampling
        with pytest.raises(heartbeat.Stopped):
            list(turn(folder))
    with monkeypatch.context() as patch:
        patch.setattr(trainings, "CHECKPOINT_SECONDS", NEVER)
        raise_after(patch, 10, Crash)  # in the step after the sampling
        with pytest.raises(Crash):
            list(turn(folder))
    assert trainings.SCORE in files.read_lines(folder / trainings.CURVE)[-1]
    list(turn(folder))
    scores = [line["images"] for line in files.read_lines(folder / trainings.CURVE) if trainings.SCORE in line]
    assert scores == [40, 80]
    assert outcome(folder) == undisturbed


def test_pictures_that_an_older_version_left_waiting_are_scored(undisturbed, tmp_path, monkeypatch):
    """That version drew a point of the curve before its evaluator was there, and kept the pictures as a file."""
    folder = tmp_path / STEPS.train_key
    drawn: list[np.ndarray] = []
    own = trainings._validation_images
    with monkeypatch.context() as patch:
        patch.setattr(trainings, "_validation_images", lambda *given: drawn.append(own(*given)) or drawn[-1])
        raise_after(patch, 60, heartbeat.Stopped)
        with pytest.raises(heartbeat.Stopped):
            list(turn(folder))
    state, _ = checkpoints.load(folder, CPU)
    lines = [line for line in state["lines"] if trainings.SCORE not in line]
    checkpoints.save(folder, state | {"lines": lines})
    files.write_lines(folder / trainings.CURVE, lines)
    np.save(folder / "waiting-40-1.250.npy", drawn[0])
    np.save(folder / "waiting-80-2.500.npy", drawn[0])  # after the checkpoint: it is drawn again
    list(turn(folder))
    assert not list(folder.glob("waiting-*"))
    found = outcome(folder)
    assert sorted(found["curve"], key=str) == sorted(undisturbed["curve"], key=str)
    assert found["ema"] == undisturbed["ema"]


# --- checkpoints --------------------------------------------------------------------------------------


def in_a_child(work: Callable[[], object]) -> int:
    """Run `work` in a process of its own; its exit code (0 when it came to its end)."""
    child = os.fork()
    if child == 0:
        signal.alarm(120)  # a fork must not wait for ever for a thread that it has not got
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def exit_in(owner: object, name: str, call: int = 1, before: bool = True) -> None:
    """End this process at the `call`-th call of a function, before it or after it."""
    function, calls = getattr(owner, name), iter(range(1, 10**6))

    def ending(*arguments, **keywords):
        last = next(calls) == call
        if last and before:
            os._exit(9)
        result = function(*arguments, **keywords)
        if last:
            os._exit(9)
        return result

    setattr(owner, name, ending)


def write_half(path: Path, parts: tuple[bytes, ...]) -> None:
    path.write_bytes(b"".join(parts)[: len(parts[1]) // 2])
    os._exit(9)


# The third checkpoint is written when the process ends; each one renames .partial, the newest and the next.
KILLS = {
    "before torch.save": lambda: exit_in(torch, "save", 3),
    "with half the file written": lambda: exit_in(checkpoints, "write_aside", 3),
    "in the middle of the file": lambda: setattr(checkpoints, "_write", write_half),
    "before it is forced to the disk": lambda: exit_in(os, "fsync", 9),
    "before it gets a name": lambda: exit_in(checkpoints, "_content", 2, before=False),
    "before the newest becomes the one before": lambda: exit_in(checkpoints, "sync_folder", 2, before=False),
    "between the two renames": lambda: exit_in(Path, "replace", 7),
}


@pytest.mark.parametrize("kill", KILLS)
def test_killed_while_a_checkpoint_is_written_it_goes_on_from_a_whole_one(undisturbed, tmp_path, monkeypatch, kill):
    monkeypatch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0)
    folder = tmp_path / STEPS.train_key

    def work() -> None:
        KILLS[kill]()
        list(turn(folder))

    assert in_a_child(work) == 9
    assert notes_of(folder) == []
    assert outcome(folder) == undisturbed
    assert sorted(path.name for path in folder.glob("*state*")) == []
    assert not list(folder.glob("*.partial"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -min(100, path.stat().st_size // 2)])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def plant_code(path: Path) -> None:
    """A pickle that runs code, with the digest that belongs to it."""
    content = pickle.dumps(CreatesFile(path.parent / "planted"))
    checkpoints._write(path, (hashlib.sha256(content).hexdigest().encode() + b"\n", content))


HARM = {"flipped": flip, "shortened": shorten, "empty": empty, "code": plant_code, "missing": Path.unlink}


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> Path:
    """A training that crashed half way, with both generations of its checkpoint."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("half") / STEPS.train_key
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0)
        raise_after(patch, 30, Crash)
        with pytest.raises(Crash):
            list(turn(folder))
    return folder


def began_at(folder: Path) -> int:
    return int(files.read_lines(folder / trainings.STARTS)[-1]["images"])


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_checkpoint_is_not_used_but_the_one_before(undisturbed, half, tmp_path, harm):
    folder = Path(shutil.copytree(half, tmp_path / STEPS.train_key))
    HARM[harm](folder / checkpoints.NEWEST)
    notes = notes_of(folder)
    if harm != "missing":
        assert len(notes) == 1
        assert "state.pt: " in notes[0]
        assert "goes on from the one at " in notes[0]
    assert 0 < began_at(folder) < 80
    assert not (folder / "planted").exists()
    assert outcome(folder) == undisturbed


@pytest.mark.parametrize("harm", HARM)
def test_with_both_damaged_it_begins_again_and_says_so(undisturbed, half, tmp_path, harm):
    folder = Path(shutil.copytree(half, tmp_path / STEPS.train_key))
    for name in (checkpoints.NEWEST, checkpoints.PREVIOUS):
        HARM[harm](folder / name)
    notes = notes_of(folder)
    if harm != "missing":
        assert "state.previous.pt: " in notes[0]
        assert notes[0].endswith("the training begins again")
    assert began_at(folder) == 0
    assert not (folder / "planted").exists()
    assert outcome(folder) == undisturbed


def test_a_damaged_checkpoint_never_takes_the_place_of_the_whole_one_before(half, tmp_path):
    folder = Path(shutil.copytree(half, tmp_path / STEPS.train_key))
    whole = (folder / checkpoints.PREVIOUS).read_bytes()
    flip(folder / checkpoints.NEWEST)
    state, _ = checkpoints.load(folder, CPU)
    assert state is not None
    checkpoints.save(folder, state)
    assert (folder / checkpoints.PREVIOUS).read_bytes() == whole
    assert checkpoints.load(folder, CPU)[1] == ""


def test_the_checkpoint_of_another_training_is_not_used(undisturbed, half, tmp_path):
    folder = Path(shutil.copytree(half, tmp_path / STEPS.train_key))
    state, _ = checkpoints.load(folder, CPU)
    assert state is not None
    checkpoints.save(folder, state | {"train_key": "0" * 12})
    assert "another setting" in notes_of(folder)[0]
    assert outcome(folder) == undisturbed


# --- signs of life ------------------------------------------------------------------------------------


def test_a_worker_sends_heartbeats_while_it_gets_things_done_and_only_then(monkeypatch):
    told: list[object] = []
    waits = iter([3, 0, 2, 0, 0])  # pieces of work between two looks

    def sleep(seconds: float) -> None:
        assert seconds == 10
        for _ in range(next(waits)):
            heartbeat.tick()

    monkeypatch.setattr(worker.time, "sleep", sleep)
    with pytest.raises(StopIteration):
        worker.send_heartbeats(told.append, 10)
    assert told == [protocol.Heartbeat()] * 2


def count_ticks(work: Callable[[], object]) -> int:
    before = heartbeat.ticks()
    work()
    return heartbeat.ticks() - before


def test_training_and_sampling_count_as_life(tmp_path):
    c_NK = torch.zeros(1, 24)
    short = STEPS.replace(sampler="ddim(steps=5)")
    beats = {
        "a training": count_ticks(lambda: list(turn(tmp_path / STEPS.train_key))),
        "sampling": count_ticks(lambda: sample.sample_list(short, Small(), "test", [("red cube",)], c_NK, 1)),
    }
    assert beats == {"a training": 80 + 2 * 10, "sampling": 5}


def test_an_evaluators_training_counts_as_life(record):
    config = TRIAL.replace(evaluator="stand_in(size='smoke')")
    other = dataclasses.replace(context(record), inputs={})
    events: list[object] = []
    assert count_ticks(lambda: events.extend(trial.prepare(config, other))) == len(events) > 4
    assert evaluator.load(str(trial.evaluator_place(config, other))).facts["evaluator_kind"] == "stand-in"


def test_who_waits_for_a_lock_lives_and_can_be_stopped(tmp_path, monkeypatch):
    from runners.process.locks import lock

    monkeypatch.setattr("runners.process.locks.LOOK_SECONDS", 0.0)
    raise_after(monkeypatch, 5, heartbeat.Stopped)
    with lock(tmp_path / "lock"), pytest.raises(heartbeat.Stopped), lock(tmp_path / "lock", wait=True):
        pass


# --- numbers that explode -----------------------------------------------------------------------------


def strict(text: str) -> dict[str, object]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


class Loud(Small):
    def forward(self, x, t, c):
        return 1e6 * super().forward(x, t, c)


DIVERGING = {
    "a loss that is not finite": (STEPS.replace(lr=1e30, clip_norm=1e30), Small),
    "a finite loss a thousand deviations off": (STEPS, Loud),
}


@pytest.mark.parametrize("case", DIVERGING)
def test_a_training_that_explodes_is_diverged(tmp_path, monkeypatch, case):
    config, model = DIVERGING[case]
    monkeypatch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(FloatingPointError, match=r"the loss is .* lower lr") as error:
        list(turn(tmp_path / config.train_key, config, model()))
    assert worker.explain(error.value)[0] == "diverged"
    lines = [strict(text) for text in (tmp_path / config.train_key / trainings.CURVE).read_text().splitlines()]
    assert lines
    assert all(abs(value) < 1e300 for line in lines for value in line.values())
    assert not trainings.finished(tmp_path / config.train_key)


def test_weights_that_are_not_finite_at_the_end_are_diverged(tmp_path):
    """The last step spoils them: no loss has seen it."""
    model = Small()
    steps = iter(range(80))
    model.leave.bias.register_hook(lambda gradient: gradient * (float("nan") if next(steps) == 79 else 1.0))
    with pytest.raises(FloatingPointError, match="weights are not finite"):
        list(turn(tmp_path / STEPS.train_key, model=model))
    assert not trainings.finished(tmp_path / STEPS.train_key)


# --- out of memory ------------------------------------------------------------------------------------


class Cramped(Small):
    """There is memory for `most` images, and for a backward pass through them."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most, self.error = most, error

    def forward(self, x, t, c):
        if len(x) > self.most:
            raise self.error
        return super().forward(x, t, c)


LACKS = {
    "GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "CPU": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
    "cuDNN": RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "NumPy": MemoryError("Unable to allocate 7.11 PiB"),
}
MEMORY = TINY.replace(total_images=56, batch_size=7, flips=True, prediction="x0")


def weights_after(model: nn.Module) -> tuple[Training, list[float]]:
    training = Training(MEMORY, model, CPU)
    reports: list[TrainProgress] = [report for report in train(training, *images_and_labels(24), 14) if report]
    return training, [value for report in reports for value in (report.loss, *report.error_by_decile.values())]


@pytest.mark.parametrize("lack", LACKS)
@pytest.mark.parametrize(("most", "part"), [(6, 4), (3, 2), (1, 1)])
def test_a_batch_that_does_not_fit_goes_through_in_parts_with_the_same_gradients(lack, most, part):
    """7 images as 4 + 3, as 2 + 2 + 2 + 1, one by one: the same random numbers, the same weighted mean."""
    wanted, numbers = weights_after(Small())
    training, found = weights_after(Cramped(most, LACKS[lack]))
    assert training.micro_batch == training.treatment()["micro_batch"] == part
    assert "micro_batch" not in wanted.treatment()
    np.testing.assert_allclose(found, numbers, rtol=1e-5)
    for which in ("raw", "ema"):
        for name, value in wanted.weights(which).items():
            torch.testing.assert_close(training.weights(which)[name], value, rtol=0, atol=1e-6)
    assert training.counted == wanted.counted


def test_what_a_failed_try_left_is_forgotten():
    """Memory runs out at the second part of a batch, when the gradients of the first are there."""
    wanted, _ = weights_after(Small())

    class Late(Cramped):
        passes = 0

        def forward(self, x, t, c):
            self.passes += 1
            self.most = 2 if self.passes == 5 else 6  # 7 | 4 3 | 4, 3: no more | 2 2 2 1 | ...
            return super().forward(x, t, c)

    training, _ = weights_after(Late(6, LACKS["GPU"]))
    assert training.micro_batch == 2
    for name, value in wanted.weights("raw").items():
        torch.testing.assert_close(training.weights("raw")[name], value, rtol=0, atol=1e-6)


def test_it_says_so_and_a_resumed_training_keeps_the_parts(tmp_path, monkeypatch):
    folder = tmp_path / MEMORY.train_key
    first = turn(folder, MEMORY, Cramped(3, LACKS["GPU"]))
    notes = [event.text for event in (next(first), next(first)) if isinstance(event, Note)]
    assert notes == ["out of memory: a batch goes through the network in parts of 2"]
    first.close()
    list(turn(folder, MEMORY, Small()))  # with more memory: still in parts, and so to the bit the same
    list(turn(tmp_path / "whole", MEMORY, Cramped(3, LACKS["GPU"])))
    assert outcome(folder) == outcome(tmp_path / "whole")
    from runners.ddpm import manipulation_check

    assert "in parts of 2" in manipulation_check.warnings(MEMORY, trainings.facts(folder)["treatment"])[-1]


@pytest.mark.parametrize("lack", LACKS)
def test_not_even_one_image_is_out_of_memory(lack):
    with pytest.raises(type(LACKS[lack])) as error:
        weights_after(Cramped(0, LACKS[lack]))
    status, text = worker.explain(error.value)
    assert status == "out of memory"
    assert text.startswith("not even one image")


def test_other_errors_are_not_lack_of_memory():
    for error in (RuntimeError("shapes do not match"), ValueError("out of memory"), OSError("no space")):
        assert not memory.ran_out(error)


def test_images_that_do_not_fit_are_sampled_in_smaller_chunks():
    conditions = [("red cube",), ("blue sphere",)] * 20
    c_NK = torch.from_numpy(multi_hot(conditions)).float()
    config = STEPS.replace(sampler="ddim(steps=3)")
    images = [
        sample.sample_list(config, model, "test", conditions, c_NK, 2).astype(int)
        for model in (Small(), Cramped(8, LACKS["GPU"]))
    ]
    assert np.abs(images[0] - images[1]).max() <= 1  # rounding to 8 bits
    with pytest.raises(torch.OutOfMemoryError):
        sample.sample_list(config, Cramped(0, LACKS["GPU"]), "test", conditions, c_NK, 1)


# --- damaged files ------------------------------------------------------------------------------------

LINES = [{"images": 1}, {"images": 2}]
TORN = {
    "cut in a line": ('{"images": 1}\n{"images": 2}\n{"ima', LINES),
    "cut in a character": (b'{"images": 1}\n{"images": 2}\n{"name": "\xc3', LINES),
    "nothing": ("", []),
    "zeros, as after a power cut": (b'{"images": 1}\n\x00\x00\x00', LINES[:1]),
    "a number": ('{"images": 1}\n7\n', LINES[:1]),
}


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_line_ends_the_lines_and_spoils_no_later_one(tmp_path, torn):
    content, whole_lines = TORN[torn]
    path = tmp_path / "lines.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert files.read_lines(path) == whole_lines
    if torn != "a number":
        files.append_lines(path, [{"images": 3}])
        assert files.read_lines(path) == [*whole_lines, {"images": 3}]


def test_a_damaged_neighbour_fails_no_training(tmp_path):
    folder = tmp_path / STEPS.train_key
    list(turn(folder))
    for name, text in {"a": "{", "b": "[]", "c": "{}", "d": '{"sha256": 3}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "done.json").write_text(text)
    assert trainings.same_weights(folder) == ""


RENDERED = "rendered(scenes=34)"
TRIAL = TINY.replace(data=RENDERED, model="concat_unet(attention=(), channels=(8, 8), groups=4, layers=1)").replace(
    sampler="ddim(steps=2)", guidance_scale=2.0, total_images=32, timesteps=20
)


NAME = "tiny.safetensors"
RECIPE = surrogate.Recipe(width=4, stem="half", total_images=1)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A record with prepared data and an evaluator, without a trial."""
    record = tmp_path_factory.mktemp("prepared")
    for _ in scene_images.prepare(RENDERED, None, 16, record / "cache"):
        pass
    evaluator.save(record / "cache" / NAME, tiny_evaluator().model, RECIPE, {"accuracy": 0.5})
    return record


@pytest.fixture
def record(prepared, tmp_path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "record"))


def context(record: Path) -> ExecutionContext:
    return ExecutionContext(str(record), "cpu", curve_points=1, inputs={"evaluator": str(record / "cache" / NAME)})


def data_folder(record: Path) -> Path:
    return scene_images.place(RENDERED, 16, record / "cache")


def change_label(folder: Path) -> None:
    path = folder / "index.json"
    path.write_text(path.read_text().replace("red cube", "red sphere", 1))


DATA_HARM: dict[str, Callable[[Path], object]] = {
    "a flipped bit": lambda folder: flip(folder / "images.npy"),
    "half the pixels": lambda folder: shorten(folder / "images.npy"),
    "no pixels": lambda folder: (folder / "images.npy").unlink(),
    "a pickle": lambda folder: np.save(folder / "images.npy", np.array([CreatesFile(folder / "planted")])),
    "another label": change_label,
    "half an index": lambda folder: shorten(folder / "index.json"),
    "no index": lambda folder: (folder / "index.json").unlink(),
    "an index that is a list": lambda folder: (folder / "index.json").write_text("[]"),
}


@pytest.mark.parametrize("harm", DATA_HARM)
def test_damaged_data_are_never_used_and_made_again(record, harm):
    folder = data_folder(record)
    wanted = scene_images.open_images(folder)
    pixels = wanted.images_NHWC.tobytes()
    DATA_HARM[harm](folder)
    with pytest.raises(ValueError, match=r"damaged \(.*\): run the same command again\.") as error:
        scene_images.open_images(folder)
    assert "\n" not in str(error.value)
    assert list(scene_images.prepare(RENDERED, None, 16, record / "cache"))
    assert not (folder / "planted").exists()
    again = scene_images.open_images(folder)
    assert again.images_NHWC.tobytes() == pixels
    assert again.lists == wanted.lists
    assert np.array_equal(again.labels_NK, wanted.labels_NK)


def test_a_damaged_evaluator_is_never_used(prepared, tmp_path):
    """Any byte of its header and of its weights, or of the digest beside it."""
    whole = (prepared / "cache" / NAME).read_bytes()
    path = tmp_path / NAME
    beside = evaluator.digest_file(path)
    shutil.copy(evaluator.digest_file(prepared / "cache" / NAME), beside)
    damaged = [whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :] for position in range(0, 900, 7)]
    for content in (*damaged, whole[:-1] + b"?", whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged: delete it"):
            evaluator.load(str(path))
    path.write_bytes(whole)
    assert evaluator.load(str(path)).facts["evaluator_held_out_accuracy"] == 0.5
    shorten(beside)
    evaluator.load.cache_clear()  # another process
    with pytest.raises(ValueError, match="is damaged: delete it"):
        evaluator.load(str(path))


def test_another_evaluator_under_the_same_name_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": ResNet18().state_dict()}, path)
    digest = files.sha256(path)
    assert evaluator.load(str(path), f"checkpoint(sha256={digest!r})").facts["evaluator_sha256"] == digest
    evaluator.load.cache_clear()  # another process
    torch.save({"model": ResNet18().state_dict()}, path)
    with pytest.raises(ValueError, match="has changed since the study was started"):
        evaluator.load(str(path), f"checkpoint(sha256={digest!r})")


@pytest.fixture(scope="module")
def done(prepared, tmp_path_factory) -> Path:
    """A record with a complete trial."""
    torch.set_num_threads(1)
    record = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("done") / "record"))
    assert list(trial.run(TRIAL, context(record)))
    return record


def trial_folder(record: Path) -> Path:
    return record / "trials" / TRIAL.trial_key


def test_a_complete_trial_lists_what_it_holds(done):
    folder = trial_folder(done)
    listed = files.read_json(folder / files.MANIFEST)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(listed) == there - {files.MANIFEST}
    assert {"result.json", "config.json", "metrics.jsonl", "images/test/0.png"} <= set(listed)
    assert files.damaged(folder) == {}
    assert [path.name for path in (done / "trials").iterdir()] == [folder.name]


ARTIFACTS: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    "a picture is gone": (lambda folder: (folder / "grid_test.png").unlink(), {"grid_test.png": "missing"}),
    "a picture has changed": (lambda folder: flip(folder / "images/test/3.png"), {"images/test/3.png": "changed"}),
    "a result is cut short": (lambda folder: shorten(folder / "result.json"), {"result.json": "changed"}),
    "a result is edited": (
        lambda folder: (folder / "result.json").write_text('{"accuracy/test": 1.0}'),
        {"result.json": "changed"},
    ),
    "the list is cut short": (lambda folder: shorten(folder / files.MANIFEST), {files.MANIFEST: "unreadable"}),
    "the list is a number": (lambda folder: (folder / files.MANIFEST).write_text("7"), {files.MANIFEST: "unreadable"}),
    "a figure came later": (lambda folder: (folder / "sheet.png").write_bytes(b"new"), {}),
    "no list, as of old, and half a result": (
        lambda folder: ((folder / files.MANIFEST).unlink(), shorten(folder / "result.json")),
        {"result.json": "unreadable"},
    ),
}


@pytest.mark.parametrize("case", ARTIFACTS)
def test_a_damaged_trial_is_found(done, tmp_path, case):
    folder = Path(shutil.copytree(trial_folder(done), tmp_path / "trial"))
    harm, wanted = ARTIFACTS[case]
    harm(folder)
    assert files.damaged(folder) == wanted


def test_a_trial_out_of_memory_counts_only_the_passes_that_gave_images(record, done, monkeypatch):
    """The proof that guidance took two forwards an image still holds."""
    forward = nn.Conv2d.forward

    def cramped(self, x):
        if self.in_channels == 27 and len(x) > 64:  # the diffusion network's first layer; two passes per image
            raise LACKS["GPU"]
        return forward(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", cramped)
    events = list(trial.run(TRIAL, context(record)))
    texts = [event.text for event in events if isinstance(event, Note)]
    assert texts == ["out of memory: 32 images are sampled at once, not 64"]
    results = [files.read_json(trial_folder(root) / "result.json") for root in (record, done)]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]
    assert results[0]["network_evaluations"] == results[1]["network_evaluations"] == 4


def test_a_trial_that_is_stopped_leaves_its_training_and_no_half_folder(record, done, monkeypatch):
    raise_after(monkeypatch, 8, heartbeat.Stopped)
    with pytest.raises(heartbeat.Stopped):
        list(trial.run(TRIAL, context(record)))
    assert list((record / "trials").iterdir()) == []
    monkeypatch.undo()
    list(trial.run(TRIAL, context(record)))
    names = ("accuracy/test", "accuracy/validation", "weights_sha256", "diversity")
    results = [files.read_json(trial_folder(root) / "result.json") for root in (record, done)]
    assert [results[0][name] for name in names] == [results[1][name] for name in names]


# --- the disk is full ---------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A real file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # its arrays may still be mapped


def whole_or_absent(folder: Path) -> None:
    """Every file under its own name can be read."""
    assert not list(folder.rglob("*.partial"))
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            files.read_json(path)
        elif path.name == trainings.CURVE:
            assert len(files.read_lines(path)) == len(path.read_text().splitlines())
        elif path.suffix == ".safetensors":
            trainings.load_file(path)
        elif path.suffix == ".pt":
            checkpoints._content(path)
        elif path.suffix == ".npy":
            np.load(path)


# Kilobytes that are left: a checkpoint of this training has 33, its weights 6 each, a curve 12.
@pytest.mark.parametrize("left", [0, 24, 40, 76])
def test_a_full_disk_fails_a_training_in_one_sentence_and_spoils_nothing(undisturbed, disk, monkeypatch, left):
    monkeypatch.setattr(trainings, "CHECKPOINT_SECONDS", 0.0)
    folder = disk / STEPS.train_key
    folder.mkdir()
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - left * 1024))
    with pytest.raises(Exception, match="No space left on device") as error:
        list(turn(folder))
    status, text = worker.explain(error.value)
    assert status == "failed"
    assert text.startswith("the disk is full (")
    assert text.endswith("make space and run the same command again.")
    assert "\n" not in text
    whole_or_absent(folder)
    filler.unlink()
    assert notes_of(folder) == []
    assert outcome(folder) == undisturbed


@pytest.mark.parametrize("left", [100, 300])
def test_a_full_disk_fails_a_trial_and_leaves_no_half_folder(done, disk, left):
    """The training is there: it is the pictures that do not fit."""
    record = Path(shutil.copytree(done, disk / "record"))
    shutil.rmtree(record / "trials")
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes(shutil.disk_usage(disk).free - left * 1024))
    with pytest.raises(Exception, match="No space left on device") as error:
        list(trial.run(TRIAL, context(record)))
    assert worker.explain(error.value)[1].startswith("the disk is full (")
    assert list((record / "trials").iterdir()) == []
    whole_or_absent(record / "cache")
    filler.unlink()
    list(trial.run(TRIAL, context(record)))
    assert files.damaged(trial_folder(record)) == {}


def test_a_full_disk_takes_no_half_line(disk):
    """The file's last page has room for a part of the line."""
    path = disk / "lines.jsonl"
    files.append_lines(path, [{"images": 1, "text": "x" * 4000}])
    with (disk / "filler").open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(10**7))
    before = path.read_bytes()
    with pytest.raises(OSError, match="No space left"):
        files.append_lines(path, [{"images": 2, "text": "y" * 400}])
    assert path.read_bytes() == before


def test_a_full_disk_leaves_no_half_data_and_no_half_evaluator(disk):
    (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - 40 * 1024))
    with pytest.raises(OSError, match=r"No space left|requested and") as error:
        list(scene_images.prepare(RENDERED, None, 16, disk / "cache"))
    assert files.disk_full(error.value)
    with pytest.raises(Exception, match="No space left") as error:
        evaluator.save(disk / "cache" / NAME, tiny_evaluator().model, RECIPE, {"accuracy": 0.5})
    assert files.disk_full(error.value)
    assert sorted(path.name for path in disk.rglob("*")) == ["cache", "filler"]


# --- nothing gets in ----------------------------------------------------------------------------------


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG whose header promises a picture of this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


BOMBS = {
    "400 million pixels": png(20_000, 20_000),
    "144 million pixels, of which Pillow warns": png(12_000, 12_000),
    "a line of pixels": png(2**31 - 1, 1),
    "no pixels": png(0, 0),
    "a small picture with 100 MB of text": png(16, 16, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "a small picture with a colour profile of 100 MB": png(16, 16, (b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "another format under this name": b"GIF89a\x10\x00\x10\x00\x00\x00\x00;",
}


def one_folder(root: Path, content: bytes) -> folders.Folder:
    (root / "a.png").write_bytes(content)
    return folders.Folder(root, root, {"a.png": ("red cube",)}, {}, "0" * 12)


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_image_bomb_is_refused_in_one_sentence(tmp_path, bomb, recwarn):
    with pytest.raises(ValueError, match=r"^The image a\.png in .* is corrupt \(.*\): restore it\.$"):
        list(scene_images.decode(one_folder(tmp_path, BOMBS[bomb]), 16))
    assert not [warning for warning in recwarn if "DecompressionBomb" in str(warning.category)]


NAMES = ["../a.png", "/etc/passwd", "..", ".", "", "a/b.png", "..\\a.png", "C:\\a.png", "a\0.png", "images/../../a"]
JSON_HARM = {
    **{f"the name {name!r}": ("train.json", json.dumps({name: ["red cube"]})) for name in NAMES},
    "a number of 5,000 digits": ("train.json", '{"a.png": [' + "1" * 5000 + "]}"),
    "a number beyond all floats": ("train.json", '{"a.png": [1e999]}'),
    "not a number": ("train.json", '{"a.png": NaN}'),
    "100,000 brackets": ("train.json", "[" * 100_000),
    "bytes that are no text": ("train.json", b"\xff\xfe{"),
    "numbers beyond all floats for objects": ("objects.json", '{"gray cube": 1e999}'),
    "a list that names a file": ("test.json", '"../../etc/passwd"'),
    "a condition of the wrong kind": ("test.json", '[{"red cube": 1}]'),
    "a label twice": ("new_test.json", '[["red cube", "red cube"]]'),
}


@pytest.mark.parametrize("harm", JSON_HARM)
def test_a_hostile_json_file_is_refused_in_one_sentence(tmp_path, harm):
    for name in ("test", "new_test"):
        (tmp_path / f"{name}.json").write_text('[["red cube"]]')
    (tmp_path / "objects.json").write_text(json.dumps({label: index for index, label in enumerate(LABELS)}))
    (tmp_path / "train.json").write_text(json.dumps({f"{index}.png": ["red cube"] for index in range(100)}))
    name, content = JSON_HARM[harm]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"[:.]") as error:
        folders.read_folder(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


# --- a real worker ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_that_is_terminated_saves_its_training_and_says_so(record):
    """SIGTERM in the middle of a training: a checkpoint, the message `Stopped`, exit code 143, and no half folder."""
    endless = TRIAL.replace(total_images=10**7, batch_size=8)
    job = protocol.Job("trial", 1, "ddpm", endless.to_dict(), context(record))
    process = subprocess.Popen(
        [sys.executable, "-m", "runners.process.worker"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(protocol.encode(job) + "\n")
    process.stdin.flush()
    folder = record / "cache" / "trainings" / endless.train_key
    deadline = time.monotonic() + 60
    while not (folder / trainings.STARTS).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # of training; its first report would take minutes
    told = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert time.monotonic() - told < 30  # a second on an idle machine
    assert protocol.decode(output.splitlines()[-1]) == protocol.Stopped(asked=False)
    state, complaint = checkpoints.load(folder, CPU)
    assert complaint == ""
    assert state is not None
    assert state["training"]["images"] > 0
    assert not list((record / "trials").iterdir())
