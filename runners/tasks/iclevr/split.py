"""Which images are held out, and the lists of conditions that are made from the images' own labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from runners.contents import Condition
from runners.reading.names import counted, natural, shown
from runners.tasks.iclevr.labels import LABELS

FRAMES = 3  # of a scene, of one, two and three objects
HELD_OUT = 0.05  # of the scenes: the surrogate's and the denoising loss's unseen images
SIZES = {1: 12, 2: 24, 3: 28}  # objects of a condition -> conditions of the list for validation, as `test` has them
UNSEEN = 136  # triples of the list, as many as i-CLEVR's 6,003 scenes never show


def scene_of(name: str) -> str:
    """The scene of a frame: CLEVR_train_002066_1.png is a frame of CLEVR_train_002066."""
    return re.sub(r"_\d+$", "", Path(name).stem)


def units(names: Sequence[str], conditions: Sequence[Condition] | None = None) -> list[str]:
    """What is held out whole, per image: its scene, or the image alone.

    Names like img_00000.png count images, not the frames of one scene: a scene has at most FRAMES. There the labels
    decide: each frame shows what the frame before it showed, and more.

    Args:
        names: file names of the images.
        conditions: the labels of each; None where names alone decided, as in records of earlier versions.
    """
    frames = Counter(map(scene_of, names))
    found = [scene if frames[scene := scene_of(name)] <= FRAMES else name for name in names]
    if conditions is None:
        return found
    before: int | None = None
    for position in sorted(_uncertain(names, frames), key=lambda i: natural(names[i])):
        if (
            before is not None
            and set(conditions[before]) < set(conditions[position])
            and _stem(names[before]) == _stem(names[position])
        ):
            found[position] = found[before]
        before = position
    return found


def _uncertain(names: Sequence[str], frames: Mapping[str, int]) -> list[int]:
    """Positions of the images whose names say no scene: no number of a frame, or a number that counts all images."""
    return [
        position
        for position, name in enumerate(names)
        if frames[scene_of(name)] > FRAMES or (scene_of(name) == Path(name).stem and frames[scene_of(name)] == 1)
    ]


def _stem(name: str) -> str:
    """A name without the number at its end."""
    return re.sub(r"\d+$", "", Path(name).stem)


def held_out(unit_N: Sequence[str]) -> list[int]:
    """Positions of the images of the held-out units. The frames of a scene are nested: they stay together."""
    distinct = sorted(set(unit_N))
    count = max(1, round(HELD_OUT * len(distinct)))
    chosen = {distinct[i] for i in np.random.default_rng(0).permutation(len(distinct))[:count]}
    return [position for position, unit in enumerate(unit_N) if unit in chosen]


def described(names: Sequence[str], unit_N: Sequence[str]) -> str:
    """How images are held out, and what says which of them are frames of one scene: "in whole scenes: 6,003 scenes of 3
    frames by file names (CLEVR_train_000000_0.png)"."""
    size = Counter(unit_N)
    frames = sorted({count for count in size.values() if count > 1})
    if not frames:
        return (
            f"one by one, because neither file names ({shown(names[0])}) nor labels say which images are frames of "
            "one scene"
        )
    first = next(name for name, unit in zip(names, unit_N, strict=True) if size[unit] > 1)
    named = scene_of(first) in size and scene_of(first) != Path(first).stem
    why = "file names" if named else "labels, because file names do not tell them"
    up_to = f"{frames[0]} to {frames[-1]}" if len(frames) > 1 else f"{frames[0]}"
    scenes = sum(count > 1 for count in size.values())
    alone = f", and {counted(len(size) - scenes, 'image')} alone" if len(size) > scenes else ""
    return f"in whole scenes: {counted(scenes, 'scene')} of {up_to} frames by {why} ({shown(first)}){alone}"


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
