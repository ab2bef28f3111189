"""What stands under the tables: what a number is the mean of, how it is compared, and on which terms it was made."""

from __future__ import annotations

import numpy as np

from analysis import recorded_task, verdicts
from analysis.narrative import evaluator, search
from analysis.narrative.evaluator import SURROGATE
from analysis.narrative.stopping import kind_line
from analysis.results import Results, once
from analysis.stats import evaluators, intervals, proportions
from analysis.tables import comparison, nuisance, outcomes, passes
from runners.experiment import metric_name

MOST_VALUES = 6  # that a line writes out
COMPUTE = {
    "parameters": "parameters",
    "train_pflop": "PFLOP of training",
    "network_evaluations": "network evaluations per image",
    "seconds/train": "s of training",
}
NOT_RECORDED = "not recorded"
BEST = " The two best arms are compared with each other as well, corrected over all pairs of arms."
SEEDS_NAMED = (
    " Seeds that an inconclusive verdict names: those with which a difference as large as the margin would be found, "
    "and none at all would be called equivalent, each with 80 % power; at the pooled spread, and at the upper end of "
    "its "
    "95 % interval."
)


@once
def protocol(results: Results) -> list[str]:
    """The lines that stand under every table."""
    lines = [_unit(results), kind_line(results), *terms(results)]
    lines += _tests(results) if len(results.seeds) > 1 else [outcomes.note(results)]
    scored = (name for name in results.lists if results.score.on(name) in results.complete)
    lines += filter(None, (list_line(results, name) for name in scored))
    lines += filter(None, (passes.line(results, name) for name in results.lists))
    lines += [published(results)] if results.study.published else []
    lines += filter(None, [nuisance.note(results)])
    return [*lines, *search.lines(results), *_notes(results)]


def _unit(results: Results) -> str:
    n, passes = len(results.seeds), _values(results, "sampling_seeds")
    things = recorded_task.nouns(recorded_task.task_of(results)).capitalize()
    sampled = f" and {passes} sampling pass{'es' * (passes != '1')}" if "sampling_seeds" in results.rows else ""
    return (
        f"Unit of analysis: training run, n = {n} seed{'s' * (n != 1)} per arm "
        f"({', '.join(map(str, results.seeds))}). {things}{sampled} are "
        f"averaged within runs. {len(results.complete)} of {len(results.rows)} trials "
        f"{'is' if len(results.complete) == 1 else 'are'} complete."
    )


def terms(results: Results) -> list[str]:
    """The terms on which every number was made: checkpoint, compute, and of samples the sampler, the meaning of s and
    the evaluator."""
    nothing = f" Nothing was selected on {_listed(results.all_reported, 'or')}." if results.all_reported else ""
    guided = (
        f" Guidance scale s = {_values(results, 'guidance_scale')} in eps_u + s (eps_c - eps_u), so s = 1 is unguided."
    )
    unlabelled = recorded_task.task_of(results)["kind"] == "none"
    sampler = [f"Sampler: {_values(results, 'sampler')}.{'' if unlabelled else guided}"]
    evaluator = [f"{_evaluator(results, unlabelled)} {evaluator_share(results)}"]
    return [
        f"Checkpoint rule: {_values(results, 'checkpoint_rule', complete=True)}.{nothing}",
        *(sampler if "sampler" in results.rows else []),
        *(evaluator if recorded_task.judged_by_others(results) else []),
        *_compute(results),
    ]


def _evaluator(results: Results, unlabelled: bool) -> str:
    """What the evaluator is worth on real images."""
    kind = _values(results, "evaluator_kind", complete=True)
    accuracy = _values(results, "evaluator_held_out_accuracy", complete=True)
    if unlabelled:
        worth = (
            f"Trained to name quarter turns of the images, it is right in {accuracy} of the turns of "
            f"{evaluator.of_images(results)} (chance .25)."
        )
    else:
        worth = f"Its accuracy on {evaluator.of_images(results)}: {accuracy}.{_calibration(results)}"
    return f"Evaluator: {kind.replace(SURROGATE, 'surrogate')}. {worth}"


