"""fp32, TF32 and bf16: bf16 by autocast, or as a copy of the weights that fp32 masters keep up to date.

fp32 is IEEE fp32, on a GPU too; "tf32" rounds the factors of its products and convolutions to 10 bits there, which
changes nothing on a CPU. It holds in the network's own passes alone: whatever else a trial computes is IEEE fp32.

Autocast casts every convolution's weights in every step and computes norms and activations in fp32; a copy does
neither, which is less traffic. Weights held in bf16 alone would not train: at small learning rates most updates are
below their last bit (Micikevicius et al. 2018, section 3.1), so optimiser and average see the masters.
Shapes: B batch, K labels, C H W image.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from runners.process import device

PRECISIONS = ("fp32", "tf32", "bf16", "bf16_copy")


def working(model: nn.Module, precision: str) -> nn.Module:
    """The network that computes at this precision: `model` itself, or with "bf16_copy" a new copy of it in bf16.

    Batch norm stays fp32 and shares its running statistics with `model`: they are updated by fractions of themselves.
    Every part of a module whose `in_fp32` is true stays fp32, too.
    """
    if precision != "bf16_copy":
        return model
    copied = copy.deepcopy(model)
    exact = {part for module in copied.modules() if getattr(module, "in_fp32", False) for part in module.modules()}
    for original, module in zip(model.modules(), copied.modules(), strict=True):
        if isinstance(module, _BatchNorm):
            module._buffers.update(original._buffers)
        if isinstance(module, _BatchNorm) or module in exact:
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(torch.bfloat16)
    return copied


def arithmetic(precision: str) -> AbstractContextManager[None]:
    """The network's passes at this precision are computed inside of it, the backward one too."""
    return device.tf32(precision == "tf32")


def forward(network: nn.Module, precision: str, x_BCHW: torch.Tensor, t_B: torch.Tensor, c_BK: torch.Tensor) -> Any:
    """The output, float32 (B, C, H, W), of a network that `working` made for this precision."""
    dtype = torch.bfloat16 if precision == "bf16_copy" else torch.float32
    with arithmetic(precision), torch.autocast(x_BCHW.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return network(x_BCHW.to(dtype), t_B, c_BK.to(dtype)).float()


class Masters:
    """The fp32 parameters of a model beside those of its `working` network; where both are one there is nothing to do.

    Both methods queue a handful of kernels for all parameters together.
    """

    def __init__(self, model: nn.Module, network: nn.Module) -> None:
        same = network is model
        pairs = [] if same else list(zip(model.parameters(), network.parameters(), strict=True))
        self.pairs = [(master, copied) for master, copied in pairs if master.requires_grad]

    @torch.no_grad()
    def take_gradients(self) -> None:
        """Each master's gradient is its copy's, in fp32."""
        masters, gradients = [], []
        for master, copied in self.pairs:
            if copied.grad is not None:
                master.grad = torch.empty_like(master) if master.grad is None else master.grad
                masters.append(master.grad)
                gradients.append(copied.grad)
        if masters:
            torch._foreach_copy_(masters, gradients)

    @torch.no_grad()
    def give_weights(self) -> None:
        """Each copy is its master, rounded."""
        if self.pairs:
            torch._foreach_copy_([copied for _, copied in self.pairs], [master for master, _ in self.pairs])
