"""What weight decay acts on, in every architecture."""

from __future__ import annotations

import pytest
import torch
from test_models import SMALL, build
from test_train import TINY, images_and_labels
from torch import nn

from runners import models
from runners.ddpm import updates
from runners.ddpm.train import Training, train
from runners.ddpm.trial import build_model

NORMS = (nn.GroupNorm, nn.LayerNorm, nn.modules.batchnorm._BatchNorm, nn.RMSNorm)


def kinds(model: nn.Module) -> dict[str, str]:
    """Parameter -> matrix, bias, norm, embedding or other, from the modules: another way than that of the code."""
    found: dict[str, str] = {}
    for path, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            if isinstance(module, NORMS) or "norm" in type(module).__name__.lower():
                kind = "norm"
            elif isinstance(module, nn.Embedding | nn.EmbeddingBag) or getattr(module, "embeds", False):
                kind = "embedding"
            elif name.endswith("bias"):
                kind = "bias"
            else:
                kind = "matrix" if name.endswith("weight") else "other"
            found[f"{path}.{name}".removeprefix(".")] = kind
    return found


@pytest.mark.parametrize("name", models.names())
def test_of_matrices_alone_no_norm_bias_or_embedding_decays(name: str) -> None:
    model = build(SMALL[name])
    groups, kind_of = updates.decay_groups(model, "matrices"), kinds(model)
    names = {id(parameter): path for path, parameter in model.named_parameters()}
    decayed, kept = ([names[id(parameter)] for parameter in group["params"]] for group in groups)
    assert sorted(decayed + kept) == sorted(names.values())  # each once
    assert "weight_decay" not in groups[0]
    assert groups[1]["weight_decay"] == 0.0
    assert {kind_of[path] for path in decayed} == {"matrix"}
    assert "matrix" not in {kind_of[path] for path in kept}
    assert {"bias", "norm"} <= {kind_of[path] for path in kept}


def test_labels_that_are_embedded_do_not_decay() -> None:
    """A linear layer on multi-hot labels is an embedding: its columns are those of labels that a batch may lack."""
    for model in (models.build(f"unet({arguments})", 16, 24, 1000) for arguments in EMBEDDING):
        embedding = [module for module in model.modules() if getattr(module, "embeds", False)]
        kept = {id(parameter) for parameter in updates.decay_groups(model, "matrices")[1]["params"]}
        assert embedding
        assert all(id(parameter) in kept for module in embedding for parameter in module.parameters())


EMBEDDING = ["attention=(), channels=(8, 8), encoder='embedding', groups=4, layers=1"]


@pytest.mark.parametrize("name", models.names())
def test_all_is_one_group_as_before(name: str) -> None:
    model = build(SMALL[name])
    (group,) = updates.decay_groups(model, "all")
    assert list(group) == ["params"]
    assert [id(parameter) for parameter in group["params"]] == [id(parameter) for parameter in model.parameters()]


class Idle(nn.Module):
    """A linear layer whose gradient is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        nn.init.ones_(self.layer.bias)

    def forward(self, x, t, c):
        return x * (self.layer.weight.sum() + self.layer.bias.sum()).clamp(-9, -8)


@pytest.mark.parametrize(("on", "shrunk"), [("all", {"weight", "bias"}), ("matrices", {"weight"})])
def test_where_no_gradient_acts_what_decays_shrinks(on: str, shrunk: set[str]) -> None:
    config = TINY.replace(weight_decay=0.5, weight_decay_on=on, lr_schedule="constant", total_images=8, lr=0.1)
    training = Training(config, Idle(), torch.device("cpu"))
    before = {name: value.detach().clone() for name, value in training.model.layer.named_parameters()}
    next(train(training, *images_and_labels(24)))
    for name, value in training.model.layer.named_parameters():
        expected = before[name] * (1 - 0.1 * 0.5) if name in shrunk else before[name]
        torch.testing.assert_close(value.detach(), expected)


def test_the_two_settings_train_different_weights() -> None:
    found = []
    for on in ("all", "matrices"):
        config = TINY.replace(weight_decay_on=on, weight_decay=0.5)
        training = Training(config, build_model(config), torch.device("cpu"))
        for _ in train(training, *images_and_labels(24)):
            pass
        found.append(training.weights("raw"))
    assert any(not torch.equal(value, found[1][name]) for name, value in found[0].items())
