"""Which beta schedule gives the best samples at equal compute?

    python study/run.py --study schedules

Three schedules, everything else equal: the same network, images, learning rate, noise and seeds. `linear` has
fixed end points, so its terminal SNR depends on T; the schedule sheet shows what it is.
"""

from study.design.spec import StudySpec

STUDY = StudySpec(
    question="Which beta schedule gives the best samples at equal compute?",
    factors={"schedule": ("linear", "cosine", "squaredcos_cap_v2")},
    baseline={"schedule": "linear"},
    # A report's values on the real data at 200 epochs, one training seed each, unguided and guided alike.
    published={
        "schedule=linear": {"accuracy/test": 0.6},
        "schedule=cosine": {"accuracy/test": 0.7},
        "schedule=squaredcos_cap_v2": {"accuracy/test": 0.88},
    },
    margin=0.05,
    margin_reason="half of the .1 that separates the nearest two schedules of a report",
)
