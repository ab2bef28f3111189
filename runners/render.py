"""Scenes like i-CLEVR's without a download: an analytic ray caster in numpy.

CLEVR (Johnson et al. 2017, arXiv:1612.06890) renders matte cubes, spheres and cylinders with Blender; i-CLEVR (El-Nouby et
al. 2019, arXiv:1811.09845) adds one object a frame, starting at the centre of the view.  Both are rebuilt here from their published
description: the camera, the three area lamps with their jitter and the eight colours are those of CLEVR's base scene.

    python -m runners.render DEST --image-size 64 --workers 2

writes 6,003 scenes x 3 frames in the folder layout of i-CLEVR: PNG files, train.json, objects.json, test.json, new_test.json.

Legend: world units are Blender units, z points up, the ground is z = 0.  Arrays of points and directions are float32 and
component first, `p_3N`; S = image size, F = fine (supersampled) grid, L = lamps, K = samples on a lamp, N = points.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SHAPES = ("cube", "sphere", "cylinder")
# CLEVR's properties.json; Blender takes these numbers / 255 as linear reflectances.
COLOURS: dict[str, tuple[int, int, int]] = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
LABELS: tuple[str, ...] = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)

HELD_OUT = 136  # triples of the 2,024 that i-CLEVR's 6,003 scenes never show
HALF_HEIGHT = {"cube": 0.56, "sphere": 0.62, "cylinder": 0.62}  # half edge, radius, radius = half height
REACH = {"cube": 0.56 * math.sqrt(2), "sphere": 0.62, "cylinder": 0.62}  # radius of the footprint on the ground


@dataclass(frozen=True)
class View:
    """A camera that looks at the origin, and where objects may stand.

    `position` in Blender units; `focal` = focal length / sensor width; `squash` = height / width of a rendered picture before
    it is shrunk to a square; `area` = objects' centres lie in [-area, area]^2; `centred`: the first stands at the origin;
    `overlap` = largest share of an object's box on the picture that the box of a nearer object may cover; `footprint` = part
    of a pixel's width over which it averages; `apart` = smallest distance of two centres, where footprints allow less.
    """

    position: tuple[float, float, float]
    focal: float
    squash: float
    area: float
    centred: bool
    overlap: float
    footprint: float
    apart: float = 0.0


VIEWS = {
    # CLEVR's base scene: 35 mm on a 32 mm sensor, 320 x 240 shrunk to a square, centres within [-3, 3].
    "clevr": View((7.48, -6.5, 5.34), 35 / 32, 3 / 4, 3.0, True, 0.6, 0.5, 2.2),
    # For pictures of 16 or 32 pixels: steeper, so that objects hide each other less; one object is a third of the picture wide.
    "near": View((5.6, -4.87, 8.4), 2.8, 1.0, 1.2, False, 0.25, 1.0),
}


@dataclass(frozen=True)
class Lamp:
    """An area lamp that faces the origin: centre (Blender units), edge length, jitter of the centre, linear RGB power."""

    position: tuple[float, float, float]
    edge: float
    jitter: float
    power: tuple[float, float, float]


# Positions and the jitter of 1 unit per axis: CLEVR's base scene and render_images.py.  Powers: chosen such that the empty
# ground has the mean gray of CLEVR's, warm from the key lamp (lower right), bluish from the fill lamp (left).
LAMPS = (
    Lamp((6.447, -2.905, 4.258), 1.0, 1.0, (5.4, 5.0, 4.3)),  # key
    Lamp((-4.671, -4.014, 3.011), 1.0, 1.0, (1.15, 1.25, 1.55)),  # fill
    Lamp((-1.169, 2.646, 5.816), 1.0, 1.0, (2.4, 2.4, 2.4)),  # back
)
AMBIENT = (0.1335, 0.1335, 0.1335)  # linear radiance of the ground under the sky alone
OBJECT_GAIN = 1.25  # 1 / albedo of the ground: the lamps' powers are in units of what the ground sends back
_POWER_3L: Array = np.asarray([lamp.power for lamp in LAMPS], np.float32).T
GROUND_BOUNCE = 0.6  # light that comes up from the ground, in units of the sky's: the ground is gray and partly in shadow
GLOW = 0.5  # light from another object's side, likewise
GLOSS, GLOSS_EXPONENT = 0.03, 12  # CLEVR's rubber: a faint and wide highlight
LAMP_GRID = 3  # 3 x 3 samples on a lamp: the steps of the penumbra stay below a pixel's contrast
GRAIN = 1.9  # standard deviation, 8-bit levels, of the sampling noise of CLEVR's renderer; the same pattern in every picture


@dataclass(frozen=True)
class Thing:
    """One object: label, centre (x, y) on the ground in Blender units, rotation about z in radians."""

    label: str
    x: float
    y: float
    angle: float

    @property
    def shape(self) -> str:
        return self.label.split()[1]

    @property
    def centre(self) -> tuple[float, float, float]:
        return self.x, self.y, HALF_HEIGHT[self.shape]


@dataclass(frozen=True)
class Scene:
    """Three objects in the order in which they appear, and the offsets of the three lamps (Blender units)."""

    things: tuple[Thing, Thing, Thing]
    lamp_offsets: tuple[tuple[float, float, float], ...]


# ---------------------------------------------------------------------------------------------------------- which scenes


def held_out_triples(seed: int = 0) -> list[tuple[str, str, str]]:
    """The 136 label triples (each in index order) that no scene of this seed shows."""
    triples = list(itertools.combinations(LABELS, 3))
    return sorted(random.Random(f"held out {seed}").sample(triples, HELD_OUT), key=triples.index)


def sample_scenes(count: int = 6003, seed: int = 0, view: str = "clevr") -> list[Scene]:
    """`count` scenes; the allowed triples come in shuffled rounds, so that 1,888 scenes or more show every one.

    Raises ValueError for a negative count or an unknown view.
    """
    if count < 0:
        raise ValueError(f"count is {count}; write 0 or more")
    _view(view)
    held_out = set(held_out_triples(seed))
    allowed = [triple for triple in itertools.combinations(LABELS, 3) if triple not in held_out]
    rng = random.Random(f"scenes {seed}")
    scenes: list[Scene] = []
    while len(scenes) < count:
        for triple in rng.sample(allowed, min(len(allowed), count - len(scenes))):
            scenes.append(_place(rng.sample(triple, 3), view, rng))
    return scenes


def _view(name: str) -> View:
    if name not in VIEWS:
        raise ValueError(f"view {name!r} is unknown; write one of {', '.join(VIEWS)}")
    return VIEWS[name]


def _place(labels: Sequence[str], view: str, rng: random.Random) -> Scene:
    """Rejection sampling of positions until nothing intersects, leaves the view or hides too much of another."""
    things: list[Thing] = []
    tries = 0
    while len(things) < 3:
        tries += 1
        if tries % 40 == 0:  # the first two may leave no room for a third
            things = []
        area = 0.0 if VIEWS[view].centred and not things else VIEWS[view].area
        x, y, angle = rng.uniform(-area, area), rng.uniform(-area, area), rng.uniform(0, 2 * math.pi)
        thing = Thing(labels[len(things)], x, y, angle)
        if _fits(thing, things, view):
            things.append(thing)
    offsets = tuple(
        (rng.uniform(-lamp.jitter, lamp.jitter), rng.uniform(-lamp.jitter, lamp.jitter), rng.uniform(-lamp.jitter, lamp.jitter))
        for lamp in LAMPS
    )
    return Scene((things[0], things[1], things[2]), offsets)


GAP = 0.1  # Blender units between the footprints of two objects, so that contact shadows stay apart


def _fits(thing: Thing, others: Sequence[Thing], view: str) -> bool:
    here = VIEWS[view]
    near_x, near_y = (value / math.hypot(*here.position[:2]) for value in here.position[:2])
    for other in others:
        dx, dy = thing.x - other.x, thing.y - other.y
        if math.hypot(dx, dy) < max(here.apart, REACH[thing.shape] + REACH[other.shape] + GAP):
            return False
    box = _box(thing, view)
    if min(box) < 0 or max(box) > 1:
        return False
    for other in others:
        thing_is_nearer = (thing.x - other.x) * near_x + (thing.y - other.y) * near_y > 0
        behind, front = (_box(other, view), box) if thing_is_nearer else (box, _box(other, view))
        if _covered(behind, front) > here.overlap:
            return False
    return True


def _covered(box: Sequence[float], by: Sequence[float]) -> float:
    """Share of `box` (left, top, right, bottom) that the box `by` covers."""
    width = min(box[2], by[2]) - max(box[0], by[0])
    height = min(box[3], by[3]) - max(box[1], by[1])
    return max(width, 0.0) * max(height, 0.0) / ((box[2] - box[0]) * (box[3] - box[1]))


def test_lists(seed: int = 0) -> dict[str, list[list[str]]]:
    """Two lists of 32 conditions, composed like i-CLEVR's: "test" of 72 objects and "new_test" of 84.

    "test": 6 x 1, 12 x 2 and 14 x 3 objects, each label three times.  "new_test": 12 x 2 and 20 x 3 objects; 28 of the 32 hold two
    or more objects of one colour.  No condition is a held-out triple of this seed.
    """
    held_out = {frozenset(triple) for triple in held_out_triples(seed)}
    rng = random.Random(f"test lists {seed}")
    return {"test": _deal(rng, held_out), "new_test": _colour_twins(rng, held_out)}


test_lists.__test__ = False  # type: ignore[attr-defined]  # pytest: this is no test


def _deal(rng: random.Random, held_out: set[frozenset[str]]) -> list[list[str]]:
    sizes = [1] * 6 + [2] * 12 + [3] * 14
    while True:
        deck = [label for _ in range(3) for label in rng.sample(LABELS, len(LABELS))]
        deals = iter(deck)
        conditions = [list(itertools.islice(deals, size)) for size in sizes]
        sets = {frozenset(condition) for condition in conditions}
        if len(sets) == 32 and sorted(map(len, sets)) == sizes and not sets & held_out:
            return conditions


def _colour_twins(rng: random.Random, held_out: set[frozenset[str]]) -> list[list[str]]:
    """The first 28 of the shuffled slots repeat a colour, the last four do not."""
    sizes = rng.sample([2] * 12 + [3] * 20, 32)
    while True:
        conditions: list[list[str]] = []
        for slot, size in enumerate(sizes):
            condition = rng.sample(LABELS, size)
            while (len({label.split()[0] for label in condition}) < size) != (slot < 28):
                condition = rng.sample(LABELS, size)
            conditions.append(condition)
        sets = {frozenset(condition) for condition in conditions}
        if len(sets) == 32 and frozenset().union(*sets) == set(LABELS) and not sets & held_out:
            return conditions


def frame_name(scene_index: int, k: int) -> str:
    """File name of frame `k` (0, 1, 2) of a scene, as in i-CLEVR."""
    return f"CLEVR_train_{scene_index:06d}_{k}.png"


def frame_labels(scene: Scene) -> list[list[str]]:
    """Labels of the three frames: frame k shows the first k + 1 objects."""
    labels = [thing.label for thing in scene.things]
    return [labels[: k + 1] for k in range(3)]


# ---------------------------------------------------------------------------------------------------------------- camera


@lru_cache
def _camera(view: str) -> tuple[Array, Array]:
    """Position (3,) and rows right, down, forward (3, 3) of a camera that looks at the origin."""
    position = np.asarray(VIEWS[view].position, np.float32)
    forward = -position / np.linalg.norm(position)
    right = np.cross(forward, np.asarray([0, 0, 1], np.float32))
    right /= np.linalg.norm(right)
    return position, np.stack([right, np.cross(forward, right), forward]).astype(np.float32)


def _rays(view: str, u: Array, v: Array) -> Array:
    """Directions (3, N), depth 1 along the camera's axis, through picture coordinates u, v in [0, 1] (v points down)."""
    right, down, forward = _camera(view)[1]
    x = (u - 0.5) / VIEWS[view].focal
    y = (v - 0.5) / VIEWS[view].focal * VIEWS[view].squash
    direction_3N: Array = right[:, None] * x + down[:, None] * y + forward[:, None]
    return direction_3N


