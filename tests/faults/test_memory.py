"""What does not fit into memory goes through in parts, with the same gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_train import TINY, images_and_labels
from tiny_trainings import (
    CPU,
    STEPS,
    Small,
    outcome,
    turn,
)
from torch import nn

from runners.ddpm import sample, trainings
from runners.ddpm.steps import TrainProgress
from runners.ddpm.train import Training, train
from runners.experiment import Note
from runners.process import memory, worker
from runners.tasks.iclevr.labels import multi_hot


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


def test_memory_that_ran_out_elsewhere_is_not_blamed_on_one_image():
    """The optimiser's state and the average are made whole: fewer images would not help."""
    status, text = worker.explain(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert (status, text.partition(": ")[0]) == ("out of memory", "memory ran out outside of the network's own pass")


def test_other_errors_are_not_lack_of_memory():
    engine = RuntimeError("GET was unable to find an engine to execute this computation")
    for error in (RuntimeError("shapes do not match"), ValueError("out of memory"), OSError("no space"), engine):
        assert not memory.ran_out(error)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), "crashed"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "crashed"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "crashed"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), "crashed"),
        (RuntimeError("CUBLAS_STATUS_INTERNAL_ERROR"), "crashed"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "out of memory"),
        (RuntimeError("GET was unable to find an engine to execute this computation"), "failed"),
        (ValueError("CUDA error"), "failed"),
    ],
)
def test_after_an_error_of_its_gpu_a_process_does_no_other_job(error, status):
    assert worker.explain(error)[0] == status


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
