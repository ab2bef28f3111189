"""Samplers: ancestral DDPM and DDIM as tables of coefficients, guidance in one batched forward.

Every sampler step is x <- a x0 + b eps + c x + sigma z with numbers that depend on the step alone; a sampler
is a function that returns those tables. Shapes: B conditions, S steps, K labels, C H W image.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runners.config import Call, nearest
from runners.ddpm import graphs
from runners.ddpm.config import TrialConfig
from runners.ddpm.diffusion import guide, x0_and_eps
from runners.ddpm.noise import InterpolatedNoise, KeyedNoise, Mix, Noise, ahead, joined, slerp
from runners.ddpm.precision import forward
from runners.ddpm.schedules import alpha_bars
from runners.process import heartbeat, memory
from runners.process.device import synchronize

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
WARM_UP = 2  # steps before sampling's time is taken
WORTH_A_GRAPH = 20  # steps; recording one takes as long as some steps


@dataclass(frozen=True)
class Steps:
    """Timesteps (S,), from noise to image, and the coefficients of each step, float64 (S,)."""

    t: NDArray[np.int64]
    x0: Floats
    eps: Floats
    xt: Floats
    sigma: Floats

    def coefficients(self, alpha_bar_T: Floats) -> torch.Tensor:
        """float32 (S, 6): sqrt(alpha_bar) and sqrt(1 - alpha_bar) of each step, then those of x0, eps, x and z."""
        ab = alpha_bar_T[self.t]
        columns = [np.sqrt(ab), np.sqrt(1 - ab), self.x0, self.eps, self.xt, self.sigma]
        return torch.from_numpy(np.stack(columns, 1)).float()


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


def ddim(alpha_bar_T: Floats, steps: int = 50, eta: float = 0.0, clipped_eps: bool = False) -> Steps:
    """Song et al. 2021 (DDIM), eqs. 12 and 16; eta = 0 is deterministic, 1 has the ancestral variance.

    `clipped_eps`: eps is what x_t and the clipped x0 leave for it, as with `use_clipped_model_output` of diffusers and
    in GLIDE (Nichol et al. 2021), and not the network's own, which carries what was clipped to the next step.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta} leaves [0, 1]: write 0.0 (deterministic) to 1.0 (ancestral variance).")
    t = _trailing(len(alpha_bar_T), steps)
    ab, ab_next = _bars(alpha_bar_T, t)
    sigma = eta * np.sqrt((1 - ab_next) / (1 - ab)) * np.sqrt(1 - ab / ab_next)
    eps = np.sqrt(np.maximum(1 - ab_next - sigma**2, 0))
    if clipped_eps:  # (x_t - sqrt(ab) x0) / sqrt(1 - ab) in its place
        return Steps(t, np.sqrt(ab_next) - eps * np.sqrt(ab / (1 - ab)), 0 * eps, eps / np.sqrt(1 - ab), sigma)
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
    network: nn.Module,
    c_BK: torch.Tensor,
    noise: Noise,
    image_shape: tuple[int, int, int],
    alpha_bar_T: Floats,
    sampler: str,
    prediction: str,
    guidance_scale: float,
    at_precision: str = "fp32",
) -> Generator[SampleState, None, None]:
    """Sample one image a condition, on the device of `c_BK`; yields the state after every step.

    `network` is what `precision.working` made. The estimate of x0 is clipped to [-1, 1] before it is used (Ho et al.
    2020, section 3.2), as in diffusers. On a GPU the host only queues: coefficients are tables on the device, noise is
    drawn ahead, and a step is one CUDA graph.
    """
    steps, device = sampler_steps(sampler, alpha_bar_T), c_BK.device
    t_S, rows = torch.from_numpy(steps.t).to(device), steps.coefficients(alpha_bar_T).to(device)
    stochastic = steps.sigma > 0
    step: Callable[..., tuple[torch.Tensor, ...]] = _Step(network, c_BK, prediction, guidance_scale, at_precision)
    if len(t_S) > WORTH_A_GRAPH:
        step = graphs.replayed(step, device)
    with ahead(noise, image_shape, 1 + int(stochastic.sum()), device) as draws:
        x = next(draws)
        still = [torch.zeros_like(x)] if stochastic.any() else []  # the noise of a step that adds none
        for number, t in enumerate(steps.t):
            z = [next(draws)] if stochastic[number] else still
            x, x0 = step(x, t_S[number], rows[number], *z)
            heartbeat.tick()
            yield SampleState(number + 1, len(t_S), int(t), x, x0)


