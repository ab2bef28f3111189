"""Whether an evaluator's probabilities mean what they say.

Shapes: N images, K classes or labels, M probabilities of events that happen or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Probabilities = NDArray[np.floating]

BINS = 15  # Guo et al. 2017


@dataclass(frozen=True)
class Calibration:
    """NaN without images."""

    ece: float  # expected calibration error: a mean distance between probability and frequency, in [0, 1]
    ece_if_calibrated: float  # what an evaluator that means what it says would have by chance, on as many images
    brier: float  # Brier 1950; of classes in [0, 2], of sets in [0, 1]: see the functions


def of_classes(probability_NK: Probabilities, labels_NK: Bools) -> Calibration:
    """Of a softmax over classes, whose labels are one-hot.

    The event is that the class named is right, its probability the largest of the image (Guo et al. 2017). Brier: mean
    over images of the sum over classes of (probability - label)^2, the form of Brier 1950 for several classes.
    """
    if not len(labels_NK):
        return Calibration(np.nan, np.nan, np.nan)
    p_NK = probability_NK.astype(np.float64)
    named_N = p_NK.argmax(1)
    right_N = labels_NK[np.arange(len(labels_NK)), named_N]
    confidence_N = p_NK.max(1)
    brier = float(((p_NK - labels_NK) ** 2).sum(1).mean())
    return Calibration(expected_calibration_error(confidence_N, right_N), error_if_calibrated(confidence_N), brier)


def of_sets(probability_NK: Probabilities, labels_NK: Bools) -> Calibration:
    """Of one sigmoid per label: the events are the N x K labels, each of which an image has or not.

    Brier: mean of (probability - label)^2 over images and labels.
    """
    if not labels_NK.size:
        return Calibration(np.nan, np.nan, np.nan)
    p_M, has_M = probability_NK.astype(np.float64).ravel(), labels_NK.ravel()
    brier = float(((p_M - has_M) ** 2).mean())
    return Calibration(expected_calibration_error(p_M, has_M), error_if_calibrated(p_M), brier)


def expected_calibration_error(probability_M: Floats, happened_M: Bools, bins: int = BINS) -> float:
    """Mean over events of |frequency - mean probability| of the event's bin (Guo et al. 2017, equation 3).

    Bins hold equally many events (Nguyen and O'Connor 2015) instead of being equally wide: nearly all probabilities of
    a good evaluator lie in the last of 15 equal widths, where too low and too high ones cancel. Equal probabilities
    share a bin, so that the order of the events does not matter.
    """
    return float(np.abs(_sums(happened_M - probability_M, probability_M, bins)).sum() / len(probability_M))


def error_if_calibrated(probability_M: Floats, bins: int = BINS) -> float:
    """What `expected_calibration_error` is expected to be where every event happens with its probability: with finitely
    many events the frequencies of the bins scatter, and the error is never 0.

    The sum of a bin scatters with variance sum p (1 - p), and a normal variable is on average .798 of its standard
    deviation away from its mean.
    """
    variance_B = _sums(probability_M * (1 - probability_M), probability_M, bins)
    return float(np.sqrt(np.maximum(variance_B, 0) * 2 / np.pi).sum() / len(probability_M))


def _sums(value_M: Floats, probability_M: Floats, bins: int) -> Floats:
    """Sums of the values in each bin of the probabilities."""
    ordered_M = np.sort(probability_M)
    starts = np.unique(ordered_M[np.arange(1, bins) * len(ordered_M) // bins])
    bin_M = np.searchsorted(starts, probability_M, side="right")
    return np.bincount(bin_M, weights=value_M, minlength=bins).astype(np.float64)