@lru_cache(maxsize=64)
def _axes(view: str) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in _camera(view)[1])


def _box(thing: Thing, view: str) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in [0, 1] of the object's bounding cylinder on the picture."""
    reach, height, here = REACH[thing.shape], 2 * HALF_HEIGHT[thing.shape], VIEWS[view]
    points = []
    for turn, z in itertools.product(range(8), (0.0, height)):
        p = (
            thing.x + reach * math.cos(turn * math.pi / 4) - here.position[0],
            thing.y + reach * math.sin(turn * math.pi / 4) - here.position[1],
            z - here.position[2],
        )
        right, down, depth = (axis[0] * p[0] + axis[1] * p[1] + axis[2] * p[2] for axis in _axes(view))
        points.append((0.5 + here.focal * right / depth, 0.5 + here.focal / here.squash * down / depth))
    u, v = [point[0] for point in points], [point[1] for point in points]
    return min(u), min(v), max(u), max(v)


# ----------------------------------------------------------------------------------------------------- rays meet objects


def _local(thing: Thing, p_3N: Array, is_point: bool) -> Array:
    """Points or directions in the object's own frame: centre at the origin, a cube's faces along the axes."""
    if is_point:
        p_3N = p_3N - np.asarray(thing.centre, np.float32).reshape(3, *[1] * (p_3N.ndim - 1))
    if thing.shape != "cube":
        return p_3N
    c, s = np.float32(math.cos(thing.angle)), np.float32(math.sin(thing.angle))
    return np.stack([c * p_3N[0] + s * p_3N[1], c * p_3N[1] - s * p_3N[0], p_3N[2]])


