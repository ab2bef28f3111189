"""The fourth report's digits: a ContextUnet with two levels, T = 400, guided with w = s - 1.

    python study/run.py --study report_r3                       the built-in digits
    python study/run.py --study report_r3 --data mnist.npz      digits of your own

256 features, linear betas, 100 epochs at batch 256 and 1e-4, the condition dropped with p = .1 for whole samples;
(1 + w) eps_c - w eps_u is guidance with s = 1 + w. Pictures: ten digits with ten noises each, and the reverse process
of the first 0. One training per seed.
"""

from runners.config import Scalar
from runners.ddpm.config import TrialConfig
from study.design import replications as reports
from study.design.spec import StudySpec

EPOCHS, IMAGES, SIDE = 100, 60_000, 28  # MNIST's training images
SETTING = reports.Setting(
    "context_unet(features=256, levels=2)",
    EPOCHS,
    256,
    1e-4,
    400,
    "linear_from_zero",
    drop_probability=0.1,
    epoch=IMAGES,
    longest=EPOCHS,
    shrinks=True,
)
GUIDED = {"w=0": 1.0, "w=0.5": 1.5, "w=2": 3.0}


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Guidance with the ancestral sampler."""
    setting = SETTING.changes(scale, baseline) | ({"image_size": SIDE} if scale == "paper" else {})
    return {f"R3 {name}": setting | {"guidance_scale": s} for name, s in GUIDED.items()}


STUDY = StudySpec(
    question="What does guidance change in the fourth report's setting, digits of ten classes?",
    kinds=("class",),
    fixed={"data": "digits"},
    arms=arms,
    baseline_arm="R3 w=0",
    notes=reports.NOTES[:1],
    margin=0.05,
    margin_reason="one in twenty of what is asked for",
)
