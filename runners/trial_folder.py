"""The folder of a trial: written under another name, and renamed when it is complete.

What every experiment leaves there: config.json, environment.json, task.json, result.json (flat scalars; a score of a
list is `<metric>/<list>`), metrics.jsonl (the learning curve) and files.json. Everything else is its own.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runners.config import Scalar, StagedConfig
from runners.experiment import ExecutionContext, Task
from runners.process import files
from runners.process.locks import lock


@contextmanager
def begun(config: StagedConfig, context: ExecutionContext) -> Iterator[Path | None]:
    """A folder to write a trial's files into, which gets its final name when the block ends.

    None where the trial is complete: another process was at it. One process at a time is. Where the block fails, is
    closed or stopped, nothing of the folder stays.
    """
    final = Path(context.record) / "trials" / config.trial_key
    partial = final.with_name(f"{config.trial_key}.partial")
    with lock(context.cache / "locks" / config.trial_key, wait=True):
        if final.is_dir() and not files.damaged(final):
            yield None
            return
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            files.write_manifest(partial)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            files.sync_folder(final.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write(
    folder: Path,
    config: StagedConfig,
    context: ExecutionContext,
    task: Task,
    result: Mapping[str, Scalar],
    curve: Sequence[Mapping[str, float]] = (),
    labels: Sequence[str] = (),
    versions: Mapping[str, str] = MappingProxyType({}),
    **more: Any,
) -> None:
    """The files that every trial has. Numbers that are not finite are left out: JSON has none.

    `curve`: lines of the learning curve, each with the `images` it was reported at; `labels`: what the task's classes
    are called; `versions`: further entries of environment.json; `more`: of task.json, such as `noun="digit"`.
    Raises ValueError for a result without the task's scores.
    """
    lacking = [name for name in task.scores() if name not in result]
    if lacking:
        raise ValueError(f"The result of the trial lacks {', '.join(lacking)}, which its task names: write them too.")
    described = {
        "name": task.name,
        "kind": task.kind,
        "labels": list(labels),
        "noun": "image",
        "facets": {},
        "palette": {},
        "shown": {},
        "lists": [dataclasses.asdict(one) for one in task.lists],
        "metric": dataclasses.asdict(task.metric),
        **more,
    }
    known = {name: value for name, value in result.items() if not isinstance(value, float) or math.isfinite(value)}
    surroundings = environment(config, context) | dict(versions)
    texts = {"config": config.to_dict(), "environment": surroundings, "task": described}
    for file, value in (texts | {"result": known}).items():
        (folder / f"{file}.json").write_text(json.dumps(value, indent=1), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(dict(line)) + "\n" for line in curve), encoding="utf-8")


def environment(config: StagedConfig, context: ExecutionContext) -> dict[str, str]:
    """Device and versions as text, and what the trial's key was made of besides its fields."""
    return {
        "experiment": config.identity(),
        "trial_key": config.trial_key,
        "device_slot": context.device,
        "threads": str(context.threads),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