def _calibration(results: Results) -> str:
    """` Its calibration error there: 0.006, by chance 0.005.`, where it is recorded."""
    error, by_chance = results.mean_of("evaluator_ece"), results.mean_of("evaluator_ece_if_calibrated")
    if not np.isfinite(error):
        return ""
    return f" Its calibration error there: {error:.3f}, and {by_chance:.3f} by chance in a calibrated one."


def evaluator_share(results: Results) -> str:
    """Whether the intervals of differences hold what another evaluator would have changed, and how much that is."""
    values = results.evaluator_values(results.metric)
    if values is None:
        several = " (--evaluators N measures it)" if SURROGATE in _values(results, "evaluator_kind", True) else ""
        return f"Scores are of one evaluator; its share in the differences is not in the intervals{several}."
    count = values.shape[-1]
    others = [_values(results, f"evaluator_{number}_held_out_accuracy", True) for number in range(1, count)]
    means = f"Scores are means over {count} surrogate evaluators that differ in their seed (the others: "
    means += f"{', '.join(others)})."
    found = list(evaluators.pairs(values, results.weights).values())
    share = evaluators.share(found) if found else None
    if share is None or not np.isfinite(share.sd):
        return f"{means} Their share in the differences takes two complete seeds to be told."
    return (
        f"{means} Between them a difference in {metric_name(results.metric)} has sd {share.sd:.3f} (95 % CI "
        f"{share.low:.3f} to "
        f"{share.high:.3f}); the intervals and verdicts of {metric_name(results.score.name)} hold it."
    )


def _compute(results: Results) -> list[str]:
    """What a trial took: one number, or the smallest and the largest mean of an arm."""
    parts = []
    for field, words in COMPUTE.items():
        means = results.arm_means(field)
        if np.isfinite(means).any():
            low, high = (f"{value:,.0f}" if value >= 100 else f"{value:.4g}" for value in _ends(means))
            parts.append(f"{low if low == high else f'{low} to {high}'} {words}")
    if parts and "total_images" in results.rows:
        parts.insert(0, f"{_values(results, 'total_images')} training images")
    return [f"Compute per trial (mean of each arm): {', '.join(parts)}."] if parts else []


def _ends(means: intervals.Array) -> tuple[float, float]:
    return float(np.nanmin(means)), float(np.nanmax(means))


def _tests(results: Results) -> list[str]:
    """How several seeds are compared, and what the numbers of a plan assume."""
    about = nuisance.judged(results)
    n, m = len(results.seeds), about.comparisons
    own = ", each arm with its own reference" if len(set(results.references.values())) > 1 else ""
    margin = results.margin(about.metric)
    level = f"{results.level:.3g}".removeprefix("0")
    return [
        "Intervals: 95 % t intervals over seeds (Student 1908). Differences are paired by seed; each interval is for "
        f"one comparison. Verdicts: paired t tests at {level}, Holm-corrected over the family{own}. An interval may "
        "therefore exclude 0 although the verdict is inconclusive.",
        _family(results),
        f"Better and worse mean: on average over training seeds, for {_scorer(results)}data split and list.",
        _margin_line(about, margin, level) if np.isfinite(margin) else no_margin(results),
        *_noise(results),
        "rho: correlation of an arm with its reference across seeds; a higher rho makes pairing more efficient.",
        _sign_flip(n, m),
        f"Detectable differences: 80 % power at .05 / {max(m, 1)}, the first step of Holm's procedure, on average over "
        f"what the true spread may be.{SEEDS_NAMED if np.isfinite(margin) else ''}",
    ]


