"""What single figures promise: curves, intervals, schedule sheets, costs, rings, states, looks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_record
import synthetic_trial
from frames import lr_results
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from analysis import figures
from analysis.figures import (
    accuracy_by_arm,
    accuracy_by_cost,
    accuracy_by_guidance,
    learning_curves,
    same_noise_grids,
    schedule_sheet,
    search_history,
)
from analysis.plotting import labels, style
from analysis.results import Results
from analysis.tables import comparison
from runners.ddpm.config import TrialConfig
from study.record import reader

STUDY = "schedules-smoke"


def opened(record: Path) -> Results:
    """The results of a record's only study."""
    return Results.open(next(iter(reader.studies(record))), record)


def texts(figure: Figure) -> str:
    found = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]  # type: ignore[attr-defined]
    return "\n".join(found)


def test_learning_curves_average_seeds_only_where_all_are(miniature_record: Path) -> None:
    results = opened(miniature_record)
    table = learning_curves.table(results)
    figure = figures.draw(learning_curves, table, results)
    loss, _, clock, rate = figure.axes
    assert rate.get_ylabel() == "learning rate"
    assert rate.get_title() == "the same in every arm"
    assert rate.lines[0].get_ydata()[-1] == pytest.approx(1e-4)  # type: ignore[index]
    assert loss.get_yscale() == "log"
    assert loss.get_title() == "not on one scale across arms"
    # Seed 0 is the slowest clock, seed 2 (x 1.1) ends first: the mean curve ends with it.
    mean = max(clock.lines, key=lambda line: line.get_linewidth())
    assert mean.get_xdata()[-1] == pytest.approx(64_000 / 110 / 60)  # type: ignore[index]


def test_learning_curves_compare_losses_where_they_may(miniature_record: Path) -> None:
    results = opened(miniature_record)
    results = results.of(results.study.model_copy(update={"factors": {"lr": (1e-4, 1e-3)}}), results.rows)
    assert figures.draw(learning_curves, learning_curves.table(results), results).axes[0].get_title() == ""


def test_accuracy_draws_its_own_t_interval(miniature_record: Path) -> None:
    results = opened(miniature_record)
    table = accuracy_by_arm.table(results)
    figure = figures.draw(accuracy_by_arm, table, results)
    assert [axes.get_title() for axes in figure.axes] == ["validation", "test", "new_test", "unseen"]
    lines = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    spans = [list(segment[:, 0]) for each in lines for segment in each.get_segments()]
    # linear: .60 .62 .58: .60 -+ 4.3027 x .02 / sqrt(3)
    assert pytest.approx([0.60 - 0.04968, 0.60 + 0.04968], abs=1e-5) in spans
    trainings = [part for part in figure.axes[0].collections if isinstance(part, PathCollection)]
    places = np.concatenate([np.asarray(part.get_offsets())[:, 0] for part in trainings])
    scores = [score for arm in synthetic_record.VALIDATION.values() for score in (*arm, np.mean(arm))]
    assert sorted(places) == pytest.approx(sorted(scores))
    stars = [x for line in figure.axes[1].lines if line.get_marker() == "*" for x in np.asarray(line.get_xdata())]
    assert [star for star in stars if np.isfinite(star)] == [0.6, 0.88]


def test_schedule_sheet_measures_t_from_one_over_T_to_one(miniature_record: Path) -> None:
    results = opened(miniature_record)
    table = schedule_sheet.table(results)
    linear = table[table["arm"] == "schedule=linear"]
    assert len(linear) == 500
    assert linear["u"].iloc[[0, -1]].tolist() == pytest.approx([1 / 500, 1])
    # prod (1 - beta) of 500 linear steps from 1e-4 to .02: log = about -(5.025 + .0338) and its root .0797
    assert linear["sqrt_alpha_bar"].iloc[-1] == pytest.approx(0.0797, abs=2e-4)
    assert "linear 0.08 (T = 500)" in figures.caption(schedule_sheet, table, results)


def test_schedule_sheet_of_one_trial_folder(tmp_path: Path) -> None:
    """Before the trial is complete: no result.json, no study."""
    config = replace(TrialConfig(), schedule="cosine", timesteps=100)
    synthetic_trial.write_trial(tmp_path / "trial", config, 0.5)
    (tmp_path / "trial" / "result.json").unlink()
    figure = schedule_sheet.draw_trial(tmp_path / "trial")
    assert "cosine" in texts(figure)
    assert style.save(figure, tmp_path / "schedule_sheet").is_file()


def test_schedule_sheet_shows_each_schedule_and_T(tmp_path: Path) -> None:
    results = opened(synthetic_record.reports(tmp_path))
    table = schedule_sheet.table(results)
    words = texts(figures.draw(schedule_sheet, table, results))
    assert all(f"linear, T = {name}" in words for name in ("1000", "500 (2 arms)", "2000"))
    assert "linear, T = 1000 0.0064; linear, T = 500 (2 arms) 0.08;" in figures.caption(schedule_sheet, table, results)


