"""Figures: every file of analysis/figures gathers, draws and explains the miniature record, and half of it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis import figures, style
from analysis.figures import accuracy_by_arm, learning_curves, same_noise_grids, schedule_sheet
from runners.config import TrialConfig
from study import record as reader

STUDY = "schedules-smoke"
every_figure = pytest.mark.parametrize("name", figures.NAMES)


def drawn(name: str, record: Path, png: Path) -> str:
    """Draw the figure into a small `png`; its caption. A warning (a glyph, a layout that does not fit) is an error."""
    module, study = figures.load(name), reader.load_study(STUDY, record)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = module.table(STUDY, record)
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
def test_a_figure_of_a_whole_study(name: str, miniature_record: Path, tmp_path: Path) -> None:
    """It has a title, says n, names every arm, fills the width of the page, and is the same twice."""
    assert 3 < len(figures.title(figures.load(name))) < 60
    module, study = figures.load(name), reader.load_study(STUDY, miniature_record)
    table = module.table(STUDY, miniature_record)
    caption, figure = module.caption(table, study), module.draw(table, study)
    assert "n = " in caption or name == "schedule_sheet"  # a property of the setting has no n
    words = texts(figure).replace("\n", "")
    assert all(schedule in words for schedule in miniature.SCHEDULES)
    png = style.save(figure, tmp_path / "once")
    pixels = np.asarray(Image.open(png).convert("L"))
    assert pixels.shape[1] == style.DOUBLE * 200
    assert 0.002 < np.mean(pixels < 200) < 0.98, "the page is empty or black"
    again = style.save(module.draw(module.table(STUDY, miniature_record), study), tmp_path / "twice")
    assert png.read_bytes() == again.read_bytes()
    assert png.with_suffix(".pdf").read_bytes() == again.with_suffix(".pdf").read_bytes()


@every_figure
@pytest.mark.parametrize("complete", [0, 4])
def test_a_figure_of_half_a_study(name: str, complete: int, tmp_path: Path) -> None:
    """Nothing complete; one arm complete, one with a hole and a failure, one missing."""
    trials = [(schedule, seed) for schedule in miniature.SCHEDULES for seed in range(3)]
    miniature.make(tmp_path / "record", holes=trials[complete:], failed=trials[4:5])
    caption = drawn(name, tmp_path / "record", tmp_path / "figure.png")
    assert (complete == 0) == (" yet." in caption)


@every_figure
def test_a_figure_survives_missing_images_and_hostile_names(name: str, tmp_path: Path) -> None:
    record = miniature.make(tmp_path / "record")
    for path in record.rglob("*.png"):
        path.unlink()
    module, study = figures.load(name), reader.load_study(STUDY, record)
    table = module.table(STUDY, record)
    hostile = r"_$\frac{" + "x" * 40
    renamed = {study["arms"][0]: hostile}
    study["arms"] = [renamed.get(arm, arm) for arm in study["arms"]]
    table["arm"] = table["arm"].replace(renamed)
    module.draw(table, study).savefig(tmp_path / "figure.png", dpi=40)  # an unbalanced $ raises here


@every_figure
def test_a_figure_of_many_arms_that_share_their_trainings(name: str, tmp_path: Path) -> None:
    """Nine arms of two sampling factors, one seed: more arms than colours, one training for all."""
    record = sampling_study(tmp_path / "record")
    caption = drawn(name, record, tmp_path / "figure.png")
    if name == "learning_curves":
        assert "and 8 more (one training)" in caption
    if name == "schedule_sheet":
        assert "(9 arms)" in caption


def sampling_study(record: Path) -> Path:
    configs = {
        f"guidance_scale={scale}, sampler=ddim(steps={steps})": TrialConfig(
            guidance_scale=scale, sampler=f"ddim(steps={steps})", total_images=64_000, timesteps=500
        )
        for scale in (1.0, 1.5, 2.0)
        for steps in (10, 20, 50)
    }
    trials = []
    for arm, config in configs.items():
        miniature.write_trial(record / "trials" / config.trial_key, config)
        keys: dict[str, Any] = {"trial_key": config.trial_key, "train_key": config.train_key, "run_id": ""}
        trials.append({"arm": arm, "seed": 0, **keys, "config": config.to_dict()})
    factors = {"guidance_scale": [1.0, 1.5, 2.0], "sampler": ["..."]}
    fields = {"arms": list(configs), "baseline_arm": trials[0]["arm"], "factors": factors, "published": {}}
    return miniature.make(record, seeds=[0], trials=trials, **fields)


# --- what single figures promise ---------------------------------------------------------------------


def test_learning_curves_average_seeds_only_where_all_are(miniature_record: Path) -> None:
    table = learning_curves.table(STUDY, miniature_record)
    study = reader.load_study(STUDY, miniature_record)
    figure = learning_curves.draw(table, study)
    loss, _, clock = figure.axes
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
    spans = [list(line.get_xdata()) for line in figure.axes[0].lines]  # type: ignore[arg-type]
    # linear: .60 .62 .58: .60 -+ 4.3027 x .02 / sqrt(3)
    assert pytest.approx([0.60 - 0.04968, 0.60 + 0.04968], abs=1e-5) in spans
    assert len(figure.axes[0].collections[0].get_offsets()) == 3  # type: ignore[arg-type]
    stars = [line.get_xdata()[0] for line in figure.axes[1].lines if line.get_marker() == "*"]  # type: ignore[index]
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
    miniature.write_trial(tmp_path / "trial", config)
    (tmp_path / "trial" / "result.json").unlink()
    figure = schedule_sheet.draw_trial(tmp_path / "trial")
    assert "cosine" in texts(figure)
    assert style.save(figure, tmp_path / "schedule_sheet").is_file()


def test_same_noise_grids_label_their_columns(miniature_record: Path) -> None:
    table = same_noise_grids.table(STUDY, miniature_record)
    assert len(table) == 3 * 8
    assert table["condition"].iloc[1] == "cyan cube\nblue sphere"
    assert table["seed"].unique().tolist() == [0]


def test_one_colour_an_arm_everywhere() -> None:
    arms = [f"lr={index}" for index in range(28)]
    looks = style.arm_style({"arms": arms}).values()
    assert len({(look["color"], look["linestyle"]) for look in looks}) == 28
    assert style.line_style({"arms": arms}, "lr=1") == {"color": style.COLOURS[1], "linestyle": "-"}


def test_labels_lose_the_factor_only_when_there_is_one() -> None:
    assert style.arm_label({"factors": {"lr": []}}, "lr=0.1") == "0.1"
    assert style.arm_label({"factors": {"lr": [], "p": []}}, "lr=0.1, p=0") == "lr=0.1, p=0"
    assert style.plain("_a$b\x1b") == r" _a\$b?"
