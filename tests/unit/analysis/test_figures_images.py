"""Figures of pictures, confusions and features: what each of them promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import synthetic_record
import synthetic_trial
from matplotlib.figure import Figure

from analysis import figures
from analysis.figures import accuracy_by_class, confusion, failures, feature_map, grids, noise_grids
from analysis.results import Results
from analysis.tables import outcomes
from runners.evaluation.set_sheet import set_sheet
from runners.tasks.iclevr.labels import ABOUT, multi_hot
from runners.tasks.iclevr.scenes import COLOURS, RADIUS

STUDY = "schedules-smoke"
FILES = ("diversity.png", "interpolation.png", "features.npz", "classes.csv", "outcomes.npz")
NEW = ("accuracy_by_class", "confusion", "failures", "feature_map", "interpolation", "noise_grids")


@pytest.fixture(scope="module")
def results(miniature_record: Path) -> Results:
    return Results.open(STUDY, miniature_record)


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def old_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a version left that recorded none of these files."""
    record = synthetic_record.make(tmp_path_factory.mktemp("old"))
    for name in FILES:
        for path in record.rglob(name):
            path.unlink()
    return record


@pytest.mark.parametrize("name", NEW)
def test_an_old_record_says_what_it_lacks(name: str, old_record: Path, tmp_path: Path) -> None:
    module, results = figures.load(name), Results.open(STUDY, old_record)
    table = module.table(results)
    figure = figures.draw(module, table, results)
    figure.savefig(tmp_path / "figure.png", dpi=40)
    assert "recorded" in " ".join(words(figure))
    assert "recorded" in figures.caption(module, table, results)


def test_grids_stand_over_the_accuracy_of_their_training(results: Results) -> None:
    """Seed 0 of linear: .60 on validation, so .58 on test and .61 on new_test; the mean over seeds is another."""
    found = words(figures.draw(grids, grids.table(results), results))
    for line in ("test: 0.580 of 72 objects", "new_test: 0.610 of 84 objects", "test: 0.780 of 72 objects"):
        assert line in found


def test_noise_grids_name_their_rows(results: Results) -> None:
    figure = figures.draw(noise_grids, noise_grids.table(results), results)
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["\n".join(labels) for labels in synthetic_trial.CONDITIONS * 2]
    figure.savefig("/dev/null", format="png", dpi=40)  # the layout ends with ticks in the middle of the pictures
    height = figure.axes[0].images[0].get_array().shape[0]  # type: ignore[union-attr]
    assert figure.axes[0].get_yticks()[0] == pytest.approx(height / 16)
    assert not figure.axes[1].get_yticklabels()


# --- confusions --------------------------------------------------------------------------------------