class _Step:
    """x_t -> x at the next timestep, and the estimate of x0. What differs from step to step are tensors: x, t (), the
    row of coefficients (6,) and, where the sampler adds any, the noise z."""

    def __init__(
        self, network: nn.Module, c_BK: torch.Tensor, prediction: str, guidance_scale: float, at_precision: str
    ) -> None:
        self.network, self.prediction, self.at_precision = network, prediction, at_precision
        self.scale = guidance_scale
        self.both = guidance_scale not in (0.0, 1.0)
        unconditional = torch.zeros_like(c_BK)
        self.c_in = torch.cat([unconditional, c_BK]) if self.both else c_BK if guidance_scale else unconditional

    def __call__(
        self, x: torch.Tensor, t: torch.Tensor, row: torch.Tensor, *z: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        signal, noise, of_x0, of_eps, of_xt, sigma = row.unbind()
        x_in = torch.cat([x, x]) if self.both else x
        output = forward(self.network, self.at_precision, x_in, t.repeat(len(x_in)), self.c_in)
        if self.both:
            # The targets are affine in eps at a fixed x_t, so guiding any of them is guiding eps.
            output_u, output_c = output.chunk(2)
            output = guide(output_u, output_c, self.scale)
        x0, eps = x0_and_eps(self.prediction, output, x, signal, noise)
        x0 = x0.clamp(-1, 1)
        x = of_x0 * x0 + of_eps * eps + of_xt * x
        return (x + sigma * z[0] if z else x), x0


def sample_as(
    config: TrialConfig, network: nn.Module, c_BK: torch.Tensor, noise: Noise
) -> Generator[SampleState, None, None]:
    """`sample` with the schedule, sampler, target, guidance and precision of `config`."""
    return sample(
        network,
        c_BK,
        noise,
        (3, config.image_size, config.image_size),
        alpha_bars(config.schedule, config.timesteps),
        config.sampler,
        config.prediction,
        config.guidance_scale,
        config.precision,
    )


def steps_of(config: TrialConfig) -> Steps:
    """The steps that the sampler of `config` takes."""
    return sampler_steps(config.sampler, alpha_bars(config.schedule, config.timesteps))


def to_uint8(x_BCHW: torch.Tensor) -> Pixels:
    """[-1, 1] to 8 bits, clamped and rounded as a person sees it: uint8 (B, H, W, C)."""
    scaled = (x_BCHW.float().clamp(-1, 1) + 1) * 127.5
    images: Pixels = scaled.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return images


def chunk_of(device: torch.device, image_size: int) -> int:
    """Conditions that go through the network together."""
    # On a GPU a step of 512 guided images fills the device; on a CPU larger batches only leave the caches.
    return 512 if device.type == "cuda" else max(1, 64 * min(32, image_size) ** 2 // image_size**2)


@dataclass(frozen=True)
class Wanted:
    """A list of N conditions of which images are wanted; `c_NK` are they as multi-hot rows on the network's device."""

    name: str
    conditions: Sequence[Sequence[str]]
    c_NK: torch.Tensor


@dataclass(frozen=True)
class Part:
    """The next images of all that are wanted, uint8 (B, H, W, C); how many are `done` with them, of how many.

    `passes`: images that went through the network for them; `chunk`: how many conditions at most went at once.
    """

    images_BHWC: Pixels
    done: int
    total: int
    passes: int
    chunk: int


def sample_parts(
    config: TrialConfig, network: nn.Module, wanted: Sequence[Wanted], seeds: int, chunk: int = 0, first: int = 0
) -> Iterator[Part]:
    """One image a condition and sampling seed, `first` to `seeds` - 1, of every list, with the sampler and guidance of
    `config`: list after list, of each seed after seed.

    `chunk` conditions go through the network together, of whatever list and seed (0: by device and image size), and
    half as many from each time on that memory runs out.
    """
    device = wanted[0].c_NK.device
    runs = [(each, seed) for each in wanted for seed in range(first, seeds)]
    places = [(run, position) for run, (each, _) in enumerate(runs) for position in range(len(each.conditions))]
    done, size = 0, chunk or chunk_of(device, config.image_size)
    while done < len(places):

        def attempt(size: int, rest: list[tuple[int, int]] = places[done:]) -> tuple[Pixels, int]:
            noises, rows = [], []
            for run, together in groupby(rest[:size], lambda place: place[0]):
                (each, seed), positions = runs[run], [position for _, position in together]
                numbered = [(p, each.conditions[p]) for p in positions]
                noises.append(KeyedNoise(each.name, numbered, seed, config.noise_seed))
                rows.append(each.c_NK[positions])
            with _counted(network, device) as passes:
                images_BHWC = _last(sample_as(config, network, torch.cat(rows), joined(noises)))
                return images_BHWC, int(passes)

        (images_BHWC, passes), size = memory.halving(attempt, size, device)
        done += len(images_BHWC)
        yield Part(images_BHWC, done, len(places), passes, size)


def warm_up(config: TrialConfig, network: nn.Module, wanted: Sequence[Wanted], seeds: int, chunk: int = 0) -> float:
    """Take the first steps of each size of chunk that `sample_parts` will, and forget them: libraries are loaded, and
    cuDNN has found its kernels. Returns the seconds that it took; no image depends on it."""
    device, c_NK = wanted[0].c_NK.device, torch.cat([each.c_NK for each in wanted])
    total = seeds * len(c_NK)
    size = min(chunk or chunk_of(device, config.image_size), total)
    start = time.perf_counter()

    def steps(count: int) -> None:
        noise = KeyedNoise("warm-up", [(position, ()) for position in range(count)], 0)
        c_BK = c_NK[torch.arange(count, device=device) % len(c_NK)]
        with closing(sample_as(config, network, c_BK, noise)) as states:
            deque(islice(states, WARM_UP), maxlen=0)

    for count in filter(None, (size, total % size)):
        memory.halving(steps, count, device)
    synchronize(device)
    return time.perf_counter() - start


@contextmanager
def _counted(network: nn.Module, device: torch.device) -> Iterator[torch.Tensor]:
    """How many images go through the network meanwhile, (): counted on the device, as a replayed graph does too."""
    passes = torch.zeros((), dtype=torch.long, device=device)

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        passes.add_(len(inputs[0]))

    hook = network.register_forward_pre_hook(count)
    try:
        yield passes
    finally:
        hook.remove()


def gathered(parts: Sequence[Part], wanted: Sequence[Wanted], seeds: int) -> dict[str, Pixels]:
    """The images of all parts by list: uint8 (seeds, N, H, W, C) each."""
    images = np.concatenate([part.images_BHWC for part in parts])
    ends = np.cumsum([seeds * len(each.conditions) for each in wanted])
    by_list = np.split(images, ends[:-1])
    return {each.name: found.reshape(seeds, -1, *images.shape[1:]) for each, found in zip(wanted, by_list, strict=True)}


def sample_list(
    config: TrialConfig,
    network: nn.Module,
    list_name: str,
    conditions: Sequence[Sequence[str]],
    c_NK: torch.Tensor,
    seeds: int,
    chunk: int = 0,
) -> Pixels:
    """`sample_parts` of one list: uint8 (seeds, N, H, W, C)."""
    wanted = [Wanted(list_name, conditions, c_NK)]
    return gathered(list(sample_parts(config, network, wanted, seeds, chunk)), wanted, seeds)[list_name]


def interpolate(
    config: TrialConfig,
    network: nn.Module,
    conditions: Sequence[Sequence[str]],
    c_NK: torch.Tensor,
    frames: int,
    mix: Mix = slerp,
) -> Pixels:
    """Samples of each condition whose start moves from one noise to another: uint8 (N, frames, H, W, C)."""
    first, last = (KeyedNoise("interpolation", list(enumerate(conditions)), seed) for seed in (0, 1))
    noise = InterpolatedNoise(first, last, frames, mix)
    images = _last(sample_as(config, network, c_NK.repeat_interleave(frames, 0), noise))
    return images.reshape(len(conditions), frames, *images.shape[1:])


def _last(states: Iterator[SampleState]) -> Pixels:
    """The images that sampling ends with, uint8 (B, H, W, C)."""
    return to_uint8(deque(states, maxlen=1)[0].x_BCHW)
