"""The evaluator: torchvision's layout, refusals of wrong files, hand-computed scores, a surrogate that learns."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from runners.evaluation import official, recognition
from runners.evaluation.networks import BasicBlock, ResNet18
from runners.evaluation.surrogate import Recipe

TINY = Recipe(width=8, stem="half", total_images=6_400, batch_size=64, seed=3)


def torchvision_resnet18_shapes() -> dict[str, tuple[int, ...]]:
    """Keys and shapes of torchvision.models.resnet18 with the head Sequential(Linear(512, 24), Sigmoid())."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["conv1.weight"] = (64, 3, 7, 7)
    norm("bn1", 64)
    for layer, (before, after) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], start=1):
        for block in (0, 1):
            name, entering = f"layer{layer}.{block}", before if block == 0 else after
            shapes[f"{name}.conv1.weight"] = (after, entering, 3, 3)
            norm(f"{name}.bn1", after)
            shapes[f"{name}.conv2.weight"] = (after, after, 3, 3)
            norm(f"{name}.bn2", after)
            if entering != after:
                shapes[f"{name}.downsample.0.weight"] = (after, entering, 1, 1)
                norm(f"{name}.downsample.1", after)
    shapes["fc.0.weight"], shapes["fc.0.bias"] = (24, 512), (24,)
    return shapes


# ---------------------------------------------------------------- architecture


def test_layout_is_torchvisions() -> None:
    model, expected = ResNet18(), torchvision_resnet18_shapes()
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == expected
    assert list(model.state_dict()) == list(expected), "order of the keys, as torchvision writes them"
    assert len(expected) == 122
    assert sum(parameter.numel() for parameter in model.parameters()) == 11_176_512 + 512 * 24 + 24


def test_outputs_are_24_probabilities() -> None:
    torch.manual_seed(0)
    model = ResNet18().eval()
    x_BCHW = torch.randn(2, 3, 64, 64)
    stage_sides: list[int] = []
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        layer.register_forward_hook(lambda _module, _inputs, output: stage_sides.append(output.shape[-1]))
    with torch.no_grad():
        y_BK = model(x_BCHW)
        assert torch.equal(y_BK, model.logits(x_BCHW).sigmoid())
    assert y_BK.shape == (2, 24)
    assert ((y_BK > 0) & (y_BK < 1)).all()
    assert stage_sides[:4] == [16, 8, 4, 2]


def test_block_adds_its_input() -> None:
    block = BasicBlock(4, 4, 1).eval()
    nn.init.zeros_(block.bn2.weight)
    x_BCHW = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x_BCHW), x_BCHW.relu())


@pytest.mark.parametrize(("stem", "side"), [("imagenet", 8), ("half", 16), ("small", 32)])
def test_stems_shrink_as_they_say(stem: str, side: int) -> None:
    model = ResNet18(width=4, stem=stem)
    sides: list[int] = []
    model.layer1.register_forward_hook(lambda _module, _inputs, output: sides.append(output.shape[-1]))
    model(torch.zeros(2, 3, 32, 32))
    assert sides == [side]


def test_unknown_stem_is_refused() -> None:
    with pytest.raises(ValueError, match='"imagenet", "half" or "small"'):
        ResNet18(stem="large")


