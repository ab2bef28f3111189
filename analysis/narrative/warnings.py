"""What limits a study's answer although nobody asked for it: warnings of the trials, unequal compute, dead factors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

Study = Mapping[str, Any]

NAMED = 4  # arms that a sentence names before it counts
ALIKE = 3  # sentences that differ in their numbers only; more become one
COMPUTE = (
    ("total_images", "training images"),
    ("train_pflop", "training PFLOP"),
    ("network_evaluations", "network evaluations an image"),
)
NOISE = "noise_digest/"  # of the initial noises of a list, made by the runner
_EQUAL = 1e-6  # relative: rounding of a product, not compute


def warnings(complete: pd.DataFrame, study: Study) -> list[str]:
    """One sentence each, of the complete trials; the dead factor first, because nothing else counts then."""
    if complete.empty:
        return []
    found = [*_same_weights(complete), *_not_paired(complete)]
    found += [*_of_the_runner(complete, study), *_unequal_compute(complete, study), *_packed(complete)]
    for field, words in (("evaluator_kind", "evaluators"), ("data_digest", "data sets")):
        if field in complete and complete[field].nunique() > 1:
            values = " | ".join(map(str, complete[field].dropna().unique()))
            found.append(f"The trials used different {words} ({values}): they do not compare.")
    if "evaluator_kind" in complete and (complete["evaluator_kind"] == "stand-in").any():
        found.append("Scores of the stand-in evaluator do not compare with published scores of the official one.")
    return found


def named(arms: Sequence[str]) -> str:
    """`a, b, c, d and 5 more`."""
    rest = f" and {len(arms) - NAMED} more arms" if len(arms) > NAMED else ""
    return f"{', '.join(arms[:NAMED])}{rest}"


def _of_the_runner(complete: pd.DataFrame, study: Study) -> list[str]:
    """The sentences of the trials, each with its arms; more than ALIKE that differ in numbers only become one."""
    if "warnings" not in complete:
        return []
    told = complete[["arm", "warnings"]].dropna().drop_duplicates()
    texts_of = told.groupby("arm")["warnings"].agg(list).to_dict()
    arms_of: dict[str, dict[str, None]] = {}
    for arm in study["arms"]:
        for sentence in filter(None, "\n".join(map(str, texts_of.get(arm, []))).split("\n")):
            arms_of.setdefault(sentence, {})[arm] = None
    alike: dict[str, list[str]] = {}
    for sentence in arms_of:
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "#", sentence), []).append(sentence)
    found = []
    for sentences in alike.values():
        if len(sentences) <= ALIKE:
            found += [f"{named(list(arms_of[sentence]))}: {sentence}" for sentence in sentences]
        else:
            arms = [arm for arm in study["arms"] if any(arm in arms_of[sentence] for sentence in sentences)]
            more = (
                f"(so for {next(iter(arms_of[sentences[0]]))}; {len(sentences) - 1} more sentences with other numbers)"
            )
            found.append(f"{named(arms)}: {sentences[0]} {more}")
    return found


def _unequal_compute(complete: pd.DataFrame, study: Study) -> list[str]:
    """The range over arms of what was spent, an arm's trials averaged."""
    parts = []
    for field, words in COMPUTE:
        if field not in complete:
            continue
        spent = complete.groupby("arm")[field].mean().reindex(study["arms"]).dropna()
        if len(spent) > 1 and spent.max() - spent.min() > _EQUAL * spent.max():
            low, high = str(spent.idxmin()), str(spent.idxmax())
            parts.append(f"{words} from {_shown(spent[low])} ({low}) to {_shown(spent[high])} ({high})")
    return [f"Unequal compute across the arms: {'; '.join(parts)}."] if parts else []


def _packed(complete: pd.DataFrame) -> list[str]:
    """Trials that shared a device, or a CPU core, were slower for it."""
    most = complete["packed"].max() if "packed" in complete else 1
    if not most > 1:
        return []
    alike = "" if complete["packed"].nunique() == 1 else ", and not all trials did"
    return [
        f"Up to {most:.0f} trials shared a device{alike}: their seconds and images a second are not those of a "
        "training that has the device to itself."
    ]


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.4g}"


def _same_weights(complete: pd.DataFrame) -> list[str]:
    """Trainings of different settings that ended in one file of weights."""
    if "weights_sha256" not in complete:
        return []
    found: dict[str, None] = {}
    different = complete.drop_duplicates(["weights_sha256", "train_key"])
    for _, trainings in different[different.duplicated("weights_sha256", keep=False)].groupby(
        "weights_sha256", sort=False
    ):
        arms = list(trainings["arm"].unique())
        seeds = [f"{arm} seed {seed}" for arm, seed in zip(trainings["arm"], trainings["seed"], strict=True)]
        names = arms if len(arms) > 1 else seeds
        listed = f"{names[0]} and {names[1]}" if len(names) == 2 else named(names)
        found[f"{listed} have different settings but the same weights: the factor did not reach the training."] = None
    return list(found)


def _not_paired(complete: pd.DataFrame) -> list[str]:
    """Arms of one T and image size whose pictures began with different noise; nothing where no digest is recorded."""
    lists_of: dict[str, list[str]] = {}
    for column in (str(name) for name in complete if str(name).startswith(NOISE)):
        arms: dict[str, None] = {}
        for _, same in complete.dropna(subset=[column]).groupby(["seed", "timesteps", "image_size"], sort=False):
            if same[column].nunique() > 1:
                arms |= dict.fromkeys(same["arm"])
        if arms:
            lists_of.setdefault(named(list(arms)), []).append(column.removeprefix(NOISE))
    return [
        f"{arms} did not all start from the same noise on {', '.join(lists)}: there they are not paired, and the "
        "intervals of their differences are wider than they need be."
        for arms, lists in lists_of.items()
    ]
