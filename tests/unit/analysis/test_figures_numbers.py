"""What the figures of numbers promise: contrasts, grids, ladders, searches, noise levels and timesteps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic_record

from analysis import figures
from analysis.figures import (
    differences,
    error_by_noise_level,
    frontier,
    heat_map,
    importance,
    ladder_steps,
    learning_curves,
    loss_by_timestep,
    search_parallel,
    search_slices,
)
from analysis.plotting import labels, style
from analysis.results import Results
from analysis.tables import comparison, factors
from analysis.verdict import Outcome
from study.record import reader


def opened(record: Path) -> Results:
    """The results of a record's only study."""
    return Results.open(next(iter(reader.studies(record))), record)


@pytest.fixture(scope="module")
def guidance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it, do not write to it."""
    return synthetic_record.guidance(tmp_path_factory.mktemp("guidance"))


@pytest.fixture(scope="module")
def timesteps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two factors of which one combination is no arm, and one cell lacks a seed."""
    arms = {
        f"T={steps} {schedule}": replace(synthetic_record.BASELINE, timesteps=steps, schedule=schedule)
        for steps, schedule in ((1000, "linear"), (500, "linear"), (500, "cosine"), (2000, "linear"), (2000, "cosine"))
    }
    factors = {"timesteps": [1000, 500, 2000], "schedule": ["linear", "cosine"]}
    root = tmp_path_factory.mktemp("timesteps")

    def score(config: Any) -> float:
        return 0.5 + 0.1 * (config.timesteps == 500) + 0.01 * config.seed

    return synthetic_record.write(root, arms, score, missing=[("T=2000 cosine", 1)], factors=factors)


# --- differences -------------------------------------------------------------------------------------


def test_differences_are_those_of_the_tables(miniature_record: Path) -> None:
    results = opened(miniature_record)
    table = differences.table(results)
    assert list(table["arm"].unique()) == ["schedule=cosine", "schedule=squaredcos_cap_v2"]
    for metric, found in table.groupby("metric"):
        summary = comparison.summary(results, str(metric)).set_index("arm").loc[found["arm"]]
        for own, theirs in (("difference", "difference"), ("low", "difference low"), ("p Holm", "p Holm")):
            assert found[own].to_numpy() == pytest.approx(summary[theirs].to_numpy())
        assert found["verdict"].tolist() == summary["verdict"].tolist()
    panels = figures.draw(differences, table, results).axes
    first = table[table["metric"] == "accuracy/validation"]
    drawn = [segment[:, 0].tolist() for lines in panels[0].collections[:1] for segment in lines.get_segments()]  # type: ignore[attr-defined]
    assert drawn == [pytest.approx([row.low, row.high]) for row in first.itertuples()]
    offsets = sorted(float(x) for marks in panels[0].collections[1:] for x in marks.get_offsets()[:, 0])  # type: ignore[index]
    assert offsets == pytest.approx(sorted(first["difference"]))


def test_separated_marks_are_filled_and_an_incomplete_arm_has_none(tmp_path: Path) -> None:
    record = synthetic_record.ladder(tmp_path, missing=[("+ raw weights", 1)])
    results = opened(record)
    table = differences.table(results)
    first = table[table["metric"] == "accuracy/validation"]
    assert [verdict.outcome.value for verdict in first["verdict"]] == ["better", "equivalent", "incomplete"]
    assert first["n"].tolist() == [3, 3, 2]
    axes = figures.draw(differences, table, results).axes[0]
    faces = {float(marks.get_offsets()[0][1]): marks.get_facecolor()[0].tolist() for marks in axes.collections[1:]}  # type: ignore[index]
    assert faces[1.0] == [1, 1, 1, 1]
    assert faces[0.0] != [1, 1, 1, 1]
    assert set(faces) == {0.0, 1.0}
    assert [label.get_text() for label in axes.get_yticklabels()][2] == "+ raw weights vs + flips"
    assert "1 of 3 comparisons is incomplete: it needs" in figures.caption(differences, table, results)


def test_one_training_each_has_no_interval_and_no_verdict(tmp_path: Path) -> None:
    results = opened(synthetic_record.make(tmp_path, seeds=[0]))
    table = differences.table(results)
    assert table["low"].isna().all()
    assert {verdict.outcome for verdict in table["verdict"]} == {Outcome.ONE_TRAINING}
    assert "without a verdict" in figures.caption(differences, table, results)


