"""What should the network predict (eps, v or x0), and does min-SNR weighting help it?

    python study/run.py --study objective

Losses of different targets and weightings are not on one scale: only scores are compared.
"""

from study.design.spec import StudySpec

STUDY = StudySpec(
    question="What should the network predict, and does min-SNR weighting help?",
    factors={"prediction": ("eps", "v", "x0"), "weighting": ("uniform", "min_snr")},
    baseline={"prediction": "eps", "weighting": "uniform"},
    contrasts={
        f"min-SNR with {target}": {
            f"prediction={target} weighting=min_snr": 1,
            f"prediction={target} weighting=uniform": -1,
        }
        for target in ("v", "x0")
    },
    margin=0.05,
    margin_reason="one in twenty of what is asked for: less would not decide for a target",
)
