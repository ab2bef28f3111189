"""Every architecture without labels: K = 0 builds, trains a step, and has nothing that a condition could reach."""

from __future__ import annotations

import warnings

import pytest
import torch

from runners import models
from study.design.scales import MATCHED, find

NETWORKS = (str(find("smoke").config.model), *MATCHED["smoke"])


@pytest.mark.parametrize("model", NETWORKS)
def test_a_network_without_labels(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of layers without inputs
        network = models.build(model, 16, 0, 1000)
    x_BCHW, t_B = torch.randn(2, 3, 16, 16), torch.tensor([0, 999])
    out_BCHW = network(x_BCHW, t_B, torch.zeros(2, 0))
    assert out_BCHW.shape == x_BCHW.shape
    out_BCHW.square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert models.count(model, 16, 0, 1000).parameters < models.count(model, 16, 24, 1000).parameters
