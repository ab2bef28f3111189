"""Figures of other tasks than i-CLEVR: images of one class each, of several labels, and without labels."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_record
from matplotlib.figure import Figure

from analysis import figures
from analysis.figures import accuracy_by_class, class_grid, confusion, denoising_strips, failures, feature_map
from analysis.results import Results
from analysis.tables import outcomes
from tests import synthetic_tasks

STUDY = "schedules-smoke"
OWN = ("accuracy_by_class", "class_grid", "confusion", "failures", "noise_grids")  # figures of labels
WORDS = re.compile(r"\b(objects?|pictures?|colou?rs?|shapes|cubes?|spheres?|cylinders?)\b", re.IGNORECASE)
Opened = Callable[[str], Results]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """The results of a record of each task, made once: they are only read."""
    made: dict[str, Results] = {}
    tasks: dict[str, Callable[[], dict[str, Any]]] = {
        "digits": synthetic_tasks.classes,
        "thirty": lambda: synthetic_tasks.classes(30),
        "thousand": lambda: synthetic_tasks.classes(1000),
        "sets": synthetic_tasks.sets,
        "unlabelled": synthetic_tasks.unlabelled,
    }

    def of(name: str) -> Results:
        if name not in made:
            record = synthetic_record.make(tmp_path_factory.mktemp(name), task=tasks[name]())
            made[name] = Results.open(STUDY, record)
        return made[name]

    return of


def drawn(name: str, results: Results) -> tuple[Figure, str]:
    """A figure and its caption; a warning (a glyph, a layout that does not fit) is an error."""
    module = figures.load(name)
    table = module.table(results)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figures.draw(module, table, results)
        figure.savefig("/dev/null", format="png", dpi=40)
    return figure, figures.caption(module, table, results)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]  # type: ignore[attr-defined]


# --- every figure ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", figures.NAMES)
def test_a_figure_of_digits_speaks_of_digits(name: str, opened: Opened) -> None:
    """No word of objects, pictures or colours in title, description, caption and drawing."""
    module, results = figures.load(name), opened("digits")
    if not figures.applies(module, results):
        pytest.skip("is never drawn of such a study")
    figure, caption = drawn(name, results)
    said = [figures.title(module, results), figures.description(module, results), caption, *texts(figure)]
    assert [words for words in said if WORDS.search(words)] == []


@pytest.mark.parametrize("name", [name for name in figures.NAMES if name not in OWN])
def test_a_figure_of_images_without_labels(name: str, opened: Opened) -> None:
    if figures.applies(figures.load(name), opened("unlabelled")):
        _, caption = drawn(name, opened("unlabelled"))
        assert not re.search(r"\b(class|label)", caption.replace("classified", ""))


def test_figures_of_labels_are_for_tasks_with_labels(opened: Opened) -> None:
    applying = {
        name: {one for one in OWN if figures.applies(figures.load(one), opened(name))}
        for name in ("digits", "sets", "unlabelled")
    }
    assert applying == {"digits": set(OWN), "sets": set(OWN) - {"class_grid"}, "unlabelled": set()}


def test_titles_of_i_clevr_are_what_they_were(miniature_record: Path) -> None:
    results = Results.open(STUDY, miniature_record)
    assert figures.title(confusion, results) == "Colours and shapes confused"
    assert figures.description(accuracy_by_class, results).endswith(
        "a row per shape, a column per colour, the share found on each cell."
    )
    assert "the condition (red sphere, cyan cylinder, cyan cube) and the first noise" in denoising_strips.caption(
        denoising_strips.table(results), results
    )
    assert not figures.applies(class_grid, results)


# --- accuracy by class -------------------------------------------------------------------------------


def test_bars_are_means_over_trainings_worst_first(opened: Opened) -> None:
    results = opened("digits")
    table = accuracy_by_class.table(results)
    cell = table[(table["arm"] == "schedule=cosine") & (table["label"] == "1")].iloc[0]
    by_seed = []
    for folder in results.rows.loc[results.rows["arm"] == "schedule=cosine", "folder"]:
        hits = [outcomes.hits(Path(folder), name) for name in synthetic_tasks.LISTS]
        own = [one.hit_KO[:, [label == "1" for _, label in one.keys]].ravel() for one in hits]
        by_seed.append(np.concatenate(own).mean())
    assert len(set(by_seed)) > 1
    assert cell["recall"] == pytest.approx(np.mean(by_seed))
    half = 4.30265 * np.std(by_seed, ddof=1) / np.sqrt(3)  # t of 2 degrees of freedom
    assert [cell["low"], cell["high"]] == pytest.approx([np.mean(by_seed) - half, np.mean(by_seed) + half], abs=1e-5)
    figure, caption = drawn("accuracy_by_class", results)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    recall = table.groupby("label")["recall"].mean()
    assert recall[names].is_monotonic_increasing
    assert len(figure.axes) == 3
    assert [bar.get_width() for bar in figure.axes[1].patches] == pytest.approx(  # type: ignore[attr-defined]
        table[table["arm"] == "schedule=cosine"].set_index("label").loc[names, "recall"].tolist()
    )
    assert "(12 images of each class and training)" in caption  # 20 and 40 conditions in rounds over 10, two passes
    assert f"the worst {names[0]} (" in caption


def test_of_many_classes_the_worst_and_the_best_are_drawn(opened: Opened) -> None:
    figure, caption = drawn("accuracy_by_class", opened("thirty"))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == 26
    assert names[20] == "⋮"
    assert "Only the 20 worst and the 5 best of 30 classes are drawn." in caption
    _, caption = drawn("accuracy_by_class", opened("thousand"))
    assert caption.endswith("best of 40 classes are drawn. 960 of 1,000 classes were never asked for.")


def test_bars_of_more_arms_than_stand_in_a_row(tmp_path: Path) -> None:
    task = synthetic_tasks.classes(30)
    base = replace(synthetic_record.BASELINE, data=synthetic_tasks.source(task))
    arms = {f"lr={index}e-05": replace(base, lr=index * 1e-5) for index in range(1, 14)}
    fields = {"seeds": [0], "factors": {"lr": [1e-5]}}
    record = synthetic_record.write(tmp_path, arms, lambda config: 0.5 + 1000 * config.lr, task=task, **fields)
    figure, caption = drawn("accuracy_by_class", Results.open("study", record))
    assert len(figure.axes) == 12
    assert [bool(axes.get_yticklabels()) for axes in figure.axes] == [True, False, False, False] * 3
    assert figure.get_size_inches()[1] < 14.5, "longer than a page and a half"
    assert "Only 12 of 13 arms are drawn." in caption
    few = synthetic_record.write(tmp_path / "5", dict(list(arms.items())[:5]), lambda config: 0.5, task=task)
    five = Results.open("study", few)
    assert len(drawn("accuracy_by_class", five)[0].axes) == 5


# --- confusions --------------------------------------------------------------------------------------


def recorded(folder: Path, task: Mapping[str, Any], asked: list[list[str]], seen: list[list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.json").write_text(json.dumps(task))
    (folder / "conditions.json").write_text(json.dumps({"test": asked}))
    np.savez(folder / "outcomes.npz", test=synthetic_tasks.hot(seen, task["labels"])[None])
    return folder


def test_confusions_of_classes_by_hand(tmp_path: Path) -> None:
    """Three of class 0, of which one is named 2; one of class 1, named 0; class 2 is never asked for."""
    task = synthetic_tasks.classes(3)
    counts = outcomes.confusion(recorded(tmp_path, task, [["0"]] * 3 + [["1"]], [["0"], ["2"], ["0"], ["0"]]))
    assert counts["class"].tolist() == [[2, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_confusions_of_labels_by_hand(tmp_path: Path) -> None:
    """A miss with two unasked labels named is half of each; one without any is in the last column."""
    task = synthetic_tasks.sets(4)
    a, b, c, d = task["labels"]
    asked = [[a], [a], [a, b], [b]]
    seen = [[a], [b, c], [b, d], []]
    counts = outcomes.confusion(recorded(tmp_path, task, asked, seen))
    assert list(counts) == ["label"]
    assert counts["label"].tolist() == [[1, 0.5, 0.5, 1, 0], [0, 1, 0, 0, 1], [0] * 5, [0] * 5]


def test_a_matrix_shows_every_class(opened: Opened) -> None:
    results = opened("digits")
    table = confusion.table(results)
    assert table["arm"].unique().tolist() == ["schedule=linear", "schedule=squaredcos_cap_v2"]
    assert table.groupby(["arm", "asked"])["share"].sum().tolist() == pytest.approx([1] * 20)
    figure, caption = drawn("confusion", results)
    assert figures.title(confusion, results) == "Classes confused"
    left = figure.axes[0]
    shown = np.ma.asarray(left.collections[0].get_array())
    assert shown.shape == (10, 10)  # no column for misses without a name
    assert [label.get_text() for label in left.get_yticklabels()] == list("0123456789")
    assert shown.sum(1).tolist() == pytest.approx([1] * 10)
    worst = table[(table["asked"] != table["named"])].sort_values("share").iloc[-1]
    assert f"The most frequent confusion is {worst['asked']} named as {worst['named']} (" in caption


def test_of_many_classes_the_worst_are_shown_with_what_they_are_named(opened: Opened) -> None:
    results = opened("thirty")
    table = confusion.table(results)
    assert table["asked"].nunique() == 20
    right = table[table["asked"] == table["named"]].groupby("asked", sort=False)["share"].mean()
    assert right.is_monotonic_increasing
    every = accuracy_by_class.table(results)
    kept = every[every["arm"].isin(table["arm"].unique())].groupby("label")["recall"].mean()
    assert right.max() <= kept.drop(list(right.index)).min() + 1e-9
    assert table.groupby(["arm", "asked"])["share"].sum().tolist() == pytest.approx([1] * 40)
    figure, caption = drawn("confusion", results)
    first = table.iloc[0]
    instead = table[(table["arm"] == first["arm"]) & (table["asked"] == first["asked"])].iloc[1]
    assert any(text.startswith(f"{instead['named']} (") for text in texts(figure))
    assert "Rows: of 30 classes the 20 that were named least often" in caption


def test_a_label_that_is_called_none_is_a_label(tmp_path: Path) -> None:
    record = synthetic_record.make(tmp_path, task=synthetic_tasks.classes(3, ["none", "others", "a$b"]))
    figure, _ = drawn("confusion", Results.open(STUDY, record))
    assert np.ma.asarray(figure.axes[0].collections[0].get_array()).shape == (3, 3)


# --- failures ----------------------------------------------------------------------------------------


def test_failures_of_classes_are_the_images_of_another_class(opened: Opened) -> None:
    results = opened("digits")
    table = failures.table(results)
    assert (table["missed"] == 1).all()
    assert (table["asked"] != table["seen"]).all()
    assert table.groupby("arm").size().tolist() == [12, 12]
    figure, caption = drawn("failures", results)
    assert f"{table['all missed'].iloc[0]} of 40 images taken for another class" in caption
    assert sum(text.startswith("× ") for text in texts(figure)) == len(table)


def test_failures_of_a_training_that_never_fails(tmp_path: Path) -> None:
    """One image stands for all; a name with a comma stays one name, a long one is cut in its middle."""
    names = ["shark, great white", "an uncommonly long name 1", "an uncommonly long name 2"]
    record = synthetic_record.make(tmp_path, task=synthetic_tasks.classes(3, names))
    results = Results.open(STUDY, record)
    for folder in results.complete["folder"]:
        asked = json.loads((Path(folder) / "conditions.json").read_text())
        arrays = {name: synthetic_tasks.hot(of_list, names)[None] for name, of_list in asked.items()}
        np.savez(Path(folder) / "outcomes.npz", **arrays)
    table = failures.table(results)
    assert table.groupby("arm").size().tolist() == [1, 1]
    figure, caption = drawn("failures", results)
    assert "0 of 40 images taken for another class" in caption
    assert texts(figure).count("✓ shark, gre…white") == 4
    assert "Nothing was confused." in drawn("confusion", results)[1]


# --- the feature map ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "marked"), [("digits", 10), ("thirty", 11), ("sets", 6)])
def test_images_are_marked_by_class(task: str, marked: int, opened: Opened) -> None:
    figure, caption = drawn("feature_map", opened(task))
    legends = [axes.get_legend() for axes in figure.axes[:2]]
    named = [[text.get_text() for text in legend.get_texts()] for legend in legends if legend]
    assert [len(names) for names in named] == [marked, 2]
    looks = {(line.get_color(), line.get_marker()) for line in legends[0].get_lines()}  # type: ignore[union-attr]
    assert len(looks) == marked
    assert ("The 10 most frequent of the 30 classes there are told apart." in caption) == (task == "thirty")


def test_images_without_labels_are_marked_by_source_alone(opened: Opened) -> None:
    figure, caption = drawn("feature_map", opened("unlabelled"))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "generated (filled) or real (hollow)",
        "nearest-neighbour test",
    ]
    assert caption.startswith("Left: 120 images")
    assert "name rotations" in caption


def test_real_and_generated_images_are_matched_by_class(tmp_path: Path) -> None:
    """Three generated and one real of class 0, one and two of class 1: one of each side of both."""
    of = np.array([0, 0, 0, 1, 0, 1, 1])
    source = np.array(["test"] * 4 + ["real"] * 3)
    features = np.arange(7, dtype=np.float16)[:, None]
    np.savez(tmp_path / "features.npz", features=features, labels=np.eye(2, dtype=bool)[of], source=source)
    found = feature_map.matched(tmp_path / "features.npz", by_class=True)
    assert found is not None
    kept, real, labels = found
    assert kept[:, 0].tolist() == [4, 0, 5, 3]
    assert real.tolist() == [True, False] * 2
    assert labels.argmax(1).tolist() == [0, 0, 1, 1]


def test_chance_of_the_nearest_neighbour_test_within_classes() -> None:
    """Twenty clusters of two real and two generated images that are alike: of an image's three neighbours one is what
    it is, so the test finds a third, and says so."""
    rng = np.random.default_rng(0)
    of, real = np.repeat(np.arange(20), 4), np.tile([True, True, False, False], 20)
    features = (100.0 * of[:, None] + rng.standard_normal((80, 3))).astype(np.float32)
    near = feature_map.nearest(features)
    assert (of[near] == of).all()
    assert feature_map.chance_in_classes(near, of) == pytest.approx(1 / 3)
    found = [
        feature_map.nearest_neighbour_test(near, np.concatenate([rng.permutation(real[:4]) for _ in range(20)]))
        for _ in range(2000)
    ]
    assert np.mean(found) == pytest.approx(1 / 3, abs=0.01)
    spread = np.arange(80) % 20  # every neighbour is of another class: half
    assert feature_map.chance_in_classes((np.arange(80) + 1) % 80, spread) == pytest.approx(0.5)


# --- the grid of classes -----------------------------------------------------------------------------


def test_the_class_grid_names_its_rows(opened: Opened) -> None:
    figure, caption = drawn("class_grid", opened("digits"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == list("0123456789")
    height = axes.images[0].get_array().shape[0]  # type: ignore[union-attr]
    assert axes.get_yticks()[3] == pytest.approx(height * 3.5 / 10)
    assert axes.get_title(loc="left") == "schedule=linear (baseline)"
    assert "training seed 0, n = 1 training" in caption
    assert "are shown" not in caption
    assert "The first 10 of 30 classes are shown." in drawn("class_grid", opened("thirty"))[1]
