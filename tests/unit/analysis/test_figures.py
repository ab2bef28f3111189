"""Figures: every file of analysis/figures gathers, draws and explains the synthetic_record record, and half of it."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_record
import synthetic_trial
from frames import lr_results
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

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
from study.record.schema import Study

STUDY = "schedules-smoke"
every_figure = pytest.mark.parametrize("name", figures.NAMES)

# The kind of study that a figure is for, and words that must stand in it; the others are for every study.
KINDS: dict[str, tuple[Callable[..., Path], tuple[str, ...]]] = {
    "accuracy_by_cost": (synthetic_record.samplers, ("ddpm", "ddim", "ddim(eta=1.0)", "network evaluations per image")),
    "accuracy_by_guidance": (
        synthetic_record.guidance,
        ("drop_probability=0.0", "drop_probability=0.2", "best on validation"),
    ),
    "frontier": (
        synthetic_record.guidance,
        ("drop_probability=0.0", "drop_probability=0.2", "s = 1", "2.5", "diversity"),
    ),
    "heat_map": (
        synthetic_record.guidance,
        ("drop_probability", "guidance_scale", "0.1", "2.5", ".72", "mean accuracy"),
    ),
    "importance": (synthetic_record.guidance, ("drop_probability x guidance_scale", "seed (block)", "sum to 1.00")),
    "ladder_steps": (synthetic_record.ladder, ("start", "+ cosine", "+ flips", "+ raw weights", "better", "worse")),
    "search_history": (synthetic_record.search, ("complete", "pruned", "failed (no value)", "best so far", "winner")),
    "search_parallel": (
        synthetic_record.search,
        ("lr", "schedule", "squaredcos_cap_v2", "0.001", "accuracy/validation"),
    ),
    "search_slices": (
        synthetic_record.search,
        ("lr", "schedule", "complete", "pruned", "winner", *synthetic_trial.SCHEDULES),
    ),
}

# Figures that look into two arms only, the baseline and the best (worst) other one.
TWO_ARMS = {
    "confusion": ("linear (baseline)", "squaredcos_cap_v2 (best other arm on validation)"),
    "failures": ("linear: ", "cosine: ", "asked", "seen", "× "),
}


def maker_of(name: str) -> Callable[..., Path]:
    """What makes a record of the figure's own kind of study."""
    return KINDS.get(name, (synthetic_record.make, ()))[0]


def opened(record: Path) -> Results:
    """The results of a record's only study."""
    return Results.open(next(iter(reader.studies(record))), record)


def results_for(name: str, root: Path) -> Results:
    """The results of a record of the figure's own kind of study."""
    return opened(maker_of(name)(root))


def renamed_in(study: Study, names: Mapping[str, str]) -> Study:
    """The study with other names for some of its arms."""
    value = study.to_json()
    for field in ("arms", "baseline_arm", "published", "against"):
        text = json.dumps(value[field])
        for old, new in names.items():
            text = text.replace(json.dumps(old), json.dumps(new))
        value[field] = json.loads(text)
    return Study.model_validate(value)


def without_images(maker: Callable[..., Path], root: Path) -> Path:
    record = maker(root)
    for path in record.rglob("*.png"):
        path.unlink()
    return record


