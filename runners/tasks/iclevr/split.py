"""Which images are held out, and the lists of conditions that are made from the images' own labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from runners.contents import Condition
from runners.tasks.iclevr.labels import LABELS

FRAMES = 3  # of a scene, of one, two and three objects
HELD_OUT = 0.05  # of the scenes: the surrogate's and the denoising loss's unseen images
SIZES = {1: 12, 2: 24, 3: 28}  # objects of a condition -> conditions of the list for validation, as `test` has them
UNSEEN = 136  # triples of the list, as many as i-CLEVR's 6,003 scenes never show


def scene_of(name: str) -> str:
    """The scene of a frame: CLEVR_train_002066_1.png is a frame of CLEVR_train_002066."""
    return re.sub(r"_\d+$", "", Path(name).stem)


def units(names: Sequence[str]) -> list[str]:
    """What is held out whole, per image: its scene, or the image alone.

    Names like img_00000.png count images, not the frames of one scene: a scene has at most FRAMES.
    """
    frames = Counter(map(scene_of, names))
    return [scene if frames[scene := scene_of(name)] <= FRAMES else name for name in names]


def held_out(names: Sequence[str]) -> list[int]:
    """Positions of the images of the held-out units. The frames of a scene are nested: they stay together."""
    unit_N = units(names)
    distinct = sorted(set(unit_N))
    count = max(1, round(HELD_OUT * len(distinct)))
    chosen = {distinct[i] for i in np.random.default_rng(0).permutation(len(distinct))[:count]}
    return [position for position, unit in enumerate(unit_N) if unit in chosen]


def validation(conditions: Sequence[Condition], lists: dict[str, list[Condition]]) -> list[Condition]:
    """64 label sets of the training images, none of them in a test list, sized like `test` (12, 24, 28)."""
    taken = {frozenset(condition) for values in lists.values() for condition in values}
    pool = sorted({tuple(sorted(condition)) for condition in conditions if frozenset(condition) not in taken})
    rng = np.random.default_rng(0)
    chosen: list[Condition] = []
    for objects, wanted in SIZES.items():
        sets = [condition for condition in pool if len(condition) == objects]
        chosen += [sets[i] for i in rng.permutation(len(sets))[:wanted]]
    return chosen


def unseen(conditions: Sequence[Condition]) -> list[Condition]:
    """The triples of three labels that no image shows."""
    seen = {frozenset(condition) for condition in conditions}
    triples: list[Condition] = [triple for triple in combinations(LABELS, 3) if frozenset(triple) not in seen]
    if len(triples) <= UNSEEN:
        return triples
    return [triples[i] for i in sorted(np.random.default_rng(0).permutation(len(triples))[:UNSEEN])]
