"""Scenes like i-CLEVR's without a download: an analytic ray caster in numpy.

CLEVR (Johnson et al. 2017, arXiv:1612.06890) renders cubes, spheres and cylinders in Blender; i-CLEVR (El-Nouby
et al. 2019, arXiv:1811.09845) adds one matte object a frame, the first at the centre.  Both are rebuilt from their
description: camera, three area lamps with their jitter and eight colours are those of CLEVR's base scene.

Legend: lengths in Blender units, z points up, the ground is z = 0.  Points and directions are float32, component first:
`p_3N`; S = image size, F = rays a side (several a pixel), L = lamps, K = samples on a lamp, N = points, P = pixels.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from runners.tasks.iclevr.scenes import (
    RADIUS,
    REACH,
    Array,
    Scene,
    Thing,
    View,
    box_on_picture,
    camera_axes,
    find_view,
)

# The lamps (key, fill, back; columns) of CLEVR's base scene face the origin.
LAMP_POSITION_3L = np.asarray([(6.447, -2.905, 4.258), (-4.671, -4.014, 3.011), (-1.169, 2.646, 5.816)]).T
LAMP_EDGE = 1.0
# RGB powers and the sky in units of linear radiance that the ground sends back: the empty ground gets CLEVR's gray,
# warm at the lower right (key), bluish at the left (fill), and 8-bit 103 far away (sky alone).
LAMP_POWER_3L = np.asarray([(5.4, 5.0, 4.3), (1.15, 1.25, 1.55), (2.4, 2.4, 2.4)], np.float32).T
SKY = np.float32(0.1335)
BOUNCE = 1.0  # light from the ground onto an object's underside, in units of the sky's
GLOW = 1.0  # light from another object's side, likewise: yellow objects tint the ground around them
CONTACT = 0.6  # share of a bounding sphere that an object really hides of the sky
GLOSS, GLOSS_EXPONENT = 0.06, 12  # CLEVR's rubber: a faint and wide highlight
GRAIN = 1.9, 0.8  # standard deviation at 64 pixels, top and bottom row, of CLEVR's sampling noise: one for all pictures


# ------------------------------------------------------------------------------------------------ camera, rays, objects


@lru_cache(maxsize=8)
def _grid(view: View, image_size: int, per_pixel: int) -> tuple[Array, Array]:
    """Picture coordinate (F,) of each column (= row) of rays, and directions (3, F, F) with depth 1."""
    steps = ((np.arange(per_pixel) + 0.5) / per_pixel - 0.5) * view.footprint + 0.5
    u_F = ((np.arange(image_size)[:, None] + steps) / image_size).reshape(-1).astype(np.float32)
    right, down, forward = np.asarray(camera_axes(view), np.float32)[:, :, None, None]
    x_FF, y_FF = (u_F - 0.5) / view.focal, (u_F[:, None] - 0.5) / view.focal * view.squash
    return u_F, (right * x_FF + down * y_FF + forward).astype(np.float32)


def _turned(thing: Thing, v: Array, sign: int) -> Array:
    """Vectors (3, ...) turned about z into a cube's own axes (sign 1) or back (sign -1)."""
    if thing.shape != "cube":
        return v
    c, s = np.float32(math.cos(thing.angle)), np.float32(sign * math.sin(thing.angle))
    return np.stack([c * v[0] + s * v[1], c * v[1] - s * v[0], v[2]])


def _from_centre(thing: Thing, p_3N: Array) -> Array:
    return p_3N - np.asarray(thing.centre, np.float32).reshape(3, *[1] * (p_3N.ndim - 1))


def _span(thing: Thing, o: Array, d: Array) -> tuple[Array, Array]:
    """Where rays o + t d (from the centre, own axes, broadcastable) enter and leave an object; enter > leave: miss."""
    h = np.float32(RADIUS[thing.shape])
    if thing.shape == "cube":
        return _slabs(h, o, d)
    n = 3 if thing.shape == "sphere" else 2  # |o + t d|^2 = h^2 in space or in the plane
    a, b, c = (d[:n] * d[:n]).sum(0), (o[:n] * d[:n]).sum(0), (o[:n] * o[:n]).sum(0) - h * h
    discriminant = b * b - a * c
    root = np.sqrt(np.maximum(discriminant, 0))
    enter, leave = (-b - root) / a, np.where(discriminant > 0, (root - b) / a, np.float32(-np.inf))
    if thing.shape == "sphere":
        return enter, leave
    low, high = _slabs(h, o[2:], d[2:])
    return np.maximum(enter, low), np.minimum(leave, high)


