"""A training of domain adaptation: what reaches its weights and what does not, and that it goes on where it stopped."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_domains import CPU, TINY, pair, same

from runners import dann
from runners.dann import inputs, trainings
from runners.dann.training import Training, _Epochs, train
from runners.experiment import Curve, Note
from runners.process import checkpoints
from runners.process.files import read_lines

LEARNED = ("extractor.", "label.")
NETWORKS = ("cnn(width=4)", "cnn(bottleneck=8, norm='batch', width=4)", "cnn(norm='domain', width=4)")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def trained(config: dann.Config = TINY, domains: trainings.Pair | None = None) -> dict[str, torch.Tensor]:
    training = (domains or pair()).training(config, CPU)
    for _ in train(training, 1000):
        pass
    return training.weights()


def learned(name: str) -> bool:
    return name.startswith(LEARNED)


def without_labels(domains: trainings.Pair, which: str) -> trainings.Pair:
    """The pair with the labels of one domain permuted."""
    domain = getattr(domains, which)
    label_N = np.random.default_rng(5).permutation(domain.label_N)
    assert not np.array_equal(label_N, domain.label_N)
    return dataclasses.replace(domains, **{which: dataclasses.replace(domain, label_N=label_N)})


@pytest.mark.parametrize("method", ["dann", "source_only"])
def test_no_label_of_the_target_reaches_the_weights(method):
    config = TINY.replace(method=method)
    assert same(trained(config), trained(config, without_labels(pair(), "target")))
    assert not same(trained(config), trained(config, without_labels(pair(), "source")))


def test_the_target_alone_is_trained_on_with_its_own_labels():
    config = TINY.replace(method="target_only")
    assert same(trained(config), trained(config, without_labels(pair(), "source")))
    assert not same(trained(config), trained(config, without_labels(pair(), "target")))


def test_source_only_sees_no_image_of_the_target():
    domains = pair()
    target = dataclasses.replace(domains.target, images_NHWC=255 - domains.target.images_NHWC)
    other = dataclasses.replace(domains, target=target)
    config = TINY.replace(method="source_only", standardise=True)
    assert same(trained(config), trained(config, other))
    assert not same(trained(TINY), trained(TINY, other), learned)


def test_source_only_is_dann_with_lambda_0_where_no_norm_mixes_the_domains():
    """The label classifier and the features, up to the rounding of a batch twice as long; the domain classifier learns
    in the one and not in the other."""
    still = trained(TINY.replace(lambda_max=0.0))
    alone = trained(TINY.replace(method="source_only"))
    for name in filter(learned, still):
        torch.testing.assert_close(still[name], alone[name], rtol=1e-4, atol=1e-6)
    assert not same(still, alone, lambda name: name.startswith("domain."))
    moved = trained(TINY)
    assert not all(torch.allclose(moved[name], alone[name], rtol=1e-4, atol=1e-6) for name in filter(learned, moved))


def test_lambda_reaches_the_features_and_gamma_too():
    weights = [trained(TINY.replace(**change)) for change in ({}, {"lambda_max": 0.5}, {"lambda_gamma": 1.0})]
    assert not same(weights[0], weights[1], learned)
    assert not same(weights[0], weights[2], learned)


@pytest.mark.parametrize(
    "change",
    [
        {"domain_lr_quirk": True},
        {"lr_schedule": "constant"},
        {"optimiser": "adam"},
        {"optimiser": "sgd"},
        {"weight_decay": 0.1},
        {"augmentation": "shift"},
        {"augmentation": "invert"},
        {"channels": "grey"},
        {"standardise": True},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_field_reaches_the_weights(change):
    before, after = trained(), trained(TINY.replace(**change))
    names = [name for name in before if before[name].shape == after[name].shape]
    assert not all(torch.equal(before[name], after[name]) for name in names)


# --- resuming --------------------------------------------------------------------------------------------


def finish(folder: Path, config: dann.Config) -> list[Curve | Note]:
    return list(trainings.run(config, folder, pair(), CPU))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", ["dann", "source_only"])
def test_a_training_goes_on_exactly_where_it_was_stopped(tmp_path, network, method):
    config = TINY.replace(network=network, method=method, augmentation="shift", optimiser="adam")
    whole, cut = tmp_path / "whole" / config.train_key, tmp_path / "cut" / config.train_key
    finish(whole, config)
    for stop in (2, 3):
        events = trainings.run(config, cut, pair(), CPU)
        for _ in range(stop):
            next(events)
        events.close()
        assert (cut / checkpoints.NEWEST).is_file()
    finish(cut, config)
    for which in (trainings.LAST, trainings.BEST):
        weights = [trainings.load_weights(folder, which, CPU) for folder in (whole, cut)]
        assert same(*weights)
    clocks = ("seconds", "images_per_second")
    lines = [
        [
            {name: value for name, value in line.items() if name not in clocks}
            for line in read_lines(folder / "curve.jsonl")
        ]
        for folder in (whole, cut)
    ]
    assert lines[0] == lines[1]
    assert not (cut / checkpoints.NEWEST).exists()
    assert trainings.facts(whole)["sha256"] == trainings.facts(cut)["sha256"]


def reports(training: Training) -> list[tuple]:
    """What is left of a training, a report every five steps, without its clock."""
    found = [report for report in train(training, 160) if report is not None]
    return [dataclasses.astuple(dataclasses.replace(one, seconds=0.0, images_per_second=0.0)) for one in found]


def test_a_state_between_two_reports_goes_on_with_the_report_too():
    whole = reports(pair().training(TINY, CPU))
    first, second = pair().training(TINY, CPU), pair().training(TINY, CPU)
    steps = train(first, 160)
    for _ in range(7):  # two steps into the second report
        next(steps)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert reports(second) == whole[1:]
    assert len(whole) == 4


def test_a_curve_has_both_losses_and_the_accuracies_at_its_points(tmp_path):
    finish(tmp_path / TINY.train_key, TINY)
    lines = read_lines(tmp_path / TINY.train_key / "curve.jsonl")
    assert [line["images"] for line in lines] == list(range(32, 641, 32))
    scored = [line for line in lines if "accuracy/source_validation" in line]
    assert [line["images"] for line in scored] == list(range(64, 641, 64))
    assert {"loss/label", "loss/domain", "domain_accuracy/train", "lambda", "lr"} <= set(lines[0])
    assert {"accuracy/target_validation", "domain_accuracy/validation"} <= set(scored[0])
    assert lines[0]["lambda"] == 0.0
    assert lines[0]["lr"] == 0.01
    assert lines[-1]["lambda"] == pytest.approx(2 / (1 + np.exp(-10 * 608 / 640)) - 1)


def test_the_oracle_keeps_the_best_point_on_the_target(tmp_path):
    folder = tmp_path / TINY.train_key
    finish(folder, TINY)
    lines = [line for line in read_lines(folder / "curve.jsonl") if "accuracy/target_validation" in line]
    best = max(lines, key=lambda line: line["accuracy/target_validation"])
    assert trainings.facts(folder)["best_on_target/images"] == best["images"]


def test_a_finished_training_is_not_done_again_and_a_damaged_one_is(tmp_path):
    folder = tmp_path / TINY.train_key
    finish(folder, TINY)
    good = (folder / "last.safetensors").read_bytes()
    assert finish(folder, TINY) == [Curve(tuple(read_lines(folder / "curve.jsonl")), TINY.total_images)]
    (folder / "last.safetensors").write_bytes(good[:-5] + bytes(5))
    assert "last.safetensors is not the file" in trainings.damage(folder)
    notes = [event.text for event in finish(folder, TINY) if isinstance(event, Note)]
    assert len(notes) == 1
    assert "trained again" in notes[0]
    assert (folder / "last.safetensors").read_bytes() == good
    assert (folder / "damaged-last.safetensors").is_file()


def test_a_diverged_training_says_so(tmp_path):
    config = TINY.replace(lr=1e6)
    with pytest.raises(FloatingPointError, match="lower lr"):
        finish(tmp_path / config.train_key, config)


# --- batches and inputs ----------------------------------------------------------------------------------


def test_each_epoch_is_a_permutation_and_batches_run_across_epochs():
    epochs = _Epochs(10, TINY.replace(batch_size=4), "labelled")
    rows = np.concatenate([epochs.rows(step) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert not np.array_equal(rows[:10], rows[10:])
    small = _Epochs(3, TINY.replace(batch_size=8), "labelled").rows(1)  # three epochs in one batch
    assert sorted(np.bincount(small, minlength=3)) == [2, 3, 3]


def test_inputs_are_standardised_by_the_labelled_images():
    images_NHWC = pair().source.images_NHWC
    scaling = inputs.scaling(TINY.replace(standardise=True), images_NHWC, CPU)
    x_BCHW = scaling.apply(images_NHWC)
    torch.testing.assert_close(x_BCHW.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(x_BCHW.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_grey_is_the_luminance():
    red = np.zeros((1, 2, 2, 3), np.uint8)
    red[..., 0] = 255
    x_BCHW = inputs.scaling(TINY.replace(channels="grey"), red, CPU).apply(red)
    torch.testing.assert_close(x_BCHW, torch.full((1, 1, 2, 2), 0.299))
