"""The fourth report's network and samplers, on these scenes: ContextUnet with two levels, guidance, DDIM.

    python study/run.py --study report_r3 --scale paper

Its digits are another data set, so there is no number to compare with: what is repeated is the network (two levels, 256
features, T = 400, condition dropped with p = .1 for whole samples), guidance (1 + w) eps_c - w eps_u, which is
s = 1 + w, and DDIM with eta 0 to 1 from the same noise. One training per seed.
"""

from runners.config import Scalar
from runners.ddpm.config import TrialConfig
from study.design import replications as reports
from study.design.spec import LABELLED, StudySpec
from study.studies.samplers import ETAS, ddim

SETTING = reports.Setting(
    "context_unet(features=256, levels=2)", 100, 256, 1e-4, 400, "linear_from_zero", drop_probability=0.1
)
GUIDED = {"w=0": 1.0, "w=0.5": 1.5, "w=2": 3.0}
DDIM_STEPS = {"smoke": 2, "laptop": 20, "gpu": 50, "paper": 50}


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Guidance with the ancestral sampler, then eta with DDIM at w = 0."""
    setting = SETTING.changes(scale, baseline)
    found = {f"R3 {name}": setting | {"guidance_scale": s} for name, s in GUIDED.items()}
    return found | {f"R3 DDIM eta={eta}": setting | {"sampler": ddim(DDIM_STEPS[scale], eta)} for eta in ETAS}


STUDY = StudySpec(
    question="What do guidance and DDIM's eta change in the fourth report's setting?",
    kinds=LABELLED,
    arms=arms,
    baseline_arm="R3 w=0",
    notes=reports.NOTES,
    margin=0.05,
    margin_reason="one in twenty of what is asked for",
)
