"""Features in two dimensions, for maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PERPLEXITY = 30  # van der Maaten & Hinton 2008: 5 to 50
SEED = 0
WORDS = (
    "in two dimensions by t-SNE (van der Maaten & Hinton 2008). Neighbours mean something there; distances, sizes and "
    "gaps of clusters mean little."
)


def embedded(features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """t-SNE (van der Maaten & Hinton 2008) from the principal components, without chance: float32 (N, 2)."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(features_ND) - 1) / 3)
    with threadpool_limits(1):  # the work of a second thread is less than its waiting: 30 times slower on busy cores
        x_N2 = TSNE(perplexity=perplexity, init="pca", random_state=SEED, max_iter=500).fit_transform(features_ND)
    found: NDArray[np.float32] = x_N2
    return found
