"""How strongly, and how soon, should the domain's gradient be reversed?

    python study/run.py --study adaptation_lambda
    python study/run.py --study adaptation_lambda --data digits --set source=mnist_m --set target=usps

lambda_p = maximum (2 / (1 + exp(-gamma p)) - 1) at progress p: gamma says how soon it rises, the maximum how far.
Ganin et al. 2016 take gamma 10 and 1. Nine trainings per seed. The target's test list answers; a choice by it would be
an oracle, and one by the source's validation list, the only one that adaptation has labels for, is blind to the target.
"""

from study.design.spec import StudySpec

STUDY = StudySpec(
    question="How strongly, and how soon, should the gradient of the domain classifier be reversed?",
    experiment="dann",
    kinds=("class",),
    metric="accuracy/target_test",
    fixed={"method": "dann", "lambda_schedule": "dann"},
    factors={"lambda_gamma": (2.5, 10.0, 40.0), "lambda_max": (0.3, 1.0, 3.0)},
    baseline={"lambda_gamma": 10.0, "lambda_max": 1.0},
    notes=("Scored are the weights of the last step.",),
    margin=0.05,
    margin_reason="a third of what adaptation is reported to gain on USPS: less would not decide for a setting",
)
