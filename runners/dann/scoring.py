"""What a network makes of images: class probabilities, features, and how well a linear probe tells the domains apart.

Shapes: N images, M points, B batch, D features, K classes; images uint8 (N, H, W, 3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from runners.contents import Pixels
from runners.dann.inputs import Scaling
from runners.dann.model import SOURCE, TARGET, Network
from runners.process import heartbeat

BATCH = 256
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """A network that is scored, with what its inputs are scaled by; `adapted`: it was trained on images of both
    domains, and has the statistics of each where its norm keeps them apart."""

    network: Network
    scaling: Scaling
    adapted: bool

    def probabilities(self, images_NHWC: Pixels, domain: int) -> Floats:
        """Of each class, (N, K), for images of SOURCE or TARGET."""
        return self._outputs(lambda features_BD: self.network.label(features_BD).softmax(1), images_NHWC, domain)

    def features(self, images_NHWC: Pixels, domain: int) -> Floats:
        """What both heads are given, (N, D)."""
        return self._outputs(lambda features_BD: features_BD, images_NHWC, domain)

    def domains(self, images_NHWC: Pixels, domain: int) -> NDArray[np.int64]:
        """What the domain classifier takes each image for, (N,): SOURCE or TARGET."""
        logits_N2 = self._outputs(self.network.domain, images_NHWC, domain)
        domain_N: NDArray[np.int64] = logits_N2.argmax(1).astype(np.int64)
        return domain_N

    def accuracy(self, images_NHWC: Pixels, label_N: NDArray[np.int64], domain: int) -> float:
        return float((self.probabilities(images_NHWC, domain).argmax(1) == label_N).mean())

    @torch.no_grad()
    def _outputs(self, head: Callable[[Tensor], Tensor], images_NHWC: Pixels, domain: int) -> Floats:
        """In eval mode; the network is left in the mode that it was in."""
        training = self.network.training
        self.network.eval()
        parts = []
        try:
            for start in range(0, len(images_NHWC), BATCH):
                x_BCHW = self.scaling.apply(images_NHWC[start : start + BATCH])
                features_BD = self.network.features(x_BCHW, domain if self.adapted else SOURCE)
                parts.append(head(features_BD).float().cpu().numpy())
                heartbeat.tick()
        finally:  # stopped in between, the training is saved as it was
            self.network.train(training)
        return np.concatenate(parts)


def domain_accuracy(trained: Trained, source_NHWC: Pixels, target_NHWC: Pixels) -> float:
    """How often the domain classifier is right, the mean of the two domains: .5 is chance."""
    found = (
        (trained.domains(images, domain) == domain).mean()
        for domain, images in ((SOURCE, source_NHWC), (TARGET, target_NHWC))
    )
    return float(np.mean(list(found)))


def probe_accuracy(source_ND: Floats, target_MD: Floats) -> float:
    """How often logistic regression on features that it was not fitted on names the right domain, the mean of the two:
    what is left of the domains in the features, whatever the method. It is fitted on every other image of each.

    2 (2 a - 1) is the proxy A-distance (Ben-David et al. 2007; Ganin et al. 2016, section 5.1.2).
    """
    from sklearn.linear_model import LogisticRegression

    fitted = np.concatenate([source_ND[::2], target_MD[::2]])
    mean_D, deviation_D = fitted.mean(0), np.maximum(fitted.std(0), 1e-6)
    domain = np.repeat([0, 1], [len(source_ND[::2]), len(target_MD[::2])])
    probe = LogisticRegression(C=0.01, class_weight="balanced", max_iter=200)
    probe.fit((fitted - mean_D) / deviation_D, domain)
    shares = [
        (probe.predict((other - mean_D) / deviation_D) == domain).mean()
        for domain, other in ((0, source_ND[1::2]), (1, target_MD[1::2]))
    ]
    return float(np.mean(shares))