# --- two factors -------------------------------------------------------------------------------------


def test_heat_map_tells_what_is_not_in_the_design_from_what_is_missing(timesteps: Path) -> None:
    results = opened(timesteps)
    assert figures.applies(heat_map, results)
    table = heat_map.table(results)
    validation = table[table["list"] == "validation"].set_index("arm")
    assert len(validation) == 5
    assert validation["mean"].tolist() == pytest.approx([0.51, 0.61, 0.61, 0.51, 0.51])
    assert not table["chosen"].any()
    axes = figures.draw(heat_map, table, results).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["500", "1000", "2000"]
    at = {tuple(int(place) for place in text.get_position()): text.get_text() for text in axes.texts if text.get_text()}
    assert at == {(0, 0): ".61", (1, 0): ".61", (0, 1): ".51", (0, 2): ".51", (1, 2): ".51\nn = 2"}
    assert "No best cell is marked" in figures.caption(heat_map, table, results)


def test_heat_map_frames_the_cell_that_validation_chose(guidance: Path) -> None:
    results = opened(guidance)
    table = heat_map.table(results)
    assert table[table["chosen"]]["arm"].unique().tolist() == ["drop_probability=0.2 guidance_scale=2.0"]
    for axes in figures.draw(heat_map, table, results).axes[:4]:
        frames = [patch for patch in axes.patches if not patch.get_fill()]
        assert [(int(frame.get_x()), int(frame.get_y())) for frame in frames] == [(2, 2)]  # type: ignore[attr-defined]
    assert "drop_probability = 0.2, guidance_scale = 2.0: validation 0.720" in figures.caption(heat_map, table, results)


def test_the_numbers_of_a_heat_map_are_readable_on_their_cell() -> None:
    """Contrast of WCAG 2.1: at least 4.5 : 1 for small text, on every colour of the map."""
    for colour in heat_map.COLOURS(np.linspace(0, 1, 256))[:, :3]:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        luminance = float(np.dot((0.2126, 0.7152, 0.0722), linear))
        ink = 1.0 if style.ink_on(tuple(colour)) == "white" else 0.0
        high, low = max(luminance, ink), min(luminance, ink)
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_importance_of_a_grid_is_its_analysis_of_variance(guidance: Path) -> None:
    results = opened(guidance)
    table = importance.table(results)
    effects = factors.effects_table(results, "accuracy/validation")
    assert table["effect"].tolist() == effects["effect"].tolist()
    for shown, column in (("share", "omega^2"), ("low", "omega^2 low"), ("high", "omega^2 high"), ("p", "p Holm")):
        assert table[shown].tolist() == pytest.approx(effects[column].tolist())
    bars = figures.draw(importance, table, results).axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx(effects["omega^2"].tolist())  # type: ignore[attr-defined]
    assert "Partial omega^2 (Keren & Lewis 1979)" in figures.caption(importance, table, results)


def test_one_training_per_arm_has_no_importance(tmp_path: Path) -> None:
    results = opened(synthetic_record.guidance(tmp_path, drops=2, scales=2, seeds=[0]))
    table = importance.table(results)
    assert "One training per arm: no effect has a size" in figures.caption(importance, table, results)
    assert len(figures.draw(importance, table, results).axes) == 0


def test_importance_of_a_search_names_its_evaluator(tmp_path: Path) -> None:
    results = opened(synthetic_record.search(tmp_path))
    table = importance.table(results)
    assert table["effect"].tolist() == ["lr", "schedule"]
    assert table["kind"].tolist() == ["factor", "noise"]  # .79 above .75, .21 below .55
    caption = figures.caption(importance, table, results)
    assert "fANOVA (Hutter et al. 2014) over 17 complete trials (n = 18" in caption
    assert "Above the limit: lr. Indistinguishable from noise: schedule" in caption
    axes = figures.draw(importance, table, results).axes[0]
    marks = {str(line.get_label()): list(line.get_xdata()) for line in axes.lines}  # type: ignore[arg-type]
    assert marks == {"shuffled scores: mean": [0.6, 0.4], "their limit": [0.75, 0.55]}
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2
    assert axes.get_xlim()[1] > 0.79
    search = results.study.search.model_copy(update={"importance": {}})
    results = results.of(results.study.model_copy(update={"search": search}), results.rows)
    table = importance.table(results)
    assert "not finished" in figures.caption(importance, table, results)
    assert len(figures.draw(importance, table, results).axes) == 0


