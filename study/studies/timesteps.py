"""How many diffusion steps: 500, 1000 or 2000, and is it T or the terminal SNR that matters?

    python study/run.py --study timesteps

`linear` has fixed end points, so a smaller T ends at a brighter signal: sqrt(alpha_bar_T) is .080 at T = 500, .006 at
1000 and 4e-5 at 2000. T is therefore varied twice: with those end points ("fixed"), and with the betas resampled so
that alpha_bar(t / T) and the terminal SNR are those of T = 1000 ("matched"). At T = 1000 both are one arm.
"""

from study.design.spec import StudySpec

FIXED, MATCHED = "linear", "linear_resampled"

STUDY = StudySpec(
    question="How many diffusion steps, and is it T or the terminal SNR that matters?",
    arms={
        "T=1000": {"timesteps": 1000, "schedule": FIXED},
        "T=500 fixed": {"timesteps": 500, "schedule": FIXED},
        "T=500 matched": {"timesteps": 500, "schedule": MATCHED},
        "T=2000 fixed": {"timesteps": 2000, "schedule": FIXED},
        "T=2000 matched": {"timesteps": 2000, "schedule": MATCHED},
    },
    baseline_arm="T=1000",
    contrasts={
        "terminal SNR at T = 500": {"T=500 fixed": 1, "T=500 matched": -1},
        "terminal SNR at T = 2000": {"T=2000 fixed": 1, "T=2000 matched": -1},
        "T = 2000 against 500 at one terminal SNR": {"T=2000 matched": 1, "T=500 matched": -1},
    },
    notes=(
        "fixed: end points 1e-4 and .02 at every T, so T and the terminal SNR change together.",
        "matched: alpha_bar(t / T) of T = 1000, so T changes alone.",
        "fixed minus matched at one T is the effect of the terminal SNR.",
    ),
    margin=0.05,
    margin_reason="half of the .085 and more that a report found between its T, rounded up",
)
