"""Samplers: ancestral DDPM and DDIM as tables of coefficients, guidance in one batched forward.

Every sampler step is x <- a x0 + b eps + c x + sigma z with numbers that depend on the step alone; a sampler
is a function that returns those tables. Shapes: B conditions, S steps, K labels, C H W image.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners import memory, pulse
from runners.config import Call, TrialConfig, nearest
from runners.diffusion import guide, x0_and_eps
from runners.schedules import alpha_bars

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """Timesteps (S,), from noise to image, and the coefficients of each step, float64 (S,)."""

    t: NDArray[np.int64]
    x0: Floats
    eps: Floats
    xt: Floats
    sigma: Floats


def ddpm(alpha_bar_T: Floats, steps: int = 0) -> Steps:
    """Ancestral sampling with the posterior variance (Ho et al. 2020, eqs. 6-7); `steps` respaces it
    (Nichol & Dhariwal 2021, section 4), 0 takes all T."""
    t = _trailing(len(alpha_bar_T), steps or len(alpha_bar_T))
    ab, ab_next = _bars(alpha_bar_T, t)
    alpha = ab / ab_next
    x0 = np.sqrt(ab_next) * (1 - alpha) / (1 - ab)
    xt = np.sqrt(alpha) * (1 - ab_next) / (1 - ab)
    sigma = np.sqrt((1 - ab_next) / (1 - ab) * (1 - alpha))
    return Steps(t, x0, np.zeros_like(x0), xt, sigma)


def ddim(alpha_bar_T: Floats, steps: int = 50, eta: float = 0.0) -> Steps:
    """Song et al. 2021 (DDIM), eqs. 12 and 16; eta = 0 is deterministic, 1 has the ancestral variance."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta} leaves [0, 1]: write 0.0 (deterministic) to 1.0 (ancestral variance).")
    t = _trailing(len(alpha_bar_T), steps)
    ab, ab_next = _bars(alpha_bar_T, t)
    sigma = eta * np.sqrt((1 - ab_next) / (1 - ab)) * np.sqrt(1 - ab / ab_next)
    eps = np.sqrt(np.maximum(1 - ab_next - sigma**2, 0))
    return Steps(t, np.sqrt(ab_next), eps, np.zeros_like(eps), sigma)


SAMPLERS: dict[str, Callable[..., Steps]] = {"ddpm": ddpm, "ddim": ddim}


def sampler_steps(sampler: str, alpha_bar_T: Floats) -> Steps:
    """The steps of `"ddim(steps=50)"`. ValueError for an unknown sampler, argument, or more steps than T."""
    call = Call.parse(sampler)
    if call.name not in SAMPLERS:
        raise ValueError(f"Unknown sampler {call.name!r}{nearest(call.name, SAMPLERS)}")
    return SAMPLERS[call.name](alpha_bar_T, **call.bind(SAMPLERS[call.name], given=("alpha_bar_T",)))


def _trailing(timesteps: int, steps: int) -> NDArray[np.int64]:
    """ "Trailing" spacing, which starts at T - 1, the noisiest step the training saw (Lin et al. 2023, table 2)."""
    if not 1 <= steps <= timesteps:
        raise ValueError(f"steps={steps} must be 1 to timesteps={timesteps}: a sampler cannot visit more steps.")
    return np.round(np.arange(timesteps, 0, -timesteps / steps)).astype(np.int64)[:steps] - 1


