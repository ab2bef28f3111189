"""Generated among real images.

Features of generated and of held-out real images in the evaluator's last layer. Left: a two-dimensional map for the
baseline, marked by what an image shows and by whether it is generated. Right: for every arm, how often a
nearest-neighbour test classifies an image correctly as real or generated, one point per training.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import axes as shared
from analysis.plotting import heat, labels, marks, style, tsne
from analysis.recorded_task import Task
from analysis.results import Results

NEEDS = Needs(files=("features.npz",))

REAL, GENERATED = "real", "generated"
TESTED = 10  # trainings of an arm: a test takes up to a tenth of a second
MOST = 10  # groups with a look of their own
MARKERS = (*style.MARKERS, "p", "*", "<")  # as many
# For groups that the task gives no colour; the last three from Tol's "muted" scheme (Tol 2021).
COLOURS = (*style.COLOURS, "#882255", "#999933", "#44AA99")
OTHERS = "others"
CHANCE = 0.5
LETTERS = 14  # of a group's name


@dataclass(frozen=True)
class Groups:
    """What the images of the map are told apart by: `name` of the groups, the group `of_label`, `title` of the map."""

    name: str
    of_label: list[str]
    title: str


def groups(task: Task) -> Groups | None:
    """The first facet of the first label, or the first label itself; None without labels."""
    if not task["labels"]:
        return None
    for facet, values in task["facets"].items():
        return Groups(facet, list(values), f"{facet} of the first {task['noun']}")
    word = recorded_task.label_word(task)
    return Groups(word, list(task["labels"]), word if task["kind"] == "class" else f"first {word}")


def description(results: Results) -> str:
    found = groups(recorded_task.task_of(results))
    left, by = ("Left and centre", f"{found.name} and by ") if found else ("Left", "")
    return (
        "Features of generated and of held-out real images in the evaluator's last layer. "
        f"{left}: a two-dimensional map for the baseline, marked by {by}whether an image is generated. Right: for "
        "every arm, how often a nearest-neighbour test classifies an image correctly as real or generated, one point "
        "per training."
    )


def _columns(task: Task) -> list[str]:
    found, chance = groups(task), ["chance"] if task["kind"] == "class" else []
    return ["arm", "seed", "x", "y", "source", *([found.name] if found else []), "images", "accuracy", *chance]


def table(results: Results) -> pd.DataFrame:
    """Two kinds of rows: of a complete trial of a drawn arm, `images` and `accuracy` of the test that tells its images
    from real ones, of one class each `chance` too; of an image on the map, x, y, its source and its group."""
    task = recorded_task.task_of(results)
    folders = dict(iter(results.complete.groupby("arm", sort=False)))
    drawn = labels.spread_arms(results, [arm for arm in results.arms if arm in folders])
    columns = _columns(task)
    tests, images = [], pd.DataFrame(columns=columns)
    for arm in sorted(drawn, key=lambda arm: arm != results.study.baseline_arm):
        of_arm = folders[arm].head(TESTED)
        for seed, folder in zip(of_arm["seed"], of_arm["folder"], strict=True):
            sample = matched(Path(folder) / "features.npz", by_class=task["kind"] == "class")
            if sample is None:
                continue
            names = {"arm": arm, "seed": seed}
            if not tests:
                images = _mapped(*sample, groups(task)).assign(**names).reindex(columns=columns)
            near_N = nearest(sample[0])
            numbers = {"accuracy": nearest_neighbour_test(near_N, sample[1])}
            if "chance" in columns:
                numbers["chance"] = chance_in_classes(near_N, sample[2].argmax(1))
            tests.append(names | {"images": len(sample[0])} | numbers)
    return pd.DataFrame([*tests, *images.to_dict("records")], columns=columns)


def _mapped(
    features_ND: NDArray[np.float32], real_N: NDArray[np.bool_], labels_NL: NDArray[np.bool_], found: Groups | None
) -> pd.DataFrame:
    """One row per image: x, y, source, and the group of its first label in the task's order."""
    x_N2 = tsne.embedded(features_ND)
    points = pd.DataFrame({"x": x_N2[:, 0], "y": x_N2[:, 1], "source": np.where(real_N, REAL, GENERATED)})
    if found:
        points[found.name] = [found.of_label[index] for index in labels_NL.argmax(1)]
    return points


