"""Sampling pass after pass, so that what a pass gives does not depend on how many others are drawn with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from torch import nn

from runners.ddpm import sample
from runners.ddpm.config import TrialConfig
from runners.ddpm.sample import Pixels


def sample_passes(
    config: TrialConfig, network: nn.Module, wanted: Sequence[sample.Wanted], first: int, seeds: int
) -> Iterator[sample.Part]:
    """`sample_parts` seed after seed, `first` to `seeds` - 1, so that all images of a batch are of one pass.

    Who shares its batch moves an image by rounding: so a pass is the same to the last bit whatever others are drawn.
    """
    chunk = 0
    for before, seed in enumerate(range(first, seeds)):
        for part in sample.sample_parts(config, network, wanted, seed + 1, chunk, seed):
            chunk = part.chunk
            done, total = before * part.total + part.done, (seeds - first) * part.total
            yield dataclasses.replace(part, done=done, total=total)


def gathered_passes(parts: Sequence[sample.Part], wanted: Sequence[sample.Wanted]) -> dict[str, Pixels]:
    """The images of `sample_passes` by list: uint8 (passes, N, H, W, C) each."""
    images = np.concatenate([part.images_BHWC for part in parts])
    sizes = [len(each.conditions) for each in wanted]
    by_list = np.split(images.reshape(-1, sum(sizes), *images.shape[1:]), np.cumsum(sizes)[:-1], axis=1)
    return {each.name: found for each, found in zip(wanted, by_list, strict=True)}