# ---------------------------------------------------------------- the checkpoint


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    model = ResNet18()
    torch.save({"model": model.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth")
    loaded, sha256 = official.load_checkpoint(tmp_path / "checkpoint.pth")
    assert sha256 == hashlib.sha256((tmp_path / "checkpoint.pth").read_bytes()).hexdigest()
    assert not loaded.training
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_only_the_official_hash_is_official() -> None:
    assert official.is_official(official.OFFICIAL_SHA256)
    assert not official.is_official(hashlib.sha256(b"another file").hexdigest())


class CreatesFile:
    """Unpickling this with code allowed creates the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    torch.save({"model": CreatesFile(planted)}, tmp_path / "zip.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"model": CreatesFile(planted)}))
    for name in ("zip.pth", "plain.pth"):
        with pytest.raises(ValueError, match=r"tensors only.*checkpoint\.pth"):
            official.load_checkpoint(tmp_path / name)
        assert not planted.exists()
    torch.load(tmp_path / "zip.pth", weights_only=False)
    assert planted.exists(), "the trap itself must work, or this test proves nothing"


def wrong_head() -> dict[str, dict[str, Tensor]]:
    state = ResNet18().state_dict()
    return {"model": state | {"fc.0.weight": torch.zeros(1000, 512)}}


def imagenet_head() -> dict[str, dict[str, Tensor]]:
    state = ResNet18().state_dict()
    weight, bias = state.pop("fc.0.weight"), state.pop("fc.0.bias")
    return {"model": state | {"fc.weight": weight, "fc.bias": bias}}


def another_network() -> dict[str, dict[str, Tensor]]:
    return {"model": ResNet18().state_dict() | {"layer5.weight": torch.zeros(2)}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (wrong_head, r"fc.0.weight is \(1000, 512\) instead of \(24, 512\)"),
        (imagenet_head, r"fc.0.weight is missing instead of \(24, 512\)"),
        (another_network, r"layer5.weight is \(2,\) instead of absent"),
        (lambda: ResNet18(width=4).state_dict(), 'no state dict under the key "model"'),
        (lambda: torch.zeros(3), 'no state dict under the key "model"'),
    ],
)
def test_wrong_checkpoints_are_refused_in_one_sentence(tmp_path: Path, content: object, complaint: str) -> None:
    assert callable(content)
    torch.save(content(), tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=complaint) as refusal:
        official.load_checkpoint(tmp_path / "wrong.pth")
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
    assert "give i-CLEVR's checkpoint.pth" in str(refusal.value)


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no file"):
        official.load_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(ValueError, match="is a folder: give i-CLEVR's checkpoint"):
        official.load_checkpoint(tmp_path)
    (tmp_path / "damaged.pth").write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match="is a web page"):
        official.load_checkpoint(tmp_path / "damaged.pth")
    (tmp_path / "damaged.pth").write_bytes(b"\x00\x01\x02" * 100)
    with pytest.raises(ValueError, match="tensors only"):
        official.load_checkpoint(tmp_path / "damaged.pth")


# ---------------------------------------------------------------- what it recognises


class MeanColour(ResNet18):
    """Outputs that can be computed by hand: red, green, blue of the top left pixel, then 21 times -1."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        assert not self.training
        return torch.cat([x_BCHW[:, :, 0, 0], torch.full((len(x_BCHW), 21), -1.0)], dim=1)


def test_predict_takes_the_k_largest() -> None:
    images = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    images[:, 0, 0] = [[10, 250, 20], [10, 250, 20], [30, 20, 10], [255, 255, 255]]
    labels = np.zeros((4, 24), dtype=np.bool_)
    labels[0, 5] = labels[1, :2] = labels[2, [0, 1, 23]] = labels[3, 7] = True
    for batch_size in (1, 3, 256):
        predicted = recognition.predict(MeanColour(width=1), images, labels, batch_size=batch_size)
        assert [np.flatnonzero(row).tolist() for row in predicted] == [[1], [1, 2], [0, 1, 2], [0]]
        assert predicted.dtype == np.bool_


def test_predict_normalizes_as_the_official_evaluator() -> None:
    x_NCHW = recognition.as_inputs(np.array([[[[0, 51, 255]]]], dtype=np.uint8))
    torch.testing.assert_close(x_NCHW, torch.tensor([-1.0, 0.2 / 0.5 - 1, 1.0]).view(1, 3, 1, 1))


def test_predict_wants_one_row_per_image() -> None:
    with pytest.raises(ValueError, match="2 images but 3 rows"):
        recognition.predict(MeanColour(width=1), np.zeros((2, 8, 8, 3), np.uint8), np.zeros((3, 24), np.bool_))


def test_accuracy_is_micro() -> None:
    labels, predicted = np.zeros((3, 24), dtype=np.bool_), np.zeros((3, 24), dtype=np.bool_)
    labels[0, 0] = labels[1, [1, 2, 3]] = labels[2, [4, 5]] = True
    predicted[0, 0] = predicted[1, [1, 2, 9]] = predicted[2, [10, 11]] = True
    assert recognition.hits(predicted, labels).tolist() == [1, 2, 0]
    assert recognition.accuracy(predicted, labels) == pytest.approx(3 / 6)  # the mean over images would be 5/9
