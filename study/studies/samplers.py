"""Which sampler, with how many steps and how much noise, gives the best samples for its cost?

    python study/run.py --study samplers

Ancestral DDPM (respaced) and DDIM with eta 0 to 1 over 10 to 1000 steps, scored against network evaluations and
seconds. All arms sample from one training per seed. The CPU scales stop earlier, because many guided steps of the
four lists take minutes per trial.
"""

from runners.config import Scalar
from runners.ddpm.config import TrialConfig
from study.design.spec import StudySpec

STEPS = {
    "smoke": (2,),
    "laptop": (10, 20, 50, 100),
    "workstation": (10, 20, 50),
    "gpu": (10, 20, 50, 100, 250, 1000),
    "paper": (10, 20, 50, 100, 250, 1000),
}
ETAS = (0.0, 0.25, 0.5, 0.75, 1.0)


def ddim(steps: int, eta: float, baseline: TrialConfig) -> str:
    """The one permitted spelling, in which defaults (eta=0.0, steps=50) are not written; its eps is the baseline's."""
    clipped = ["clipped_eps=True"] * ("clipped_eps=True" in baseline.sampler)
    written = clipped + [f"eta={eta}"] * (eta != 0) + [f"steps={steps}"] * (steps != 50)
    return f"ddim({', '.join(written)})" if written else "ddim"


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Arm name -> its sampler; ValueError when T has fewer steps than an arm."""
    steps = STEPS[scale]
    if baseline.timesteps < max(steps):
        raise ValueError(f"The samplers go to {max(steps)} steps: write --set timesteps={max(steps)} or more.")
    found: dict[str, dict[str, Scalar]] = {}
    for count in steps:
        # All T steps are spelt "ddpm".
        ancestral = "ddpm" if count == baseline.timesteps else f"ddpm(steps={count})"
        found[f"ddpm {count}"] = {"sampler": ancestral}
        found |= {f"ddim {count} eta={eta}": {"sampler": ddim(count, eta, baseline)} for eta in ETAS}
    return found


def contrasts(scale: str, baseline: TrialConfig) -> dict[str, dict[str, float]]:
    """Deterministic DDIM against ancestral DDPM at each number of steps; at the first one the table compares them."""
    return {f"eta = 0 against DDPM at {n} steps": {f"ddim {n} eta=0.0": 1, f"ddpm {n}": -1} for n in STEPS[scale][1:]}


STUDY = StudySpec(
    question="Which sampler, with how many steps and how much noise, gives the best samples for its cost?",
    arms=arms,
    contrasts=contrasts,
    margin=0.05,
    margin_reason="one in twenty of what is asked for: less is worth giving for half of the steps",
)
