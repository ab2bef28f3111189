"""With which probability should the condition be dropped in training, each at its own best guidance?

    python study/run.py --study dropout

Drop probability crossed with s: at equal s a model that dropped more is guided differently, so equal s is the wrong
comparison. Every probability is also shown at its best s, chosen on the validation list. At probability 0 there is no
unconditional branch, and guiding it is measured and marked as what it is. 5 trainings a seed, 30 arms;
about 33 minutes on 2 cores by the dry run.
"""

from study.spec import StudySpec
from study.studies.guidance import SCALES

STUDY = StudySpec(
    question="With which probability should the condition be dropped, each at its best guidance?",
    factors={"drop_probability": (0.0, 0.05, 0.1, 0.2, 0.5)},
    nuisance={"guidance_scale": SCALES},
    baseline={"drop_probability": 0.1, "guidance_scale": 1.0},
)
