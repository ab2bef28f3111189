"""A training's folder: trained once, whoever asks; read only if it is what was written."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_train import TINY, images_and_labels

from runners.ddpm import checkpoints, execution, trainings, twins
from runners.ddpm.steps import Execution
from runners.ddpm.trial import build_model
from runners.evaluation.evaluator import Evaluator
from runners.evaluation.networks import ResNet18
from runners.experiment import Curve, ExecutionContext, Note
from runners.images import Images
from runners.process import device
from runners.process.files import read_lines
from runners.tasks.iclevr.labels import ABOUT

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def scenes() -> Images:
    images, labels = images_and_labels(24)
    return Images(images, labels, np.arange(24), np.arange(24), {"validation": [("red cube",)]}, "digest", ABOUT)


def small_evaluator() -> Evaluator:
    return Evaluator(ResNet18(width=8, stem="small").eval(), {})


def start(folder: Path, config=TINY) -> list:
    model = build_model(config)
    return list(trainings.run(config, folder, model, torch.device("cpu"), scenes(), small_evaluator(), 1))


@pytest.fixture
def folder(tmp_path):
    start(tmp_path / TINY.train_key)
    return tmp_path / TINY.train_key


def starts(folder: Path) -> int:
    return len(read_lines(folder / trainings.STARTS))


def test_it_is_trained_once(folder):
    curve = read_lines(folder / trainings.CURVE)
    assert start(folder) == [Curve(tuple(curve), TINY.total_images)]
    assert starts(folder) == 1
    assert trainings.damage(folder) == ""


def test_a_training_says_how_each_process_executed_it(tmp_path):
    """One that was stopped and went on otherwise names both, and what was compiled in all."""
    folder, model = tmp_path / TINY.train_key, build_model(TINY)
    choices = [
        execution.Choice(Execution(channels_last=True), 3.0, {"channels last": 10.0}),
        execution.Choice(compile_seconds=4.0),
    ]

    def turn(choice):
        given = TINY, folder, model, torch.device("cpu"), scenes(), small_evaluator(), 4
        return trainings.run(*given, choose=lambda: choice)

    first = turn(choices[0])
    text = "steps are executed channels last (benchmark, images/s: channels last 10; torch.compile took 3 s)"
    assert next(first) == Note(text)
    next(first)
    first.close()
    for _ in turn(choices[1]):
        pass
    facts = trainings.facts(folder)
    assert facts["execution"] == "channels last / plainly"
    assert facts["seconds/compile"] == 7.0
    assert all(parameter.grad is None for parameter in model.parameters())
    flip_a_byte(folder / "raw.safetensors")
    for _ in turn(choices[1]):
        pass
    facts = trainings.facts(folder)  # of the training that there is, not of the one that was damaged
    assert (facts["execution"], facts["seconds/compile"]) == ("plainly", 4.0)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def other_weights(path: Path) -> None:
    save_file({name: value + 1 for name, value in load_file(path).items()}, path)


@pytest.mark.parametrize("which", trainings.WEIGHTS)
@pytest.mark.parametrize("harm", [flip_a_byte, other_weights, lambda path: path.write_bytes(b"")])
def test_damaged_weights_are_quarantined_and_trained_again(folder, which, harm):
    good = (folder / f"{which}.safetensors").read_bytes()
    harm(folder / f"{which}.safetensors")
    with pytest.raises(ValueError, match="is not the file that the training wrote"):
        trainings.load_weights(folder, which, "cpu")
    notes = [note.text for note in start(folder) if isinstance(note, Note)]
    assert len(notes) == 1
    assert f"{which}.safetensors is not the file that was written" in notes[0]
    assert (folder / f"{which}.safetensors").read_bytes() == good
    assert (folder / f"damaged-{which}.safetensors").exists()
    assert starts(folder) == 2


def test_the_folder_of_another_training_is_not_taken(folder):
    other = folder.with_name(TINY.replace(seed=7).train_key)
    folder.rename(other)
    assert "belongs to the training" in trainings.damage(other)


def test_equal_weights_of_different_settings_are_found(folder):
    """Two gradient-norm limits that are never reached are one setting: weights, and so digests, are the same."""
    assert twins.same_weights(folder) is None
    idle = TINY.replace(clip_norm=1e6)
    never = TINY.replace(clip_norm=2e6)
    for config in (idle, never):
        start(folder.with_name(config.train_key), config)
    for one, other in ((idle, never), (never, idle)):
        twin = twins.same_weights(folder.with_name(one.train_key))
        assert twin == twins.Twin(other.train_key, ("clip_norm",))
        assert twin.inert


def test_a_twin_that_is_no_caveat_goes_first(folder):
    """A setting that no step knows of is a defect, also beside one that came to nothing."""
    idle, never = TINY.replace(clip_norm=1e6), TINY.replace(clip_norm=2e6)
    start(folder.with_name(idle.train_key), idle)
    start(folder.with_name(never.train_key), never)
    dead = folder.with_name("dead")
    shutil.copytree(folder.with_name(never.train_key), dead)
    (dead / "config.json").write_text(json.dumps(never.replace(lr=0.5).to_dict()))
    twin = twins.same_weights(folder.with_name(idle.train_key))
    assert (twin.key, set(twin.fields), twin.inert) == ("dead", {"clip_norm", "lr"}, False)


def test_two_half_lives_are_two_averages(folder):
    """The last weights are the same, the averages are not; to compare the last ones alone said that the half-life did
    not reach the training."""
    short, long = (TINY.replace(ema_ramp="unbiased", ema_halflife_images=images) for images in (16, 1600))
    for config in (short, long):
        start(folder.with_name(config.train_key), config)
    facts = [trainings.facts(folder.with_name(config.train_key))["sha256"] for config in (short, long)]
    assert facts[0]["raw"] == facts[1]["raw"]
    assert facts[0]["ema"] != facts[1]["ema"]
    assert twins.same_weights(folder.with_name(short.train_key)) is None


def test_a_checkpoint_of_an_older_version_goes_on(tmp_path):
    """It counts neither steps nor clipped ones, and knows no parts."""
    config = TINY.replace(total_images=64)
    folder = tmp_path / config.train_key
    given = config, folder, build_model(config), torch.device("cpu"), scenes(), small_evaluator(), 4
    stopped = trainings.run(*given)
    for event in stopped:
        if isinstance(event, Curve) and event.lines[-1]["images"] >= 24:
            break
    stopped.close()
    state, _ = checkpoints.load(folder, torch.device("cpu"))
    for name in ("clipped", "steps", "parts"):
        del state["training"][name]
    checkpoints.save(folder, state)
    notes = [event for event in trainings.run(*given) if isinstance(event, Note)]
    assert notes == []
    assert read_lines(folder / trainings.STARTS)[-1]["images"] >= 24  # it did not begin again
    start(tmp_path / "whole", config)
    for which in trainings.WEIGHTS:
        name = f"{which}.safetensors"
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_held_out_images_are_not_trained_on(tmp_path):
    """Every fourth is held out: whatever it shows, the weights are the same."""
    found = []
    for value in (0, 255):
        whole = scenes()
        held_out = np.arange(0, 24, 4)
        whole.images_NHWC[held_out] = value
        data = dataclasses.replace(
            whole, train_indices=np.setdiff1d(np.arange(24), held_out), held_out_indices=held_out
        )
        folder = tmp_path / f"{value}"
        list(trainings.run(TINY, folder, build_model(TINY), torch.device("cpu"), data, small_evaluator(), 1))
        found.append((folder / "raw.safetensors").read_bytes())
    assert found[0] == found[1]


def test_a_training_says_where_and_how_it_was_computed(folder, monkeypatch):
    facts = trainings.facts(folder)
    assert facts["device"] == device.name(torch.device("cpu"))
    assert facts["arithmetic"].startswith("matmul ieee, convolution ieee")
    config = TINY.replace(seed=3)
    other = folder.with_name(config.train_key)
    for name in ("GPU A", "GPU B"):
        monkeypatch.setattr(device, "name", lambda _, name=name: name)
        events = trainings.run(config, other, build_model(config), torch.device("cpu"), scenes(), small_evaluator(), 4)
        for _ in events:
            if name == "GPU A":
                events.close()
                break
    assert trainings.facts(other)["device"] == "GPU A / GPU B"


CODE = """
import json, sys
sys.path[:0] = [{root!r}, {tests!r}, {here!r}]
import torch; torch.set_num_threads(1)
from test_trainings import start
from pathlib import Path
notes = start(Path(sys.argv[1]))
print(json.dumps([note.text for note in notes if hasattr(note, "text")]))
"""


@pytest.mark.slow
def test_two_processes_never_train_one_key_twice(tmp_path):
    """Both start at once; one trains, the other waits, says so and reads."""
    code = CODE.format(root=str(ROOT), tests=str(ROOT / "tests"), here=str(Path(__file__).parent))
    line = [sys.executable, "-c", code, str(tmp_path / TINY.train_key)]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        json.loads(output.splitlines()[-1])
    assert starts(tmp_path / TINY.train_key) == 1


def test_the_one_that_waits_says_so(tmp_path):
    from runners.process.locks import lock

    folder = tmp_path / TINY.train_key
    folder.mkdir()
    run = trainings.run(TINY, folder, build_model(TINY), torch.device("cpu"), scenes(), small_evaluator(), 1)
    with lock(folder / "lock"):
        assert "waiting for it" in next(run).text


@pytest.mark.parametrize("changed", [{"clip_norm": 2e6}, {"lr_schedule": "constant"}])
def test_a_factor_without_effect_is_refused_and_a_limit_that_nobody_reached_is_noted(tmp_path, monkeypatch, changed):
    """The front door: the second of two settings with the same weights. The learning rate's schedule is made to be one
    that no step knows of."""
    from runners.ddpm import trial, updates
    from runners.ddpm.manipulation_check import ManipulationError

    monkeypatch.setattr(updates, "learning_rate", lambda config, images: config.lr)
    context = ExecutionContext(str(tmp_path), "cpu", inputs={"evaluator": "none"})
    first = TINY.replace(clip_norm=1e6)
    second = first.replace(**changed)
    for config in (first, second):
        start(tmp_path / "cache" / "trainings" / config.train_key, config)
    monkeypatch.setattr("runners.images.open_images", lambda path: scenes())
    monkeypatch.setattr("runners.evaluation.evaluator.load", lambda *_: small_evaluator())

    def training() -> list:
        return list(trial.train(trial._begun(second, context)))

    if "lr_schedule" in changed:
        with pytest.raises(ManipulationError, match=r"lr_schedule .*the factor did not reach the training") as error:
            training()
        assert all(config.train_key in str(error.value) for config in (first, second))
    else:
        words = f"clip_norm made no difference: the training {first.train_key} has the same weights"
        assert training()[-1] == Note(words)
