"""The config as a row: keys, spellings, types."""

from __future__ import annotations

import pytest

from runners.config import Call
from runners.ddpm.config import TrialConfig


def test_a_default_config_keeps_its_key_when_fields_are_added():
    # The key hashes only what differs from the defaults, so it is the hash of nothing.
    assert TrialConfig().trial_key == TrialConfig().train_key == "44136fa355b3"


@pytest.mark.parametrize("name", sorted(TrialConfig.defaults()))
def test_each_field_changes_the_key_of_its_stage_alone(name):
    value = TrialConfig.defaults()[name]
    other = f"{value}x" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1
    changed = TrialConfig().replace(**{name: other})
    assert changed.trial_key != TrialConfig().trial_key
    assert (changed.train_key != TrialConfig().train_key) == (
        TrialConfig.__dataclass_fields__[name].metadata["stage"] == "train"
    )


def test_a_config_survives_its_row_and_its_text():
    config = TrialConfig(schedule="sigmoid(tau=0.9)", lr=3e-4, flips=True, seed=7)
    assert TrialConfig.from_dict(config.to_dict()) == config
    texts = {name: str(value) for name, value in config.to_dict().items()}
    assert TrialConfig(**{name: TrialConfig.read_value(name, text) for name, text in texts.items()}) == config


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("ddim(eta=0.5, steps=50)", None),
        ("ddim( steps=50 )", "ddim(steps=50)"),
        ("ddim(steps=50, eta=0.5)", "ddim(eta=0.5, steps=50)"),
        ("linear()", "linear"),
    ],
)
def test_a_component_has_one_spelling(text, spelling):
    if spelling is None:
        assert str(Call.parse(text)) == text
    else:
        with pytest.raises(ValueError, match="one permitted spelling") as error:
            Call.parse(text)
        assert repr(spelling) in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "a b", "f(1)", "__import__('os').system('x')", "f(a=open('x'))", "f(**{})", "a;b", "[1]"]
)
def test_what_is_no_component_is_refused_and_never_run(text):
    with pytest.raises(ValueError, match=r"component|plain numbers|one permitted"):
        Call.parse(text)


def test_unknown_and_repeated_arguments_are_named():
    def function(width: int = 64) -> None: ...

    with pytest.raises(ValueError, match="did you mean 'width'"):
        Call.parse("f(wdith=32)").bind(function)
    with pytest.raises(ValueError, match="write 'f'"):
        Call.parse("f(width=64)").bind(function)
    assert Call.parse("f(width=32)").bind(function) == {"width": 32}


@pytest.mark.parametrize(("name", "text"), [("lr", "fast"), ("seed", "1.5"), ("flips", "maybe"), ("batch_szie", "3")])
def test_a_value_of_the_wrong_type_is_refused(name, text):
    with pytest.raises(ValueError, match=name):
        TrialConfig.read_value(name, text)


def test_values_are_read_in_the_forms_people_write():
    assert TrialConfig.read_value("total_images", "1_000") == 1000
    assert TrialConfig.read_value("total_images", "2e6") == 2_000_000
    assert TrialConfig.read_value("lr", "1e-4") == 1e-4
    with pytest.raises(ValueError, match="lr"):
        TrialConfig(lr=1)
