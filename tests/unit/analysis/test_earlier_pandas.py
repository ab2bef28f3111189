"""What pandas 2.2, the earliest that is allowed, does otherwise than pandas 3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.results import Results

of_today = pd.DataFrame.itertuples


def of_pandas_2(frame: pd.DataFrame, index: bool = True, name: str | None = "Pandas") -> Iterator[Any]:
    """Tuples of the columns side by side: none at all where there is no column."""
    return of_today(frame, index, name) if index or len(frame.columns) else iter(())


def test_a_study_without_factors_has_settings(miniature_record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Results.open("schedules", miniature_record)
    bare = results.of(results.study.model_copy(update={"factors": {}}), results.rows)
    monkeypatch.setattr(pd.DataFrame, "itertuples", of_pandas_2)
    assert bare.settings_of([]) == dict.fromkeys(results.arms, ())
    assert bare.baseline_fields == results.study.baseline
    assert set(results.settings_of(["schedule", "timesteps"]).values()) == {
        (schedule, 500) for schedule in results.study.factors["schedule"]
    }