def matched(
    path: Path, by_class: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]] | None:
    """As many real as generated images, with equal numbers of objects, or of each class: features (N, D), whether real
    (N,), labels.

    Without the match the number of objects, or the mix of classes, would tell them apart. None where nothing was
    recorded.
    """
    try:
        with np.load(path) as arrays:  # plain arrays only: numpy refuses pickles
            features_ND, labels_NL, source_N = (arrays[name] for name in ("features", "labels", "source"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    group_N = labels_NL.argmax(1) if by_class else labels_NL.sum(1)
    kept: list[int] = []
    for group in np.unique(group_N):
        sides = [np.flatnonzero((group_N == group) & side) for side in (source_N == "real", source_N != "real")]
        wanted = min(map(len, sides))
        # Evenly over the lists: the first ones would be of one list.
        kept += [index for side in sides for index in side[np.arange(wanted) * len(side) // max(wanted, 1)].tolist()]
    if len(kept) < 4:
        return None
    return features_ND[kept].astype(np.float32), source_N[kept] == "real", labels_NL[kept]


def nearest(features_ND: NDArray[np.float32]) -> NDArray[np.int64]:
    """The nearest other image of each, (N,)."""
    square_N = (features_ND**2).sum(1)
    distance_NN = square_N[:, None] + square_N - 2 * features_ND @ features_ND.T
    np.fill_diagonal(distance_NN, np.inf)
    found: NDArray[np.int64] = distance_NN.argmin(1)
    return found


def nearest_neighbour_test(near_N: NDArray[np.int64], real_N: NDArray[np.bool_]) -> float:
    """Accuracy of "what my nearest neighbour is, I am" for real or generated, each image left out once.

    A classifier two-sample test (Lopez-Paz & Oquab 2017); about .5 where the two are alike, 1 where they are apart.
    """
    return float((real_N[near_N] == real_N).mean())


def chance_in_classes(near_N: NDArray[np.int64], class_N: NDArray[np.int64]) -> float:
    """What the test finds on average when, in each class, it is drawn by lot which m of its 2 m images are real.

    With one image left out, m - 1 of the other 2 m - 1 of its class are what it is: of few images of a class, less than
    half.
    """
    m_N = np.bincount(class_N)[class_N] / 2
    return float(np.where(class_N[near_N] == class_N, (m_N - 1) / (2 * m_N - 1), 0.5).mean())


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial has recorded its features yet." if table.empty else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    task = recorded_task.task_of(results)
    points, tests = table[table["x"].notna()], table[table["accuracy"].notna()]
    looks = {arm: look for arm, look in style.looks(results.arms).items() if arm in set(tests["arm"])}
    names = [labels.wrapped(labels.arm_label(results, arm), 16) for arm in looks]
    figure = style.figure(style.DOUBLE, max(2.9, 0.9 + 0.25 * len(names)))
    found = groups(task)
    *by_group, by_source, by_arm = figure.subplots(1, 3 if found else 2, width_ratios=[*([1] if found else []), 1, 0.8])
    if found:
        colours = _colours(points[found.name], found, task["palette"])
        group = points[found.name].where(points[found.name].isin(colours), OTHERS)
        _map(by_group[0], points, group, colours, (".", *MARKERS) if OTHERS in colours else MARKERS)
        by_group[0].set_title(found.title, loc="left")
    _map(by_source, points, points["source"], {GENERATED: style.COLOURS[0], REAL: style.COLOURS[1]}, ("o", "o"))
    by_source.set_title("generated (filled) or real (hollow)", loc="left")
    marks.points(by_arm, tests, "accuracy", looks, size=4, alpha=0.8)
    chance = float(tests["chance"].mean()) if "chance" in tests else CHANCE
    shared.chance_line(by_arm, chance, across=False)
    by_arm.set_yticks(range(len(names)), names)
    by_arm.set_ylabel(labels.arm_title(results))
    by_arm.set(ylim=(len(names) - 0.5, -0.5), xlim=(min(0.45, tests["accuracy"].min() - 0.03, chance - 0.05), 1.03))
    by_arm.set(xlabel=f"classified correctly ({heat.short_share(chance).rstrip('0')}: chance)")
    by_arm.set_title("nearest-neighbour test", loc="left")
    return figure


def _colours(group: pd.Series, found: Groups, palette: Mapping[str, str]) -> dict[str, str]:
    """Group -> its colour; of more than MOST those with the most images, and one grey for the others, drawn first."""
    known = list(dict.fromkeys(found.of_label))
    if len(known) <= MOST:
        return {name: palette.get(name, COLOURS[index]) for index, name in enumerate(known)}
    count = group.value_counts().reindex(known, fill_value=0).sort_values(ascending=False, kind="stable")
    kept = [name for name in known if name in set(count.index[:MOST])]
    return {OTHERS: style.FAINT} | {name: palette.get(name, COLOURS[index]) for index, name in enumerate(kept)}


def _map(
    axes: Axes, points: pd.DataFrame, group: pd.Series, colours: Mapping[str, Any], markers: tuple[str, ...]
) -> None:
    """A mark per group; that of a real image is hollow in both maps, so that no colour alone says so."""
    handles = []
    for (name, colour), marker in zip(colours.items(), markers, strict=False):
        generated, real = (points[(group == name) & (points["source"] == source)] for source in (GENERATED, REAL))
        axes.scatter(generated["x"], generated["y"], s=8, color=colour, marker=marker, linewidth=0)
        axes.scatter(real["x"], real["y"], s=9, facecolor="none", edgecolor=colour, marker=marker, linewidth=0.7)
        face = "none" if name == REAL else colour
        look = {"markersize": 3.5, "color": colour, "markerfacecolor": face}
        handles.append(Line2D([], [], marker=marker, linestyle="", label=labels.cut(name, LETTERS), **look))
    columns = max(1, min(5 if len(handles) > 8 else 4, 40 // (2 + max(len(str(one.get_label())) for one in handles))))
    looks: dict[str, Any] = {"handletextpad": 0.1, "columnspacing": 0.8, "fontsize": 6}
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=columns, **looks)
    axes.grid(False)
    axes.set(xticks=[], yticks=[])


# --- caption -------------------------------------------------------------------------------------------


def caption(table: pd.DataFrame, results: Results) -> str:
    task = recorded_task.task_of(results)
    points, tests = table[table["x"].notna()], table[table["accuracy"].notna()]
    arm, seed = points["arm"].iloc[0], points["seed"].iloc[0]
    own = tests[(tests["arm"] == arm) & (tests["seed"] == seed)].iloc[0]
    scored = results.complete["arm"].nunique()
    hidden = f" Only {tests['arm'].nunique()} of {scored} arms are tested." if scored > labels.MOST else ""
    maps = "Left and centre" if task["labels"] else "Left"
    return (
        f"{maps}: {len(points)} images by the last layer of the evaluator, in two dimensions by t-SNE (van "
        f"der Maaten & Hinton 2008); half are generated ({labels.plain(arm)}, training seed {seed}), half held-out "
        f"real images{_match(task)}. Neighbours mean something there; distances, sizes and gaps of "
        f"clusters mean little.{_grey(points, task)} Right, in all dimensions: how often the nearest other image "
        "predicts correctly whether an image is real or generated, one point per training (n = "
        f"{tests.groupby('arm').size().max()} per arm at most); {_alike(tests)}. For the maps' training "
        f"it is {own['accuracy']:.3f} of n = {own['images']:.0f} images. The evaluator "
        f"learned to {_learned(task)}, not to see quality: a low value is no proof.{hidden}"
    )


def _alike(tests: pd.DataFrame) -> str:
    """What the test gives where nothing tells real from generated."""
    if "chance" not in tests:
        return ".5 is indistinguishable"
    return (
        f"{tests['chance'].mean():.3f} is indistinguishable, less than half because an image is no neighbour of its own"
    )


def _match(task: Task) -> str:
    """What generated and real images have in equal numbers."""
    of_kind = {"set": f", with equal numbers of {recorded_task.nouns(task)}", "class": ", as many of each class"}
    return of_kind.get(task["kind"], "")


def _learned(task: Task) -> str:
    """What the evaluator was trained for."""
    of_kind = {"set": f"name {recorded_task.nouns(task)}", "class": "tell classes apart"}
    return of_kind.get(task["kind"], "name rotations")


def _grey(points: pd.DataFrame, task: Task) -> str:
    """Which groups have no look of their own."""
    found = groups(task)
    if found is None or len(set(found.of_label)) <= MOST:
        return ""
    many = points[found.name].nunique()
    return f" The {MOST} most frequent of the {many} {recorded_task.label_words(task)} there are told apart."