def _slabs(h: np.float32, o: Array, d: Array) -> tuple[Array, Array]:
    """Where rays cross the planes -h and h of each axis (Kay & Kajiya 1986)."""
    inverse = 1 / np.where(np.abs(d) < 1e-6, np.float32(1e-6), d)
    middle, half = -o * inverse, h * np.abs(inverse)
    return (middle - half).max(0), (middle + half).min(0)


def _normal(thing: Thing, p_3N: Array) -> Array:
    """Outward unit normals at surface points."""
    q = _turned(thing, _from_centre(thing, p_3N), 1)
    if thing.shape == "sphere":
        n = q
    elif thing.shape == "cylinder":
        n = np.where(np.abs(q[2]) >= np.hypot(q[0], q[1]), q * [[0], [0], [1]], q * [[1], [1], [0]])
    else:
        n = np.where(np.arange(3)[:, None] == np.abs(q).argmax(0), q, 0)
    return _turned(thing, (n / np.linalg.norm(n, axis=0)).astype(np.float32), -1)


# ---------------------------------------------------------------------------------------------------------------- light


def _lamp_samples(scene: Scene, side: int) -> Array:
    """Points (3, L, K) on the lamps: on each a square grid of side^2 = K that faces the origin."""
    steps = ((np.arange(side) + 0.5) / side - 0.5) * LAMP_EDGE
    across, along = (grid.reshape(-1) for grid in np.meshgrid(steps, steps))
    centre_3L = LAMP_POSITION_3L + np.asarray(scene.lamp_offsets).T
    side_3L = np.stack([centre_3L[1], -centre_3L[0], np.zeros(3)])
    side_3L /= np.linalg.norm(side_3L, axis=0)
    other_3L = np.cross(centre_3L, side_3L, axis=0) / np.linalg.norm(centre_3L, axis=0)
    samples = centre_3L[..., None] + side_3L[..., None] * across + other_3L[..., None] * along
    return np.asarray(samples, np.float32)


@dataclass
class _Surface:
    """What the camera sees of the ground, or of one object alone, at N points.

    `cell_N` = index of the ray in the grid, `depth_N`; `light_LN`, `gloss_LN` = diffuse and mirrored light from each
    lamp of power 1; `hidden_LKN` = lamp samples behind other objects; `sky_N`, `glow_3N` = light from sky and objects.
    """

    cell_N: NDArray[np.intp]
    depth_N: Array
    p_3N: Array
    n_3N: Array
    albedo_3: Array
    light_LN: Array
    gloss_LN: Array
    hidden_LKN: NDArray[np.bool_]
    sky_N: Array
    glow_3N: Array

    def darken(self, thing: Thing, lamps_3LK: Array) -> None:
        """Add an object's shadow, what it hides of the sky (as a sphere: cosine r^2 / d^2) and its reflection."""
        to_3N, to_lamp_3LN = -_from_centre(thing, self.p_3N), lamps_3LK.mean(2)[:, :, None] - self.p_3N[:, None]
        square_N, lamp_square_LN = (to_3N * to_3N).sum(0), (to_lamp_3LN * to_lamp_3LN).sum(0)
        cosine_N = np.maximum((to_3N * self.n_3N).sum(0), 0) / np.sqrt(square_N)
        share_N = np.minimum(CONTACT * RADIUS[thing.shape] ** 2 * cosine_N / square_N, 1)
        self.glow_3N += self.sky_N * share_N * thing.albedo_3[:, None]
        self.sky_N *= 1 - share_N
        # Points whose ray to a lamp's centre passes the bounding sphere by half the lamp's diagonal see all of it.
        along_LN = (to_lamp_3LN * to_3N[:, None]).sum(0)
        reach = math.hypot(REACH[thing.shape], RADIUS[thing.shape]) + LAMP_EDGE / math.sqrt(2)
        passes_LN = (along_LN < 0) | (square_N - along_LN**2 / lamp_square_LN > reach**2)
        near = np.flatnonzero(~passes_LN.all(0))
        o = _turned(thing, -to_3N[:, near], 1)[:, None, None]
        enter, leave = _span(thing, o, _turned(thing, _from_centre(thing, lamps_3LK), 1)[..., None] - o)
        self.hidden_LKN[:, :, near] |= (enter < leave) & (leave > 1e-3)

    def colour(self) -> Array:
        """sRGB (3, N), 0..255."""
        lit_LN = 1 - self.hidden_LKN.mean(1, dtype=np.float32)
        diffuse_3N = SKY * (self.sky_N + GLOW * self.glow_3N) + LAMP_POWER_3L @ (self.light_LN * lit_LN)
        linear = self.albedo_3[:, None] * diffuse_3N + LAMP_POWER_3L @ (self.gloss_LN * lit_LN)
        srgb: Array = np.float32(255 * 1.055) * linear ** np.float32(1 / 2.4) - np.float32(255 * 0.055)
        return srgb  # without the straight piece below 0.003: nothing here is that dark


