"""Each setting at its best nuisance value: chosen on the list of choice, and read on the lists that are reported.

Every setting chooses among equally many values, or is not compared: the best of more is luckier. The list of choice
has no such table, because the best of several scores looks better there than it is. The other lists share its
trainings, so that a training's luck is chosen as well: from three seeds on, the value is chosen by the other seeds and
read at the one left out (`analysis.stats.nested`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.results import Results, once, setting_name
from analysis.stats import intervals, nested
from analysis.tables import comparison
from analysis.verdict import Outcome, Verdict
from runners.experiment import metric_name


@dataclass(frozen=True)
class _Choice:
    """`groups`: scientific setting -> its arms, one per nuisance value; `best`: setting -> the arm that was chosen for
    it by all seeds, of complete candidates that are as many as any other setting's; `baseline`: the baseline's
    setting."""

    groups: Mapping[str, Sequence[str]]
    best: Mapping[str, str]
    baseline: str

    @property
    def most(self) -> int:
        """The candidates that each setting should choose among."""
        return max(map(len, self.groups.values()))

    @property
    def taken(self) -> dict[str, str]:
        """Setting -> the arm that stands for it in the table."""
        return {group: self.best.get(group, arms[0]) for group, arms in self.groups.items()}


@once
def _choice(results: Results) -> _Choice | None:
    """None for a study without nuisance factors."""
    groups = results.settings()
    if len(groups) < 2:
        return None
    most = max(map(len, groups.values()))
    best = {group: arm for group, arm in results.chosen(groups).items() if len(groups[group]) == most}
    baseline = next(group for group, arms in groups.items() if results.study.baseline_arm in arms)
    return _Choice(groups, best, baseline)


def metric_that_answers(results: Results) -> str:
    """The study's metric, on the first reported list where it was measured on the list of choice; "" for a study
    without nuisance factors, or without a reported list."""
    if _choice(results) is None:
        return ""
    metric = results.metric
    if not _chose(results, metric):
        return metric
    score = metric.rpartition("/")[0]
    found = (f"{score}/{name}" for name in results.reported if f"{score}/{name}" in results.rows)
    return next(found, "")


def _chose(results: Results, metric: str) -> bool:
    """Whether it was measured on the list that the values were chosen on."""
    return metric.rpartition("/")[2] == results.selection.rpartition("/")[2]


@once
def judged(results: Results) -> Results:
    """What the verdicts are about: the study, or each setting at its best nuisance value, whose family is its own."""
    choice, metric = _choice(results), metric_that_answers(results)
    return _alone(results, choice, metric) if choice is not None and metric and not results.judged else results


def is_nested(results: Results) -> bool:
    """Whether there are seeds enough to choose without each."""
    return len(results.seeds) >= nested.FEWEST_SEEDS


@once
def table(results: Results, metric: str) -> pd.DataFrame:
    """A `comparison.summary` with one row per scientific setting, at its best nuisance value.

    `chosen`: what all seeds choose; `agreeing`: of how many seeds the others choose the same. The verdicts are on
    `metric_that_answers` alone: other lists are described, and have neither verdict nor p. Empty for a study without
    nuisance factors, and on the list of choice.
    """
    choice = _choice(results)
    if choice is None or not metric or _chose(results, metric):
        return pd.DataFrame()
    found = comparison.summary(_alone(results, choice, metric), metric)
    names = {arm: group for group, arm in choice.taken.items()}
    answers = metric == metric_that_answers(results)
    verdicts = [
        _of_candidates(results, choice, names[arm]) or verdict
        for arm, verdict in zip(found["arm"], found["verdict"], strict=True)
    ]
    found["verdict"] = pd.Series(verdicts, index=found.index, dtype=object)
    if is_nested(results):  # pseudo-values are no sample to flip signs of, or to correlate
        found[["p sign-flip", "rho"]] = np.nan
    if not answers:
        found[["p", "p Holm", "p sign-flip"]] = np.nan
        found = found.drop(columns="verdict")
    tuned = results.study.tuned
    values_of = results.settings_of(tuned)
    groups = [names[arm] for arm in found["arm"]]
    chosen = [setting_name(tuned, values_of[choice.best[group]]) if group in choice.best else "-" for group in groups]
    found.insert(1, "chosen", chosen)
    found.insert(2, "agreeing", [_agreeing(results, choice, group) for group in groups])
    found.insert(3, "candidates", [len(choice.groups[group]) for group in groups])
    return found.replace({"arm": names, "against": names})


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """As short strings, with the seeds whose others chose the same where they do not all agree; no empty columns."""
    shown = comparison.readable(table)
    tested = [name for name in ("p Holm", "p sign-flip", "rho") if name in shown]
    shown = shown.drop(columns=[name for name in tested if (shown[name] == "-").all()])
    seeds = zip(table["chosen"], table["agreeing"], table["planned"], strict=True)
    shown["chosen"] = [
        f"{value} (in {agreeing:.0f} of {planned})" if agreeing < planned else value
        for value, agreeing, planned in seeds
    ]
    return shown


# --- the choice ----------------------------------------------------------------------------------------


def _scores(results: Results, metric: str, arms: Sequence[str]) -> intervals.Array:
    """(seeds, arms), of which more is better where choices are made."""
    place = {arm: index for index, arm in enumerate(results.arms)}
    sign = -1 if metric == results.selection and results.smaller_is_better(metric) else 1
    return sign * results.values(metric)[:, [place[arm] for arm in arms]]


def _agreeing(results: Results, choice: _Choice, group: str) -> float:
    """Of how many seeds the others choose what all choose; NaN where it is not asked."""
    if group not in choice.best or not is_nested(results):
        return np.nan
    arms = choice.groups[group]
    found = nested.left_out(_scores(results, results.selection, arms))
    return float(np.sum(found == list(arms).index(choice.best[group])))


def _alone(results: Results, choice: _Choice, metric: str) -> Results:
    """The study of one arm per setting; a setting without a choice has no complete trial.

    Its rows are those of the chosen arm, with the pseudo-values of the nested choice where there are seeds enough.
    """
    taken = choice.taken
    fields: dict[str, Any] = {"arms": tuple(taken.values()), "baseline_arm": taken[choice.baseline], "against": None}
    fields |= {"published": {}, "contrasts": {}} | (
        {"metric": metric} if metric == metric_that_answers(results) else {}
    )
    unchosen = [arm for group, arm in taken.items() if group not in choice.best]
    rows = results.rows
    rows = rows.assign(state=rows["state"].mask(rows["arm"].isin(unchosen), "missing"))
    if is_nested(results) and metric in rows:
        place = {seed: index for index, seed in enumerate(results.seeds)}
        for group, arm in choice.best.items():
            arms = choice.groups[group]
            values = nested.pseudo_values(_scores(results, results.selection, arms), _scores(results, metric, arms))
            own = rows["arm"] == arm
            rows.loc[own, metric] = [values[place[seed]] if seed in place else np.nan for seed in rows.loc[own, "seed"]]
    return results.of(results.study.model_copy(update=fields), rows)


def _of_candidates(results: Results, choice: _Choice, group: str) -> Verdict | None:
    """What forbids to compare a setting: it and the baseline's setting need a fair choice first; None for nothing."""
    candidates, planned = choice.groups[group], choice.most
    if group not in choice.best and len(candidates) < planned:
        return Verdict(Outcome.FEWER_CANDIDATES, len(candidates), planned, "candidates")
    if group not in choice.best:
        return Verdict(Outcome.INCOMPLETE, _complete(results, candidates), planned, "candidates")
    if choice.baseline not in choice.best:
        complete = _complete(results, choice.groups[choice.baseline])
        return Verdict(Outcome.REFERENCE_INCOMPLETE, complete, planned, "candidates", reference="the baseline")
    return None


