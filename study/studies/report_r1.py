"""The second report: T = 500, 1000 or 2000 at 50 epochs.

    python study/run.py --study report_r1 --scale paper

UNet2DModel, two-layer label encoder, squaredcos_cap_v2 (which reaches pure noise at any T), batch 32, 1e-4. The
report asks whether T = 2000 is worse because each t is trained less.
"""

from study.design import replications as reports
from study.design.spec import LABELLED, StudySpec

SETTINGS = {
    f"R1 T={T}": reports.Setting("unet", 50, 32, 1e-4, T, "squaredcos_cap_v2", encoder="mlp") for T in (500, 1000, 2000)
}

STUDY = StudySpec(
    question="Does T = 500, 1000 or 2000 matter in the second report's setting?",
    kinds=LABELLED,
    arms=reports.arms(SETTINGS),
    baseline_arm="R1 T=1000",
    published={
        "R1 T=500": {"accuracy/test": 0.76},
        "R1 T=1000": {"accuracy/test": 0.775},
        "R1 T=2000": {"accuracy/test": 0.69},
    },
    notes=reports.NOTES,
    margin=0.05,
    margin_reason="half of the .085 and more that the report found between its T, rounded up",
)
