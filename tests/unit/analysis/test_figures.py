"""Figures: every file of analysis/figures gathers, draws and explains the synthetic_record record, and half of it."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_record
import synthetic_trial
from matplotlib.collections import LineCollection
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
from analysis.plotting import style
from analysis.tables import comparison as tables
from runners.ddpm.config import TrialConfig
from study.record import reader

STUDY = "schedules-smoke"
every_figure = pytest.mark.parametrize("name", figures.NAMES)

# The kind of study that a figure is for, and words that must stand in it; the others are for every study.
KINDS: dict[str, tuple[Callable[..., Path], tuple[str, ...]]] = {
    "accuracy_by_cost": (synthetic_record.samplers, ("ddpm", "ddim", "ddim(eta=1.0)", "network evaluations an image")),
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


def study_of(record: Path) -> dict[str, Any]:
    return next(iter(reader.studies(record).values()))


def record_of(name: str, root: Path) -> tuple[Path, dict[str, Any]]:
    """A record of the figure's own kind of study, and its study.json."""
    record = maker_of(name)(root)
    return record, study_of(record)


def without_images(maker: Callable[..., Path], root: Path) -> Path:
    record = maker(root)
    for path in record.rglob("*.png"):
        path.unlink()
    return record


def half(maker: Callable[..., Path], complete: int, root: Path) -> Path:
    """A record whose first `complete` trials are there, whose fifth has failed and whose others are missing."""
    study = study_of(maker(root / "whole"))
    trials = [(arm.removeprefix("schedule="), seed) for arm in study["arms"] for seed in study["seeds"]]
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
    module, study = figures.load(name), study_of(record)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = module.table(study["study_id"], record)
        module.draw(table, study).savefig(png, dpi=40)
        return module.caption(table, study)


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
    module, record = figures.load(name), once(maker_of(name))
    study = study_of(record)
    assert figures.applies(module, study)
    table = module.table(study["study_id"], record)
    caption, figure = module.caption(table, study), module.draw(table, study)
    assert "n = " in caption or name == "schedule_sheet"  # a property of the setting has no n
    words = texts(figure).replace("\n", "")
    expected = KINDS[name][1] if name in KINDS else TWO_ARMS.get(name, synthetic_trial.SCHEDULES)
    assert all(word in words for word in expected)
    png = style.save(figure, tmp_path / "once")
    pixels = np.asarray(Image.open(png).convert("L"))
    assert pixels.shape[1] == style.DOUBLE * 200
    assert 0.002 < np.mean(pixels < 200) < 0.98, "the page is empty or black"
    again = style.save(module.draw(module.table(study["study_id"], record), study), tmp_path / "twice")
    assert png.read_bytes() == again.read_bytes()
    assert png.with_suffix(".pdf").read_bytes() == again.with_suffix(".pdf").read_bytes()


@every_figure
@pytest.mark.parametrize("complete", [0, 4])
def test_a_figure_of_half_a_study(name: str, complete: int, once: Callable[..., Path], tmp_path: Path) -> None:
    """Nothing complete; one arm complete, one with a hole and a failure, the others missing."""
    caption = drawn(name, once(half, maker_of(name), complete), tmp_path / "figure.png")
    # The trials of a search are in its study.json: without one on fresh seeds they are drawn all the same.
    assert (complete == 0 and name not in ("search_parallel", "search_slices")) == (" yet." in caption)


@every_figure
def test_a_figure_survives_missing_images_and_hostile_names(
    name: str, once: Callable[..., Path], tmp_path: Path
) -> None:
    module, record = figures.load(name), once(without_images, maker_of(name))
    study = study_of(record)
    table = module.table(study["study_id"], record)
    hostile = r"_$\frac{" + "x" * 40
    renamed = {study["arms"][0]: hostile}
    study["arms"] = [renamed.get(arm, arm) for arm in study["arms"]]
    table = table.replace(renamed)
    for column in {"family", "setting"} & set(table.columns):
        table[column] = table[column].replace({table[column].iloc[0]: hostile})
    module.draw(table, study).savefig(tmp_path / "figure.png", dpi=40)  # an unbalanced $ raises here


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
    if not figures.applies(figures.load(name), study_of(thirty_six[kind])):
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
    study = next(iter(reader.studies(thirty_six["own"]).values()))
    figure = same_noise_grids.draw(same_noise_grids.table(study["study_id"], thirty_six["own"]), study)
    assert len(figure.axes) == 12
    kept = style.spread(study | {"baseline_arm": "lr=20e-05"}, study["arms"])
    assert len(kept) == 12
    assert {"lr=1e-05", "lr=20e-05", "lr=36e-05"} <= set(kept)
    assert kept == [arm for arm in study["arms"] if arm in kept]
    assert style.spread(study, study["arms"][:12]) == study["arms"][:12]