def _span(shape: str, o: Array, d: Array) -> tuple[Array, Array]:
    """Where rays o + t d (local frame, broadcastable) enter and leave a convex object; enter > leave for a miss."""
    h = np.float32(HALF_HEIGHT[shape])
    if shape == "cube":
        return _slabs(h, o, d, (0, 1, 2))
    axes = (0, 1, 2) if shape == "sphere" else (0, 1)
    a = sum(d[i] * d[i] for i in axes)
    b = sum(o[i] * d[i] for i in axes)
    c = sum(o[i] * o[i] for i in axes) - h * h
    discriminant = b * b - a * c
    root = np.sqrt(np.maximum(discriminant, 0))
    enter, leave = (-b - root) / a, (-b + root) / a
    if shape == "cylinder":
        low, high = _slabs(h, o, d, (2,))
        enter, leave = np.maximum(enter, low), np.minimum(leave, high)
    return enter, np.where(discriminant > 0, leave, -np.inf)


def _slabs(h: np.float32, o: Array, d: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    enter, leave = np.float32(-np.inf), np.float32(np.inf)
    for i in axes:
        inverse = 1 / np.where(np.abs(d[i]) < 1e-9, np.float32(1e-9), d[i])
        centre, half = -o[i] * inverse, h * np.abs(inverse)
        enter, leave = np.maximum(enter, centre - half), np.minimum(leave, centre + half)
    return enter, leave  # type: ignore[return-value]


def _normal(thing: Thing, p_3N: Array) -> Array:
    """Outward unit normals (3, N) at surface points (3, N) in world coordinates."""
    q, h = _local(thing, p_3N, True), HALF_HEIGHT[thing.shape]
    if thing.shape == "sphere":
        return q / np.float32(h)
    if thing.shape == "cylinder":
        cap = np.abs(q[2]) >= np.hypot(q[0], q[1])
        n = np.where(cap, 0, q / np.hypot(q[0], q[1]))
        n[2] = np.where(cap, np.sign(q[2]), 0)
        return n.astype(np.float32)
    face = np.abs(q).argmax(0)
    n = np.where(np.arange(3)[:, None] == face, np.sign(q), 0)
    c, s = math.cos(thing.angle), math.sin(thing.angle)
    return np.stack([c * n[0] - s * n[1], s * n[0] + c * n[1], n[2]]).astype(np.float32)


# ----------------------------------------------------------------------------------------------------------------- light


def _lamp_samples(scene: Scene) -> Array:
    """Points (3, L, K) on the lamps: a square grid on each, square to the line to the origin."""
    steps = (np.arange(LAMP_GRID) + 0.5) / LAMP_GRID - 0.5
    grid = np.stack(np.meshgrid(steps, steps)).reshape(2, -1)
    samples = []
    for lamp, offset in zip(LAMPS, scene.lamp_offsets, strict=True):
        centre = np.add(lamp.position, offset)
        side = np.cross(centre, [0, 0, 1])
        side /= np.linalg.norm(side)
        other = np.cross(centre, side) / np.linalg.norm(centre)
        samples.append(centre[:, None] + lamp.edge * (side[:, None] * grid[0] + other[:, None] * grid[1]))
    return np.stack(samples, 1).astype(np.float32)


def _irradiance(lamp_3L: Array, p_3N: Array, n_3N: Array) -> Array:
    """Unshadowed light (L, N) from each lamp of power 1: cosine at the surface x cosine at the lamp / distance^2."""
    to_3LN = lamp_3L[:, :, None] - p_3N[:, None]
    square = (to_3LN * to_3LN).sum(0)
    at_surface = np.maximum((to_3LN * n_3N[:, None]).sum(0), 0)
    facing = lamp_3L / np.linalg.norm(lamp_3L, axis=0)
    at_lamp = np.maximum((to_3LN * facing[:, :, None]).sum(0), 0)
    result: Array = at_surface * at_lamp / (square * square)
    return result


def _shadow(thing: Thing, p_3N: Array, lamp_3L: Array, lamps_3LK: Array) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Indices n of the points that an object can shade, and which lamp samples (L, K, n) it hides from them."""
    to_3L1 = lamp_3L[:, :, None] - p_3N[:, None]
    to_3N = np.asarray(thing.centre, np.float32)[:, None] - p_3N
    along_LN = (to_3L1 * to_3N[:, None]).sum(0) / (to_3L1 * to_3L1).sum(0)
    miss_LN = (to_3N * to_3N).sum(0) - along_LN * along_LN * (to_3L1 * to_3L1).sum(0)
    # A ray to the lamp's centre that misses the bounding sphere by more than half a lamp's edge: no shadow from anywhere on it.
    radius = math.hypot(REACH[thing.shape], HALF_HEIGHT[thing.shape]) + 0.75 * LAMPS[0].edge * 0.5
    near = np.flatnonzero(((along_LN > 0) & (miss_LN < radius * radius)).any(0))
    o = _local(thing, p_3N[:, near], True)[:, None, None]
    enter, leave = _span(thing.shape, o, _local(thing, lamps_3LK, True)[..., None] - o)
    return near, (enter < leave) & (leave > 1e-3)


def _sky_blocked(thing: Thing, p_3N: Array, n_3N: Array) -> Array:
    """Share (N,) of the sky that an object takes from points, as a sphere would (form factor: cosine x r^2 / d^2)."""
    to_3N = np.asarray(thing.centre, np.float32)[:, None] - p_3N
    square = (to_3N * to_3N).sum(0)
    r = HALF_HEIGHT[thing.shape]
    share: Array = np.clip((to_3N * n_3N).sum(0) / np.sqrt(square) * r * r / square, 0, 1).astype(np.float32)
    return share


def _encode(linear: Array) -> Array:
    """sRGB transfer function, linear [0, 1] -> [0, 255]."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055) * np.float32(255)




# -------------------------------------------------------------------------------------------------------------- pictures


@dataclass
class _Surface:
    """What the camera sees of the ground, or of one object alone, at N points of the fine grid.

    `cell_N` = index in the grid, `depth_N` along the camera's axis; `light_LN`, `gloss_LN` = diffuse and mirrored light from
    each lamp of power 1, `hidden_LKN` = lamp samples behind other objects, `sky_N` = open share of the surroundings,
    `glow_3N` = light from other objects; `albedo_3` in units of the ground's.
    """

    cell_N: NDArray[np.intp]
    depth_N: Array
    p_3N: Array
    n_3N: Array
    light_LN: Array
    gloss_LN: Array
    hidden_LKN: NDArray[np.bool_]
    sky_N: Array
    glow_3N: Array
    albedo_3: Array

    def darken(self, thing: Thing, lamp_3L: Array, lamps_3LK: Array) -> None:
        """Add the shadow of an object, what it hides of the sky, and its colour's reflection."""
        near, hidden_LKn = _shadow(thing, self.p_3N, lamp_3L, lamps_3LK)
        self.hidden_LKN[:, :, near] |= hidden_LKn
        share_N = _sky_blocked(thing, self.p_3N, self.n_3N)
        self.sky_N *= 1 - share_N
        self.glow_3N += _albedo(thing)[:, None] * share_N

    def colour(self) -> Array:
        """sRGB (3, N) in 0..255."""
        lit_LN = 1 - self.hidden_LKN.mean(1, dtype=np.float32)
        surroundings_3N = np.asarray(AMBIENT, np.float32)[:, None] * (self.sky_N + GLOW * self.glow_3N)
        diffuse_3N = self.albedo_3[:, None] * (surroundings_3N + _POWER_3L @ (self.light_LN * lit_LN))
        return _encode(diffuse_3N + GLOSS * (_POWER_3L @ (self.gloss_LN * lit_LN)))


def _albedo(thing: Thing) -> Array:
    return np.asarray(COLOURS[thing.label.split()[0]], np.float32) / np.float32(255) * np.float32(OBJECT_GAIN)


@lru_cache(maxsize=4)
def _grid(view: str, image_size: int, per_pixel: int) -> tuple[Array, Array]:
    """Picture coordinate (F,) of each fine column (= row), and rays (3, F, F) in row order."""
    steps = ((np.arange(per_pixel) + 0.5) / per_pixel - 0.5) * VIEWS[view].footprint + 0.5
    u_F = ((np.arange(image_size)[:, None] + steps) / image_size).reshape(-1).astype(np.float32)
    v, u = np.meshgrid(u_F, u_F, indexing="ij")
    return u_F, _rays(view, u.reshape(-1), v.reshape(-1)).reshape(3, len(u_F), len(u_F))


def _lit(cell_N: NDArray[np.intp], depth_N: Array, p_3N: Array, n_3N: Array, albedo_3: Array, view: str, lamp_3L: Array) -> _Surface:
    """A surface that is alone in the scene."""
    n, samples = len(cell_N), LAMP_GRID**2
    light_LN = _irradiance(lamp_3L, p_3N, n_3N)
    gloss_LN = _gloss(lamp_3L, p_3N, n_3N, view)
    hidden_LKN = np.zeros((len(LAMPS), samples, n), np.bool_)
    return _Surface(
        cell_N, depth_N, p_3N, n_3N, light_LN, gloss_LN, hidden_LKN, np.ones(n, np.float32), np.zeros((3, n), np.float32), albedo_3
    )


def _gloss(lamp_3L: Array, p_3N: Array, n_3N: Array, view: str) -> Array:
    """Highlight (L, N) of each lamp of power 1 (Blinn 1977: the normal against the half-way vector)."""
    to_eye = np.asarray(VIEWS[view].position, np.float32)[:, None] - p_3N
    to_eye /= np.linalg.norm(to_eye, axis=0)
    to_3LN = lamp_3L[:, :, None] - p_3N[:, None]
    distance = np.linalg.norm(to_3LN, axis=0)
    half = to_3LN / distance + to_eye[:, None]
    cosine = np.maximum((half * n_3N[:, None]).sum(0) / np.linalg.norm(half, axis=0), 0)
    result: Array = cosine**GLOSS_EXPONENT / (distance * distance)
    return result


@lru_cache(maxsize=4)
def _ground_points(view: str, image_size: int, per_pixel: int) -> Array:
    """Where the rays of the grid meet the ground, (3, F * F)."""
    rays = _grid(view, image_size, per_pixel)[1].reshape(3, -1)
    position = np.asarray(VIEWS[view].position, np.float32)
    points: Array = position[:, None] - position[2] / rays[2] * rays
    return points


def _ground(view: str, image_size: int, per_pixel: int, lamp_3L: Array) -> _Surface:
    p_3N = _ground_points(view, image_size, per_pixel)
    up_3N = np.zeros_like(p_3N)
    up_3N[2] = 1
    n = p_3N.shape[1]
    ground = _lit(np.arange(n), np.zeros(n, np.float32), p_3N, up_3N, np.ones(3, np.float32), view, lamp_3L)
    ground.gloss_LN *= 0
    return ground


def _object(thing: Thing, view: str, image_size: int, per_pixel: int, lamp_3L: Array) -> _Surface:
    """The rays of the grid that hit an object; only those through its box are tried."""
    u_F, rays_3FF = _grid(view, image_size, per_pixel)
    left, top, right, bottom = _box(thing, view)
    rows, columns = slice(*np.searchsorted(u_F, (top, bottom))), slice(*np.searchsorted(u_F, (left, right)))
    cells = np.arange(len(u_F) ** 2).reshape(len(u_F), -1)[rows, columns].reshape(-1)
    rays = rays_3FF[:, rows, columns].reshape(3, -1)
    position = np.asarray(VIEWS[view].position, np.float32)[:, None]
    enter, leave = _span(thing.shape, _local(thing, position, True), _local(thing, rays, False))
    hit = enter < leave
    p_3N = position + enter[hit] * rays[:, hit]
    n_3N = _normal(thing, p_3N)
    surface = _lit(cells[hit], enter[hit], p_3N, n_3N, _albedo(thing), view, lamp_3L)
    surface.sky_N = (0.5 + 0.5 * n_3N[2]) + GROUND_BOUNCE * (0.5 - 0.5 * n_3N[2])
    return surface


def render_scene(scene: Scene, image_size: int = 64, view: str = "clevr") -> NDArray[np.uint8]:
    """The three nested frames (3, S, S, 3) of a scene, sRGB 0..255.

    Raises ValueError for an unknown view or an image size outside 8..512.
    """
    _view(view)
    if not 8 <= image_size <= 512:
        raise ValueError(f"image_size is {image_size}; write 8 to 512")
    per_pixel, ground_per_pixel = max(2, 64 // image_size), max(1, 48 // image_size)
    lamps_3LK = _lamp_samples(scene)
    lamp_3L: Array = lamps_3LK.mean(2)
    ground = _ground(view, image_size, ground_per_pixel, lamp_3L)
    objects: list[_Surface] = []
    frames = []
    for k, thing in enumerate(scene.things):
        new = _object(thing, view, image_size, per_pixel, lamp_3L)
        for seen in (ground, *objects):
            seen.darken(thing, lamp_3L, lamps_3LK)
        for earlier in scene.things[:k]:
            new.darken(earlier, lamp_3L, lamps_3LK)
        objects.append(new)
        frames.append(_compose(ground, objects, image_size, per_pixel))
    return np.stack(frames)


def _compose(ground: _Surface, objects: Sequence[_Surface], image_size: int, per_pixel: int) -> NDArray[np.uint8]:
    """Average over each pixel the nearest surface of every fine cell; (S, S, 3)."""
    fine, pixels = image_size * per_pixel, image_size * image_size
    nearest = np.full(fine * fine, np.inf, np.float32)
    for surface in objects:
        nearest[surface.cell_N] = np.minimum(nearest[surface.cell_N], surface.depth_N)
    total_3P, count_P = np.zeros((3, pixels)), np.zeros(pixels)
    for surface in objects:
        visible = surface.depth_N <= nearest[surface.cell_N]
        row, column = np.divmod(surface.cell_N[visible], fine)
        pixel = row // per_pixel * image_size + column // per_pixel
        count_P += np.bincount(pixel, minlength=pixels)
        for channel, values in enumerate(surface.colour()[:, visible]):
            total_3P[channel] += np.bincount(pixel, values, pixels)
    side = math.isqrt(len(ground.cell_N)) // image_size
    ground_3P = ground.colour().reshape(3, image_size, side, image_size, side).mean((2, 4)).reshape(3, pixels)
    share_P = count_P / per_pixel**2
    picture = total_3P / per_pixel**2 + (1 - share_P) * ground_3P
    picture = picture.T.reshape(image_size, image_size, 3) + _grain(image_size)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


@lru_cache(maxsize=4)
def _grain(image_size: int) -> Array:
    """One fixed pattern (S, S, 1): CLEVR's renderer starts from the same seed in every picture; a coarser pixel averages it."""
    pattern = np.random.default_rng(0).standard_normal((image_size, image_size, 1), np.float32)
    return (pattern * np.float32(GRAIN * min(1, image_size / 64))).astype(np.float32)


# ------------------------------------------------------------------------------------------------------ the whole folder


def _render_chunk(task: tuple[Sequence[Scene], int, str]) -> list[NDArray[np.uint8]]:
    scenes, image_size, view = task
    return [render_scene(scene, image_size, view) for scene in scenes]


CHUNK = 32  # scenes: half a second of work, so that progress moves and the pipe costs nothing


def render_scenes(
    scenes: Sequence[Scene], image_size: int = 64, view: str = "clevr", workers: int = 1
) -> Iterator[NDArray[np.uint8]]:
    """One (3, S, S, 3) a scene, in order; the same pictures for any number of processes.

    Raises ValueError for fewer than one worker, and what `render_scene` raises.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; write 1 or more")
    tasks = [(scenes[start : start + CHUNK], image_size, view) for start in range(0, len(scenes), CHUNK)]
    if workers == 1 or len(tasks) < 2:
        for scene in scenes:
            yield render_scene(scene, image_size, view)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for frames in pool.imap(_render_chunk, tasks):
            yield from frames


def write_folder(destination: Path, scenes: Sequence[Scene], image_size: int, seed: int, view: str, workers: int) -> None:
    """Render into DEST.partial and rename at the end, so that an interrupted run leaves no half folder behind."""
    from PIL import Image  # here, so that --help answers at once

    partial = destination.with_name(destination.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    train: dict[str, list[str]] = {}
    start = time.monotonic()
    for index, (scene, frames) in enumerate(zip(scenes, render_scenes(scenes, image_size, view, workers), strict=True)):
        for k, labels in enumerate(frame_labels(scene)):
            Image.fromarray(frames[k]).save(partial / frame_name(index, k))
            train[frame_name(index, k)] = labels
        _progress(3 * (index + 1), 3 * len(scenes), time.monotonic() - start)
    lists = {"train": train, "objects": {label: i for i, label in enumerate(LABELS)}, **test_lists(seed)}
    for name, content in lists.items():
        (partial / f"{name}.json").write_text(json.dumps(content))
    if destination.exists():
        destination.rmdir()
    os.replace(partial, destination)


def _progress(done: int, total: int, seconds: float) -> None:
    if done % 96 and done != total:
        return
    rate = done / max(seconds, 1e-9)
    line = f"{done} of {total} images, {rate:.0f} images/s, {(total - done) / rate:.0f} s left"
    print(f"\r{line:<70}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _refusal(arguments: argparse.Namespace) -> str | None:
    """The first thing wrong with the command line, as a sentence."""
    destination: Path = arguments.destination
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        return f"{destination} exists and is not empty; name a new folder."
    if not 8 <= arguments.image_size <= 512:
        return f"--image-size is {arguments.image_size}; write 8 to 512."
    if not 1 <= arguments.scenes <= 999_999:
        return f"--scenes is {arguments.scenes}; write 1 to 999999."
    if arguments.workers < 1:
        return f"--workers is {arguments.workers}; write 1 or more."
    return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m runners.render", description="Render scenes in i-CLEVR's folder layout.")
    parser.add_argument("destination", type=Path, metavar="DEST", help="folder to write; must not exist or be empty")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (default 64)")
    parser.add_argument("--scenes", type=int, default=6003, help="scenes of three frames each (default 6003)")
    parser.add_argument("--seed", type=int, default=0, help="of scenes, held-out triples and test lists (default 0)")
    parser.add_argument("--view", choices=sorted(VIEWS), default="clevr", help="near: large objects for 16 or 32 pixels")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    arguments = parser.parse_args(argv)
    refusal = _refusal(arguments)
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    scenes = sample_scenes(arguments.scenes, arguments.seed, arguments.view)
    write_folder(
        arguments.destination, scenes, arguments.image_size, arguments.seed, arguments.view, arguments.workers
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
