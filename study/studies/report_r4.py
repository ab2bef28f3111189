"""The fifth report: three schedules x three guidance scales.

    python study/run.py --study report_r4 --scale paper

UNet2DModel, condition dropped with p = .2, 200 epochs at batch 32, Adam at 1e-5 with cosine annealing, mixed precision.
The report finds no significant difference between s = 1, 1.5 and 2. Three trainings per seed.
"""

from study.design import replications as reports
from study.design.spec import LABELLED, StudySpec

SCHEDULES = ("linear", "cosine", "squaredcos_cap_v2")
SETTINGS = {
    f"R4 {schedule} s={s}": reports.Setting(
        "unet", 200, 32, 1e-5, 1000, schedule,
        drop_probability=0.2, lr_schedule="cosine", precision="bf16", guidance_scale=s,
    )
    for schedule in SCHEDULES
    for s in (1.0, 1.5, 2.0)
}  # fmt: skip
BASELINE = "R4 squaredcos_cap_v2 s=1.0"
# Guidance is compared within its schedule, schedules unguided.
AGAINST = {f"R4 {schedule} s={s}": f"R4 {schedule} s=1.0" for schedule in SCHEDULES for s in (1.5, 2.0)}

STUDY = StudySpec(
    question="Do schedule and guidance matter in the fifth report's setting?",
    kinds=LABELLED,
    arms=reports.arms(SETTINGS),
    baseline_arm=BASELINE,
    against=AGAINST,
    published={
        "R4 linear s=1.0": {"accuracy/test": 0.6},
        "R4 cosine s=1.0": {"accuracy/test": 0.7},
        BASELINE: {"accuracy/test": 0.8472, "accuracy/new_test": 0.9048},
    },
    notes=reports.NOTES,
    margin=0.05,
    margin_reason="half of the .1 that separates the report's nearest two schedules",
)
