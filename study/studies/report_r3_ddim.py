"""The fourth report's faces: an unconditional model, sampled by DDIM with more and more noise.

    python study/run.py --study report_r3_ddim                                      the built-in digits, without labels
    python study/run.py --study report_r3_ddim --data faces.npz --task images       faces of your own

The same noises with eta = 0, .25, .5, .75 and 1 (the figure of samples from the same noise: rows eta, columns noise),
and between two noises on the great circle and on the straight line, with the distances between neighbours. One training
per seed. The report used a trained network of its course; here it is the scale's.
"""

from runners.config import Scalar
from runners.ddpm.config import TrialConfig
from study.design.spec import StudySpec
from study.studies.samplers import ETAS, ddim

STEPS = {"smoke": 2, "laptop": 20, "workstation": 20, "gpu": 50, "paper": 50}


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Arm name -> sampler."""
    return {f"eta={eta:g}": {"sampler": ddim(STEPS[scale], eta, baseline)} for eta in ETAS}


STUDY = StudySpec(
    question="What does DDIM's eta change in samples of an unconditional model?",
    kinds=("none",),
    fixed={"data": "digits(labels=False)"},
    arms=arms,
    baseline_arm="eta=0",
)
