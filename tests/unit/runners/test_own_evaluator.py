"""A user's own evaluator in each of its forms: it gives what the network gives, no code in it is run, and what is wrong
with it is said in one sentence."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from runners.evaluation import own, recognition, surrogate
from runners.evaluation.networks import ResNet18


class Small(nn.Module):
    """Five classes, logits, with what networks are made of: sizes of the batch, several results, lists of tensors."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.norm = nn.LayerNorm(16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.batch_norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(32, classes)
        self.register_buffer("scale", torch.tensor(3.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = self.norm(tokens + torch.zeros(x.shape[0], 1, 16, device=x.device))
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        largest, _ = tokens.max(1)
        first, second = tokens.mean(1).chunk(2, 1)
        mean = self.batch_norm(torch.cat([first, second], 1))
        y: Tensor = self.head(torch.cat([largest, mean.reshape(x.shape[0], -1)], 1)) * self.scale
        return y


IMAGES = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3)).astype(np.uint8)
BATCH = ({0: torch.export.Dim.DYNAMIC},)


def exported(path: Path, model: nn.Module, batch: Any = BATCH) -> Path:
    program = torch.export.export(model, (torch.zeros(3, 3, 16, 16),), dynamic_shapes=batch)
    torch.export.save(program, path)
    return path


def scripted(path: Path, model: nn.Module) -> Path:
    torch.jit.script(model).save(str(path))
    return path


def traced(path: Path, model: nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes that a trace fixes
        torch.jit.trace(model, torch.zeros(3, 3, 16, 16), check_trace=False).save(str(path))
    return path


def frozen(path: Path, model: nn.Module) -> Path:
    torch.jit.freeze(torch.jit.script(model)).save(str(path))
    return path


SAVED = [(exported, "torch.export"), (scripted, "TorchScript"), (traced, "TorchScript"), (frozen, "TorchScript")]


def load(path: Path | str, kind: own.Kind = "class", classes: int = 5) -> tuple[own.Network, dict[str, Any]]:
    return own.load(str(path), 16, kind, classes)


def refusal(path: Path | str, kind: own.Kind = "class", classes: int = 5) -> str:
    with pytest.raises(ValueError, match=r"\.$") as refused:
        load(path, kind, classes)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def rewritten(source: Path, edit: Callable[[str, bytes], bytes], more: dict[str, bytes]) -> Path:
    target = source.with_name("trap.pt2")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, edit(name, old.read(name)))
        for name, data in more.items():
            new.writestr(f"{old.namelist()[0].split('/')[0]}/{name}", data)
    return target


# ---------------------------------------------------------------- what it gives


@pytest.mark.parametrize(("save", "form"), SAVED)
@pytest.mark.parametrize("model", [Small, lambda: ResNet18(4, "half", 5).eval()], ids=["small", "resnet"])
def test_it_gives_what_the_network_gives(tmp_path: Path, save: Callable[..., Path], form: str, model: Any):
    network = model().eval()
    loaded, facts = load(save(tmp_path / "own.bin", network))
    assert facts["evaluator_kind"] == f"own {form}"
    assert facts["evaluator_features"] == "outputs"
    assert len(facts["evaluator_sha256"]) == 64
    with torch.no_grad():
        outputs = network(recognition.as_inputs(IMAGES))
    np.testing.assert_allclose(recognition.features(loaded, IMAGES, batch_size=4), outputs, rtol=1e-4, atol=1e-5)
    right = outputs.softmax(1) if isinstance(network, Small) else outputs
    assert facts["evaluator_outputs"] == ("logits" if isinstance(network, Small) else "probabilities")
    np.testing.assert_allclose(recognition.probabilities(loaded, IMAGES), right, rtol=1e-4, atol=1e-5)
    assert recognition.probabilities(loaded, IMAGES[:0]).shape == (0, 5)


def test_the_reader_agrees_with_torch_s_own(tmp_path: Path):
    path = exported(tmp_path / "own.pt2", Small().eval())
    x_BCHW = recognition.as_inputs(IMAGES)
    loaded, _ = load(path)
    with torch.no_grad():
        assert torch.equal(loaded.features(x_BCHW), torch.export.load(path).module()(x_BCHW))


def test_logits_of_label_sets_become_sigmoids_and_features_alone_stay_as_they_are(tmp_path: Path):
    path, x_BCHW = exported(tmp_path / "own.pt2", Small().eval()), recognition.as_inputs(IMAGES)
    sets, _ = load(path, "set")
    none, _ = load(path, "none", 0)
    assert none.classes == 5
    with torch.no_grad():
        torch.testing.assert_close(sets(x_BCHW), sets.features(x_BCHW).sigmoid())
        assert torch.equal(none.features(x_BCHW), sets.features(x_BCHW))


@pytest.mark.parametrize(
    ("outputs", "are"), [([[0.0, 1.0]], "probabilities"), ([[-0.1, 0.9]], "logits"), ([[0.5, 1.2]], "logits")]
)
def test_outputs_between_0_and_1_are_probabilities(outputs: list[list[float]], are: str):
    assert own.outputs_are(torch.tensor(outputs)) == are


def test_weights_of_a_surrogate(tmp_path: Path):
    recipe = surrogate.Recipe(8, "small", 1, loss="classes")
    model = ResNet18(8, "small", 5, "softmax").eval()
    surrogate.save(tmp_path / "own.safetensors", model, recipe, {"accuracy": 0.9})
    loaded, facts = load(tmp_path / "own.safetensors")
    assert (facts["evaluator_kind"], facts["evaluator_features"]) == ("own weights", "penultimate layer")
    np.testing.assert_allclose(
        recognition.features(loaded, IMAGES), recognition.features(model, IMAGES), rtol=1e-5, atol=1e-6
    )
    assert "trained for classes, and this task needs sets" in refusal(tmp_path / "own.safetensors", "set")
    assert "5 outputs, and this task has 7 labels" in refusal(tmp_path / "own.safetensors", classes=7)
    assert load(tmp_path / "own.safetensors", "none", 0)[0].classes == 5


