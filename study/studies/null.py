"""Does the machinery find a difference where there is none?

    python study/run.py --study null

The same setting under two names, trained independently: the second arm's seeds are shifted by 1000. Whatever differs is
chance, so the verdict should be inconclusive or equivalent; in one study of twenty it will not be, which is what 95 %
means.
"""

from study.design.spec import StudySpec

STUDY = StudySpec(
    question="Does the machinery find a difference where there is none?",
    arms={"one": {}, "the same again": {"seed": 1000}},
    notes=("Both arms are one setting with different training seeds: the difference is chance.",),
    margin=0.05,
    margin_reason="the same as in the studies that this one stands for",
)