def _noise(results: Results) -> list[str]:
    """Whether the intervals hold the share of the sampling noise's draw."""
    draws = results.complete.get("noise_seed")
    if draws is None or draws.empty:
        return []
    if draws.nunique() > 1:
        return [
            "Sampling noise: the arms of a training seed share one draw of it, and each seed has its own, so that the "
            "intervals of means and of differences cover the draw."
        ]
    return [
        "Sampling noise: one draw for all trials. It cancels in differences as far as arms react to it alike; the "
        "intervals of means are conditional on it and would be wider over draws."
    ]


def _margin_line(results: Results, margin: float, level: str) -> str:
    """What equivalent means, and why the margin is what it is."""
    source = f"the study's margin for {metric_name(results.metric)}"
    source = source if results.study.margin is not None else f"the default margin for {metric_name(results.score.name)}"
    reason = f": {results.study.margin_reason}" if results.study.margin_reason else ""
    return (
        f"Equivalent: two one-sided t tests (Schuirmann 1987) at {level}, Holm-corrected over the family, exclude a "
        f"difference of ±{margin:g}, {source}{reason}. An arm may be better and within the margin at once."
    )


def no_margin(results: Results) -> str:
    """Why nothing is called equivalent."""
    name = metric_name(results.metric.partition("/")[0])
    why = "" if results.is_share(results.metric) else ", which is no share: a study's margin= is a difference of shares"
    return f"Equivalent: nothing is called so here, because no margin is known for {name}{why}."


def family_line(results: Results, metric: str) -> str:
    """Whether the verdicts of the study are about this table."""
    if metric == results.judged:
        return f"Verdicts: one family of {_comparisons(results)}, corrected by Holm's procedure."
    about = metric_name(results.judged) or _at_best(results)
    return f"Descriptive: the study's verdicts are about {about}; here no verdict is given."


def _at_best(results: Results) -> str:
    study = results.study
    best = f"each {' and '.join(study.scientific)} at its best {' and '.join(study.tuned)}"
    return f"{best} on {metric_name(nuisance.metric_that_answers(results))}"


def _family(results: Results) -> str:
    """What the verdicts of a study are about, and what is described beside them."""
    if not results.judged:
        return (
            f"Family: {_at_best(results)}, compared with the baseline's. Everything else is descriptive: differences "
            "with intervals, no verdicts."
        )
    return (
        f"Family: the {_comparisons(results)} on {metric_name(results.judged)}. Other lists are descriptive: "
        f"differences with intervals, no verdicts.{'' if verdicts.in_parts(results) else BEST}"
    )


def _comparisons(results: Results) -> str:
    return f"{results.comparisons} comparison{'s' * (results.comparisons != 1)}"


def _sign_flip(n: int, comparisons: int) -> str:
    """What the sign-flip test over n seeds can show at best in a family of so many comparisons."""
    least, fewest = intervals.smallest_sign_flip(n), intervals.fewest_for_sign_flip(comparisons)
    after = f", {min(1, comparisons * least):.3g} after Holm over {comparisons} comparisons"
    adjusted = after if comparisons > 1 else ""
    cannot = f": it cannot confirm a verdict here, which takes {fewest} seeds" if n < fewest else ""
    return (
        f"Exact sign-flip test (no assumption of normality; its column is not adjusted): with {n} "
        f"seed{'s' * (n != 1)} its p is at least {least:.3g}{adjusted}{cannot}."
    )


def _scorer(results: Results) -> str:
    if not recorded_task.judged_by_others(results):
        return "this "
    return "this evaluator, " if results.evaluator_values(results.metric) is None else "such evaluators, this "


def table_notes(results: Results, metric: str) -> list[str]:
    """The lines directly under the table of one metric: its list, its published values, the study's notes."""
    name = results.list_of(metric)
    lines = [family_line(results, metric)] if len(results.seeds) > 1 and results.comparisons else []
    lines += [list_line(results, name), passes.line(results, name)] if name in results.lists else []
    known = any(np.isfinite(results.published(arm, metric)) for arm in results.arms)
    measured = [comparison.SECONDS_NOTE] if comparison.shows_seconds(results, metric) else []
    return [*filter(None, lines), *([published(results)] if known else []), *measured, *_notes(results)]


