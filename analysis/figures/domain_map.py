"""Features by class and by domain.

Two maps for every arm of each pair of domains: features of the same held-out images of both domains in two dimensions,
coloured by class, and again by domain.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import labels, style, tsne
from analysis.results import Results

NEEDS = Needs(files=("domain_features.npz",), fields=("source", "target"))

PLACE = "answer"
COLUMNS = ["arm", "seed", "source", "target", "domain", "class", "named", "point", "x", "y"]
ACROSS = 3  # arms of a pair of domains; of more, the baseline and an even spread
MARKERS = (*style.MARKERS, "p", "*", "<")  # of classes, so that no colour alone says which
COLOURS = (*style.COLOURS, "#882255", "#999933", "#44AA99")  # the last three: Tol 2021, "muted"
NONE = "no label"
TARGET_COLOUR, SOURCE_COLOUR = style.COLOURS[1], style.COLOURS[0]


def table(results: Results) -> pd.DataFrame:
    """One row per image on a map: arm, seed, source, target, its domain, class, the class that was named, its position
    among the images of the domain, and x, y. A map is of the first complete trial of an arm."""
    parts, complete = [], results.complete
    names = recorded_task.task_of(results)["labels"]
    firsts = {arm: rows.iloc[0] for arm, rows in complete.groupby("arm", sort=False)} if len(complete) else {}
    for arms in _pairs(results, [arm for arm in results.arms if arm in firsts]).values():
        for arm in arms:
            row = firsts[arm]
            points = _points(Path(row["folder"]) / "domain_features.npz", names)
            if points is not None:
                known = {"arm": arm, "seed": row["seed"], "source": row["source"], "target": row["target"]}
                parts.append(points.assign(**known)[COLUMNS])
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _pairs(results: Results, arms: list[str]) -> dict[tuple[str, str], list[str]]:
    """(source, target) -> the arms that are drawn."""
    domains, found = results.settings_of(["source", "target"]), {}
    for arm in arms:
        found.setdefault(domains[arm], []).append(arm)
    return {pair: labels.spread_arms(results, of_pair, ACROSS) for pair, of_pair in found.items()}


def _points(path: Path, names: list[str]) -> pd.DataFrame | None:
    """What a trial kept of its images, mapped; None where it cannot be read."""
    try:
        with np.load(path) as arrays:  # plain arrays only: numpy refuses pickles
            features_MD, class_M, predicted_M, domain_M, point_M = (
                arrays[name] for name in ("features", "classes", "predicted", "domain", "point")
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None
    x_M2 = tsne.embedded(features_MD.astype(np.float32))
    return pd.DataFrame(
        {
            "domain": domain_M.astype(str),
            "class": [names[one] if one >= 0 else NONE for one in class_M],
            "named": [names[one] for one in predicted_M],
            "point": point_M,
            "x": x_M2[:, 0],
            "y": x_M2[:, 1],
        }
    )


def lacking(table: pd.DataFrame, results: Results) -> str:
    return "No complete trial has recorded its features yet." if table.empty else ""


# --- drawing -------------------------------------------------------------------------------------------


def draw(table: pd.DataFrame, results: Results) -> Figure:
    pairs = list(table.groupby(["source", "target"], sort=False))
    across = max(part["arm"].nunique() for _, part in pairs)
    height = style.DOUBLE / max(across, 2)
    figure = style.figure(style.DOUBLE, len(pairs) * (2 * height + 0.55))
    groups = figure.subfigures(len(pairs), 1, squeeze=False)[:, 0]
    names = recorded_task.task_of(results)["labels"]
    for (pair, part), group in zip(pairs, groups, strict=True):
        source, target = map(str, pair)
        panels = group.subplots(2, across, squeeze=False)
        by_class = _looks([name for name in names if (part["class"] == name).any()])
        by_domain = {source: (SOURCE_COLOUR, "o"), target: (TARGET_COLOUR, "^")}
        for axes in panels.flat:
            axes.set_axis_off()
        for column, (arm, points) in zip(panels.T, part.groupby("arm", sort=False), strict=False):
            _map(column[0], points, "class", by_class)
            _map(column[1], points, "domain", by_domain)
            column[0].set_title(labels.wrapped(labels.plain(arm), 34), loc="left")
        for axes, head in zip(panels[:, 0], ("class", "domain"), strict=True):
            axes.set_ylabel(head)
        _legend(group, by_class, "outside upper center")
        _legend(group, by_domain, "outside lower center")
    return figure


def _looks(names: list[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each class; beyond the tenth they begin again with other pairs."""
    return {
        name: (COLOURS[index % len(COLOURS)], MARKERS[(index + index // len(COLOURS)) % len(MARKERS)])
        for index, name in enumerate(names)
    }


def _legend(group: SubFigure, looks: Mapping[str, tuple[str, str]], place: str) -> None:
    handles = [_handle(name, look) for name, look in looks.items()]
    columns = max(1, min(len(handles), 110 // (max(len(str(one.get_label())) for one in handles) + 6)))
    group.legend(handles=handles, loc=place, ncols=columns, handletextpad=0.1, columnspacing=0.8)


def _handle(name: str, look: tuple[str, str]) -> Line2D:
    return Line2D([], [], label=labels.cut(name, 14), color=look[0], marker=look[1], linestyle="", markersize=3.5)


def _map(axes: Axes, points: pd.DataFrame, by: str, looks: Mapping[str, tuple[str, str]]) -> None:
    """A mark per image; those without a class are grey and drawn first."""
    axes.set_axis_on()
    rest = points[~points[by].isin(looks)]
    axes.scatter(rest["x"], rest["y"], s=5, color=style.FAINT, marker=".", linewidth=0)
    for name, (colour, marker) in looks.items():
        of_group = points[points[by] == name]
        axes.scatter(of_group["x"], of_group["y"], s=6, color=colour, marker=marker, linewidth=0, alpha=0.8)
    axes.grid(False)
    axes.set(xticks=[], yticks=[])


# --- caption -------------------------------------------------------------------------------------------


def caption(table: pd.DataFrame, results: Results) -> str:
    first = table[table["arm"] == table["arm"].iloc[0]]
    counts = " and ".join(map(str, first.groupby("domain", sort=False).size()))
    alike, said = _apart(table), []
    for arm, probe in zip(results.arms, results.arm_means("domain_accuracy/probe"), strict=True):
        if arm in set(table["arm"]) and np.isfinite(probe):
            said.append(f"{labels.plain(arm)} {probe:.3f}")
    probes = (
        " A linear probe on all features names the domain of unseen images (means over seeds; .5 where nothing is left "
        f"of it): {'; '.join(said)}."
        if said
        else ""
    )
    return (
        f"Features, which both classifiers are given, of the same {counts} held-out images of the two domains, "
        f"{tsne.WORDS} "
        f"Seed {tsne.SEED}, perplexity {tsne.PERPLEXITY}; each arm has its own map, of training seed "
        f"{first['seed'].iloc[0]} (n = 1 training per arm). {alike}{probes}{_hidden(table, results)}"
    )


def _apart(table: pd.DataFrame) -> str:
    """How many images of the target are named right, of those on the map."""
    known = table[(table["domain"] == table["target"]) & (table["class"] != NONE)]
    right = (known["class"] == known["named"]).groupby(known["arm"], sort=False).mean()
    if right.empty:
        return ""
    named = "; ".join(f"{labels.plain(str(arm))} {value:.3f}" for arm, value in right.items())
    return f"Share of the target's images that are named right: {named}."


def _hidden(table: pd.DataFrame, results: Results) -> str:
    drawn, there = table["arm"].nunique(), results.complete["arm"].nunique()
    return f" Only {drawn} of {there} arms are drawn." if drawn < there else ""
