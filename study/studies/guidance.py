"""How much classifier-free guidance?

    python study/run.py --study guidance

s of eps_u + s (eps_c - eps_u): 0 ignores the condition, 1 is unguided. s is chosen when sampling, so the six arms share
one training a seed.
5 minutes on 2 cores (3 trainings of 16x16 pictures): validation accuracy .09, .34, .42, .47, .49 and .46.
"""

from study.design.spec import StudySpec

SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)

STUDY = StudySpec(
    question="How much classifier-free guidance gives the best conditional accuracy?",
    factors={"guidance_scale": SCALES},
    baseline={"guidance_scale": 1.0},
)
