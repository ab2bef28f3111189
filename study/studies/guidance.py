"""How much classifier-free guidance?

    python study/run.py --study guidance

s of eps_u + s (eps_c - eps_u): 0 ignores the condition, 1 is unguided. s is chosen when sampling, so the six arms share
one training per seed.
"""

from study.design.spec import LABELLED, StudySpec

SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)

STUDY = StudySpec(
    question="How much classifier-free guidance gives the best conditional accuracy?",
    kinds=LABELLED,
    factors={"guidance_scale": SCALES},
    baseline={"guidance_scale": 1.0},
    contrasts={
        "s = 3 against 1.5": {"guidance_scale=3.0": 1, "guidance_scale=1.5": -1},
        "s = 5 against 3": {"guidance_scale=5.0": 1, "guidance_scale=3.0": -1},
    },
    margin=0.05,
    margin_reason="one in twenty of what is asked for: less is not seen in a grid of pictures",
)
