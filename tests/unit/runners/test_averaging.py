"""The weight average: the decay of each step by hand, the sums that it stands for, and what others' formulas give."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from diffusers.training_utils import EMAModel
from test_train import TINY, images_and_labels

from runners.ddpm import averaging, manipulation_check
from runners.ddpm.config import TrialConfig
from runners.ddpm.train import Training, train
from runners.ddpm.validation import check

CPU = torch.device("cpu")
BATCH, HALFLIFE, STEPS = 8, 24, 12
CONFIG = TINY.replace(batch_size=BATCH, total_images=BATCH * STEPS, ema_halflife_images=HALFLIFE, lr=0.05)


class Small(torch.nn.Module):
    """Two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.leave = torch.nn.Conv2d(3, 8, 3, 1, 1), torch.nn.Conv2d(8, 3, 3, 1, 1)

    def forward(self, x, t, c):
        return self.leave(torch.nn.functional.silu(self.enter(x) + c.sum(1)[:, None, None, None]))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def weights_of_steps(config: TrialConfig) -> tuple[list[list[torch.Tensor]], list[torch.Tensor]]:
    """The parameters after the start and after each step, and the average in the end."""
    training = Training(config, Small(), CPU)
    seen = [[value.detach().clone() for value in training.model.parameters()]]
    for _ in train(training, *images_and_labels(24)):
        seen.append([value.detach().clone() for value in training.model.parameters()])
    return seen, training.ema.shadow_params


def test_the_decays_of_the_unbiased_average_by_hand() -> None:
    """A half-life of one batch: the weights of n steps are 1/2^(n-1), ..., 1/2, 1, divided by their sum 2 - 1/2^(n-1);
    what was there before has the share (1/2) (2 - 1/2^(n-2)) / (2 - 1/2^(n-1))."""
    decay = averaging.unbiased(BATCH).decay
    assert decay is not None
    found = [decay(BATCH * steps, BATCH) for steps in range(4)]
    assert found == pytest.approx([0, 1 / 3, 3 / 7, 7 / 15], abs=1e-12)


def test_the_unbiased_average_is_the_weighted_mean_of_all_steps() -> None:
    seen, average = weights_of_steps(CONFIG.replace(ema_ramp="unbiased"))
    ages = [BATCH * (STEPS - step) for step in range(1, STEPS + 1)]  # of the weights after each step
    shares = torch.tensor([2.0 ** (-age / HALFLIFE) for age in ages], dtype=torch.float64)
    shares /= shares.sum()
    for position, value in enumerate(average):
        steps = torch.stack([step[position].double() for step in seen[1:]])
        wanted = torch.tensordot(shares, steps, 1)
        torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)


def test_the_unbiased_average_of_an_endless_half_life_is_the_plain_mean() -> None:
    seen, average = weights_of_steps(CONFIG.replace(ema_ramp="unbiased", ema_halflife_images=10**9))
    for position, value in enumerate(average):
        torch.testing.assert_close(
            value, torch.stack([step[position] for step in seen[1:]]).mean(0), rtol=1e-4, atol=1e-6
        )


def edm(images: int, batch: int, halflife: float, ratio: float) -> float:
    """training_loop.py of NVlabs/edm: ema_beta, before cur_nimg is increased."""
    halflife = min(halflife, images * ratio)
    return float(0.5 ** (batch / max(halflife, 1e-8)))


@pytest.mark.parametrize(("ramp", "ratio"), [("edm", 0.05), ("edm(ratio=0.5)", 0.5)])
def test_the_ramp_of_edm_is_its_formula(ramp: str, ratio: float) -> None:
    decay = averaging.ramp(ramp, HALFLIFE).decay
    assert decay is not None
    for images in (0, 8, 40, 48, 480, 10_000):
        assert decay(images, BATCH) == edm(images, BATCH, HALFLIFE, ratio)
    seen, average = weights_of_steps(CONFIG.replace(ema_ramp=ramp))
    wanted = seen[0]
    for step, now in enumerate(seen[1:]):
        beta = edm(BATCH * step, BATCH, HALFLIFE, ratio)
        wanted = [beta * old + (1 - beta) * new for old, new in zip(wanted, now, strict=True)]
    for value, expected in zip(average, wanted, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_the_ramp_by_steps_is_diffusers_own_to_the_bit() -> None:
    """What records of earlier versions were averaged by."""
    assert CONFIG.ema_ramp == TrialConfig().ema_ramp == "steps"
    seen, average = weights_of_steps(CONFIG)
    model = Small()
    own = EMAModel(model.parameters(), decay=0.5 ** (BATCH / HALFLIFE), foreach=True)
    for now in seen[1:]:
        own.step([torch.nn.Parameter(value) for value in now])
    for value, wanted in zip(average, own.shadow_params, strict=True):
        assert torch.equal(value, wanted)


@pytest.mark.parametrize(("ramp", "halves"), [("steps", False), ("edm", False), ("unbiased", True)])
def test_half_lives_beyond_what_a_ramp_allows_are_one_setting_and_said_to_be(ramp: str, halves: bool) -> None:
    """By steps a half-life of ln 2 / 9 of the images so far is the longest: of 96 images, 7."""
    found = [
        weights_of_steps(CONFIG.replace(ema_ramp=ramp, ema_halflife_images=images))[1] for images in (160, 100_000)
    ]
    same = all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert same != halves
    said = manipulation_check.warnings(CONFIG.replace(ema_ramp=ramp, ema_halflife_images=160, timesteps=1000))
    assert any("never acts" in sentence for sentence in said) != halves


@pytest.mark.parametrize(
    ("ramp", "reached"), [("steps", 1000 * math.log(2) / 9), ("edm(ratio=0.1)", 100), ("unbiased", math.inf)]
)
def test_the_longest_half_life_that_acts(ramp: str, reached: float) -> None:
    assert averaging.ramp(ramp, 8).reached(1000) == pytest.approx(reached)


def test_an_average_goes_on_from_a_checkpoint() -> None:
    config = CONFIG.replace(ema_ramp="unbiased")
    first = Training(config, Small(), CPU)
    steps = train(first, *images_and_labels(24))
    for _ in range(5):
        next(steps)
    second = Training(config, Small(), CPU)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for each in (steps, train(second, *images_and_labels(24))):
        for _ in each:
            pass
    for one, other in zip(first.ema.shadow_params, second.ema.shadow_params, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("ramp", "words"),
    [
        ("unbiassed", "did you mean 'unbiased'"),
        ("edm(ratio=0.05)", "write 'edm'"),
        ("edm(ratio=2.0)", r"ratio=2.0 must be above 0.0 and at most 1.0: write ratio=0.1"),
        ("steps(ratio=0.1)", "takes no argument 'ratio'"),
    ],
)
def test_an_unknown_ramp_says_what_to_write(ramp: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check(TINY.replace(ema_ramp=ramp))
