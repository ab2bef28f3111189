"""The score sheet: every score of every list, by hand."""

from __future__ import annotations

import pytest
from frames import METRIC, results_of, rows_of, study_of

from analysis.tables import scores


def test_the_score_sheet_by_hand() -> None:
    rows = rows_of([[0.60, 0.70], [0.62, 0.73], [0.58, None]]).rename(columns={METRIC: "accuracy/test"})
    rows = rows.assign(**{"accuracy/validation": 0.5, "accuracy_2_objects/test": 0.4, "spurious/test": 0.1})
    rows = rows.assign(**{"real_accuracy/test": 0.97, "real_images": 98, "memorised_matched": 0.05})
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
    assert list(lists.columns) == ["list", "arm", "n", "accuracy", "spurious", "accuracy 2 objects", "real images"]
    assert lists["list"].tolist() == ["test", "test", "validation", "validation"]  # the study's own list first
    assert lists["n"].tolist() == ["3", "2/3", "3", "2/3"]
    assert lists.loc[0, "accuracy"] == "0.600 [0.550, 0.650]"
    assert lists.loc[2, "spurious"] == "-"
    assert lists.loc[0, ["real images", "spurious"]].tolist() == ["0.970", "0.100 [0.100, 0.100]"]
    x0 = [f"x0 error/snr {edges}" for edges in ("-4 -2", "-2 0", "2 4")]  # in the order of the noise
    assert list(trial.columns) == ["arm", "n", "memorised matched", *x0]
    notes = "\n".join(scores.notes(results))
    assert "in the list's mix of numbers of objects (98 images). A reference and no bound" in notes
    assert "memorised matched: share of" in notes
    assert "one limit" not in notes
    assert "colour only" not in notes
    assert scores.readable(scores.table(results_of(rows_of([[None]]).drop(columns=METRIC), study_of(1, 1)))) == []


def test_a_mixed_record_keeps_apart_what_is_not_the_same() -> None:
    """Seeds 0 and 1 are of an earlier version, with one limit for copies of any number of objects; seed 2 is new."""
    rows = rows_of([[0.60], [0.62], [0.58]]).rename(columns={METRIC: "accuracy/test"})
    nan = float("nan")
    rows = rows.assign(**{"ceiling/test": [0.97, 0.97, nan], "ceiling_images/test": [98, 98, nan]})
    rows = rows.assign(**{"real_accuracy/test": [nan, nan, 0.97], "real_images": [nan, nan, 98]})
    rows = rows.assign(memorised=[0.02, 0.04, nan])
    rows = rows.assign(memorised_matched=[nan, nan, 0.05], memorised_images=[nan, nan, 264])
    rows = rows.assign(**{"nearest/held_out": [0.2, 0.2, nan], "nearest/held_out_matched": [nan, nan, 0.3]})
    results = results_of(rows, study_of(1, metric="accuracy/test"))
    lists, trial = scores.readable(scores.table(results))
    assert lists.loc[0, "real images"] == "0.970"  # the same number under two names
    assert "ceiling" not in lists
    assert trial.loc[0, "memorised, one limit"].startswith("0.030 [")
    assert trial.loc[0, "memorised matched"] == "0.050"
    assert trial.loc[0, "nearest/held out"].startswith("0.200 [")
    assert trial.loc[0, "nearest/held out matched"] == "0.300"
    notes = "\n".join(scores.notes(results))
    assert "not comparable with memorised matched" in notes
    assert "are left out (264 counted)" in notes
    assert "test: 98 images" in notes


def test_the_fewest_images_of_a_limit_are_the_runner_s() -> None:
    from runners.evaluation import copies

    assert copies.FEWEST == scores.FEWEST