def test_weights_under_the_keys_of_torchvision(tmp_path: Path):
    for stem, width in (("imagenet", 8), ("half", 4)):
        model = ResNet18(width, stem, 5, "softmax").eval()
        state = {key.replace("fc.0.", "fc."): value for key, value in model.state_dict().items()}
        save_file(state, tmp_path / "own.safetensors", {} if stem == "imagenet" else {"stem": stem})
        loaded, _ = load(tmp_path / "own.safetensors")
        np.testing.assert_allclose(
            recognition.probabilities(loaded, IMAGES), recognition.probabilities(model, IMAGES), rtol=1e-4
        )
    save_file(state, tmp_path / "own.safetensors")
    assert 'save_file(state, path, {"stem": "half"})' in refusal(tmp_path / "own.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "own.safetensors")
    assert "no conv1.weight" in refusal(tmp_path / "own.safetensors")
    save_file(state | {"bn1.weight": torch.zeros(5)}, tmp_path / "own.safetensors", {"stem": "half"})
    assert "bn1.weight is (5,) instead of (4,)" in refusal(tmp_path / "own.safetensors")


# ---------------------------------------------------------------- what is wrong with it


def test_files_that_are_none(tmp_path: Path):
    assert "There is no file" in refusal(tmp_path / "absent.pt2")
    for suffix in (".pt2", ".pt", ".safetensors"):
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(b"\x00\x01\x02" * 100)
        assert "give a .safetensors file of a ResNet-18, or" in refusal(path)
    torch.save({"model": Small().state_dict()}, tmp_path / "checkpoint.pth")
    assert "holds weights without their network" in refusal(tmp_path / "checkpoint.pth")
    whole = exported(tmp_path / "own.pt2", Small().eval()).read_bytes()
    (tmp_path / "half.pt2").write_bytes(whole[: len(whole) // 2])
    assert "half.pt2 is cut short: download it again" in refusal(tmp_path / "half.pt2")
    newer = rewritten(
        tmp_path / "own.pt2",
        lambda name, data: data.replace(b'"major": 8', b'"major": 9') if name.endswith("model.json") else data,
        {},
    )
    assert "its format has version 9 instead of 8" in refusal(newer)


class Bad(nn.Module):
    """Three outputs, wrong in one way."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x).mean((2, 3))
        if self.how == "shape":
            y = y[:, :, None]
        elif self.how == "finite":
            y = y / 0
        elif self.how == "random":
            y = nn.functional.dropout(y + 1, 0.5, True)
        elif self.how == "size":
            y = y + x[:, 0, 31]
        return y


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("shape", "gives (16, 3, 1) for 16 images of 3x16x16 instead of (16, 3)"),
        ("finite", "gives numbers that are not finite"),
        ("random", "gives an image other numbers the next time or in another batch"),
        ("size", "fails on 16 images of 3x16x16 ("),
    ],
)
def test_what_the_dry_run_finds(tmp_path: Path, how: str, complaint: str):
    assert complaint in refusal(scripted(tmp_path / "own.pt", Bad(how).eval()), classes=3)


def test_a_network_in_training_mode_is_refused(tmp_path: Path):
    """Or with numbers that are those of a batch; a script that can be set to eval mode is."""
    assert "or in another batch" in refusal(exported(tmp_path / "own.pt2", Bad("").train()), classes=3)
    load(scripted(tmp_path / "own.pt", Bad("").train()), classes=3)
    constant = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert "or in another batch" in refusal(
        scripted(tmp_path / "own.pt", nn.Sequential(nn.MaxPool2d(4), constant)), classes=3
    )


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen.add_(1)
        return x.mean((2, 3)) + self.seen


def test_a_network_that_changes_is_refused(tmp_path: Path):
    assert "or in another batch" in refusal(scripted(tmp_path / "own.pt", Counting()), classes=3)
    program = torch.export.export(Counting(), (torch.zeros(3, 3, 16, 16),), dynamic_shapes=BATCH)
    torch.export.save(program, tmp_path / "own.pt2")
    assert "or in another batch" in refusal(tmp_path / "own.pt2", classes=3)
    torch.export.save(program.run_decompositions(), tmp_path / "core.pt2")
    assert "it changes its own state (buffer_mutation)" in refusal(tmp_path / "core.pt2", classes=3)


def test_a_number_of_outputs_that_is_not_the_task_s(tmp_path: Path):
    path = exported(tmp_path / "own.pt2", Small().eval())
    assert "gives (16, 5) for 16 images of 3x16x16 instead of (16, 10)" in refusal(path, classes=10)


def test_batches_of_one_size_are_refused(tmp_path: Path):
    path = exported(tmp_path / "own.pt2", Small().eval(), batch=None)
    assert "it takes batches of 3 alone; export it with dynamic_shapes=({0: Dim.DYNAMIC},)" in refusal(path)


class Two(nn.Module):
    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return x.mean((2, 3)) + t


def test_two_inputs_are_refused(tmp_path: Path):
    torch.jit.script(Two()).save(str(tmp_path / "own.pt"))
    assert "it takes 2 inputs instead of the images alone" in refusal(tmp_path / "own.pt", classes=3)
    program = torch.export.export(Two(), (torch.zeros(2, 3, 16, 16), torch.zeros(3)))
    torch.export.save(program, tmp_path / "own.pt2")
    assert "it takes 2 inputs instead of the images alone" in refusal(tmp_path / "own.pt2", classes=3)
