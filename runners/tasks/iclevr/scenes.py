"""Which scenes there are: labels, positions, lists; what `render.py` then draws.

i-CLEVR (El-Nouby et al. 2019, arXiv:1811.09845) adds one object per frame to a CLEVR scene (Johnson et al. 2017,
arXiv:1612.06890), the first at the centre. Lengths in Blender units, z points up, the ground is z = 0.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from runners.tasks.iclevr.labels import COLOURS, LABELS

Array = NDArray[np.float32]
Triple = tuple[float, float, float]

RADIUS = {"cube": 0.585, "sphere": 0.61, "cylinder": 0.61}  # half a cube's edge; a cylinder is as high as wide
REACH = {"cube": 0.585 * math.sqrt(2), "sphere": 0.61, "cylinder": 0.61}  # radius of the footprint on the ground
HELD_OUT = 136  # of the 2,024 label triples: as many as i-CLEVR's 6,003 scenes never show
GAP = 0.1  # between two footprints, so that contact shadows stay apart

LAMP_JITTER = 1.0  # of CLEVR's base scene: each lamp moves by up to this along every axis
ALBEDO_GAIN = 1.25  # 1 / reflectance of the ground; at 0.8 objects and ground get the contrast that CLEVR shows


@dataclass(frozen=True)
class View:
    """A camera that looks at the origin, and where objects may stand.

    `position`; `focal` = focal length / sensor width; `squash` = height / width of a picture before it is made square;
    `area`: centres lie in [-area, area]^2; `centred`: the first object stands at the origin; `overlap` = largest share
    of an object's box on the picture that a nearer one's may cover; `footprint` = part of a pixel's width that counts;
    `apart` = smallest distance of two centres.
    """

    position: Triple
    focal: float
    squash: float
    area: float
    centred: bool
    overlap: float
    footprint: float
    apart: float = 0.0


VIEWS = {
    # The camera of CLEVR's base scene, which i-CLEVR keeps still and aims at the first object.
    # CLEVR: 35 mm on a 32 mm sensor, centres within [-3, 3]; 320 x 240 shrunk to a square without a filter: 1/2 pixel.
    "clevr": View((7.48, -6.5, 5.34), 35 / 32, 3 / 4, 3.0, True, 0.6, 0.5, 2.2),
    # For 16 or 32 pixels: steeper, so that objects hide each other less; an object is a third of the picture wide.
    "near": View((6.0, -5.2, 7.5), 2.7, 1.0, 1.7, False, 0.15, 1.0),
}


@dataclass(frozen=True)
class Thing:
    """One object: label, centre (x, y) on the ground, rotation about z in radians."""

    label: str
    x: float
    y: float
    angle: float

    @property
    def shape(self) -> str:
        return self.label.split()[1]

    @property
    def centre(self) -> Triple:
        return self.x, self.y, RADIUS[self.shape]

    @property
    def albedo_3(self) -> Array:
        """Linear reflectance in units of the ground's."""
        return np.asarray(COLOURS[self.label.split()[0]], np.float32) * np.float32(ALBEDO_GAIN / 255)


@dataclass(frozen=True)
class Scene:
    """Three objects in the order in which they appear, and what moves the key, fill and back lamp."""

    things: tuple[Thing, Thing, Thing]
    lamp_offsets: tuple[Triple, Triple, Triple]


def held_out_triples(seed: int = 0) -> list[tuple[str, str, str]]:
    """The 136 label triples (each in index order) that no scene of this seed shows."""
    triples = list(itertools.combinations(LABELS, 3))
    return sorted(random.Random(f"held out {seed}").sample(triples, HELD_OUT), key=triples.index)


def sample_scenes(count: int = 6003, seed: int = 0, view: str = "clevr") -> list[Scene]:
    """`count` scenes; allowed triples come in shuffled rounds, so that 1,888 scenes or more show every one.

    The first scenes of a seed are the same for every `count`.

    Raises ValueError for a negative count or an unknown view.
    """
    if count < 0:
        raise ValueError(f"count is {count}; write 0 or more")
    camera, held_out, rng = find_view(view), set(held_out_triples(seed)), random.Random(f"scenes {seed}")
    allowed = [triple for triple in itertools.combinations(LABELS, 3) if triple not in held_out]
    scenes: list[Scene] = []
    while len(scenes) < count:
        for triple in rng.sample(allowed, len(allowed))[: count - len(scenes)]:
            things = _place(rng.sample(triple, 3), camera, rng)
            scenes.append(Scene(things, (_offset(rng), _offset(rng), _offset(rng))))
    return scenes


def find_view(name: str) -> View:
    if name not in VIEWS:
        raise ValueError(f"view {name!r} is unknown; write one of {', '.join(VIEWS)}")
    return VIEWS[name]


def _offset(rng: random.Random) -> Triple:
    x, y, z = (rng.uniform(-LAMP_JITTER, LAMP_JITTER) for _ in range(3))
    return x, y, z


def _place(labels: Sequence[str], view: View, rng: random.Random) -> tuple[Thing, Thing, Thing]:
    """Rejection sampling of positions until nothing intersects, leaves the view or hides too much of another."""
    things: list[Thing] = []
    for attempt in itertools.count(1):
        if attempt % 40 == 0:  # the first two may leave no room for a third
            things = []
        area = 0.0 if view.centred and not things else view.area
        x, y, angle = rng.uniform(-area, area), rng.uniform(-area, area), rng.uniform(0, 2 * math.pi)
        thing = Thing(labels[len(things)], x, y, angle)
        if _fits(thing, things, view):
            things.append(thing)
        if len(things) == 3:
            break
    return things[0], things[1], things[2]