def test_accuracy_by_cost_draws_a_line_a_family(tmp_path: Path) -> None:
    results = opened(synthetic_record.samplers(tmp_path))
    table = accuracy_by_cost.table(results)
    assert table["family"].value_counts().to_dict() == {"ddpm": 5, "ddim": 5, "ddim(eta=1.0)": 5, "ddim(eta=0.5)": 5}
    assert table.loc[table["family"] == "ddim", "evaluations"].tolist() == [5, 10, 25, 50, 100]
    panels = figures.draw(accuracy_by_cost, table, results).axes
    assert [axes.get_xscale() for axes in panels] == ["log", "log"]
    assert [axes.get_xlabel() for axes in panels] == ["network evaluations per image", "seconds of sampling"]
    # ddim(steps=25): seconds 3.0, 3.1, 3.2
    assert table.loc[table["arm"] == "sampler=ddim(steps=25)", "seconds"].tolist() == pytest.approx([3.1])
    ddim = table[table["arm"] == "sampler=ddim(steps=25)"].iloc[0]
    bands = [path.vertices[:, 1] for part in panels[0].collections for path in part.get_paths()]  # type: ignore[index]
    assert any({ddim["low"], ddim["high"]} <= set(band) for band in bands)


def test_accuracy_by_guidance_marks_what_validation_chose(tmp_path: Path) -> None:
    results = opened(synthetic_record.guidance(tmp_path))
    table = accuracy_by_guidance.table(results)
    chosen = table[table["chosen"] & (table["setting"] != "drop_probability=0.0")]
    assert chosen["guidance_scale"].unique().tolist() == [2.0]
    assert sorted(chosen["list"].unique()) == ["diversity", "new_test", "test", "unseen", "validation"]
    assert table.groupby("list")["chosen"].sum().unique().tolist() == [3]
    figure = figures.draw(accuracy_by_guidance, table, results)
    assert [axes.get_title() for axes in figure.axes] == ["validation", "test", "new_test", "unseen", "diversity"]
    (rings,) = [line for line in figure.axes[1].lines if line.get_markerfacecolor() == "none"]
    assert len(rings.get_xdata()) == 3  # type: ignore[arg-type]


def test_search_history_tells_the_states_apart_by_shape(tmp_path: Path) -> None:
    path = synthetic_record.search(tmp_path) / "studies" / "search-smoke" / "study.json"
    study = json.loads(path.read_text())
    study["search"]["trials"][3]["value"] = 0.99  # pruned: a lucky intermediate value is no best
    path.write_text(json.dumps(study))
    results = opened(tmp_path)
    table = search_history.table(results)
    assert len({look["marker"] for look in search_history.STATES.values()}) == len(search_history.STATES)
    trials = table[table["kind"] == "search"]
    complete = trials["value"].where(trials["state"] == "complete")
    assert trials["best"].tolist() == [np.nanmax(complete[: index + 1]) for index in range(len(trials))]
    history, _, fresh = figures.draw(search_history, table, results).axes
    step = next(line for line in history.lines if line.get_label() == "best so far")
    assert step.get_drawstyle() == "steps-post"
    means = comparison.summary(results, "accuracy/validation")
    assert [line.get_ydata()[0] for line in fresh.lines[1::2]] == pytest.approx(means["mean"].tolist())  # type: ignore[index]
    assert [list(line.get_ydata()) for line in fresh.lines[::2]] == [  # type: ignore[arg-type]
        pytest.approx([row["ci low"], row["ci high"]]) for _, row in means.iterrows()
    ]


def test_search_history_shows_finalists_beside_the_scores_that_made_them(tmp_path: Path) -> None:
    results = opened(synthetic_record.search(tmp_path / "new"))
    table = search_history.table(results)
    finalists = table[table["kind"] == "finalist"]
    assert finalists["value"].tolist() == pytest.approx((finalists["searched"] - [0.03, *[0.05] * 4]).tolist())
    assert finalists["state"].tolist() == ["winner", "", "", "", ""]
    again = figures.draw(search_history, table, results).axes[1]
    drawn = {str(line.get_label()): list(line.get_ydata()) for line in again.lines}  # type: ignore[arg-type]
    assert drawn["where it was searched"] == pytest.approx(finalists["searched"].tolist())
    assert drawn["winner there"] == pytest.approx(finalists["value"].tolist()[:1])
    assert drawn["mean on the choosing seeds"] == pytest.approx(finalists["value"].tolist()[1:])
    # sd .01 of three seeds: half width 4.302653 x .01 / sqrt(3) = .024841
    assert (finalists["high"] - finalists["value"]).tolist() == pytest.approx([0.024841] * 5, abs=1e-6)
    caption = figures.caption(search_history, table, results)
    assert "Middle: the 5 best again on seeds 1, 2 and 3" in caption
    assert "The answer is about another list, accuracy/unseen." in caption
    older = opened(synthetic_record.search(tmp_path / "old", finalists=0))
    table = search_history.table(older)
    assert len(figures.draw(search_history, table, older).axes) == 2
    assert "Middle" not in figures.caption(search_history, table, older)


def test_same_noise_grids_label_their_columns(miniature_record: Path) -> None:
    table = same_noise_grids.table(opened(miniature_record))
    assert len(table) == 3 * 8
    assert table["condition"].iloc[1] == "cyan cube\nblue sphere"
    assert table["seed"].unique().tolist() == [0]


def test_one_colour_per_arm_everywhere() -> None:
    arms = [f"lr={index}" for index in range(42)]
    looks = style.looks(arms)
    assert len({(look.colour, look.dashes) for look in looks.values()}) == 42
    assert looks["lr=1"].line == {"color": style.COLOURS[1], "linestyle": "-"}


def test_labels_lose_the_factor_only_when_there_is_one() -> None:
    one, two = lr_results([[0.5]]), lr_results([[0.5]], factors={"lr": [0], "p": [0]})
    assert labels.arm_label(one, "lr=0.1") == "0.1"
    assert labels.arm_label(two, "lr=0.1, p=0") == "lr=0.1, p=0"
    assert labels.plain("_a$b\x1b") == r" _a\$b?"
