"""What a GPU computes with: IEEE fp32 unless TF32 is asked for, cuDNN's algorithms, and nothing left from a job to the
next. The flags are seen from inside, because a CPU obeys none of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from test_surrogate import coloured_squares
from test_train import TINY, images_and_labels

from runners.ddpm import precision, sample
from runners.ddpm.train import Training, train
from runners.evaluation import evaluator, recognition, surrogate
from runners.evaluation.networks import ResNet18
from runners.experiment import ExecutionContext
from runners.images import Images
from runners.process import device
from runners.tasks.iclevr.labels import ABOUT
from study.design.cost import pace
from study.design.scales import SCALES

CPU = torch.device("cpu")
IEEE, TF32 = "matmul ieee, convolution ieee", "matmul tf32, convolution tf32"


def set_flags(tf32: bool, benchmark: bool, deterministic: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = benchmark, deterministic
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(autouse=True, params=[(True, True, False), (False, False, True)], ids=["loose", "strict"])
def before(request: pytest.FixtureRequest) -> Iterator[str]:
    """What another job has left, and that it is there again afterwards."""
    torch.set_num_threads(1)
    set_flags(*request.param)
    left = device.arithmetic()
    yield left
    assert device.arithmetic() == left
    set_flags(False, False, False)
    torch.backends.cudnn.allow_tf32 = True  # as torch comes


class Spy(torch.nn.Module):
    """Notes the flags of its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen: list[str] = []
        self.weight.register_hook(lambda gradient: self.seen.append(f"back {device.arithmetic()}"))

    def forward(self, x, t, c):
        self.seen.append(f"forth {device.arithmetic()}")
        return x * self.weight


@pytest.mark.parametrize(("at", "wanted"), [("fp32", IEEE), ("bf16", IEEE), ("tf32", TF32)])
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_training_computes_as_its_precision_says(at: str, wanted: str, deterministic: bool) -> None:
    spy = Spy()
    training = Training(TINY.replace(precision=at), spy, CPU)
    with device.algorithms(deterministic):
        outside = device.arithmetic()
        for _ in train(training, *images_and_labels(24)):
            assert device.arithmetic() == outside
    rest = ", cuDNN default, deterministic yes" if deterministic else ", cuDNN fastest, deterministic no"
    assert outside == IEEE + rest
    assert set(spy.seen) == {f"forth {wanted}{rest}", f"back {wanted}{rest}"}
    assert training.arithmetic == wanted + rest


def test_after_an_error_the_flags_come_back() -> None:
    class Breaks(torch.nn.Module):
        def forward(self, x, t, c):
            raise RuntimeError("shapes")

    x = torch.zeros(1, 3, 8, 8)
    with pytest.raises(RuntimeError, match="shapes"):
        precision.forward(Breaks(), "tf32", x, torch.zeros(1), torch.zeros(1, 24))


@pytest.mark.parametrize(("at", "wanted"), [("fp32", IEEE), ("tf32", TF32)])
def test_sampling_computes_as_its_precision_says(at: str, wanted: str) -> None:
    spy, config = Spy(), TINY.replace(precision=at, sampler="ddim(steps=3)")
    with device.algorithms(False):
        sample.sample_list(config, spy, "test", [("red cube",)], torch.zeros(1, 24), 1)
    assert {seen.rpartition(", cuDNN")[0] for seen in spy.seen} == {f"forth {wanted}"}


def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flags in every pass of an evaluator."""
    seen: list[str] = []
    own = ResNet18.logits

    def logits(self: ResNet18, x_BCHW: torch.Tensor) -> torch.Tensor:
        seen.append(device.arithmetic())
        return own(self, x_BCHW)

    monkeypatch.setattr(ResNet18, "logits", logits)
    return seen


def test_scores_are_computed_in_ieee_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the network of the trial is sampled at."""
    seen = spied(monkeypatch)
    model = ResNet18(width=4, stem="half")
    with device.tf32(True):
        recognition.probabilities(model, coloured_squares(3)[0])
    assert {flags.rpartition(", cuDNN")[0] for flags in seen} == {IEEE}


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_surrogate_is_trained_by_its_own_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    """A worker prepares the record before and between trials: what these left decided how the evaluator of all was
    trained, and `--deterministic` did not reach it."""
    seen = spied(monkeypatch)
    images, labels = coloured_squares(60)
    data = Images(images, labels, np.arange(40), np.arange(40, 60), {}, "digest", ABOUT)
    fields = {"data": "rendered", "image_size": 16, "evaluator": "stand_in(size='smoke')"}
    context = ExecutionContext(str(tmp_path), "cpu", deterministic=deterministic)
    list(evaluator.prepare(tmp_path / "evaluator.safetensors", data, fields, context))
    rest = ", cuDNN default, deterministic yes" if deterministic else ", cuDNN fastest, deterministic no"
    assert len(seen) > surrogate.SMOKE.total_images // surrogate.SMOKE.batch_size
    assert set(seen) == {IEEE + rest}


def test_a_dry_run_expects_less_of_fp32_than_of_tf32() -> None:
    """The GPU scales count bf16; .7 and .25 of it are predictions."""
    gpu, laptop = SCALES["gpu"], SCALES["laptop"]
    for at, expected in (("bf16", 1.0), ("bf16_copy", 1.0), ("tf32", 0.7), ("fp32", 0.25)):
        assert pace(gpu.config.replace(precision=at), gpu) == expected
        assert pace(laptop.config.replace(precision=at), laptop) == 1.0


def test_arithmetic_is_text_for_a_record() -> None:
    with device.algorithms(True), device.tf32(True):
        assert json.loads(json.dumps(device.arithmetic())) == TF32 + ", cuDNN default, deterministic yes"
