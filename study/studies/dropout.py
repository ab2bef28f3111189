"""How often should the condition be dropped, with each drop probability at its best guidance scale?

    python study/run.py --study dropout

Drop probability crossed with s: at equal s a model that dropped more is guided differently, so equal s is the wrong
comparison. Every probability is also shown at its best s, chosen on the validation list. At probability 0 there is no
unconditional branch, and guiding it is measured and marked as what it is. 30 arms, 5 trainings per seed.
"""

import itertools

from runners.config import Scalar
from runners.ddpm.config import TrialConfig
from study.design.spec import LABELLED, StudySpec, arm_name
from study.studies.guidance import SCALES

PROBABILITIES = (0.0, 0.05, 0.1, 0.2, 0.5)
SMOKE = (0.0, 0.1), (1.0, 3.0)  # proves the path: with and without an unconditional branch, guided and not


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Every drop probability with every s; at scale smoke two of each."""
    crossed = itertools.product(*(SMOKE if scale == "smoke" else (PROBABILITIES, SCALES)))
    found: list[dict[str, Scalar]] = [{"drop_probability": p, "guidance_scale": s} for p, s in crossed]
    return {arm_name(arm): arm for arm in found}


STUDY = StudySpec(
    question="How often should the condition be dropped, with each drop probability at its best guidance scale?",
    kinds=LABELLED,
    arms=arms,
    baseline_arm="drop_probability=0.1 guidance_scale=1.0",
    baseline={"guidance_scale": 1.0},
    nuisance={"guidance_scale": SCALES},
    margin=0.05,
    margin_reason="one in twenty of what is asked for: less would not decide for a probability",
)
