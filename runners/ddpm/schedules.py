"""Beta schedules: one function each, `name(timesteps, ...) -> betas`, float64 array (T,). NumPy only.

A schedule added here can at once be written as `schedule="name(...)"`. Those that diffusers has too
(linear, scaled_linear, squaredcos_cap_v2, sigmoid) are equal to its to 1e-6.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runners import docstrings
from runners.config import Call, nearest

Betas = NDArray[np.float64]

TERMINAL = 0.05  # sqrt(alpha_bar_T) above which samples start visibly off the noise that was trained on


def linear(timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Betas:
    """Ho et al. 2020, section 4: end points fixed for T = 1000 and not rescaled with T."""
    return np.linspace(beta_start, beta_end, timesteps)


def linear_resampled(timesteps: int, reference: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Betas:
    """`linear` at `reference` steps, read at `timesteps` points: alpha_bar(t / T) and with it the terminal SNR no
    longer depend on T (log alpha_bar as a function of continuous time, Kingma et al. 2021, section 3.1)."""
    log_bar = np.concatenate([[0.0], np.cumsum(np.log1p(-linear(reference, beta_start, beta_end)))])
    at_T = np.interp(np.arange(timesteps + 1) / timesteps, np.arange(reference + 1) / reference, log_bar)
    betas_T: Betas = -np.expm1(np.diff(at_T))
    return betas_T


def linear_from_zero(timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Betas:
    """`linear` over T + 1 points, t = 0 .. T, of which the first two make one step: how the ContextUnet family counts,
    whose alpha_bar at t is the product over 0 .. t."""
    beta = np.linspace(beta_start, beta_end, timesteps + 1)
    return np.concatenate([[1 - (1 - beta[0]) * (1 - beta[1])], beta[2:]])


def scaled_linear(timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02) -> Betas:
    """Rombach et al. 2022, appendix E: linear in sqrt(beta)."""
    return np.linspace(beta_start**0.5, beta_end**0.5, timesteps) ** 2


def cosine(timesteps: int, offset: float = 0.008) -> Betas:
    """alpha_bar(u) = cos(pi/2 (u + offset) / (1 + offset)), not squared: one of the reports' schedules."""
    return _from_alpha_bar(timesteps, lambda u: np.cos((u + offset) / (1 + offset) * np.pi / 2))


def squaredcos_cap_v2(timesteps: int, offset: float = 0.008) -> Betas:
    """Nichol & Dhariwal 2021, eq. 17: alpha_bar(u) = cos^2(pi/2 (u + offset) / (1 + offset)), beta <= .999."""
    return _from_alpha_bar(timesteps, lambda u: np.cos((u + offset) / (1 + offset) * np.pi / 2) ** 2)


def sigmoid(timesteps: int, beta_start: float = 1e-4, beta_end: float = 0.02, tau: float = 1.0) -> Betas:
    """Xu et al. 2022 (GeoDiff), appendix: betas on a logistic from -6 to 6; `tau` widens its slope."""
    u = np.linspace(-6, 6, timesteps) / tau
    return beta_start + (beta_end - beta_start) / (1 + np.exp(-u))


def _from_alpha_bar(timesteps: int, alpha_bar: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Betas:
    """beta_t = 1 - alpha_bar((t + 1) / T) / alpha_bar(t / T), capped at .999 (Nichol & Dhariwal 2021, eq. 13)."""
    u = np.arange(timesteps + 1) / timesteps
    bars = alpha_bar(u)
    return np.minimum(1 - bars[1:] / bars[:-1], 0.999)


SCHEDULES: dict[str, Callable[..., Betas]] = {
    name: function
    for name, function in list(globals().items())
    if inspect.isfunction(function) and function.__module__ == __name__ and not name.startswith("_")
}


def betas(schedule: str, timesteps: int) -> Betas:
    """The betas of `schedule`, float64 (T,).

    Raises ValueError for an unknown schedule or argument, T < 2, or betas that leave (0, 1).
    """
    call = Call.parse(schedule)
    if call.name not in SCHEDULES:
        raise ValueError(f"Unknown schedule {call.name!r}{nearest(call.name, SCHEDULES)}")
    if timesteps < 2:
        raise ValueError(f"timesteps={timesteps} is too few: write timesteps=2 or more.")
    function = SCHEDULES[call.name]
    arguments = call.bind(function, given=("timesteps",))
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(function(timesteps, **arguments), dtype=np.float64)
    except TypeError as error:
        raise ValueError(f"The arguments of schedule={schedule!r} must be numbers ({error}).") from error
    if not (values.shape == (timesteps,) and np.all(values > 0) and np.all(values < 1)):
        raise ValueError(
            f"schedule={schedule!r} at timesteps={timesteps} has betas from {np.nanmin(values):.3g} to "
            f"{np.nanmax(values):.3g}: choose arguments that keep every beta inside (0, 1)."
        )
    return values


def definition(schedule: str) -> str:
    """What defines a schedule, in words: the first paragraph of its function's docstring."""
    words = (docstrings.of(SCHEDULES[Call.parse(schedule).name]) or "not defined here").strip().split("\n\n")[0]
    return " ".join(words.split()).rstrip(".")


def digest(beta_T: Betas) -> str:
    """12 hex digits of the betas in single precision: what two processors agree on."""
    return hashlib.sha256(np.asarray(beta_T, dtype=np.float32).tobytes()).hexdigest()[:12]


def alpha_bars(schedule: str, timesteps: int) -> NDArray[np.float64]:
    """alpha_bar_t = prod_{s <= t} (1 - beta_s), float64 (T,) (Ho et al. 2020, eq. 4)."""
    return bars_of(betas(schedule, timesteps))


def bars_of(beta_T: Betas) -> NDArray[np.float64]:
    """The running products of 1 - beta, float64 (T,)."""
    bars: NDArray[np.float64] = np.cumprod(1 - beta_T, dtype=np.float64)
    return bars


def log_snr(alpha_bar_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(alpha_bar / (1 - alpha_bar)) (Kingma et al. 2021, eq. 2)."""
    return np.log(alpha_bar_T) - np.log1p(-alpha_bar_T)
