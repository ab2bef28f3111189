"""Results made of frames: studies of a few numbers, known by hand, without a record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.results import Results
from study.record.schema import Study

METRIC = "accuracy/validation"
PLAIN: dict[str, Any] = {
    "study_id": "lr-smoke",
    "study": "lr",
    "question": "Which learning rate?",
    "launched": "2026-11-21T04:00:00+00:00",
    "command": "python study/run.py --study lr",
    "metric": METRIC,
    "trials": [],
}


def study_of(arms: int = 2, seeds: int = 3, **fields: Any) -> dict[str, Any]:
    """The content of a study.json: arms lr=0, lr=1, ..., of which the first is the baseline."""
    names = [f"lr={index}" for index in range(arms)]
    given = {"arms": names, "seeds": list(range(seeds)), "baseline_arm": "lr=0", "factors": {"lr": list(range(arms))}}
    return PLAIN | given | fields


def rows_of(values: list[list[float | None]], metric: str = METRIC) -> pd.DataFrame:
    """One row per trial from an array (seeds, arms); None is a missing trial."""
    return pd.DataFrame(
        [
            {
                "arm": f"lr={arm}",
                "seed": seed,
                "state": "missing" if value is None else "complete",
                metric: np.nan if value is None else value,
            }
            for seed, line in enumerate(values)
            for arm, value in enumerate(line)
        ]
    )


def results_of(rows: pd.DataFrame, study: Mapping[str, Any]) -> Results:
    """The results of these rows and this content of a study.json; what it lacks is PLAIN's."""
    return Results(Study.model_validate(PLAIN | dict(study)), rows, Path("record"))


def lr_results(values: list[list[float | None]], metric: str = METRIC, **fields: Any) -> Results:
    """Results of an array (seeds, arms)."""
    study = study_of(arms=len(values[0]), seeds=len(values), **({"metric": metric} | fields))
    return results_of(rows_of(values, metric), study)


def words(table: pd.DataFrame) -> list[str]:
    """The verdicts of a table as they are read."""
    return [str(verdict) for verdict in table["verdict"]]


# --- crossed factors ---------------------------------------------------------------------------------

# (p, s) -> validation of seeds 0, 1; test is another order, so that choosing on it would take other cells.
CELLS = {
    (0.0, 1.0): ((0.60, 0.62), (0.50, 0.52)),
    (0.0, 2.0): ((0.58, 0.60), (0.70, 0.70)),
    (0.1, 1.0): ((0.55, 0.57), (0.80, 0.80)),
    (0.1, 2.0): ((0.70, 0.74), (0.60, 0.63)),
}


def crossed(cells: Mapping[tuple[float, float], Any] = CELLS, **changed: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows and study of p x s, whose scores are `cells`; s is a nuisance factor."""
    arms = {f"p={p} s={s}": (p, s) for p, s in cells}
    rows = [
        {
            "arm": arm,
            "seed": seed,
            "state": "complete",
            METRIC: cells[cell][0][seed],
            "accuracy/test": cells[cell][1][seed],
        }
        | {"drop_probability": cell[0], "guidance_scale": cell[1], "objects/test": 72, "objects/validation": 128}
        for arm, cell in arms.items()
        for seed in range(len(cells[cell][0]))
    ]
    study = {"arms": list(arms), "seeds": [0, 1], "baseline_arm": "p=0.0 s=1.0", "metric": METRIC, "command": "-"}
    study |= {"factors": {"drop_probability": [0.0, 0.1], "guidance_scale": [1.0, 2.0]}}
    return pd.DataFrame(rows), study | {"nuisance": ["guidance_scale"]} | changed