def half(maker: Callable[..., Path], complete: int, root: Path) -> Path:
    """A record whose first `complete` trials are there, whose fifth has failed and whose others are missing."""
    whole = opened(maker(root / "whole"))
    trials = [(arm.removeprefix("schedule="), seed) for arm in whole.arms for seed in whole.seeds]
    return maker(root / "half", missing=trials[complete:], failed=trials[4:5])


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A maker and its arguments before the folder -> its record, made once for all figures: it is only read."""

    @functools.cache
    def make(maker: Callable[..., Path], *given: Any) -> Path:
        return maker(*given, tmp_path_factory.mktemp("record"))

    return make


def drawn(name: str, record: Path, png: Path) -> str:
    """Draw the figure into a small `png`; its caption. A warning (a glyph, a layout that does not fit) is an error."""
    module, results = figures.load(name), opened(record)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = module.table(results)
        figures.draw(module, table, results).savefig(png, dpi=40)
        return figures.caption(module, table, results)


def texts(figure: Figure) -> str:
    found = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]  # type: ignore[attr-defined]
    return "\n".join(found)


def test_the_registry_is_the_folder() -> None:
    files = {path.stem for path in Path(figures.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(figures.NAMES) == files
    with pytest.raises(ValueError, match="No figure 'pie'"):
        figures.load("pie")


@every_figure
def test_a_figure_of_a_whole_study(name: str, once: Callable[..., Path], tmp_path: Path) -> None:
    """It has a title, says n, names every arm, fills the width of the page, and is the same twice."""
    assert 3 < len(figures.title(figures.load(name))) < 60
    module, results = figures.load(name), opened(once(maker_of(name)))
    assert figures.applies(module, results)
    table = module.table(results)
    caption, figure = figures.caption(module, table, results), figures.draw(module, table, results)
    assert "n = " in caption or name == "schedule_sheet"  # a property of the setting has no n
    words = texts(figure).replace("\n", "")
    expected = KINDS[name][1] if name in KINDS else TWO_ARMS.get(name, synthetic_trial.SCHEDULES)
    assert all(word in words for word in expected)
    png = style.save(figure, tmp_path / "once")
    pixels = np.asarray(Image.open(png).convert("L"))
    assert pixels.shape[1] == style.DOUBLE * 200
    assert 0.002 < np.mean(pixels < 200) < 0.98, "the page is empty or black"
    again = style.save(figures.draw(module, module.table(results), results), tmp_path / "twice")
    assert png.read_bytes() == again.read_bytes()
    assert png.with_suffix(".pdf").read_bytes() == again.with_suffix(".pdf").read_bytes()


@every_figure
@pytest.mark.parametrize("complete", [0, 4])
def test_a_figure_of_half_a_study(name: str, complete: int, once: Callable[..., Path], tmp_path: Path) -> None:
    """Nothing complete; one arm complete, one with a missing seed and a failure, the others missing."""
    caption = drawn(name, once(half, maker_of(name), complete), tmp_path / "figure.png")
    # The trials of a search are in its study.json: without one on fresh seeds they are drawn all the same.
    assert (complete == 0 and name not in ("search_parallel", "search_slices")) == (" yet." in caption)


@every_figure
def test_a_figure_survives_missing_images_and_hostile_names(
    name: str, once: Callable[..., Path], tmp_path: Path
) -> None:
    module, results = figures.load(name), opened(once(without_images, maker_of(name)))
    table = module.table(results)
    hostile = r"_$\frac{" + "x" * 40
    renamed = {results.arms[0]: hostile}
    study = renamed_in(results.study, renamed)
    results, table = results.of(study, results.rows.replace(renamed)), table.replace(renamed)
    for column in {"family", "setting"} & set(table.columns):
        table[column] = table[column].replace({table[column].iloc[0]: hostile})
    figures.draw(module, table, results).savefig(tmp_path / "figure.png", dpi=40)  # an unbalanced $ raises here


@every_figure
def test_a_figure_of_many_arms_that_share_their_trainings(name: str, once: Callable[..., Path], tmp_path: Path) -> None:
    """Nine arms of two sampling factors, one seed: more arms than colours, one training for all."""
    caption = drawn(name, once(sampling_study), tmp_path / "figure.png")
    if name == "learning_curves":
        assert "and 8 more (one training)" in caption
    if name == "schedule_sheet":
        assert "(9 arms)" in caption


@pytest.fixture(scope="module")
def thirty_six(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """36 arms, one seed: of one training (samplers), of a training each, and of six trainings (guidance)."""
    root = tmp_path_factory.mktemp("many")
    own = {f"lr={index}e-05": replace(synthetic_record.BASELINE, lr=index * 1e-5) for index in range(1, 37)}
    fields = {"seeds": [0], "factors": {"lr": [1e-5]}}
    return {
        "shared": synthetic_record.samplers(root / "shared", steps=(5, 10, 20, 50, 100, 250), etas=5, seeds=[0]),
        "own": synthetic_record.write(root / "own", own, lambda config: 0.5 + 1000 * config.lr, **fields),
        "crossed": synthetic_record.guidance(root / "crossed", drops=6, scales=6, seeds=[0]),
    }


@every_figure
@pytest.mark.parametrize("kind", ["shared", "own", "crossed"])
def test_a_figure_of_36_arms(name: str, kind: str, thirty_six: dict[str, Path], tmp_path: Path) -> None:
    if not figures.applies(figures.load(name), opened(thirty_six[kind])):
        pytest.skip("is never drawn of such a study")
    if kind != "own" and figures.place(figures.load(name)) == "pictures":
        pytest.skip("pictures are laid out by the number of arms alone")
    caption = drawn(name, thirty_six[kind], tmp_path / "figure.png")
    height = Image.open(tmp_path / "figure.png").size[1] / 40
    assert height < 14.5, "longer than a page and a half"
    if name in ("same_noise_grids", "denoising_strips", "grids", "interpolation", "noise_grids"):
        assert "Drawn are 12 of the 36 arms: the baseline and an even spread." in caption
        assert "missing" not in caption


def test_images_of_at_most_twelve_arms_are_drawn(thirty_six: dict[str, Path]) -> None:
    results = opened(thirty_six["own"])
    figure = figures.draw(same_noise_grids, same_noise_grids.table(results), results)
    assert len(figure.axes) == 12
    other = results.of(results.study.model_copy(update={"baseline_arm": "lr=20e-05"}), results.rows)
    kept = labels.spread_arms(other, results.arms)
    assert len(kept) == 12
    assert {"lr=1e-05", "lr=20e-05", "lr=36e-05"} <= set(kept)
    assert kept == [arm for arm in results.arms if arm in kept]
    assert labels.spread_arms(results, results.arms[:12]) == results.arms[:12]


def test_learning_curves_of_many_trainings_have_a_legend_that_fits(thirty_six: dict[str, Path]) -> None:
    results = opened(thirty_six["own"])
    table = learning_curves.table(results)
    figure = figures.draw(learning_curves, table, results)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(named) == 13
    assert named[-1] == "other arms"
    grey = to_rgba(style.FAINT)
    lines = [part for part in figure.axes[0].collections if isinstance(part, LineCollection)]
    assert sum(len(part.get_segments()) for part in lines if tuple(part.get_edgecolor()[0]) == grey) == 24
    assert "24 more are in grey" in figures.caption(learning_curves, table, results)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (synthetic_record.make, set()),
        (synthetic_record.guidance, {"accuracy_by_guidance", "frontier", "heat_map", "importance"}),
        (synthetic_record.samplers, {"accuracy_by_cost"}),
        (synthetic_record.search, {"search_history", "search_parallel", "search_slices", "importance"}),
        (synthetic_record.ladder, {"ladder_steps"}),
        (synthetic_record.reports, set()),
    ],
)
def test_a_figure_applies_to_its_kind_of_study(kind: Any, expected: set[str], tmp_path: Path) -> None:
    results = opened(kind(tmp_path))
    assert {name for name in KINDS if figures.applies(figures.load(name), results)} == expected
    assert all(figures.applies(figures.load(name), results) for name in set(figures.NAMES) - set(KINDS))


def sampling_study(record: Path) -> Path:
    arms = {
        f"guidance_scale={scale}, sampler=ddim(steps={steps})": replace(
            synthetic_record.BASELINE, guidance_scale=scale, sampler=f"ddim(steps={steps})"
        )
        for scale in (1.0, 1.5, 2.0)
        for steps in (10, 20, 50)
    }
    factors = {"guidance_scale": [1.0, 1.5, 2.0], "sampler": ["..."]}
    return synthetic_record.write(record, arms, lambda config: 0.6, seeds=[0], factors=factors)


# --- what single figures promise ---------------------------------------------------------------------


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
    results = results_for("accuracy_by_cost", tmp_path)
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
    results = results_for("accuracy_by_guidance", tmp_path)
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
    history, fresh = figures.draw(search_history, table, results).axes
    step = next(line for line in history.lines if line.get_label() == "best so far")
    assert step.get_drawstyle() == "steps-post"
    means = comparison.summary(results, "accuracy/validation")
    assert [line.get_ydata()[0] for line in fresh.lines[1::2]] == pytest.approx(means["mean"].tolist())  # type: ignore[index]
    assert [list(line.get_ydata()) for line in fresh.lines[::2]] == [  # type: ignore[arg-type]
        pytest.approx([row["ci low"], row["ci high"]]) for _, row in means.iterrows()
    ]


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