def test_importance_of_an_older_search_has_no_null(tmp_path: Path) -> None:
    results = opened(synthetic_record.search(tmp_path, finalists=0))
    table = importance.table(results)
    assert table["kind"].tolist() == ["factor", "factor"]
    assert list(figures.draw(importance, table, results).axes[0].lines) == []
    assert "noise has shares too, and its own were not computed" in figures.caption(importance, table, results)


def test_frontier_joins_the_points_in_the_order_of_s(guidance: Path) -> None:
    results = opened(guidance)
    table = frontier.table(results)
    line = table[table["setting"] == "drop_probability=0.2"].sort_values("guidance_scale")
    axes = figures.draw(frontier, table, results).axes[0]
    drawn = [(each.get_xdata(), each.get_ydata()) for each in axes.lines if len(each.get_xdata()) == len(line)]  # type: ignore[arg-type]
    wanted = line[["diversity", "accuracy"]].to_numpy().T
    assert any(np.allclose(xy, wanted) for xy in drawn)
    # s = 1, 1.5, 2, 2.5: .21 - .02 s, and the mean of the seeds .002 more
    assert line["diversity"].tolist() == pytest.approx([0.192, 0.182, 0.172, 0.162])


def test_an_older_record_has_no_diversity_and_no_bins(tmp_path: Path) -> None:
    record = synthetic_record.guidance(tmp_path, drops=1, scales=2)
    for path in record.glob("trials/*/result.json"):
        result = json.loads(path.read_text())
        kept = {name: value for name, value in result.items() if not name.startswith(("diversity", "x0_error"))}
        path.write_text(json.dumps(kept))
    for path in record.glob("trials/*/metrics.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        kept_lines = [{k: v for k, v in line.items() if not k.startswith("loss/") and k != "lr"} for line in lines]
        path.write_text("".join(json.dumps(line) + "\n" for line in kept_lines))
    results = opened(record)
    for name, words in {
        "frontier": "Diversity is not recorded: an older version ran these trials.",
        "error_by_noise_level": "Denoising errors are not recorded: an older version ran these trials.",
        "loss_by_timestep": "Losses by timestep are not recorded: an older version ran these trainings.",
    }.items():
        module = figures.load(name)
        table = module.table(results)
        assert [text.get_text().replace("\n", " ") for text in figures.draw(module, table, results).texts] == [words]
        assert "not recorded" in figures.caption(module, table, results)
    guided = figures.load("accuracy_by_guidance")
    assert len(figures.draw(guided, guided.table(results), results).axes) == 4
    rate = figures.draw(learning_curves, learning_curves.table(results), results).axes[3]
    assert [text.get_text() for text in rate.texts] == ["not recorded"]


# --- ladder ------------------------------------------------------------------------------------------


def test_the_steps_of_a_ladder_stand_beside_their_rungs(tmp_path: Path) -> None:
    record = synthetic_record.ladder(tmp_path)
    results = opened(record)
    table = ladder_steps.table(results)
    figure = figures.draw(ladder_steps, table, results)
    words = [text.get_text() for text in figure.axes[0].child_axes[0].get_yticklabels()]
    assert words[0] == "start, 0.600"
    summary = comparison.summary(results, "accuracy/validation")
    assert words[1] == f"{summary['difference'][1]:+.3f} [{summary['difference low'][1]:+.3f}, " + (
        f"{summary['difference high'][1]:+.3f}]\nbetter"
    )
    assert [word.split("\n")[-1] for word in words[1:]] == ["better", "equivalent (±0.05)", "worse"]
    assert "over the 3 steps: 1 better, 1 equivalent (±0.05), 1 worse" in figures.caption(ladder_steps, table, results)


# --- search ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.geomspace(1e-4, 1e-3, 30) * np.tile([1, 1.1, 1.2], 10), True),
        ([500, 1000, 2000], True),
        (np.arange(1, 5.5, 0.5), False),  # a raster
        ([0.0, 0.05, 0.1, 0.2, 0.5], False),
        ([0.9, 0.93, 0.99, 0.999], False),
        ([1e-3, 1e-2], False),  # two values have no scale
    ],
)
def test_an_axis_is_logarithmic_where_the_values_look_so(values: Any, expected: bool) -> None:
    assert search_slices.is_log(pd.Series(np.asarray(values))) is expected


