"""Do the reports' settings give the reports' numbers, and are their differences larger than one evaluation's noise?

    python study/run.py --study reports --scale paper

Every setting on this task with a published number: R0, R1 (T = 500, 1000, 2000), R2, R4 (schedule x s). Each row is
compared within its report, and the reports through R1 at T = 1000. 8 trainings per seed.
"""

from study.design import replications as reports
from study.design.spec import LABELLED, StudySpec
from study.studies import report_r0, report_r1, report_r2, report_r4

PARTS = (report_r0, report_r1, report_r2, report_r4)

STUDY = StudySpec(
    question="Do the reports' settings give the reports' numbers, and are their differences larger than noise?",
    kinds=LABELLED,
    arms=reports.arms({name: setting for part in PARTS for name, setting in part.SETTINGS.items()}),
    baseline_arm="R1 T=1000",
    against=report_r4.AGAINST | {f"R4 {schedule} s=1.0": report_r4.BASELINE for schedule in ("linear", "cosine")},
    published={name: values for part in PARTS for name, values in part.STUDY.published.items()},
    notes=reports.NOTES,
    margin=0.05,
    margin_reason="half of the .085 that separates the reports' nearest settings, rounded up",
)
