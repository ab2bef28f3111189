"""Which architecture gives the best conditional accuracy at equal training FLOPs?

    python study/run.py --study architectures

Five networks, everything else equal: three ways to give one UNet its labels (added to the time embedding, as scale and
shift of the group norms, as input planes), cross-attention to one token an object, and the ContextUnet of minimal
diffusion. Their widths are chosen so that a forward pass, hence a training on equal images, costs the same within 10 %.
About 15 minutes on 2 cores (15 trainings): validation accuracy .49, .53, .39, .61 and .16.
"""

from runners.config import Call, Scalar, TrialConfig
from study.scales import find
from study.spec import StudySpec

# Parameters, and GFLOP of one image's forward pass (2 x multiply-adds), as `runners.models.measure` counts them.
SMALL = (  # 16 pixels; unet: .282 M, .0314
    "adagn_unet(attention=(-1,), channels=(16, 32, 32), encoder='embedding', groups=8, layers=1)",  # .302 M, .0314
    "concat_unet(attention=(-1,), channels=(16, 32, 32), groups=8, layers=1)",  #                     .284 M, .0331
    # The next: .275 M, .0310; attention at 8 and 4 pixels.
    "cross_attention_unet(attention=(-2, -1), channels=(16, 24, 24), groups=8, head_width=8, layers=1, token_width=64)",
    "context_unet(encoder='embedding', features=24, levels=2, norm='group')",  #                      .160 M, .0322
)
MODELS = {
    "smoke": SMALL,
    "laptop": SMALL,
    "gpu": (  # 64 pixels; unet: 28.5 M, 7.77
        "adagn_unet(channels=(64, 64, 128, 128, 256, 256), encoder='embedding')",  # 29.7 M, 7.78
        "concat_unet(channels=(64, 64, 128, 128, 256, 256))",  #                     28.5 M, 7.89
        "cross_attention_unet(channels=(64, 64, 96, 128, 192, 256))",  #             30.1 M, 8.00
        "context_unet(encoder='embedding', features=88, norm='group')",  #           13.1 M, 8.30
    ),
    "paper": (  # 64 pixels; unet: 113.7 M, 31.0
        "adagn_unet",  #                                                   118.8 M, 31.0
        "concat_unet",  #                                                  113.7 M, 31.3
        "cross_attention_unet(channels=(128, 128, 192, 256, 384, 512))",  # 119.0 M, 31.6
        "context_unet(features=168)",  #                                    47.6 M, 30.2
    ),
}


def arms(scale: str, baseline: TrialConfig) -> dict[str, dict[str, Scalar]]:
    """Arm name -> changed fields. ValueError when the baseline is not the one that the widths are matched to."""
    matched = find(scale).config
    if (baseline.model, baseline.image_size) != (matched.model, matched.image_size):
        raise ValueError(
            f"The architectures of scale {scale!r} are matched to model={matched.model!r} at image_size="
            f"{matched.image_size}: leave model and image_size out of --set, or choose another scale."
        )
    return {Call.parse(model).name: {"model": model} for model in (baseline.model, *MODELS[scale])}


STUDY = StudySpec(
    question="Which architecture gives the best conditional accuracy at equal training FLOPs?",
    arms=arms,
    baseline_arm="unet",
    notes=(
        "Training FLOPs of all arms agree within 10 % (counted forward passes); parameters differ and are printed.",
    ),
)
