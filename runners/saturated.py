"""The samplers of tasks whose pixels may lie at the ends of their range, as those of digits do.

Guidance moves the estimate of x0 of such pixels far outside of [-1, 1]. It is clipped, and an eps that was derived from
the unclipped one then carries the excess to the next step with the opposite sign: of the built-in digits at scale
laptop (linear schedule, s = 3) .12 were recognised, and .98 at s = 1.5 or with the eps of the clipped estimate.
i-CLEVR's scenes are gray, and their records have the plain sampler.
"""

from collections.abc import Mapping

from runners.config import Scalar

SCALES: Mapping[str, Mapping[str, Scalar]] = {
    "smoke": {"sampler": "ddim(clipped_eps=True, steps=2)"},
    "laptop": {"sampler": "ddim(clipped_eps=True, steps=20)"},
    "workstation": {"sampler": "ddim(clipped_eps=True, steps=20)"},
    "gpu": {"sampler": "ddim(clipped_eps=True)"},
}
