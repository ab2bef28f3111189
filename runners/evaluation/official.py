"""The course's evaluator, a checkpoint that the user names: read as tensors only.

Scores of two evaluators are not comparable: `is_official` says whether a file is the one whose scores are published.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from torch import Tensor

from runners import readable
from runners.evaluation.networks import ResNet18

SUFFIX = ".pth"  # of the course's file
# What torch says of a file of its older form, whose end is missing; of the newer one `runners.readable` knows it.
BROKEN_OFF = re.compile(r"unexpected EOF|Ran out of input|data was truncated|failed reading")
IMAGE_SIZE = 64  # pixels that it reads
OFFICIAL_SHA256 = "38a27369dac0ad64302bec2ee8d98bd6f27de17f4bde60ebcd2e3ff7981e9d63"  # checkpoint.pth, 44,815,714 bytes


def is_official(sha256: str) -> bool:
    """Whether the file with this SHA-256 (hexadecimal) is the evaluator whose scores are published."""
    return sha256.lower() == OFFICIAL_SHA256


def load_checkpoint(path: Path) -> tuple[ResNet18, str]:
    """Read `{"model": state_dict}` as tensors only: (model in eval mode on the CPU, SHA-256 of the file).

    ValueError, one sentence: no file that can be read, not tensors only, no key "model", not a ResNet-18 of 24 outputs.
    """
    path = Path(path)
    wanted = (
        'give i-CLEVR\'s checkpoint.pth, {"model": state dict of a ResNet-18 with 24 outputs}, or an evaluator of your '
        "own as .safetensors, .pt2 or .pt"
    )
    readable.require(path, wanted, binary=True)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise whatever the unpickler stumbles over
        if isinstance(error, EOFError | IndexError) or BROKEN_OFF.search(str(error)):
            raise ValueError(f"{path} is cut short or damaged: {readable.AGAIN}.") from error
        raise ValueError(f"{path} does not hold tensors only (code in it is never run): {wanted}.") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise ValueError(f'{path} has no state dict under the key "model": {wanted}.')
    model, state = ResNet18(), checkpoint["model"]
    expected = model.state_dict()
    for key in [*expected, *(key for key in state if key not in expected)]:
        given = tuple(state[key].shape) if isinstance(state.get(key), Tensor) else "missing"
        right = tuple(expected[key].shape) if key in expected else "absent"
        if given != right:
            raise ValueError(f"{path} is no ResNet-18 of 24 outputs, {key} is {given} instead of {right}: {wanted}.")
    model.load_state_dict(state)
    return model.eval(), sha256
