"""The score sheet: every score of every list, by hand."""

from __future__ import annotations

import pytest
from frames import METRIC, results_of, rows_of, study_of

from analysis.tables import scores


def test_the_score_sheet_by_hand() -> None:
    rows = rows_of([[0.60, 0.70], [0.62, 0.73], [0.58, None]]).rename(columns={METRIC: "accuracy/test"})
    rows = rows.assign(**{"accuracy/validation": 0.5, "accuracy_2_objects/test": 0.4, "spurious/test": 0.1})
    rows = rows.assign(**{"ceiling/test": 0.97, "ceiling_images/test": 98, "memorised": 0.05})
    rows = rows.assign(**{"x0_error/snr_2_4": 0.2, "x0_error/snr_-2_0": 0.9, "x0_error/snr_-4_-2": 0.5})
    study = study_of(metric="accuracy/test")
    results = results_of(rows, study)
    table = scores.table(results)
    found = table.set_index(["list", "arm", "score"])
    # .60 .62 .58: half width .04968 (test_intervals)
    assert found.loc[("test", "lr=0", "accuracy"), ["mean", "ci low"]].tolist() == pytest.approx(
        [0.6, 0.55032], abs=1e-5
    )
    assert found.loc[("test", "lr=1", "accuracy"), ["n", "planned"]].tolist() == [2, 3]
    lists, trial = scores.readable(table)
    assert list(lists.columns) == ["list", "arm", "n", "accuracy", "spurious", "accuracy 2 objects", "ceiling"]
    assert lists["list"].tolist() == ["test", "test", "validation", "validation"]  # the study's own list first
    assert lists["n"].tolist() == ["3", "2/3", "3", "2/3"]
    assert lists.loc[0, "accuracy"] == "0.600 [0.550, 0.650]"
    assert lists.loc[2, "spurious"] == "-"
    assert lists.loc[0, ["ceiling", "spurious"]].tolist() == ["0.970", "0.100 [0.100, 0.100]"]
    x0 = [f"x0 error/snr {edges}" for edges in ("-4 -2", "-2 0", "2 4")]  # in the order of the noise
    assert list(trial.columns) == ["arm", "n", "memorised", *x0]
    notes = "\n".join(scores.notes(results))
    assert "with the list's label sets (test: 98 images)" in notes
    assert "memorised: share of" in notes
    assert "colour only" not in notes
    assert scores.readable(scores.table(results_of(rows_of([[None]]).drop(columns=METRIC), study_of(1, 1)))) == []
