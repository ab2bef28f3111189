"""How long should the training be, from a quarter of the scale's images to twice as many?

    python study/run.py --study training_length

Every length is a training of its own, whose learning rate falls to 0 at its end: a point on the curve of a longer
training is read before its rate has fallen. The half-life of the weight average keeps its share of the length.
"""

from runners.config import Scalar
from runners.ddpm.config import TrialConfig
from study.design.spec import StudySpec

LENGTHS = {"a quarter as long": 0.25, "half as long": 0.5, "the scale's length": 1.0, "twice as long": 2.0}


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Arm name -> its length."""
    return {
        name: {
            "total_images": round(baseline.total_images * share),
            "ema_halflife_images": round(baseline.ema_halflife_images * share),
        }
        for name, share in LENGTHS.items()
    }


STUDY = StudySpec(
    question="How long should the training be, from a quarter of the scale's images to twice as many?",
    arms=arms,
    baseline_arm="the scale's length",
    contrasts={"half against a quarter": {"half as long": 1, "a quarter as long": -1}},
    notes=("Twice the images take twice the time: arms are not equal in compute, which is the question.",),
    margin=0.05,
    margin_reason="one in twenty of what is asked for: less is not worth twice the time",
)