def test_learning_curves_of_many_trainings_have_a_legend_that_fits(thirty_six: dict[str, Path]) -> None:
    study = next(iter(reader.studies(thirty_six["own"]).values()))
    table = learning_curves.table(study["study_id"], thirty_six["own"])
    figure = learning_curves.draw(table, study)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == 13
    assert labels[-1] == "other arms"
    grey = [line for line in figure.axes[0].lines if line.get_color() == "0.75"]
    assert len(grey) == 24
    assert "24 more are in grey" in learning_curves.caption(table, study)


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
    study = next(iter(reader.studies(kind(tmp_path)).values()))
    assert {name for name in KINDS if figures.applies(figures.load(name), study)} == expected
    assert all(figures.applies(figures.load(name), study) for name in set(figures.NAMES) - set(KINDS))


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
    table = learning_curves.table(STUDY, miniature_record)
    study = reader.load_study(STUDY, miniature_record)
    figure = learning_curves.draw(table, study)
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
    study = reader.load_study(STUDY, miniature_record) | {"factors": {"lr": [1e-4, 1e-3]}}
    assert learning_curves.draw(learning_curves.table(STUDY, miniature_record), study).axes[0].get_title() == ""


def test_accuracy_draws_its_own_t_interval(miniature_record: Path) -> None:
    table = accuracy_by_arm.table(STUDY, miniature_record)
    figure = accuracy_by_arm.draw(table, reader.load_study(STUDY, miniature_record))
    assert [axes.get_title() for axes in figure.axes] == ["validation", "test", "new_test", "unseen"]
    lines = [each for each in figure.axes[0].collections if isinstance(each, LineCollection)]
    spans = [list(segment[:, 0]) for each in lines for segment in each.get_segments()]
    # linear: .60 .62 .58: .60 -+ 4.3027 x .02 / sqrt(3)
    assert pytest.approx([0.60 - 0.04968, 0.60 + 0.04968], abs=1e-5) in spans
    assert len(figure.axes[0].collections[0].get_offsets()) == 3 * 3  # type: ignore[arg-type]
    stars = [x for line in figure.axes[1].lines if line.get_marker() == "*" for x in np.asarray(line.get_xdata())]
    assert [star for star in stars if np.isfinite(star)] == [0.6, 0.88]


def test_schedule_sheet_measures_t_from_one_over_T_to_one(miniature_record: Path) -> None:
    table = schedule_sheet.table(STUDY, miniature_record)
    linear = table[table["arm"] == "schedule=linear"]
    assert len(linear) == 500
    assert linear["u"].iloc[[0, -1]].tolist() == pytest.approx([1 / 500, 1])
    # prod (1 - beta) of 500 linear steps from 1e-4 to .02: log = about -(5.025 + .0338) and its root .0797
    assert linear["sqrt_alpha_bar"].iloc[-1] == pytest.approx(0.0797, abs=2e-4)
    assert "linear 0.08 (T = 500)" in schedule_sheet.caption(table, reader.load_study(STUDY, miniature_record))


def test_schedule_sheet_of_one_trial_folder(tmp_path: Path) -> None:
    """Before the trial is complete: no result.json, no study."""
    config = replace(TrialConfig(), schedule="cosine", timesteps=100)
    synthetic_trial.write_trial(tmp_path / "trial", config)
    (tmp_path / "trial" / "result.json").unlink()
    figure = schedule_sheet.draw_trial(tmp_path / "trial")
    assert "cosine" in texts(figure)
    assert style.save(figure, tmp_path / "schedule_sheet").is_file()


def test_schedule_sheet_shows_each_schedule_and_T(tmp_path: Path) -> None:
    record = synthetic_record.reports(tmp_path)
    study = reader.load_study("reports", record)
    table = schedule_sheet.table("reports-smoke", record)
    words = texts(schedule_sheet.draw(table, study))
    assert all(f"linear, T = {name}" in words for name in ("1000", "500 (2 arms)", "2000"))
    assert "linear, T = 1000 0.0064; linear, T = 500 (2 arms) 0.08;" in schedule_sheet.caption(table, study)