def _bars(alpha_bar_T: Floats, t: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """alpha_bar at each visited timestep and at the next one; after the last one the image is clean."""
    ab = alpha_bar_T[t]
    return ab, np.append(ab[1:], 1.0)


class Noise(Protocol):
    """What a sampler draws from: first the start of every image, then the noise of each step that adds some."""

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next noise, float32 (B, *shape), on the CPU."""
        ...


class KeyedNoise:
    """Normal noise from one CPU generator a condition, keyed by (list, condition, sampling seed).

    So arms are paired (the same picture's noise is the same in all of them), and a seed means the same on
    every device and in every batch.
    """

    def __init__(self, list_name: str, conditions: Sequence[tuple[int, Sequence[str]]], seed: int) -> None:
        """`conditions`: (position in the list, labels)."""
        self.generators = []
        for position, labels in conditions:
            text = f"{list_name}|{position}|{','.join(sorted(labels))}|{seed}"
            key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
            self.generators.append(torch.Generator().manual_seed(key))

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next noise, float32 (B, *shape), on the CPU."""
        return torch.stack([torch.randn(shape, generator=generator) for generator in self.generators])


class InterpolatedNoise:
    """Between two noises of each condition in `frames` steps: only the start of the images of a row differs.

    The noise that a stochastic sampler adds on the way is one for all frames, else every frame would differ by chance.
    """

    def __init__(self, first: Noise, last: Noise, frames: int) -> None:
        self.first, self.last, self.frames = first, last, frames
        self.started = False

    def draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """The next noise, float32 (B * frames, *shape), on the CPU; the frames of a condition are neighbours."""
        first = self.first.draw(shape)
        if self.started:
            return first.repeat_interleave(self.frames, 0)
        self.started = True
        between = slerp(first.flatten(1), self.last.draw(shape).flatten(1), torch.linspace(0, 1, self.frames))
        return between.view(-1, *shape)


def slerp(a_BD: torch.Tensor, b_BD: torch.Tensor, u_F: torch.Tensor) -> torch.Tensor:
    """On the great circle from a to b (Shoemake 1985; Song et al. 2021 (DDIM), appendix D.5): (B, F, D).

    A straight line would pass the centre, where normal noise of many dimensions never lies.
    """
    cosine_B = (a_BD * b_BD).sum(1) / (a_BD.norm(dim=1) * b_BD.norm(dim=1))
    angle_B1 = torch.arccos(cosine_B)[:, None]
    of_a_BF, of_b_BF = (1 - u_F) * angle_B1, u_F * angle_B1
    mixed_BFD = of_a_BF.sin()[..., None] * a_BD[:, None] + of_b_BF.sin()[..., None] * b_BD[:, None]
    return mixed_BFD / angle_B1.sin()[..., None]


def noise_digest(list_name: str, conditions: Sequence[Sequence[str]], seeds: int, shape: tuple[int, ...]) -> str:
    """12 hex digits of the first noise of every image of a list: two trials with the same are paired."""
    digest = hashlib.sha256()
    for seed in range(seeds):
        digest.update(KeyedNoise(list_name, list(enumerate(conditions)), seed).draw(shape).numpy().tobytes())
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class SampleState:
    """After step `step` of `steps`: the sample and the current estimate of x0, float32 (B, C, H, W)."""

    step: int
    steps: int
    t: int
    x_BCHW: torch.Tensor
    x0_BCHW: torch.Tensor


@torch.no_grad()
def sample(
    model: nn.Module,
    c_BK: torch.Tensor,
    noise: Noise,
    image_shape: tuple[int, int, int],
    alpha_bar_T: Floats,
    sampler: str,
    prediction: str,
    guidance_scale: float,
    autocast: bool = False,
) -> Iterator[SampleState]:
    """Sample one image a condition, on the device of `c_BK`; yields the state after every step.

    The estimate of x0 is clipped to [-1, 1] before it is used (Ho et al. 2020, section 3.2), as in diffusers.
    """
    steps = sampler_steps(sampler, alpha_bar_T)
    device = c_BK.device
    x = noise.draw(image_shape).to(device)
    both = guidance_scale not in (0.0, 1.0)
    c_in = torch.cat([torch.zeros_like(c_BK), c_BK]) if both else c_BK * float(guidance_scale != 0)
    for step, t in enumerate(steps.t):
        x_in = torch.cat([x, x]) if both else x
        t_B = torch.full((len(x_in),), int(t), device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            output = model(x_in, t_B, c_in)
        output = output.float()
        if both:
            # The targets are affine in eps at a fixed x_t, so guiding any of them is guiding eps.
            output_u, output_c = output.chunk(2)
            output = guide(output_u, output_c, guidance_scale)
        x0, eps = x0_and_eps(prediction, output, x, float(alpha_bar_T[t]))
        x0 = x0.clamp(-1, 1)
        x = steps.x0[step] * x0 + steps.eps[step] * eps + steps.xt[step] * x
        if steps.sigma[step] > 0:
            x = x + steps.sigma[step] * noise.draw(image_shape).to(device)
        pulse.beat()
        yield SampleState(step + 1, len(steps.t), int(t), x, x0)


def sample_as(config: TrialConfig, model: nn.Module, c_BK: torch.Tensor, noise: Noise) -> Iterator[SampleState]:
    """`sample` with the schedule, sampler, target, guidance and precision of `config`."""
    return sample(
        model,
        c_BK,
        noise,
        (3, config.image_size, config.image_size),
        alpha_bars(config.schedule, config.timesteps),
        config.sampler,
        config.prediction,
        config.guidance_scale,
        config.precision == "bf16",
    )


def to_uint8(x_BCHW: torch.Tensor) -> NDArray[np.uint8]:
    """[-1, 1] to 8 bits, clamped and rounded as a person sees it: uint8 (B, H, W, C)."""
    scaled = (x_BCHW.float().clamp(-1, 1) + 1) * 127.5
    images: NDArray[np.uint8] = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return images


def chunk_of(device: torch.device) -> int:
    """Conditions that go through the network together."""
    # On a GPU a step of 512 guided images fills the device; on a CPU larger batches only leave the caches.
    return 512 if device.type == "cuda" else 64


def sample_list(
    config: TrialConfig,
    model: nn.Module,
    list_name: str,
    conditions: Sequence[Sequence[str]],
    c_NK: torch.Tensor,
    seeds: int,
    chunk: int = 0,
) -> NDArray[np.uint8]:
    """One image a condition and sampling seed, with the sampler and guidance of `config`: uint8 (seeds, N, H, W, C).

    `c_NK` are the conditions as multi-hot rows on the model's device; `chunk` conditions go through the network
    together (0: by device, and half as many each time that memory runs out).
    """
    if not chunk:
        attempt = partial(sample_list, config, model, list_name, conditions, c_NK, seeds)
        return memory.halving(attempt, chunk_of(c_NK.device), c_NK.device)[0]
    numbered = list(enumerate(conditions))
    passes = []
    for seed in range(seeds):
        images = []
        for start in range(0, len(numbered), chunk):
            part = slice(start, start + chunk)
            noise = KeyedNoise(list_name, numbered[part], seed)
            images.append(_last(sample_as(config, model, c_NK[part], noise)))
        passes.append(np.concatenate(images))
    return np.stack(passes)


def interpolate(
    config: TrialConfig, model: nn.Module, conditions: Sequence[Sequence[str]], c_NK: torch.Tensor, frames: int
) -> NDArray[np.uint8]:
    """Samples of each condition whose start moves from one noise to another: uint8 (N, frames, H, W, C)."""
    first, last = (KeyedNoise("interpolation", list(enumerate(conditions)), seed) for seed in (0, 1))
    noise = InterpolatedNoise(first, last, frames)
    images = _last(sample_as(config, model, c_NK.repeat_interleave(frames, 0), noise))
    return images.reshape(len(conditions), frames, *images.shape[1:])


def _last(states: Iterator[SampleState]) -> NDArray[np.uint8]:
    """The images that sampling ends with, uint8 (B, H, W, C)."""
    return to_uint8(deque(states, maxlen=1)[0].x_BCHW)