def _notes(results: Results) -> list[str]:
    """The study's own notes; those of older versions also say whether it is exploratory."""
    return [note for note in results.study.notes if not note.startswith(("Exploratory: ", "Confirmatory: "))]


def published(results: Results) -> str:
    """What the columns of published values mean."""
    nouns = recorded_task.nouns(recorded_task.task_of(results))
    theirs = " with their own evaluator" if recorded_task.judged_by_others(results) else ""
    return (
        f"Published: values that others reported, each from one training and one evaluation{theirs}. "
        "Predicted: where one more training of our setting should score in 95 % of cases, t sd sqrt(1 + 1 / n) around "
        f"our mean, widened by the sampling error sqrt(p (1 - p) / m) of a published share p of m {nouns}; the "
        "interval of our mean is narrower, and would leave out an exact repetition. A published difference is the "
        "arm's value minus its reference's. The noise of one evaluation is 1.96 sqrt(p1 (1 - p1) / m + p2 (1 - p2) / "
        f"m), unpaired, for the m {nouns} of the list; a smaller published difference cannot be distinguished from no "
        "difference."
    )


def list_line(results: Results, name: str) -> str:
    """Objects (images, ...), chance level and what one evaluation can resolve at the mean score of the list."""
    task = recorded_task.task_of(results)
    nouns, whole = recorded_task.nouns(task), "picture" if task["kind"] == "set" else "class"
    mean, objects = results.mean_of(results.score.on(name)), results.mean_of(f"objects/{name}")
    if not (results.score.is_share and np.isfinite(objects)):
        return _size(results, name)
    chance = results.mean_of(f"chance/{name}")
    known = results.complete[f"objects/{name}"].dropna()
    alike = known.min() == known.max()
    count = f"{objects:.0f}" if alike else f"{known.min():.0f} to {known.max():.0f}"
    size = f"{name}: {count} {nouns}{f', chance level {chance:.3f}' if np.isfinite(chance) else ''}."
    if not alike:  # arms on lists of their own, whose mean score is of no list
        return size
    low, high = proportions.wilson(mean * objects, objects)
    error = np.sqrt(mean * (1 - mean) / objects) if objects > 0 else np.nan
    return (
        f"{size} One evaluation at {mean:.3f} has a standard error of {error:.3f} (Wilson 95 % CI {low:.3f} to "
        f"{high:.3f}) for independent {nouns}, and more because those of one {whole} fail together."
    )


def _size(results: Results, name: str) -> str:
    """How many images a list has and what drawing them anew would change, as far as it is recorded: a score that is no
    share has no level of chance."""
    images = results.mean_of(f"images/{name}")
    error = results.mean_of(f"{results.score.name}_standard_error/{name}")
    said = [f"{name}: {images:,.0f} images."] if np.isfinite(images) else []
    if np.isfinite(error):
        metric = metric_name(results.score.name)
        said.append(f"The standard error of one {metric} of {name} is {error:.3f}, of drawing the images anew.")
    return " ".join(said)


def _listed(names: list[str], word: str) -> str:
    """`test, new_test or unseen`."""
    return f" {word} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _values(results: Results, field: str, complete: bool = False) -> str:
    """The value that all trials share, or the first values that occur; floats shortened."""
    rows = results.complete if complete else results.rows
    if field not in rows:
        return NOT_RECORDED
    occurring = list(rows[field].dropna().unique())
    words = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in occurring]
    rest = f" and {len(words) - MOST_VALUES} more" if len(words) > MOST_VALUES else ""
    return " | ".join(words[:MOST_VALUES]) + rest or NOT_RECORDED
