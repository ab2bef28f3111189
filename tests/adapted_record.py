"""A record of a study of domain adaptation: its own plan, with tiny networks that are really trained."""

from __future__ import annotations

import json
from pathlib import Path

from runners import dann
from runners.experiment import ExecutionContext

TINY = {"network": "cnn(width=4)", "image_size": 16, "total_images": 640, "batch_size": 32}


def planned(root: Path, name: str, seeds: int) -> Path:
    """A record of a study of study/studies at scale smoke, on the built-in digits."""
    from study.design import plan, registry, scales
    from study.record.layout import study_file

    found = registry.find(name)
    value = plan.make(name, found, "smoke", scales.of(found.experiment, "smoke"), plan.Request(dict(TINY), seeds))
    context = ExecutionContext(str(root), "cpu")
    for trial in value.trials:
        list(dann.run(trial.config, context))
    run_ids = {trial.config.trial_key: f"run{trial.config.trial_key}" for trial in value.trials}
    written = value.as_study("2026-11-21T04:00:00+00:00", f"python study/run.py --study {name}", run_ids, None)
    path = study_file(root, value.study_id)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(written.to_json()), encoding="utf-8")
    return root
