"""How a domain-adversarial training changes with its progress p, the share of its images that are drawn, in [0, 1].

Ganin et al. 2016, "Domain-adversarial training of neural networks", section 5.2.2. Standard library only.
"""

from __future__ import annotations

import math

from runners.dann.config import TrialConfig

ALPHA, BETA = 10.0, 0.75  # of mu_p, below eq. 18
# Of the reports' quirk: lambda_p is 0 at the start, and a learning rate divided by it would be infinite. This is
# lambda_p at p = .02 with the usual gamma and maximum.
LEAST_LAMBDA = 0.1


def reversal(config: TrialConfig, p: float) -> float:
    """lambda_p, by which the domain loss's gradient is multiplied on its way into the features (eq. 19, with a
    maximum): 2 / (1 + exp(-gamma p)) - 1, from 0 towards 1. 0 for a method without adaptation."""
    if config.method != "dann":
        return 0.0
    if config.lambda_schedule == "constant":
        return config.lambda_max
    return config.lambda_max * (2 / (1 + math.exp(-config.lambda_gamma * p)) - 1)


def learning_rate(config: TrialConfig, p: float) -> float:
    """lr mu_p with mu_p = 1 / (1 + 10 p)^.75 (eq. 18), which ends at .166; or a half cosine to 0 (Loshchilov & Hutter
    2017, eq. 5), so that the last step is no step of a game that goes on; or constant."""
    if config.lr_schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * p))
    return config.lr if config.lr_schedule == "constant" else config.lr / (1 + ALPHA * p) ** BETA


def domain_learning_rate(config: TrialConfig, p: float) -> float:
    """That of the domain classifier: the same, or with the quirk of the reports divided by lambda_p."""
    rate = learning_rate(config, p)
    return rate / max(LEAST_LAMBDA, reversal(config, p)) if config.domain_lr_quirk else rate