def _complete(results: Results, arms: Sequence[str]) -> int:
    """How many of these candidates have the column of choice in every seed."""
    whole = dict(zip(results.arms, np.isfinite(results.values(results.selection)).all(axis=0), strict=True))
    return sum(bool(whole[arm]) for arm in arms)


# --- words ---------------------------------------------------------------------------------------------


def note(results: Results) -> str:
    """What stands under a `table`; "" for a study without nuisance factors."""
    if (choice := _choice(results)) is None:
        return ""
    study, own = results.study, results.list_of(results.selection)
    scientific, tuned = " and ".join(study.scientific), " and ".join(study.tuned)
    how = "by the mean over the other seeds, and read at the seed left out" if is_nested(results) else "by all seeds"
    first = (
        f"Each {scientific} has its best {tuned} of {choice.most}, chosen on {metric_name(results.selection)} {how}. "
        f"{own} itself "
        "has no such table, because the best of several scores looks better there than it is"
    )
    answers = metric_that_answers(results)
    where = f"; verdicts are on {answers} alone" if answers else "; no reported list was scored"
    return f"{first}{where}. {_shared(results, choice, tuned)}"


def _shared(results: Results, choice: _Choice, tuned: str) -> str:
    """What the choice and the report have in common, and what is done about it."""
    config = results.study.config_type
    stages = {config.__dataclass_fields__[name].metadata["stage"] for name in results.study.tuned}
    if stages == {"sample"}:
        common = (
            f"All values of {tuned} share their trainings, so none is chosen for a lucky training; what a training "
            "makes of one value more than of another is common to the lists, their sampling noise is not."
        )
    else:
        common = f"Each value of {tuned} has its own trainings, and the lists share them."
    if is_nested(results):
        return (
            f"{common} Read this way, the mean is not biased by the choice. Intervals and verdicts are those of the "
            'jackknife over seeds (Tukey 1958), which repeats the choice as well; "chosen" names what all seeds choose.'
        )
    answers = metric_that_answers(results)
    size = _optimism(results, choice, answers) if answers else np.nan
    worth = f", by about {size:.3f} in {answers} if all values were equally good" if np.isfinite(size) else ""
    return (
        f"{common} The mean is optimistically biased by that{worth}, and intervals do not cover the uncertainty of the "
        f"choice: {nested.FEWEST_SEEDS} seeds allow to choose without the seed that is read."
    )


def _optimism(results: Results, choice: _Choice, metric: str) -> float:
    """`nested.optimism` of the settings that have a choice."""
    groups = [choice.groups[group] for group in choice.best]
    if not groups:
        return np.nan
    pairs = [[_scores(results, name, arms) for arms in groups] for name in (results.selection, metric)]
    found = [np.stack(values) for values in pairs]
    return nested.optimism(*found) if all(np.isfinite(values).all() for values in found) else np.nan
