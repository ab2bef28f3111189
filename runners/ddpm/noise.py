"""The noise that sampling starts from and adds on the way: keyed, so that arms are paired, drawn on the CPU, so that a
seed means the same on every device.

Shapes: B conditions, D numbers an image, F frames.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Protocol

import torch

WORTH_A_THREAD = 50_000  # numbers; drawing them takes half a millisecond


class Noise(Protocol):
    """What a sampler draws from: first the start of every image, then the noise of each step that adds some."""

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next noise, float32 (B, *shape), on the CPU."""
        ...


class KeyedNoise:
    """Normal noise from one CPU generator a condition, keyed by (list, condition, sampling seed, draw).

    So arms are paired (the same picture's noise is the same in all of them), and a seed means the same on
    every device and in every batch.
    """

    def __init__(
        self, list_name: str, conditions: Sequence[tuple[int, Sequence[str]]], seed: int, draw: int = 0
    ) -> None:
        """`conditions`: (position in the list, labels); `draw`: the config's `noise_seed`."""
        self.generators = []
        for position, labels in conditions:
            text = f"{list_name}|{position}|{','.join(sorted(labels))}|{seed}" + (f"|{draw}" if draw else "")
            key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
            self.generators.append(torch.Generator().manual_seed(key))

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next noise, float32 (B, *shape), on the CPU.

        As many threads draw as torch may use in this process, with the bits of one: each image has its own generator.
        """
        drawn = torch.empty(len(self.generators), *shape)

        def fill(images: range) -> None:
            for index in images:
                torch.randn(shape, generator=self.generators[index], out=drawn[index])

        workers = min(torch.get_num_threads(), len(self.generators), drawn.numel() // WORTH_A_THREAD)
        if workers < 2:
            fill(range(len(self.generators)))
        else:  # they need not take turns: numbers are drawn without Python's lock
            parts = [range(first, len(drawn), workers) for first in range(workers)]
            deque(_threads(workers).map(fill, parts), maxlen=0)
        return drawn


def joined(parts: Sequence[KeyedNoise]) -> KeyedNoise:
    """Several noises as one batch, in their order."""
    whole = KeyedNoise("", [], 0)
    whole.generators = [generator for part in parts for generator in part.generators]
    return whole


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    """The threads that draw, which this process keeps."""
    return ThreadPoolExecutor(count, "draw")


Mix = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # of two noises (B, D) at u_F: (B, F, D)


class InterpolatedNoise:
    """Between two noises of each condition in `frames` steps: only the start of the images of a row differs.

    The noise that a stochastic sampler adds on the way is one for all frames, else every frame would differ by chance.
    """

    def __init__(self, first: Noise, last: Noise, frames: int, mix: Mix | None = None) -> None:
        """`mix`: `slerp` (the default) or `lerp`."""
        self.first, self.last, self.frames, self.mix = first, last, frames, mix or slerp
        self.started = False

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next noise, float32 (B * frames, *shape), on the CPU; the frames of a condition are neighbours."""
        first = self.first.draw(shape)
        if self.started:
            return first.repeat_interleave(self.frames, 0)
        self.started = True
        between = self.mix(first.flatten(1), self.last.draw(shape).flatten(1), torch.linspace(0, 1, self.frames))
        return between.view(-1, *shape)


AHEAD = 4  # draws that wait for a device: what it needs next is there, and no more memory than that is taken


@contextmanager
def ahead(noise: Noise, shape: tuple[int, ...], count: int, device: torch.device) -> Iterator[Iterator[torch.Tensor]]:
    """The next `count` draws, on `device`. For a GPU a thread draws them while the device computes, into pinned memory
    whose copying the host need not wait for; on a CPU, which computes itself, each is drawn when it is asked for.
    """
    if device.type == "cpu":
        yield (noise.draw(shape) for _ in range(count))
        return

    def one() -> torch.Tensor:
        drawn = noise.draw(shape)
        return drawn.pin_memory() if device.type == "cuda" else drawn

    def draws(thread: ThreadPoolExecutor) -> Iterator[torch.Tensor]:
        waiting: deque[Future[torch.Tensor]] = deque()
        copied: deque[torch.cuda.Event] = deque()
        for number in range(count):
            while len(waiting) < min(AHEAD, count - number):
                waiting.append(thread.submit(one))
            drawn = waiting.popleft().result().to(device, non_blocking=True)
            if device.type == "cuda":
                # Pinned memory is free again when its copy is done: a host far ahead of the device would pin gigabytes.
                copied.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
                copied[-1].record(torch.cuda.current_stream(device))
                if len(copied) > AHEAD:
                    copied.popleft().synchronize()
            yield drawn

    thread = ThreadPoolExecutor(1, "noise")
    try:
        yield draws(thread)
    finally:
        thread.shutdown(wait=True, cancel_futures=True)


def slerp(a_BD: torch.Tensor, b_BD: torch.Tensor, u_F: torch.Tensor) -> torch.Tensor:
    """On the great circle from a to b (Shoemake 1985; Song et al. 2021 (DDIM), appendix D.5): (B, F, D).

    A straight line would pass the centre, where normal noise of many dimensions never lies.
    """
    cosine_B = (a_BD * b_BD).sum(1) / (a_BD.norm(dim=1) * b_BD.norm(dim=1))
    angle_B1 = torch.arccos(cosine_B)[:, None]
    of_a_BF, of_b_BF = (1 - u_F) * angle_B1, u_F * angle_B1
    mixed_BFD = of_a_BF.sin()[..., None] * a_BD[:, None] + of_b_BF.sin()[..., None] * b_BD[:, None]
    return mixed_BFD / angle_B1.sin()[..., None]


def lerp(a_BD: torch.Tensor, b_BD: torch.Tensor, u_F: torch.Tensor) -> torch.Tensor:
    """On the straight line from a to b: (B, F, D)."""
    return torch.lerp(a_BD[:, None], b_BD[:, None], u_F[:, None])


def noise_digest(
    list_name: str, conditions: Sequence[Sequence[str]], seeds: int, shape: tuple[int, ...], draw: int = 0
) -> str:
    """12 hex digits of the first noise of every image of a list: two trials with the same are paired."""
    digest = hashlib.sha256()
    for seed in range(seeds):
        digest.update(KeyedNoise(list_name, list(enumerate(conditions)), seed, draw).draw(shape).numpy().tobytes())
    return digest.hexdigest()[:12]
