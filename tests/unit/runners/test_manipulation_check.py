"""The manipulation check: a setting that does not reach the training or the sampling is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_train import TINY, images_and_labels

from runners.ddpm import manipulation_check, schedules
from runners.ddpm.train import Training, train
from runners.ddpm.trial import build_model

CONFIG = TINY.replace(total_images=1200, batch_size=100, drop_probability=0.3, sampler="ddim(steps=4)")


@pytest.fixture(scope="module")
def treated():
    torch.set_num_threads(1)
    training = Training(CONFIG, build_model(CONFIG), torch.device("cpu"))
    for _ in train(training, *images_and_labels(200)):
        pass
    return training.treatment()


def test_a_training_tells_what_it_did(treated):
    assert treated["timesteps"] == 1000
    assert treated["beta_digest"] == schedules.digest(schedules.betas("linear", 1000))
    assert treated["counted_samples"] == 1000  # the first thousand of 1,200
    assert treated["drop_rate"] == pytest.approx(0.3, abs=0.07)  # s.e. .014
    assert treated["parameters"] == 282_355
    # Of 1,000 timesteps 1,200 draws leave about 1000 e^-1.2 = 301 undrawn.
    assert len(treated["never_drawn"]) == pytest.approx(301, abs=60)
    manipulation_check.verify(CONFIG, treated, evaluations=4)


@pytest.mark.parametrize(
    ("config", "evaluations", "words"),
    [
        (CONFIG.replace(timesteps=999), 4, "timesteps of the training is 1000, but the config asks for 999"),
        (CONFIG.replace(schedule="cosine"), 4, "beta_digest"),
        (CONFIG.replace(model=CONFIG.model.replace("32, 32", "32, 40")), 4, "parameters"),
        (CONFIG.replace(drop_probability=0.1), 4, "were unconditional, not 10.0%"),
        (CONFIG.replace(drop_probability=0.0), 4, "were unconditional, not 0.0%"),
        (CONFIG, 8, "An image took 8 forward passes"),
        (CONFIG.replace(guidance_scale=2.0), 4, "takes 8"),
        (CONFIG.replace(sampler="ddim(steps=5)"), 4, "takes 5"),
    ],
)
def test_a_factor_that_did_not_arrive_is_named(treated, config, evaluations, words):
    with pytest.raises(manipulation_check.ManipulationError, match=words):
        manipulation_check.verify(config, treated, evaluations)


def test_counts_survive_a_checkpoint():
    first = Training(CONFIG, build_model(CONFIG), torch.device("cpu"))
    for progress in train(first, *images_and_labels(200), 100):
        if progress.images == 600:
            break
    second = Training(CONFIG, build_model(CONFIG), torch.device("cpu"))
    second.load_state_dict(first.state_dict())
    for _ in train(second, *images_and_labels(200)):
        pass
    whole = Training(CONFIG, build_model(CONFIG), torch.device("cpu"))
    for _ in train(whole, *images_and_labels(200)):
        pass
    assert second.treatment() == whole.treatment()


def test_warnings():
    assert manipulation_check.warnings(CONFIG) == []
    (dark,) = manipulation_check.warnings(CONFIG.replace(timesteps=500))
    assert "sqrt(alpha_bar_T) = 0.080 > 0.05" in dark
    assert manipulation_check.warnings(CONFIG.replace(timesteps=500, schedule="linear_resampled")) == []
    (branch,) = manipulation_check.warnings(CONFIG.replace(drop_probability=0.0, guidance_scale=2.0))
    assert "no unconditional branch" in branch
    visited = {"never_drawn": [0, 999, 249]}  # ddim(steps=4) visits 999, 749, 499, 249
    (unseen,) = manipulation_check.warnings(CONFIG, visited)
    assert "never drew (2 of 4)" in unseen
    assert manipulation_check.warnings(CONFIG, {"never_drawn": [0, 1, 2]}) == []


def test_evaluations_an_image():
    for guidance, steps, expected in [(1.0, 4, 4), (0.0, 4, 4), (1.5, 4, 8), (5.0, 7, 14)]:
        config = CONFIG.replace(guidance_scale=guidance, sampler=f"ddim(steps={steps})")
        assert manipulation_check.network_evaluations(config) == expected
    assert manipulation_check.network_evaluations(CONFIG.replace(sampler="ddpm")) == 1000


def test_digests_tell_schedules_apart():
    names = [name for name in schedules.SCHEDULES]
    found = {schedules.digest(schedules.betas(name, 500)) for name in names}
    assert len(found) == len(names)
    assert schedules.digest(np.array([0.1, 0.2])) != schedules.digest(np.array([0.1, 0.21]))
