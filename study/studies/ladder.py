"""From a report's setting to our best one, one change at a time: what did each step bring?

    python study/run.py --study ladder

Rows are cumulative and each is compared with the row before it. The first is the setting of the report R2, scaled as in
`--study reports` but with the scale's number of images, so that every row trains on the same number. The order matters:
a step is worth what it adds to those above it, no more.
"""

from runners.config import Scalar
from runners.ddpm.config import TrialConfig
from study.design import replications as reports
from study.design.scales import find
from study.design.spec import LABELLED, StudySpec
from study.studies import report_r2


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Arm name -> all changes so far."""
    # `paper` is the reports' own setting: there the recipe of `gpu` is what the ladder leads to.
    best = find("gpu").config if scale == "paper" else baseline
    model = "unet(encoder='embedding')" if scale == "paper" else baseline.model
    rows = dict(report_r2.SETTINGS["R2"].changes(scale, baseline))
    rows["total_images"] = baseline.total_images
    steps: dict[str, dict[str, Scalar]] = {
        "R2": {},
        "+ lr, warm-up, cosine": {
            "lr": best.lr,
            "lr_schedule": best.lr_schedule,
            "warmup_images": best.warmup_images,
            "weight_decay": best.weight_decay,
            "weight_decay_on": best.weight_decay_on,
        },
        "+ batch, beta2, clipping": {
            "batch_size": best.batch_size,
            "adam_beta2": best.adam_beta2,
            "clip_norm": best.clip_norm,
            "precision": best.precision,
        },
        "+ weight average": {
            "weights": "ema",
            "ema_halflife_images": best.ema_halflife_images,
            "ema_ramp": best.ema_ramp,
        },
        "+ v": {"prediction": "v"},
        "+ min-SNR": {"weighting": "min_snr"},
        "+ label embedding": {"model": model},
        "+ dropout and guidance": {
            "drop_probability": best.drop_probability,
            "guidance_scale": best.guidance_scale,
        },
        "+ cosine schedule": {"schedule": "cosine"},
        "+ DDIM": {"sampler": best.sampler},
    }
    found = {}
    for name, step in steps.items():
        rows = rows | step
        found[name] = rows
    return found


STUDY = StudySpec(
    question="From a report's setting to our best one, one change at a time: what does each bring?",
    kinds=LABELLED,
    arms=arms,
    baseline_arm="R2",
    against="previous",
    published={"R2": report_r2.STUDY.published["R2"]},
    notes=("Rows are cumulative; each is compared with the row before it.", *reports.NOTES),
    margin=0.05,
    margin_reason="one in twenty of what is asked for: a step that brings less is not worth its line",
)
