"""What a record says of the settings of an experiment whose code is not there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import pytest

from runners.config import StagedConfig, sample_field, train_field
from runners.ddpm.config import TrialConfig
from study.record import recorded


@dataclass(frozen=True)
class Config(StagedConfig):
    lr: float = train_field(1.0, "learning rate", rescales=True)
    clip: float = train_field(5.0, "limit of the gradient", inert=True)
    wide: bool = train_field(False, "whether it is wide")
    noise: int = sample_field(0, "draw of the noise")
    seed: int = train_field(0, "training seed")

    def at_seed(self, seed: int, block: int) -> Self:
        return self.replace(seed=seed, noise=block)


def test_the_recorded_settings_have_the_same_fields_and_keys():
    fields = recorded.fields_of(Config)
    again = {name: recorded.RecordedField.model_validate_json(one.model_dump_json()) for name, one in fields.items()}
    found = recorded.config_of("toy@12345678", again)
    Config._identity = "toy@12345678"  # type: ignore[attr-defined]
    for changes in ({}, {"lr": 0.5}, {"wide": True, "noise": 3}, {"seed": 4}):
        ours, theirs = Config().replace(**changes), found().replace(**changes)
        assert (ours.trial_key, ours.train_key, ours.to_dict()) == (
            theirs.trial_key,
            theirs.train_key,
            theirs.to_dict(),
        )
    assert found.inert() == {"clip"}
    assert found.rescaling() == {"lr"}
    assert found.replicated() == Config.replicated() == {"seed", "noise"}
    assert found.about("wide") == "whether it is wide"


def test_nothing_is_recorded_of_the_projects_own():
    assert recorded.described("ddpm") == {}
    assert TrialConfig.rescaling() == {"schedule", "timesteps", "prediction", "weighting"}


@pytest.mark.parametrize(
    "fields",
    [
        {"lr": {"kind": "float", "default": 1.0, "stage": "train"}},
        {"seed": {"kind": "list", "default": 0, "stage": "train"}},
        {"seed": {"kind": "int", "default": "0", "stage": "train"}},
        {"a b": {"kind": "int", "default": 0, "stage": "train"}},
    ],
)
def test_a_description_that_is_none(fields):
    given = {name: recorded.RecordedField(**one) for name, one in fields.items()}
    with pytest.raises(ValueError, match="config_fields"):
        recorded.config_of("toy@1", given)
