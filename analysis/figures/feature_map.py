"""Generated among real images.

Features of generated and of held-out real images in the evaluator's last layer. Left and centre: a two-dimensional map
for the baseline, marked by colour and by whether an image is generated. Right: for every arm, how often a
nearest-neighbour test classifies an image correctly as real or generated, one point per training.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.plotting import axes as shared
from analysis.plotting import labels, marks, style
from analysis.results import Results
from runners.tasks.iclevr.scenes import COLOURS, LABELS

COLUMNS = ["arm", "seed", "x", "y", "source", "colour", "images", "accuracy"]
PERPLEXITY = 30  # van der Maaten & Hinton 2008: 5 to 50
REAL, GENERATED = "real", "generated"
TESTED = 10  # trainings of an arm: a test takes up to a tenth of a second
MARKERS = (*style.MARKERS, "p")  # as many as colours
CHANCE = 0.5


def table(results: Results) -> pd.DataFrame:
    """Two kinds of rows with COLUMNS: of a complete trial of a drawn arm, `images` and `accuracy` of the test that
    tells its images from real ones; of an image on the map, x, y, its source and the colour of its first object."""
    folders = dict(iter(results.complete.groupby("arm", sort=False)))
    drawn = labels.spread_arms(results, [arm for arm in results.arms if arm in folders])
    tests, images = [], pd.DataFrame(columns=COLUMNS)
    for arm in sorted(drawn, key=lambda arm: arm != results.study.baseline_arm):
        of_arm = folders[arm].head(TESTED)
        for seed, folder in zip(of_arm["seed"], of_arm["folder"], strict=True):
            sample = matched(Path(folder) / "features.npz")
            if sample is None:
                continue
            names = {"arm": arm, "seed": seed}
            if not tests:
                images = _mapped(*sample).assign(**names).reindex(columns=COLUMNS)
            accuracy = nearest_neighbour_test(sample[0], sample[1])
            tests.append(names | {"images": len(sample[0]), "accuracy": accuracy})
    found = pd.DataFrame(tests, columns=COLUMNS)
    return pd.concat([found, images], ignore_index=True) if tests else found


def _mapped(features_ND: NDArray[np.float32], real_N: NDArray[np.bool_], labels_NL: NDArray[np.bool_]) -> pd.DataFrame:
    """One row per image: x, y, source, colour of the first object in the order of LABELS."""
    x_N2 = embedded(features_ND)
    colours = [LABELS[index].split()[0] for index in labels_NL.argmax(1)]
    source = np.where(real_N, REAL, GENERATED)
    return pd.DataFrame({"x": x_N2[:, 0], "y": x_N2[:, 1], "source": source, "colour": colours})


def matched(path: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]] | None:
    """As many real as generated images, with equal numbers of objects: features (N, D), whether real (N,), labels.

    Without the match the number of objects alone would tell them apart. None where nothing was recorded.
    """
    try:
        with np.load(path) as arrays:  # plain arrays only: numpy refuses pickles
            features_ND, labels_NL, source_N = (arrays[name] for name in ("features", "labels", "source"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    kept: list[int] = []
    for count in np.unique(labels_NL.sum(1)):
        sides = [
            np.flatnonzero((labels_NL.sum(1) == count) & side) for side in (source_N == "real", source_N != "real")
        ]
        wanted = min(map(len, sides))
        # Evenly over the lists: the first ones would be of one list.
        kept += [index for side in sides for index in side[np.arange(wanted) * len(side) // max(wanted, 1)].tolist()]
    if len(kept) < 4:
        return None
    return features_ND[kept].astype(np.float32), source_N[kept] == "real", labels_NL[kept]


def nearest_neighbour_test(features_ND: NDArray[np.float32], real_N: NDArray[np.bool_]) -> float:
    """Accuracy of "what my nearest neighbour is, I am" for real or generated, each image left out once.

    A classifier two-sample test (Lopez-Paz & Oquab 2017); about .5 where the two are alike, 1 where they are apart.
    """
    square_N = (features_ND**2).sum(1)
    distance_NN = square_N[:, None] + square_N - 2 * features_ND @ features_ND.T
    np.fill_diagonal(distance_NN, np.inf)
    return float((real_N[distance_NN.argmin(1)] == real_N).mean())


def embedded(features_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """t-SNE (van der Maaten & Hinton 2008) from the principal components, without chance: float32 (N, 2)."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(features_ND) - 1) / 3)
    with threadpool_limits(1):  # the work of a second thread is less than its waiting: 30 times slower on busy cores
        x_N2 = TSNE(perplexity=perplexity, init="pca", random_state=0, max_iter=500).fit_transform(features_ND)
    found: NDArray[np.float32] = x_N2
    return found


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial has recorded its features yet." if table.empty else ""