def _surface(
    cell_N: NDArray[np.intp], depth_N: Array, rays_3N: Array, thing: Thing | None, view: View, lamps_3LK: Array
) -> _Surface:
    """The lit ground (`thing` None) or an object, alone in the scene."""
    to_eye_3N, lamp_3L = -rays_3N / np.linalg.norm(rays_3N, axis=0), lamps_3LK.mean(2)
    p_3N = np.asarray(view.position, np.float32)[:, None] + depth_N * rays_3N
    n_3N = _normal(thing, p_3N) if thing else np.zeros_like(p_3N) + np.asarray([[0], [0], [1]], np.float32)
    to_3LN = lamp_3L[:, :, None] - p_3N[:, None]
    square_LN = (to_3LN * to_3LN).sum(0)
    facing_3L = lamp_3L / np.linalg.norm(lamp_3L, axis=0)
    cosines_LN = np.maximum((to_3LN * n_3N[:, None]).sum(0), 0) * np.maximum((to_3LN * facing_3L[:, :, None]).sum(0), 0)
    half_3LN = to_3LN / np.sqrt(square_LN) + to_eye_3N[:, None]  # Blinn 1977
    mirrored_LN = np.maximum((half_3LN * n_3N[:, None]).sum(0), 0) / np.linalg.norm(half_3LN, axis=0)
    gloss_LN = GLOSS * mirrored_LN**GLOSS_EXPONENT / square_LN if thing else np.zeros_like(square_LN)
    hidden_LKN = np.zeros((*lamps_3LK.shape[1:], len(cell_N)), np.bool_)
    sky_N = (1 + n_3N[2]) / 2 + BOUNCE * (1 - n_3N[2]) / 2
    albedo_3 = thing.albedo_3 if thing else np.ones(3, np.float32)
    light_LN, glow_3N = cosines_LN / square_LN**2, np.zeros_like(p_3N)
    return _Surface(cell_N, depth_N, p_3N, n_3N, albedo_3, light_LN, gloss_LN, hidden_LKN, sky_N, glow_3N)


# ------------------------------------------------------------------------------------------------------------- pictures


def _ground(view: View, image_size: int, per_pixel: int, lamps_3LK: Array) -> _Surface:
    rays_3N = _grid(view, image_size, per_pixel)[1].reshape(3, -1)
    depth_N = -np.float32(view.position[2]) / rays_3N[2]
    return _surface(np.arange(len(depth_N)), depth_N, rays_3N, None, view, lamps_3LK)


def _object(thing: Thing, view: View, image_size: int, per_pixel: int, lamps_3LK: Array) -> _Surface:
    """The rays that hit an object; only those through its box are tried, widened for the perspective."""
    u_F, rays_3FF = _grid(view, image_size, per_pixel)
    left, top, right, bottom, _ = box_on_picture(thing, view)
    wide, tall = 0.15 * (right - left), 0.15 * (bottom - top)
    rows = slice(*np.searchsorted(u_F, (top - tall, bottom + tall)))
    columns = slice(*np.searchsorted(u_F, (left - wide, right + wide)))
    cells = np.arange(len(u_F) ** 2).reshape(len(u_F), -1)[rows, columns].reshape(-1)
    rays_3N = rays_3FF[:, rows, columns].reshape(3, -1)
    eye = _turned(thing, _from_centre(thing, np.asarray(view.position, np.float32)[:, None]), 1)
    enter, leave = _span(thing, eye, _turned(thing, rays_3N, 1))
    hit = enter < leave
    return _surface(cells[hit], enter[hit], rays_3N[:, hit], thing, view, lamps_3LK)


