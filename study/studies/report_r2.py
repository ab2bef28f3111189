"""The third report: one Linear label encoder, a small learning rate.

    python study/run.py --study report_r2 --scale paper

UNet2DModel, squaredcos_cap_v2, T = 1000, AdamW at 1e-5 and batch 20, the checkpoint of epoch 28 of 50: with a constant
learning rate that is a training of 28 epochs.
"""

from study.design import replications as reports
from study.design.spec import LABELLED, StudySpec

SETTINGS = {"R2": reports.Setting("unet", 28, 20, 1e-5, 1000, "squaredcos_cap_v2", weight_decay=0.01)}

STUDY = StudySpec(
    question="Does the third report's setting reach its .686 on test and .722 on new_test?",
    kinds=LABELLED,
    arms=reports.arms(SETTINGS),
    published={"R2": {"accuracy/test": 0.686, "accuracy/new_test": 0.722}},
    notes=reports.NOTES,
    margin=0.05,
    margin_reason="one in twenty of what is asked for",
)
