"""Which images a task holds out, and the lists of conditions that it makes from the images' own labels.

Everything is drawn with one seed from what the images are, in their order, so that two copies of a set have one split.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from runners.contents import Condition
from runners.experiment import ListSpec, Metric

FEWEST = 7  # images of a label that are trained on: one of a class of 8, the smallest allowed, can be held out
HELD_OUT = 0.05  # of the images: unseen images for the surrogate evaluator, the denoising loss and the scores of copies
ACCURACY = Metric("accuracy", higher_is_better=True, is_share=True, margin=0.05)
KID = Metric("kid", higher_is_better=False, is_share=False, margin=None)
LISTS = (ListSpec("validation", "choose"), ListSpec("test", "report"))
# Conditions of a list: as many in all as i-CLEVR's four lists have, so that a pass costs the same. KID needs more.
CLASSES = {"validation": 64, "test": 200}
SETS = 64
SAMPLES = {"validation": 256, "test": 512}


def held_out(units: Sequence[str], conditions: Sequence[Condition] = ()) -> list[int]:
    """Positions of the images of the held-out units; images of one unit stay together.

    Units are drawn while they fit into 5 % of the images and leave every label enough to train on; where none fits, it
    is the smallest. Raises ValueError where that would leave less than half of the images, or of a label too few.
    """
    images: dict[str, list[int]] = defaultdict(list)
    for position, unit in enumerate(units):
        images[unit].append(position)
    left = Counter(label for condition in conditions for label in condition)

    def taken(unit: str) -> Counter[str]:
        return (
            Counter(label for position in images[unit] for label in conditions[position]) if conditions else Counter()
        )

    def fits(unit: str, room: float) -> bool:
        if len(images[unit]) > room:
            return False
        return all(left[label] - lost >= FEWEST for label, lost in taken(unit).items())

    distinct, chosen, room = list(images), set[str](), max(1, round(HELD_OUT * len(units)))
    for unit in (distinct[i] for i in np.random.default_rng(0).permutation(len(distinct))):
        if fits(unit, room):
            chosen.add(unit)
            left -= taken(unit)
            room -= len(images[unit])
    if not chosen:
        smallest = min(distinct, key=lambda unit: len(images[unit]))
        if not fits(smallest, len(units) / 2):
            raise ValueError(
                f"None of the {len(distinct):,} groups of these {len(units):,} images can be held out: half of the "
                f"images and {FEWEST} of each label are to be left. Make smaller groups, or hold images out yourself "
                "(val.csv, x_test, or a folder test/)."
            )
        chosen.add(smallest)
    return [position for position, unit in enumerate(units) if unit in chosen]


def check(what: object, count: int, held_out: Collection[int]) -> None:
    """ValueError for a split of `count` images of which nothing is held out, or nothing is left to train on."""
    if not held_out or len(held_out) >= count:
        share = "none" if not held_out else "all"
        raise ValueError(
            f"Of the {count:,} images of {what} {share} would be held out: a study trains on some and holds out others."
        )


def nothing_to_validate_on(path: object, lists: Sequence[str]) -> str:
    """The sentence on images whose sets of labels are all in the lists that the user gives."""
    files = " or ".join(f"{name}.json" for name in lists)
    return (
        f"No condition is left to validate on: every set of labels that images of --data {path} show is in {files} "
        "too. Take some sets out of there, or add images of other sets."
    )


def class_lists(labels: Sequence[str]) -> dict[str, list[Condition]]:
    """Conditions of one label each, in rounds over all labels; of more labels than conditions evenly spread ones."""
    return {name: _rounds(labels, count) for name, count in CLASSES.items()}


def _rounds(labels: Sequence[str], count: int) -> list[Condition]:
    if len(labels) > count:
        return [(labels[i],) for i in np.linspace(0, len(labels) - 1, count).round().astype(int)]
    return [(labels[i % len(labels)],) for i in range(count)]


def set_lists(
    labels: Sequence[str], conditions: Sequence[Condition], given: dict[str, list[Condition]]
) -> dict[str, list[Condition]]:
    """`validation`: label sets that images show; then the lists that are given, or `test`: others that images show.

    No label set is in two lists. Of few label sets each list has half.
    """
    order = {label: position for position, label in enumerate(labels)}
    taken = {frozenset(condition) for values in given.values() for condition in values}
    shown = {tuple(sorted(condition, key=order.__getitem__)) for condition in conditions}
    pool = sorted(
        (one for one in shown if frozenset(one) not in taken), key=lambda one: [order[label] for label in one]
    )
    drawn = [pool[i] for i in np.random.default_rng(0).permutation(len(pool))]
    if given:
        return {"validation": drawn[:SETS], **given}
    half = min(SETS, (len(drawn) + 1) // 2)
    return {"validation": drawn[:half], "test": drawn[half : half + SETS]}


def sample_lists() -> dict[str, list[Condition]]:
    """Samples without a condition."""
    return {name: [()] * count for name, count in SAMPLES.items()}