def draw(table: pd.DataFrame, results: Results) -> Figure:
    points, tests = table[table["x"].notna()], table[table["accuracy"].notna()]
    looks = {arm: look for arm, look in style.looks(results.arms).items() if arm in set(tests["arm"])}
    names = [labels.wrapped(labels.arm_label(results, arm), 16) for arm in looks]
    figure = style.figure(style.DOUBLE, max(2.9, 0.9 + 0.25 * len(names)))
    by_colour, by_source, by_arm = figure.subplots(1, 3, width_ratios=[1, 1, 0.8])
    rgb = {name: tuple(value / 255 for value in colour) for name, colour in COLOURS.items()}
    _map(by_colour, points, points["colour"], rgb, MARKERS)
    _map(by_source, points, points["source"], {GENERATED: style.COLOURS[0], REAL: style.COLOURS[1]}, ("o", "o"))
    by_colour.set_title("colour of the first object", loc="left")
    by_source.set_title("generated (filled) or real (hollow)", loc="left")
    marks.points(by_arm, tests, "accuracy", looks, size=4, alpha=0.8)
    shared.chance_line(by_arm, CHANCE, across=False)
    by_arm.set_yticks(range(len(names)), names)
    by_arm.set(ylim=(len(names) - 0.5, -0.5), xlim=(min(0.45, tests["accuracy"].min() - 0.03), 1.03))
    by_arm.set(xlabel="classified correctly (.5: chance)")
    by_arm.set_title("nearest-neighbour test", loc="left")
    return figure


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
        handles.append(Line2D([], [], marker=marker, linestyle="", label=name, **look))
    looks: dict[str, Any] = {"handletextpad": 0.1, "columnspacing": 0.8, "fontsize": 6}
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=4, **looks)
    axes.grid(False)
    axes.set(xticks=[], yticks=[])


def caption(table: pd.DataFrame, results: Results) -> str:
    points, tests = table[table["x"].notna()], table[table["accuracy"].notna()]
    arm, seed = points["arm"].iloc[0], points["seed"].iloc[0]
    own = tests[(tests["arm"] == arm) & (tests["seed"] == seed)].iloc[0]
    scored = results.complete["arm"].nunique()
    hidden = f" Only {tests['arm'].nunique()} of {scored} arms are tested." if scored > labels.MOST else ""
    return (
        f"Left and centre: {len(points)} images by the last layer of the evaluator, in two dimensions by t-SNE (van "
        f"der Maaten & Hinton 2008); half are generated ({labels.plain(arm)}, training seed {seed}), half held-out "
        "real images, with equal numbers of objects. Neighbours mean something there; distances, sizes and gaps of "
        "clusters mean little. Right, in all dimensions: how often the nearest other image predicts "
        "correctly whether an image is real or generated, one point per training (n = "
        f"{tests.groupby('arm').size().max()} per arm at most); .5 is indistinguishable. For the maps' training "
        f"it is {own['accuracy']:.3f} of n = {own['images']:.0f} images. The evaluator "
        f"learned to name objects, not to see quality: a low value is no proof.{hidden}"
    )
