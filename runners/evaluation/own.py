"""A user's own evaluator: weights of our ResNet-18, TorchScript, or a network of torch.export. No Python code is run.

The network is given float (B, 3, H, W) in [-1, 1] and gives (B, K), one number per class or label of the task, in the
task's order. Outputs that all lie in [0, 1] are probabilities; others are logits, of which a softmax (classes) or a
sigmoid (label sets) makes probabilities. Which they are is decided on 16 fixed pictures: grey, black, white and noise.

Shapes in names: B batch, H height, W width, C channels (RGB), K labels or classes.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from runners import readable
from runners.evaluation import exported, surrogate, torchscript
from runners.evaluation.networks import HEADS, Network, ResNet18, Unreadable

Kind = Literal["set", "class", "none"]

HEAD = {"set": "sigmoid", "class": "softmax", "none": "softmax"}
LOSS = {"set": "sets", "class": "classes"}
FORMS = (
    "give a .safetensors file of a ResNet-18, or a network saved with torch.export.save or torch.jit.save that takes "
    "images in [-1, 1]"
)
CODE = re.compile(r"[\w.]+:\w+")  # module:function
STEM_OF = {7: "imagenet"}  # of the side of the first kernel; "half" and "small" both have 3
PROBES = 16
CLOSE = 1e-3  # relative to the largest output: another order of sums differs by less


class Outputs(Network):
    """A network that is known by its outputs alone, which are its features too."""

    def __init__(self, network: nn.Module, classes: int, head: nn.Module) -> None:
        super().__init__(classes)
        self.network, self.head = network, head

    def features(self, x_BCHW: Tensor) -> Tensor:
        y_BK: Tensor = self.network(x_BCHW)
        return y_BK

    def forward(self, x_BCHW: Tensor) -> Tensor:
        p_BK: Tensor = self.head(self.features(x_BCHW).float())
        return p_BK


def load(path: str, image_size: int, kind: Kind, classes: int) -> tuple[Network, dict[str, Any]]:
    """(the evaluator in eval mode on the CPU, the facts that stand under its scores); ValueError, one sentence.

    `classes`: K of the task; for a task without labels, kind "none", any number of outputs will do. Facts:
    evaluator_kind, evaluator_sha256, evaluator_outputs ("probabilities" or "logits") and evaluator_features: what KID
    and its kin compare, the "penultimate layer" of a ResNet-18 and the "outputs" of any other network.
    """
    require_file(path)
    file = Path(path)
    form = form_of(file)
    if form == "weights":
        network: Network = _weights(file, kind, classes)
        _check(network, path, image_size, classes if kind != "none" else None)
        outputs, features = "probabilities", "penultimate layer"
    else:
        inner = _network(file, form)
        seen_BK = _check(inner, path, image_size, classes if kind != "none" else None)
        outputs, features = outputs_are(seen_BK), "outputs"
        head = HEADS[HEAD[kind]]() if outputs == "logits" else nn.Identity()
        network = Outputs(inner, seen_BK.shape[1], head)
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    return network.eval(), {
        "evaluator_kind": f"own {form}",
        "evaluator_sha256": sha256,
        "evaluator_outputs": outputs,
        "evaluator_features": features,
    }


def require_file(path: str) -> None:
    """ValueError, one sentence, for what is no file that can be read."""
    if CODE.fullmatch(path) and not os.path.lexists(path):
        raise ValueError(f"--evaluator {path} is code, and no code of a user's is run: {FORMS}.")
    readable.require(Path(path), FORMS, binary=not path.endswith(".py"))  # code is a text, and refused as code


def form_of(file: Path) -> Literal["weights", "TorchScript", "torch.export"]:
    """What a file holds, by its content; ValueError for anything else."""
    if file.suffix == ".safetensors":
        return "weights"
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        if any(name.endswith("/archive_format") for name in names):
            return "torch.export"
        if any(name.endswith("/constants.pkl") for name in names):
            return "TorchScript"
        if any(name.endswith("/data.pkl") for name in names):
            raise ValueError(f"{file} holds weights without their network, or pickled code, which is not run: {FORMS}.")
    raise ValueError(f"{file} is no evaluator that can be read: {FORMS}.")


def outputs_are(y_BK: Tensor) -> Literal["probabilities", "logits"]:
    """Probabilities where all outputs for the fixed pictures lie in [0, 1]: logits of labels that a picture does not
    show are below 0."""
    return "probabilities" if bool(((y_BK >= -1e-6) & (y_BK <= 1 + 1e-6)).all()) else "logits"


# --- reading ---------------------------------------------------------------------------------------------


def _network(file: Path, form: str) -> nn.Module:
    """ValueError, one sentence, for what is not read."""
    try:
        return exported.read(file) if form == "torch.export" else torchscript.read(file)
    except Unreadable as error:
        raise ValueError(f"{file} is not read as {form}, {error}: {FORMS}.") from error
    except Exception as error:  # damaged bytes raise whatever reads them first
        raise ValueError(
            f"{file} is damaged, or no file of {form} that this version of torch reads: {FORMS}."
        ) from error


def _weights(file: Path, kind: Kind, classes: int) -> ResNet18:
    """A surrogate's own file, which says all; or a state dict under torchvision's keys (fc or fc.0), whose metadata say
    the stem where its first kernel does not."""
    try:
        with safe_open(str(file), "pt") as opened:
            metadata: dict[str, str] = opened.metadata() or {}
            state = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} is no .safetensors file: {FORMS}.") from error
    if "recipe" in metadata:
        try:
            model, recipe, _ = surrogate.load(file)
        except ValueError as error:
            raise ValueError(f"{file} is damaged, or a surrogate evaluator of another version: {FORMS}.") from error
        if kind != "none" and recipe.loss != LOSS[kind]:
            raise ValueError(f"{file} was trained for {recipe.loss}, and this task needs {LOSS[kind]}: {FORMS}.")
    else:
        model = _resnet(file, state, metadata, kind)
    if kind != "none" and model.classes != classes:
        raise ValueError(f"{file} has {model.classes} outputs, and this task has {classes} labels: {FORMS}.")
    return model


def _resnet(file: Path, state: dict[str, Tensor], metadata: Mapping[str, str], kind: Kind) -> ResNet18:
    state = {re.sub(r"^fc\.(weight|bias)$", r"fc.0.\1", key): value for key, value in state.items()}
    first, bias = state.get("conv1.weight"), state.get("fc.0.bias")
    if first is None or bias is None or first.ndim != 4 or bias.ndim != 1:
        raise ValueError(f"{file} is no ResNet-18, it has no conv1.weight or no fc.bias: {FORMS}.")
    stem = metadata.get("stem") or STEM_OF.get(first.shape[-1])
    if stem not in ("imagenet", "half", "small"):
        raise ValueError(
            f'{file} does not say its stem: save it with save_file(state, path, {{"stem": "half"}}), or "small".'
        )
    model = ResNet18(first.shape[0], stem, len(bias), HEAD[kind])
    expected = model.state_dict()
    for key in [*expected, *(key for key in state if key not in expected)]:
        given = tuple(state[key].shape) if key in state else "missing"
        right = tuple(expected[key].shape) if key in expected else "absent"
        if given != right:
            raise ValueError(
                f"{file} is no ResNet-18 with the stem {stem}, {key} is {given} instead of {right}: {FORMS}."
            )
    model.load_state_dict(state)
    return model


# --- a dry run -------------------------------------------------------------------------------------------


def probes(image_size: int) -> Tensor:
    """(16, 3, H, W): two grey pictures (zeros), a black one, a white one, and noise; the same at each call."""
    x_BCHW = torch.rand(PROBES, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x_BCHW[:4] = torch.tensor([0.0, 0.0, -1.0, 1.0])[:, None, None, None]
    return x_BCHW


@torch.no_grad()
def _check(network: nn.Module, path: str, image_size: int, classes: int | None) -> Tensor:
    """What it gives for the fixed pictures, (16, K); ValueError where that has another shape, is not finite, differs
    the second time, or depends on what else is in the batch, as in training mode."""
    network.eval()
    x_BCHW, shape = probes(image_size), f"{PROBES} images of 3x{image_size}x{image_size}"
    try:
        first, again, alone = network(x_BCHW), network(x_BCHW), network(x_BCHW[-1:])
    except Exception as error:  # whatever the network does with pictures that it is not made for
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ValueError(f"{path} fails on {shape} ({reason[0]}): {FORMS}.") from error
    wanted = (PROBES, classes)
    if not isinstance(first, Tensor) or first.ndim != 2 or first.shape != (PROBES, classes or first.shape[1]):
        given = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
        right = wanted if classes else f"({PROBES}, K)"
        raise ValueError(f"{path} gives {given} for {shape} instead of {right}: {FORMS}.")
    if not first.isfinite().all():
        raise ValueError(f"{path} gives numbers that are not finite for {shape}: {FORMS}.")
    scale = CLOSE * max(1.0, float(first.abs().max()))
    if (first - again).abs().max() > scale or (first[-1:] - alone).abs().max() > scale:
        raise ValueError(
            f"{path} gives an image other numbers the next time or in another batch: call model.eval(), save it again."
        )
    return first.float()