def test_search_trials_with_a_value_are_drawn_once(tmp_path: Path) -> None:
    results = opened(synthetic_record.search(tmp_path))
    table = search_slices.table(results)
    assert search_slices.parameters(table) == ["lr", "schedule"]
    lr, schedule = figures.draw(search_slices, table, results).axes
    assert lr.get_xscale() == "log"
    for axes in (lr, schedule):
        drawn = {str(line.get_label()): np.asarray(line.get_ydata()) for line in axes.lines}
        complete = table[table["state"] == "complete"]
        assert drawn["complete"] == pytest.approx(complete["value"].to_numpy())
        assert drawn["winner"].tolist() == [results.study.search.best.value]  # where it was searched
    lines, axes = (
        figures.draw(search_parallel, table, results).axes[0].collections,
        figures.draw(search_parallel, table, results).axes[0],
    )
    assert [len(part.get_segments()) for part in lines] == [5, 18]  # type: ignore[attr-defined]
    heaviest = max(axes.lines, key=lambda line: line.get_linewidth())
    value = table["value"]
    won = (results.study.search.best.value - value.min()) / np.ptp(value.dropna())
    assert heaviest.get_ydata()[-1] == pytest.approx(won)  # type: ignore[index]
    log_lr = np.log(table["lr"].to_numpy())
    winner = table.index[table["winner"]][0]
    height = (log_lr[winner] - log_lr.min()) / np.ptp(log_lr)
    assert heaviest.get_ydata()[0] == pytest.approx(height)  # type: ignore[index]


def test_long_calls_are_told_by_their_names_where_these_differ() -> None:
    assert list(labels.short_names(["unet(a=1)", "context_unet(b=2)"]).values()) == ["unet", "context_unet"]
    assert list(labels.short_names(["unet(a=1)", "unet(a=2)"]).values()) == ["unet(a=1)", "unet(a=2)"]
    assert labels.short_names([1e-4, "x" * 30], 10) == {1e-4: "0.0001", "x" * 30: "xxxxxxxxx…"}


# --- noise -------------------------------------------------------------------------------------------


def test_error_by_noise_level_has_more_noise_on_the_right(miniature_record: Path) -> None:
    results = opened(miniature_record)
    table = error_by_noise_level.table(results)
    assert sorted(table["bin low"].unique()) == [-4, -2, 0, 2]
    axes = figures.draw(error_by_noise_level, table, results).axes[0]
    assert axes.xaxis_inverted()
    middle = axes.lines[1]  # the second of three arms stands in the middle of each bin
    assert middle.get_xdata() == pytest.approx([-3, -1, 1, 3])
    assert middle.get_ydata() == pytest.approx([0.015, 0.0125, 0.01, 0.0075])


def test_loss_by_timestep_is_of_the_last_quarter(miniature_record: Path) -> None:
    results = opened(miniature_record)
    table = loss_by_timestep.table(results)
    assert len(table) == 3 * 3 * 10
    curves = reader.curves("schedules", miniature_record)
    last = curves[(curves["arm"] == "schedule=cosine") & (curves["images"] > 48_000)]
    assert len(last) == 3 * 5
    cosine = table[(table["arm"] == "schedule=cosine") & np.isclose(table["t / T"], 0.25)]
    assert cosine["mean"].iloc[0] == pytest.approx(last["loss/t_2"].mean())
    assert cosine["n"].iloc[0] == 3
    means = last.groupby("seed")["loss/t_2"].mean()
    assert cosine.set_index("seed")["loss"].to_dict() == pytest.approx(means.to_dict())
    axes = figures.draw(loss_by_timestep, table, results).axes[0]
    assert axes.get_title() == "not on one scale across arms"
    cosine_look = style.looks(results.arms)["schedule=cosine"]
    (line,) = [line for line in axes.lines if line.get_color() == cosine_look.colour]
    assert line.get_xdata() == pytest.approx(np.arange(10) / 10 + 0.05)
    assert "changes the scale" in figures.caption(loss_by_timestep, table, results)
