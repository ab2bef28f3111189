"""The reversed gradient and the schedules against numbers computed by hand; the network against its counted size."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_domains import TINY
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from runners import dann
from runners.dann import costs, model, networks, schedules


def test_reversal_against_a_gradient_by_hand():
    """y = 3 x, loss = y^2 at x = 2: d loss / d y = 12, of x 36 without reversal and -0.25 * 36 = -9 with it; the weight
    after the reversal keeps its own gradient, 2 y x = 24."""
    x, weight = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    (weight * model.reverse(x, 0.25)).square().backward()
    assert x.grad.item() == -9.0
    assert weight.grad.item() == 24.0


def test_features_get_the_label_gradient_minus_lambda_times_that_of_the_domain():
    """Ganin et al. 2016, eq. 13: what one backward pass of the sum gives is the difference of two plain ones."""
    torch.manual_seed(0)
    extractor, label, domain = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(4, 2)
    x, y, d = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 0, 0, 1, 1, 1])

    def gradient(loss):
        return torch.autograd.grad(loss, extractor.weight, retain_graph=True)[0]

    features = extractor(x)
    of_label, of_domain = F.cross_entropy(label(features), y), F.cross_entropy(domain(features), d)
    expected = gradient(of_label) - 0.7 * gradient(of_domain)
    both = of_label + F.cross_entropy(domain(model.reverse(features, 0.7)), d)
    torch.testing.assert_close(gradient(both), expected)


@pytest.mark.parametrize(
    ("p", "gamma", "maximum", "expected"),
    [
        (0.0, 10.0, 1.0, 0.0),
        (0.1, 10.0, 1.0, 0.46211715726),  # 2 / (1 + e^-1) - 1 = tanh(1 / 2)
        (0.5, 10.0, 1.0, 0.98661429815),  # tanh(2.5)
        (1.0, 10.0, 1.0, 0.99990920426),  # tanh(5)
        (0.5, 2.0, 0.3, 0.3 * 0.46211715726),
    ],
)
def test_lambda_p(p, gamma, maximum, expected):
    config = TINY.replace(lambda_gamma=gamma, lambda_max=maximum)
    assert schedules.reversal(config, p) == pytest.approx(expected, rel=1e-9)


def test_lambda_may_be_constant_and_is_0_without_adaptation():
    assert schedules.reversal(TINY.replace(lambda_schedule="constant", lambda_max=0.4), 0.0) == 0.4
    assert schedules.reversal(TINY.replace(method="source_only"), 0.5) == 0.0


@pytest.mark.parametrize(("p", "factor"), [(0.0, 1.0), (0.1, 2**-0.75), (0.5, 6**-0.75), (1.0, 0.16557)])
def test_mu_p(p, factor):
    """1 / (1 + 10 p)^.75."""
    assert schedules.learning_rate(TINY.replace(lr=0.02), p) == pytest.approx(0.02 * factor, rel=1e-4)
    assert schedules.learning_rate(TINY.replace(lr=0.02, lr_schedule="constant"), p) == 0.02


def test_the_quirk_divides_the_rate_of_the_domain_classifier_by_lambda():
    config = TINY.replace(lr=0.02, domain_lr_quirk=True)
    assert schedules.domain_learning_rate(config, 0.5) == pytest.approx(0.02 * 6**-0.75 / math.tanh(2.5))
    assert schedules.domain_learning_rate(config, 0.0) == pytest.approx(0.2)  # lambda_0 = 0 counts as .1
    plain = config.replace(domain_lr_quirk=False)
    assert schedules.domain_learning_rate(plain, 0.5) == schedules.learning_rate(plain, 0.5)


SETTINGS = [
    (network, channels)
    for network in (*networks.ARCHITECTURES, "cnn(bottleneck=16, norm='batch', width=8)", "cnn(norm='domain')")
    for channels in ("rgb", "grey")
]


@pytest.mark.parametrize(("network", "channels"), SETTINGS)
def test_a_network_is_as_large_as_was_counted(network, channels):
    config = dann.Config().replace(network=network, channels=channels, image_size=28)
    size = costs.size_of(config)
    built = model.build(config).eval()
    assert sum(value.numel() for value in built.parameters()) == size.parameters
    x = torch.zeros(1, config.channel_count, 28, 28)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features = built.features(x)
    assert features.shape == (1, size.features)
    assert counter.get_total_flops() == size.features_flop
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        built(x)
        built.domain(features)
    assert counter.get_total_flops() == size.features_flop + size.label_flop + size.domain_flop


def test_a_seed_gives_all_methods_one_network():
    weights = [model.build(TINY.replace(method=method)).state_dict() for method in ("source_only", "dann")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    other = model.build(TINY.replace(seed=1)).state_dict()
    assert not torch.equal(other["label.0.weight"], weights[0]["label.0.weight"])


def test_each_domain_is_normalised_by_its_own_statistics():
    norm = model.Norm(1, 2).train()
    for domain, level in ((model.SOURCE, 0.0), (model.TARGET, 100.0)):
        norm.domain = domain
        found = norm(level + torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1))
        torch.testing.assert_close(found.flatten(), torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0)
    assert norm.mean_0.item() == pytest.approx(0.0)
    assert norm.mean_1.item() == pytest.approx(10.0)  # a tenth of the way
