"""What limits a study's answer although nobody asked for it: warnings of the trials, unequal compute, dead factors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis import recorded_task
from analysis.narrative import evaluator
from analysis.narrative.evaluator import SURROGATE
from analysis.results import Results, once
from analysis.tables import sensitivity
from analysis.tables.format import count
from runners.experiment import metric_name

NAMED = 4  # arms that a sentence names before it counts
ALIKE = 3  # sentences that differ in their numbers only; more become one
COMPUTE = (
    ("total_images", "training images"),
    ("train_pflop", "training PFLOP"),
    ("network_evaluations", "network evaluations per image"),
)
BETAS = "treatment/beta_digest"  # of the schedule as it was trained
TRAINED_ON, SAMPLED_ON = "device/train", "device/sample"  # the model of a GPU or processor
NOISE = "noise_digest/"  # of the initial noises of a list, made by the runner
PAIRED_WITHIN = ["seed", "timesteps", "image_size"]  # trials that could have started from the same noise
NUMBER = re.compile(r"\d+(?:\.\d+)?")
_EQUAL = 1e-6  # relative: rounding of a product, not compute


@once
def warnings(results: Results) -> list[str]:
    """One sentence each, of the complete trials; the dead factor first, because nothing else counts then."""
    complete = results.complete
    if complete.empty:
        return []
    found = [*_same_weights(results), *_edited_schedules(results), *_not_paired(results)]
    found += evaluator.at_chance(results) or _at_chance(results)
    found += [*_of_the_runner(results), *_unequal_compute(results), *_colocated(results), *_devices(results)]
    for field, words in (("evaluator_kind", "evaluators"), ("data_digest", "data sets")):
        if field in complete and complete[field].nunique() > 1:
            values = " | ".join(map(str, complete[field].dropna().unique()))
            found.append(f"The trials used different {words} ({values}): they are not comparable.")
    if "evaluator_kind" in complete and (complete["evaluator_kind"] == SURROGATE).any():
        of_whom = " of the official evaluator" if recorded_task.task_of(results)["name"] == "iclevr" else ""
        found.append(f"Scores of the surrogate evaluator are not comparable with published scores{of_whom}.")
    return found


def _at_chance(results: Results) -> list[str]:
    """A study in which nothing was learned finds its arms equivalent."""
    low = sensitivity.at_chance(results)
    if low.empty or not low.all():
        return []
    return [
        f"No trial scores above chance in {metric_name(results.metric)}: these trainings learned nothing that it "
        "measures, so the "
        "study says nothing about differences between its arms."
    ]


def named(arms: Sequence[str]) -> str:
    """`a, b, c, d and 5 more arms`."""
    more = len(arms) - NAMED
    rest = f" and {more} more {'arm' if more == 1 else 'arms'}" if more > 0 else ""
    return f"{', '.join(arms[:NAMED])}{rest}"


def _of_the_runner(results: Results) -> list[str]:
    """The sentences of the trials, each with its arms. Those that differ in numbers only become one: over the range of
    the numbers where they are about the same arms, else those of the first where there are more than ALIKE."""
    if "warnings" not in results.complete:
        return []
    said = results.complete[["arm", "warnings"]].dropna().drop_duplicates()
    texts_of = said.groupby("arm")["warnings"].agg(list).to_dict()
    arms_of: dict[str, dict[str, None]] = {}
    for arm in results.arms:
        for sentence in filter(None, "\n".join(map(str, texts_of.get(arm, []))).split("\n")):
            arms_of.setdefault(sentence, {})[arm] = None
    alike: dict[str, list[str]] = {}
    for sentence in arms_of:
        alike.setdefault(NUMBER.sub("#", sentence), []).append(sentence)
    found = []
    for sentences in (_one_per_arm(sentences, arms_of) for sentences in alike.values()):
        if len(sentences) <= ALIKE:
            found += [f"{named(list(arms_of[sentence]))}: {sentence}" for sentence in sentences]
        else:
            concerned = set().union(*(arms_of[sentence] for sentence in sentences))
            arms = [arm for arm in results.arms if arm in concerned]
            first = next(iter(arms_of[sentences[0]]))
            more = f"(numbers of {first}; {len(sentences) - 1} more such sentences with other numbers)"
            found.append(f"{named(arms)}: {sentences[0]} {more}")
    return found


def _one_per_arm(sentences: list[str], arms_of: dict[str, dict[str, None]]) -> list[str]:
    """Of sentences that differ in numbers only, one for those that share an arm, with the smallest and the largest of
    each number; `arms_of` gets its arms."""
    groups: list[list[str]] = []
    for sentence in sentences:
        meets = [group for group in groups if any(arms_of[sentence].keys() & arms_of[other].keys() for other in group)]
        groups = [group for group in groups if group not in meets]
        groups.append([*(other for group in meets for other in group), sentence])
    found = []
    for group in groups:
        numbers = zip(*(NUMBER.findall(sentence) for sentence in group), strict=True)
        ranges = iter([_range(of_place) for of_place in numbers])
        text = NUMBER.sub(lambda _, ranges=ranges: next(ranges), group[0])  # type: ignore[misc]
        arms_of[text] = dict.fromkeys(arm for sentence in group for arm in arms_of[sentence])
        found.append(text)
    return found


def _range(numbers: Sequence[str]) -> str:
    """`1`, `1 to 2`."""
    ends = min(numbers, key=float), max(numbers, key=float)
    return ends[0] if float(ends[0]) == float(ends[1]) else " to ".join(ends)


def _unequal_compute(results: Results) -> list[str]:
    """The range over arms of what was spent, an arm's trials averaged."""
    parts = []
    for field, words in COMPUTE:
        if field not in results.complete:
            continue
        spent = results.complete.groupby("arm")[field].mean().reindex(results.arms).dropna()
        if len(spent) > 1 and spent.max() - spent.min() > _EQUAL * spent.max():
            low, high = str(spent.idxmin()), str(spent.idxmax())
            parts.append(f"{words} from {count(spent[low])} ({low}) to {count(spent[high])} ({high})")
    return [f"Unequal compute across the arms: {'; '.join(parts)}."] if parts else []