def test_accuracy_by_cost_draws_a_line_a_family(tmp_path: Path) -> None:
    record, study = record_of("accuracy_by_cost", tmp_path)
    table = accuracy_by_cost.table(study["study_id"], record)
    assert table["family"].value_counts().to_dict() == {"ddpm": 5, "ddim": 5, "ddim(eta=1.0)": 5, "ddim(eta=0.5)": 5}
    assert table.loc[table["family"] == "ddim", "evaluations"].tolist() == [5, 10, 25, 50, 100]
    panels = accuracy_by_cost.draw(table, study).axes
    assert [axes.get_xscale() for axes in panels] == ["log", "log"]
    assert [axes.get_xlabel() for axes in panels] == ["network evaluations an image", "seconds of sampling"]
    # ddim(steps=25): seconds 3.0, 3.1, 3.2
    assert table.loc[table["arm"] == "sampler=ddim(steps=25)", "seconds"].tolist() == pytest.approx([3.1])
    ddim = table[table["arm"] == "sampler=ddim(steps=25)"].iloc[0]
    spans = [segment[:, 1] for bars in panels[0].collections for segment in bars.get_segments()]  # type: ignore[attr-defined]
    assert any(span == pytest.approx([ddim["low"], ddim["high"]]) for span in spans)


def test_accuracy_by_guidance_marks_what_validation_chose(tmp_path: Path) -> None:
    record, study = record_of("accuracy_by_guidance", tmp_path)
    table = accuracy_by_guidance.table(study["study_id"], record)
    chosen = table[table["chosen"] & (table["setting"] != "drop_probability=0.0")]
    assert chosen["guidance_scale"].unique().tolist() == [2.0]
    assert sorted(chosen["list"].unique()) == ["diversity", "new_test", "test", "unseen", "validation"]
    assert table.groupby("list")["chosen"].sum().unique().tolist() == [3]
    figure = accuracy_by_guidance.draw(table, study)
    assert [axes.get_title() for axes in figure.axes] == ["validation", "test", "new_test", "unseen", "diversity"]
    rings = [line for line in figure.axes[1].lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]  # type: ignore[arg-type]
    assert len(rings) == 3


def test_search_history_tells_the_states_apart_by_shape(tmp_path: Path) -> None:
    record, study = record_of("search_history", tmp_path)
    study["search"]["trials"][3]["value"] = 0.99  # pruned: a lucky intermediate value is no best
    (record / "studies" / "search-smoke" / "study.json").write_text(json.dumps(study))
    table = search_history.table(study["study_id"], record)
    assert len({look["marker"] for look in search_history.STATES.values()}) == len(search_history.STATES)
    trials = table[table["kind"] == "search"]
    complete = trials["value"].where(trials["state"] == "complete")
    assert trials["best"].tolist() == [np.nanmax(complete[: index + 1]) for index in range(len(trials))]
    history, fresh = search_history.draw(table, study).axes
    step = next(line for line in history.lines if line.get_label() == "best so far")
    assert step.get_drawstyle() == "steps-post"
    means = tables.summary(reader.load("search", record), study, "accuracy/validation")
    assert [line.get_ydata()[0] for line in fresh.lines[1::2]] == pytest.approx(means["mean"].tolist())  # type: ignore[index]
    assert [list(line.get_ydata()) for line in fresh.lines[::2]] == [  # type: ignore[arg-type]
        pytest.approx([row["ci low"], row["ci high"]]) for _, row in means.iterrows()
    ]


def test_same_noise_grids_label_their_columns(miniature_record: Path) -> None:
    table = same_noise_grids.table(STUDY, miniature_record)
    assert len(table) == 3 * 8
    assert table["condition"].iloc[1] == "cyan cube\nblue sphere"
    assert table["seed"].unique().tolist() == [0]


def test_one_colour_an_arm_everywhere() -> None:
    arms = [f"lr={index}" for index in range(42)]
    looks = style.arm_style({"arms": arms}).values()
    assert len({(look["color"], look["linestyle"]) for look in looks}) == 42
    assert style.line_style({"arms": arms}, "lr=1") == {"color": style.COLOURS[1], "linestyle": "-"}


def test_labels_lose_the_factor_only_when_there_is_one() -> None:
    assert style.arm_label({"factors": {"lr": []}}, "lr=0.1") == "0.1"
    assert style.arm_label({"factors": {"lr": [], "p": []}}, "lr=0.1, p=0") == "lr=0.1, p=0"
    assert style.plain("_a$b\x1b") == r" _a\$b?"
