"""Which setting of timesteps, schedule, guidance, dropout, architecture and learning rate together is best?

    python study/run.py --study search

Optuna's TPE over all five factors and the learning rate. Every trial trains on seed 0; hopeless ones are pruned by
their validation accuracy, never by a loss. The best of many noisy scores is optimistically biased, so the five best
are trained again on three fresh seeds, and the best mean of these is the winner. Winner and baseline are then compared
on seeds that chose nothing, on the label sets that no training image shows. --trials N sets the number of suggestions.
"""

from runners.ddpm.config import TrialConfig
from study.design.space import Choice, Dimension, Range
from study.design.spec import LABELLED, StudySpec
from study.studies import architectures


def space(scale: str, baseline: TrialConfig) -> dict[str, Dimension]:
    """Field -> range; the learning rate spans a decade around the scale's."""
    models = [arm["model"] for arm in architectures.arms(scale, baseline).values()]
    return {
        "timesteps": Choice((500, 1000, 2000)),
        "schedule": Choice(("linear", "cosine", "squaredcos_cap_v2")),
        "guidance_scale": Range(1.0, 5.0, step=0.5),
        "drop_probability": Choice((0.0, 0.05, 0.1, 0.2, 0.5)),
        "model": Choice(tuple(models)),
        "lr": Range(baseline.lr / 5, baseline.lr * 2, log=True),
    }


STUDY = StudySpec(
    question="Which timesteps, schedule, guidance, dropout, architecture and learning rate together are best?",
    space=space,
    trials=30,
    answer_metric=("accuracy/unseen",),
    kinds=LABELLED,
    margin=0.05,
    margin_reason="one in twenty of what is asked for: less would not be worth a search",
)
