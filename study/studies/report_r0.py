"""The first report: a ContextUnet, T = 400.

    python study/run.py --study report_r0 --scale paper

Three levels, 64 features, linear betas counted over T + 1 points, 150 epochs at batch 64 and 1e-4, no guidance.
"""

from study.design import replications as reports
from study.design.spec import LABELLED, StudySpec

SETTINGS = {"R0": reports.Setting("context_unet", 150, 64, 1e-4, 400, "linear_from_zero")}

STUDY = StudySpec(
    question="Does the first report's setting (ContextUnet, T = 400) reach its .643 on new_test?",
    kinds=LABELLED,
    arms=reports.arms(SETTINGS),
    published={"R0": {"accuracy/new_test": 0.643}},
    notes=reports.NOTES,
    margin=0.05,
    margin_reason="one in twenty of what is asked for",
)