def _fits(thing: Thing, others: Sequence[Thing], view: View) -> bool:
    for other in others:
        footprints = REACH[thing.shape] + REACH[other.shape] + GAP
        if math.hypot(thing.x - other.x, thing.y - other.y) < max(view.apart, footprints):
            return False
    box = box_on_picture(thing, view)
    if min(box[:4]) < 0 or max(box[:4]) > 1:
        return False
    pairs = (
        (box, other) if other[4] < box[4] else (other, box)
        for other in (box_on_picture(other, view) for other in others)
    )
    return all(_covered(behind, front) <= view.overlap for behind, front in pairs)


def _covered(box: Sequence[float], by: Sequence[float]) -> float:
    """Share of `box` (left, top, right, bottom) that the box `by` covers."""
    width, height = min(box[2], by[2]) - max(box[0], by[0]), min(box[3], by[3]) - max(box[1], by[1])
    return max(width, 0.0) * max(height, 0.0) / ((box[2] - box[0]) * (box[3] - box[1]))


def test_lists(seed: int = 0) -> dict[str, list[list[str]]]:  # noqa: PT028  # no test
    """Two lists of 32 conditions, composed like i-CLEVR's: "test" of 72 objects and "new_test" of 84.

    "test": 6 x 1, 12 x 2 and 14 x 3 objects, each label three times.  "new_test": 12 x 2 and 20 x 3 objects; 28 of
    the 32 hold two or more objects of one colour.  No condition is a held-out triple of this seed.
    """
    held_out, rng = {frozenset(triple) for triple in held_out_triples(seed)}, random.Random(f"test lists {seed}")
    lists: dict[str, list[list[str]]] = {}
    for name, draw in (("test", _deal), ("new_test", _colour_twins)):
        while name not in lists:
            conditions = draw(rng)
            sets = {frozenset(condition) for condition in conditions}
            if len(sets) == 32 and set().union(*sets) == set(LABELS) and not sets & held_out:
                lists[name] = conditions
    return lists


test_lists.__test__ = False  # type: ignore[attr-defined]  # its name would make pytest run it


def _deal(rng: random.Random) -> list[list[str]]:
    """Three shuffled decks of the 24 labels, dealt anew until no condition holds a label twice."""
    while True:
        cards = iter([label for _ in range(3) for label in rng.sample(LABELS, len(LABELS))])
        conditions = [list(itertools.islice(cards, size)) for size in [1] * 6 + [2] * 12 + [3] * 14]
        if all(len(set(condition)) == len(condition) for condition in conditions):
            return conditions


def _colour_twins(rng: random.Random) -> list[list[str]]:
    """Each condition is drawn until it repeats a colour (the first 28) or does not (the last four)."""
    conditions = []
    for slot, size in enumerate(rng.sample([2] * 12 + [3] * 20, 32)):
        condition: list[str] = []
        while not condition or (len({label.split()[0] for label in condition}) < size) != (slot < 28):
            condition = rng.sample(LABELS, size)
        conditions.append(condition)
    return conditions


def frame_name(scene_index: int, k: int) -> str:
    """File name of frame `k` (0, 1, 2) of a scene, as in i-CLEVR."""
    return f"CLEVR_train_{scene_index:06d}_{k}.png"


def frame_labels(scene: Scene) -> list[list[str]]:
    """Labels of the three frames: frame k shows the first k + 1 objects."""
    return [[thing.label for thing in scene.things[: k + 1]] for k in range(3)]


# ---------------------------------------------------------------------------- the camera


@lru_cache
def camera_axes(view: View) -> tuple[Triple, Triple, Triple]:
    """Unit vectors right, down and forward of the camera."""
    (x, y, _), distance = view.position, math.hypot(*view.position)
    forward = np.asarray(view.position) / -distance
    right = np.asarray([-y, x, 0]) / math.hypot(x, y)
    right_xyz, down_xyz, forward_xyz = (tuple(axis.tolist()) for axis in (right, np.cross(forward, right), forward))
    return right_xyz, down_xyz, forward_xyz


def box_on_picture(thing: Thing, view: View) -> tuple[float, float, float, float, float]:
    """Left, top, right, bottom of an object on the picture, in [0, 1] when inside it, and its depth."""
    offset = [a - b for a, b in zip(thing.centre, view.position, strict=True)]
    right, down, depth = (axis[0] * offset[0] + axis[1] * offset[1] + axis[2] * offset[2] for axis in camera_axes(view))
    reach, radius = REACH[thing.shape], RADIUS[thing.shape]
    _, down_xyz, forward_xyz = camera_axes(view)
    tall = radius if thing.shape == "sphere" else -radius * down_xyz[2] - reach * forward_xyz[2]
    u, v = 0.5 + view.focal * right / depth, 0.5 + view.focal * down / depth / view.squash
    half_u, half_v = view.focal * reach / depth, view.focal * tall / depth / view.squash
    return u - half_u, v - half_v, u + half_u, v + half_v, depth
