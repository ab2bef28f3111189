"""Samples of the test lists.

The grids of the first two lists that nothing was chosen on, each arm's over the score of that very training.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis import recorded_task
from analysis.needs import Needs
from analysis.plotting import images, labels
from analysis.results import Results

NEEDS = Needs(files=("grid_*.png",))

PLACE = "pictures"
ONE_COLUMN = 6  # arms; more are drawn at half the size


def lists(results: Results) -> list[str]:
    return results.all_reported[:2]


def title(results: Results) -> str:
    return f"Samples of {' and '.join(lists(results))}"


def description(results: Results) -> str:
    names = lists(results)
    grids = "The grid of the list" if len(names) == 1 else "The grids of the lists"
    return (
        f"{grids} {' and '.join(names)}, on which nothing was chosen, of every arm, over the {labels.score(results)} "
        "of "
        "that very training."
    )


def table(results: Results) -> pd.DataFrame:
    """One row per arm: arm, seed, folder; for each list its grid's path (empty for a trial that is not complete),
    `<metric> <list>` and `objects <list>` (`images <list>`, ...) of that trial."""
    score, names, nouns = results.score, lists(results), recorded_task.nouns(recorded_task.task_of(results))
    columns = {f"{score.name} {name}": score.on(name) for name in names}
    columns |= {f"{nouns} {name}": f"objects/{name}" for name in names}
    return images.of_first_seed(results, {name: f"grid_{name}.png" for name in names}, columns)


def lacking(table: pd.DataFrame, results: Results) -> str:
    return images.lacking(table, lists(results))


def draw(table: pd.DataFrame, results: Results) -> Figure:
    across, names = 1 if len(table) <= ONE_COLUMN else 2, lists(results)
    figure, panels = images.sheet(table, results, names, across, below=0.2)
    scores, nouns = table.set_index("arm"), recorded_task.nouns(recorded_task.task_of(results))
    for arm, axes_of_arm in panels.items():
        for axes, name in zip(axes_of_arm, names, strict=True):
            score, objects = scores.at[arm, f"{results.score.name} {name}"], scores.at[arm, f"{nouns} {name}"]
            if score == score:
                of = f" of {objects:.0f} {nouns}" if across == 1 and objects == objects else ""
                axes.set_xlabel(f"{name}: {score:.3f}{of}", labelpad=2, fontsize=8 if across == 1 else 7)
    return figure


def caption(table: pd.DataFrame, results: Results) -> str:
    names = lists(results)
    order = "the list's order" if len(names) == 1 else "the lists' order"
    which = "The first 64 images" if images.is_cut(path for name in names for path in table[name]) else "Every image"
    return images.words(
        table,
        results,
        f"{which} of {' and '.join(names)}, in {order}, for {{arms}} arms ({{seed}}). Under a "
        f"grid: the {labels.score(results)} of that very training on the list, over all its sampling passes; the first "
        "pass is shown. All arms began with the same noise.",
    )