def named(folder: Path, asked: list[list[str]], seen: list[list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conditions.json").write_text(json.dumps({"test": asked, "unseen": []}))
    np.savez(folder / "outcomes.npz", test=multi_hot(seen)[None])
    return folder


def test_confusions_by_hand(tmp_path: Path) -> None:
    """A hit; a cube in another colour; a red in another shape; nothing alike; one object with two namesakes."""
    asked = [["red cube"], ["red cube"], ["red cube"], ["red cube"], ["red cube", "blue sphere", "gray sphere"]]
    seen = [["red cube"], ["gray cube"], ["red sphere"], ["blue sphere"], ["cyan cube", "green cube", "gray sphere"]]
    counts = outcomes.confusion(named(tmp_path, asked, seen))
    colours, shapes = list(COLOURS), list(RADIUS)
    red = counts["colour"][colours.index("red")]
    assert dict(zip([*colours, "none"], red, strict=True)) == {
        "gray": 1, "red": 1, "blue": 0, "green": 0.5, "brown": 0, "purple": 0, "cyan": 0.5, "yellow": 0, "none": 2
    }  # fmt: skip
    assert counts["colour"][colours.index("gray")].tolist() == [1, *[0] * 8]
    assert counts["colour"][colours.index("blue")].tolist() == [*[0] * 8, 1]
    assert counts["shape"][shapes.index("cube")].tolist() == [1, 1, 0, 3]  # cube, sphere, cylinder, none
    assert counts["shape"][shapes.index("sphere")].tolist() == [0, 1, 0, 1]


def test_confusions_count_what_the_score_sheet_counts(tmp_path: Path) -> None:
    """Random answers: the cells off the diagonal are shape_only and colour_only, the diagonal the accuracy."""
    rng = np.random.default_rng(0)
    names = [f"{colour} {shape}" for shape in RADIUS for colour in COLOURS]
    counts = [1 + index % 3 for index in range(60)]
    asked, seen = ([rng.choice(names, k, replace=False).tolist() for k in counts] for _ in range(2))
    found = outcomes.confusion(named(tmp_path, asked, seen))
    sheet = set_sheet("test", multi_hot(seen)[None], multi_hot(asked), ABOUT.facets)
    for kind, score in (("colour", "shape_only/test"), ("shape", "colour_only/test")):
        total, diagonal = found[kind].sum(), np.trace(found[kind])
        assert total == pytest.approx(120)
        assert diagonal / total == pytest.approx(sheet["accuracy/test"])
        assert (total - diagonal - found[kind][:, -1].sum()) / total == pytest.approx(sheet[score])


def test_confusion_shows_the_baseline_and_the_best_other_arm(results: Results) -> None:
    table = confusion.table(results)
    assert table["arm"].unique().tolist() == ["schedule=linear", "schedule=squaredcos_cap_v2"]
    sums = table.groupby(["arm", "kind", "asked"])["share"].sum(min_count=1).dropna()  # NaN: a colour nobody asked for
    assert sums.tolist() == pytest.approx([1] * len(sums))
    assert table["n"].unique().tolist() == [3]
    rows = results.rows
    changed = results.of(results.study.model_copy(update={"baseline_arm": "schedule=squaredcos_cap_v2"}), rows)
    assert outcomes.pair(changed, best=True) == ["schedule=squaredcos_cap_v2", "schedule=cosine"]
    assert outcomes.pair(changed, best=False) == ["schedule=squaredcos_cap_v2", "schedule=linear"]
    one = results.of(results.study, rows[rows["arm"] == "schedule=cosine"])
    assert outcomes.pair(one, best=True) == ["schedule=cosine"]


# --- failures ----------------------------------------------------------------------------------------


def test_failures_are_the_pictures_with_the_most_missed(results: Results) -> None:
    table = failures.table(results)
    assert table["arm"].unique().tolist() == ["schedule=linear", "schedule=cosine"]  # the worst of the others
    for _, cells in table.groupby("arm"):
        missed = cells["missed"].tolist()
        assert missed == sorted(missed, reverse=True)
        assert sum(missed) == cells["all missed"].iloc[0] > 0  # the list has 8 pictures: all are there
        ties = cells.groupby("missed")["index"].apply(lambda index: index.is_monotonic_increasing)
        assert ties.all()
    worst = table.iloc[0]
    asked, seen = set(worst["asked"].split(", ")), set(worst["seen"].split(", "))
    assert len(asked - seen) == worst["missed"]
    found = words(figures.draw(failures, table, results))
    assert found.count("asked") == found.count("seen") == len(table)
    crosses = sum(text.startswith("× ") for text in found)
    assert crosses == table["missed"].sum()
    assert sum(text.startswith("✓ ") for text in found) % 2 == 0  # a hit stands under asked and under seen
    assert f"{table['all missed'].iloc[0]} of 14 objects missed" in figures.caption(failures, table, results)


# --- classes and features ----------------------------------------------------------------------------


def test_accuracy_by_class_pools_lists_and_seeds(results: Results) -> None:
    table = accuracy_by_class.table(results)
    rows = results.rows
    asked = hits = 0
    for folder in rows[rows["arm"] == "schedule=cosine"]["folder"]:
        for name in synthetic_trial.OBJECTS:
            found = outcomes.hits(Path(folder), name)
            own = [label == "gray cube" for _, label in found.keys]
            asked, hits = asked + sum(own), hits + int(found.hit_KO[0, own].sum())
    cell = table[(table["arm"] == "schedule=cosine") & (table["label"] == "gray cube")].iloc[0]
    assert (cell["asked"], cell["hits"], cell["n"]) == (asked, hits, 3)
    panel = figures.draw(accuracy_by_class, table, results).axes[1]
    assert panel.collections[0].get_array()[0, 0] == pytest.approx(hits / asked)  # type: ignore[index]
    assert f"{hits / asked:.2f}"[1:] in [text.get_text() for text in panel.texts]


def classified(features: np.ndarray, real: np.ndarray) -> float:
    return feature_map.nearest_neighbour_test(feature_map.nearest(features), real)


def test_the_nearest_neighbour_test_by_hand() -> None:
    """Two clusters apart: always right. Pairs of one real and one generated image: always wrong."""
    real = np.array([True, False] * 4)
    apart = np.where(real, 0, 100)[:, None] + np.arange(8)[:, None] / 10
    pairs = np.repeat(np.arange(4) * 100, 2)[:, None] + np.arange(8)[:, None] / 10
    assert classified(apart.astype(np.float32), real) == 1
    assert classified(pairs.astype(np.float32), real) == 0
    rng = np.random.default_rng(0)
    alike = rng.standard_normal((400, 5)).astype(np.float32)
    assert classified(alike, np.arange(400) < 200) == pytest.approx(0.5, abs=0.08)  # 3 s.e.


def test_real_and_generated_images_are_matched_by_the_number_of_objects(tmp_path: Path) -> None:
    """5 generated of one object and 2 of two, 3 real of one and 4 of two: 3 + 2 of each."""
    one, two = ["red cube"], ["red cube", "blue sphere"]
    labels = multi_hot([one] * 5 + [two] * 2 + [one] * 3 + [two] * 4)
    source = np.repeat(["test", "real"], 7)
    features = np.arange(14, dtype=np.float16)[:, None]
    np.savez(tmp_path / "features.npz", features=features, labels=labels, source=source)
    matched = feature_map.matched(tmp_path / "features.npz")
    assert matched is not None
    kept, real, of = matched
    assert of[real].sum(1).tolist() == of[~real].sum(1).tolist() == [1, 1, 1, 2, 2]
    assert kept[:, 0].tolist() == [7, 8, 9, 0, 1, 3, 10, 12, 5, 6]
    (tmp_path / "features.npz").write_bytes(b"half a file")
    assert feature_map.matched(tmp_path / "features.npz") is None


def test_the_feature_map_tests_every_training(results: Results) -> None:
    """The lower the accuracy of a synthetic_record trial, the further its features lie from the real ones."""
    table = feature_map.table(results)
    tests = table[table["accuracy"].notna()]
    assert tests.groupby("arm").size().tolist() == [3, 3, 3]
    means = tests.groupby("arm")["accuracy"].mean()
    assert means["schedule=linear"] > means["schedule=squaredcos_cap_v2"]
    points = table[table["x"].notna()]
    assert points["source"].value_counts().to_dict() == {"real": 12, "generated": 12}
    assert "n = 24 images" in figures.caption(feature_map, table, results)
