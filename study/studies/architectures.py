"""Which architecture gives the best conditional accuracy at equal training FLOPs?

    python study/run.py --study architectures

Five networks, everything else equal: three ways to give one UNet its labels (added to the time embedding, as scale and
shift of the group norms, as input planes), cross-attention to one token per object, and the ContextUnet of minimal
diffusion. Their widths are chosen so that a forward pass, hence a training on equal images, costs the same within 10 %.
"""

from runners.config import Call, Scalar
from runners.ddpm.config import TrialConfig
from study.design.scales import MATCHED, find
from study.design.spec import LABELLED, StudySpec


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Arm name -> changed fields. ValueError when the baseline is not the one that the widths are matched to."""
    matched = find(scale).config
    if (baseline.model, baseline.image_size) != (matched.model, matched.image_size):
        raise ValueError(
            f"The architectures of scale {scale!r} are matched to model={matched.model!r} at image_size="
            f"{matched.image_size}: leave model and image_size out of --set, or choose another scale."
        )
    return {Call.parse(model).name: {"model": model} for model in (baseline.model, *MATCHED[scale])}


STUDY = StudySpec(
    question="Which architecture gives the best conditional accuracy at equal training FLOPs?",
    kinds=LABELLED,
    arms=arms,
    baseline_arm="unet",
    notes=(
        "Training FLOPs of all arms agree within 10 % (counted forward passes); parameters differ and are printed.",
    ),
    margin=0.05,
    margin_reason="one in twenty of what is asked for: less would not pay for another network",
)
