"""Records of studies of domain adaptation: their own plans, with tiny networks that are really trained."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from runners import dann
from runners.experiment import ExecutionContext

TINY = {"network": "cnn(width=4)", "image_size": 16, "total_images": 640, "batch_size": 32}
FAILURE = "Traceback (most recent call last):\n  ...\nValueError: lost\n"


def planned(root: Path, name: str, seeds: int = 2) -> Path:
    """A record of a study of study/studies at scale smoke, on the built-in digits."""
    shutil.copytree(Path(_trained(name, seeds).name), root, dirs_exist_ok=True)
    return root


def make(
    root: Path, *, missing: Collection[tuple[str, int]] = (), failed: Collection[tuple[str, int]] = (), seeds: int = 2
) -> Path:
    """A record of the fourth report's table; (arm, seed) in `missing` are missing, in `failed` have failed."""
    record = planned(root, "report_r3_dann", seeds)
    study = json.loads(next(record.glob("studies/*/study.json")).read_text())
    for trial in study["trials"]:
        at, folder = (trial["arm"], trial["seed"]), record / "trials" / trial["trial_key"]
        if at in missing or at in failed:
            shutil.rmtree(folder)
        if at in failed:
            folder.with_name(f"{folder.name}.failed").mkdir()
            (folder.with_name(f"{folder.name}.failed") / "traceback.txt").write_text(FAILURE)
    return record


@functools.cache
def _trained(name: str, seeds: int) -> tempfile.TemporaryDirectory[str]:
    """Trained once per process; deleted when it ends."""
    from study.design import plan, registry, scales
    from study.record.layout import study_file

    kept = tempfile.TemporaryDirectory()
    root, found = Path(kept.name), registry.find(name)
    value = plan.make(name, found, "smoke", scales.of(found.experiment, "smoke"), plan.Request(dict(TINY), seeds))
    context = ExecutionContext(str(root), "cpu")
    for trial in value.trials:
        list(dann.run(trial.config, context))
    shutil.rmtree(root / "cache")
    run_ids = {trial.config.trial_key: f"run{trial.config.trial_key}" for trial in value.trials}
    written = value.as_study("2026-11-21T04:00:00+00:00", f"python study/run.py --study {name}", run_ids, None)
    path = study_file(root, value.study_id)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(written.to_json()), encoding="utf-8")
    return kept