def render_scene(scene: Scene, image_size: int = 64, view: str = "clevr") -> NDArray[np.uint8]:
    """The three nested frames (3, S, S, 3) of a scene, sRGB 0..255.

    Raises ValueError for an unknown view or an image size outside 8..512.
    """
    if not 8 <= image_size <= 512:
        raise ValueError(f"image_size is {image_size}; write 8 to 512")
    # At 64 pixels a penumbra is some pixels wide: nine steps drown in the grain; at 32 it is one pixel: four suffice.
    camera, lamps_3LK = find_view(view), _lamp_samples(scene, 3 if image_size > 32 else 2)
    per_pixel, ground_per_pixel = max(2, math.ceil(80 / image_size)), max(1, 32 // image_size)
    ground = _ground(camera, image_size, ground_per_pixel, lamps_3LK)
    objects: list[_Surface] = []
    frames = []
    for k, thing in enumerate(scene.things):
        new = _object(thing, camera, image_size, per_pixel, lamps_3LK)
        for seen in (ground, *objects):
            seen.darken(thing, lamps_3LK)
        for earlier in scene.things[:k]:
            new.darken(earlier, lamps_3LK)
        objects.append(new)
        frames.append(_compose(ground, objects, image_size, per_pixel))
    return np.stack(frames)


def _compose(ground: _Surface, objects: Sequence[_Surface], image_size: int, per_pixel: int) -> NDArray[np.uint8]:
    """Average over each pixel what is nearest along its rays; (S, S, 3)."""
    fine, pixels, share = image_size * per_pixel, image_size**2, 1 / per_pixel**2
    nearest = np.full(fine * fine, np.inf, np.float32)
    for surface in objects:
        nearest[surface.cell_N] = np.minimum(nearest[surface.cell_N], surface.depth_N)
    side = math.isqrt(len(ground.cell_N)) // image_size
    ground_3P = ground.colour().reshape(3, image_size, side, image_size, side).mean((2, 4)).reshape(3, pixels)
    object_3P, covered_P = np.zeros((3, pixels)), np.zeros(pixels)
    for surface in objects:
        visible = surface.depth_N <= nearest[surface.cell_N]
        row, column = np.divmod(surface.cell_N[visible], fine)
        pixel = row // per_pixel * image_size + column // per_pixel
        covered_P += share * np.bincount(pixel, minlength=pixels)
        object_3P += [share * np.bincount(pixel, values, pixels) for values in surface.colour()[:, visible]]
    picture = (object_3P + (1 - covered_P) * ground_3P + _grain(image_size)).T.reshape(image_size, image_size, 3)
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


@lru_cache(maxsize=4)
def _grain(image_size: int) -> Array:
    """Sampling noise (P,) in 8-bit levels; a coarser pixel averages more of it."""
    pattern_SS = np.random.default_rng(0).standard_normal((image_size, image_size), np.float32)
    pattern_SS *= np.linspace(*GRAIN, image_size, dtype=np.float32)[:, None] * np.float32(min(1, image_size / 64))
    return pattern_SS.reshape(-1)


def _render_chunk(scenes: Sequence[Scene], image_size: int, view: str) -> list[NDArray[np.uint8]]:
    return [render_scene(scene, image_size, view) for scene in scenes]


def render_scenes(
    scenes: Sequence[Scene], image_size: int = 64, view: str = "clevr", workers: int = 1
) -> Iterator[NDArray[np.uint8]]:
    """One (3, S, S, 3) a scene, in order; the same pictures for any number of processes.

    Raises ValueError for fewer than one worker, and what `render_scene` raises.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; write 1 or more")
    if workers == 1:
        yield from (render_scene(scene, image_size, view) for scene in scenes)
        return
    chunk = 32  # scenes: some tenths of a second of work, so that progress moves and the pipes cost nothing
    draw = partial(_render_chunk, image_size=image_size, view=view)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for frames in pool.imap(draw, [scenes[start : start + chunk] for start in range(0, len(scenes), chunk)]):
            yield from frames
