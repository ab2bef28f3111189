"""Count the networks of all studies once, so that a dry run need not import diffusers for seconds.

    python -m study.sizes            writes runners/models/sizes.json: after a change of runners/models or of diffusers

The file names the code that it was made from; where that has changed, sizes are counted anew at every start.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from runners import models
from runners.config import FIRST
from runners.ddpm.config import TrialConfig
from runners.process.files import write_json
from study.design import plan, registry
from study.design.scales import SCALES

Network = tuple[str, int, int, int]  # model, image size, labels, timesteps


def networks() -> Iterator[Network]:
    """The arguments of `models.count` for every arm of every study of samples at every scale that the study has."""
    for name in (name for name in registry.names() if registry.find(name).experiment == FIRST):
        for scale_name, scale in SCALES.items():
            try:
                made = plan.make(name, registry.find(name), scale_name, scale, plan.Request())
            except ValueError:  # a report's study is of one scale
                continue
            for config in [made.baseline, *(trial.config for trial in made.trials)]:
                if isinstance(config, TrialConfig):
                    yield config.model, config.image_size, config.task.classes, config.timesteps


def main() -> int:
    found = {}
    for network in sorted(set(networks())):
        size = models.count(*network)
        found[models.size_key(*network)] = [size.parameters, size.forward_flop]
        print(
            f"{size.parameters:>12,} parameters  {size.forward_flop / 1e9:>9,.3f} GFLOP  {network[0]}", file=sys.stderr
        )
    write_json(models.SIZES, {"sources": models.sources_digest(), "sizes": found})
    return 0