def _colocated(results: Results) -> list[str]:
    """Trials that shared a device, or a CPU core, were slower for it."""
    shared = results.complete.get("packed")
    if shared is None or not shared.max() > 1:
        return []
    alike = "" if shared.nunique() == 1 else ", but not all trials did"
    return [f"Timings are not comparable: up to {shared.max():.0f} trials shared a device{alike}."]


def _devices(results: Results) -> list[str]:
    """Trials that were trained, or sampled, on different models of a device.

    A training draws its noise where it computes, and a GPU's random numbers depend on how many processors it has.
    """
    found: dict[str, str] = {}
    for column, done in ((TRAINED_ON, "trained"), (SAMPLED_ON, "sampled")):
        if column not in results.complete:
            continue
        known = results.complete[results.complete[column].fillna("") != ""]
        arms_of = {str(device): list(dict.fromkeys(rows["arm"])) for device, rows in known.groupby(column, sort=False)}
        where = "; ".join(f"{device}: {named(arms)}" for device, arms in arms_of.items())
        if len(arms_of) < 2 or where in found:
            continue
        text = f"The trials were {done} on different devices ({where}): their seconds are not comparable"
        if column == SAMPLED_ON:
            found[where] = f"{text}, and their images may differ by rounding."
        elif (known.groupby("seed")[column].nunique() > 1).any():
            found[where] = f"{text}, and on GPUs of different models arms of one seed did not see the same noise."
        else:
            found[where] = f"{text}; the arms of each seed share a device."
    return list(found.values())


def _same_weights(results: Results) -> list[str]:
    """Trainings of different settings that ended in one file of weights: a dead factor, or one that never acted."""
    if "weights_sha256" not in results.complete:
        return []
    found: dict[str, None] = {}
    config = results.study.config_type
    fields = [name for name in config.types() if name in results.complete and name != "seed"]
    trials = results.study.all_trials
    different = results.complete.drop_duplicates(["weights_sha256", "train_key"])
    same = different[different.duplicated("weights_sha256", keep=False)]
    for _, trainings in same.groupby("weights_sha256", sort=False):
        arms = list(trainings["arm"].unique())
        seeds = [f"{arm} seed {seed}" for arm, seed in zip(trainings["arm"], trainings["seed"], strict=True)]
        names = arms if len(arms) > 1 else seeds
        listed = f"{names[0]} and {names[1]}" if len(names) == 2 else named(names)
        known = [results.study.config(trials[key]) for key in trainings.get("trial_key", ()) if key in trials]
        if len({config.as_trained for config in known}) == 1:
            continue  # as it must be
        values = trainings[["training_seed", *fields] if "training_seed" in trainings else fields]
        changed = [str(name) for name in values if values[name].nunique(dropna=False) > 1]
        if changed and set(changed) <= config.inert():
            text = f"{listed} have the same weights: {' and '.join(changed)} made no difference to these trainings."
        else:
            text = f"{listed} have different settings but the same weights: the factor did not reach the training."
        found[text] = None
    return list(found)


def _edited_schedules(results: Results) -> list[str]:
    """Schedules whose trials had different betas: a config names a schedule, and its function was edited."""
    complete = results.complete
    if BETAS not in complete:
        return []
    counts = complete.groupby(["schedule", "timesteps"], sort=False)[BETAS].nunique().reset_index()
    return [
        f"Trials with schedule={schedule} and timesteps={timesteps} were trained with {count} different sets of betas: "
        "the schedule was edited between them. Give the new formula another name, and run its trials."
        for schedule, timesteps, count in counts.itertuples(index=False)
        if count > 1
    ]


def _not_paired(results: Results) -> list[str]:
    """Arms of one T and image size whose pictures began with different noise; nothing where no digest is recorded."""
    complete = results.complete
    lists_of: dict[str, list[str]] = {}
    for column in (str(name) for name in complete if str(name).startswith(NOISE)):
        arms: dict[str, None] = {}
        for _, same in complete.dropna(subset=[column]).groupby(PAIRED_WITHIN, sort=False):
            if same[column].nunique() > 1:
                arms |= dict.fromkeys(same["arm"])
        if arms:
            lists_of.setdefault(named(list(arms)), []).append(column.removeprefix(NOISE))
    return [
        f"{arms} did not all start from the same initial noise on {', '.join(lists)}: differences there are not "
        "paired by noise, and their intervals are wider than necessary."
        for arms, lists in lists_of.items()
    ]
