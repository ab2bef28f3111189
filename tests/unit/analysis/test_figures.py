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
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from analysis import figures
from analysis.figures import (
    learning_curves,
    same_noise_grids,
)
from analysis.plotting import labels, style
from analysis.results import Results
from study.record import reader
from study.record.schema import Study
from tests import adapted_record, synthetic_tasks

STUDY = "schedules-smoke"
every_figure = pytest.mark.parametrize("name", figures.NAMES)

digits = functools.partial(synthetic_record.make, task=synthetic_tasks.classes())

# The kind of study that a figure is for, and words that must stand in it; the others are for every study.
KINDS: dict[str, tuple[Callable[..., Path], tuple[str, ...]]] = {
    "adaptation_curves": (
        adapted_record.make,
        ("DANN, street numbers", "DANN, plain digits", "chance", "loss of the domain classifier"),
    ),
    "domain_map": (
        adapted_record.make,
        ("source only, street numbers", "DANN, plain digits", "target only, plain digits", "photo", "street", "plain"),
    ),
    "class_grid": (digits, ("schedule=linear (baseline)", "9")),
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
    "importance": (synthetic_record.guidance, ("drop_probability x guidance_scale", "partial omega^2", ", p ")),
    "ladder_steps": (synthetic_record.ladder, ("start", "+ cosine", "+ flips", "+ raw weights", "better", "worse")),
    "search_history": (
        synthetic_record.search,
        ("complete", "pruned", "failed (no value)", "best so far", "winner", "where it was searched"),
    ),
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
    "confusion": ("schedule=linear (baseline)", "schedule=squaredcos_cap_v2 (best other arm on"),
    "failures": ("schedule=linear: ", "schedule=cosine: ", "asked", "seen", "× "),
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
        assert "all 9 arms (one training)" in caption
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
        assert "Only 12 of 36 arms are drawn: the baseline and an even spread." in caption
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
        (digits, {"class_grid"}),
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
