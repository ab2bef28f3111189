"""The fourth report's domain adaptation: three methods, from MNIST-M to SVHN and to USPS.

    python study/run.py --study report_r3_dann                      the built-in digits stand in
    python study/run.py --study report_r3_dann --data digits        a folder of the domains mnist_m, svhn and usps

Trained on the source, adapted with a domain-adversarial network (Ganin et al. 2016), trained on the target; each scored
on test images of the target. Without --data, digits on photographs are the source, synthetic street numbers stand in
for SVHN and plain digits for USPS. Six trainings per seed, five seeds.
"""

from runners.config import Scalar
from runners.dann import tasks
from runners.dann.config import TrialConfig
from study.design.spec import StudySpec

METHODS = {"source only": "source_only", "DANN": "dann", "target only": "target_only"}
# Scenario -> what its target may be called in a folder, and the built-in stand-in.
TARGETS = {"street numbers": ("svhn", tasks.STREET), "plain digits": ("usps", tasks.PLAIN)}
SOURCES = ("mnist_m", "mnistm", "mnist-m", tasks.PHOTO)
# Accuracy in the report's table, columns MNIST-M -> SVHN and MNIST-M -> USPS.
REPORTED = {
    "source only": {"street numbers": 0.3125, "plain digits": 0.683},
    "DANN": {"street numbers": 0.443, "plain digits": 0.85},
    "target only": {"street numbers": 0.918, "plain digits": 0.972},
}


# Adaptation against the source alone, the target's labels against adaptation; one scenario is no reference of another.
AGAINST = (
    {f"DANN, {scenario}": f"source only, {scenario}" for scenario in TARGETS}
    | {f"target only, {scenario}": f"DANN, {scenario}" for scenario in TARGETS}
    | {"source only, street numbers": ""}
)


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Every method with every scenario. Raises ValueError for a folder that lacks one of the three domains."""
    source = _named(baseline, SOURCES)
    return {
        f"{title}, {scenario}": {"method": method, "source": source, "target": _named(baseline, names)}
        for scenario, names in TARGETS.items()
        for title, method in METHODS.items()
    }


def crosstab(scale: str, baseline: TrialConfig) -> dict[str, tuple[str, str]]:
    """The report's own table: rows are methods, columns scenarios."""
    source = _named(baseline, SOURCES)
    return {
        f"{title}, {scenario}": (title, f"{source} -> {_named(baseline, names)}")
        for scenario, names in TARGETS.items()
        for title in METHODS
    }


def _named(baseline: TrialConfig, wanted: tuple[str, ...]) -> str:
    """The domain of the data that has one of these names, whatever its case."""
    known = {name.casefold(): name for name in tasks.parse(baseline.data).names}
    found = next((known[name] for name in wanted if name in known), "")
    if not found:
        raise ValueError(
            f"report_r3_dann is about mnist_m, svhn and usps, and --data has no {wanted[0]} (it has "
            f"{', '.join(known.values())}): add it, or write --study adaptation_lambda for other domains."
        )
    return found


STUDY = StudySpec(
    question="How much of the way from a classifier trained on another domain to one trained on the target does "
    "domain-adversarial training go?",
    experiment="dann",
    kinds=("class",),
    metric="accuracy/target_test",
    arms=arms,
    baseline_arm="source only, plain digits",
    against=AGAINST,
    seeds=5,  # trainings on the source alone differ by .1 on another domain: of three, intervals hold everything
    published={
        f"{method}, {scenario}": {"accuracy/target_test": value}
        for method, row in REPORTED.items()
        for scenario, value in row.items()
    },
    published_on="domains",
    crosstab=crosstab,
    notes=(
        "Scored are the weights of the last step. accuracy_oracle is of the checkpoint that is best on the target's "
        "validation images: a choice that takes labels which adaptation does not have.",
        "Settings are the report's at scale paper as far as it names them; elsewhere the training is shorter and the "
        "network smaller. A published value is one training.",
    ),
    margin=0.05,
    margin_reason="a third of the .167 that the report finds between the source alone and adaptation on USPS",
)
