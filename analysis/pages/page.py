"""The page of a report: one HTML file that loads nothing, with every text of the record escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis import recorded_task
from analysis.narrative import answer as answers
from analysis.narrative import protocol
from analysis.narrative import search as searched
from analysis.narrative.warnings import warnings
from analysis.pages import blocks
from analysis.pages.blocks import Block, Section
from analysis.pages.figure_pool import Drawn
from analysis.results import Results
from analysis.tables import classes, comparison, contrasts, crosstab, factors, nuisance, scores, search, sensitivity
from analysis.tables.format import decimal
from runners.experiment import metric_name
from runners.process.files import read_json
from study.record import layout

FEW_WARNINGS = 3  # that stand open under the answer; more are folded
LONG = 12  # rows of a table of a further list; longer ones are folded
MANY_TRIALS = 500  # whose table is folded
PLACES = {"answer": "What answers the question", "pictures": "Pictures", "diagnostics": "Diagnostics"}
LINKED = "The name of an arm leads to its trials at the end of the page: their scores, MLflow runs and folders."


def render(results: Results, drawn: Sequence[Drawn]) -> str:
    """The whole page: question, answer, limits, tables, figures, and then how all of it was made."""
    sections: dict[str, Sequence[Block]] = {
        "Results": _results(results),
        "Figures": _figures(drawn, results),
        "Search": _search(results),
        "Score sheet": _sheets(results),
        recorded_task.label_words(recorded_task.task_of(results)).capitalize(): _classes(results),
        "Statistical protocol": [blocks.Items(protocol.protocol(results))],
        "Setting": _setting(results),
        "Environment": _environment(results),
        "Trials": _trials(results),
    }
    study = results.study
    return blocks.render(
        "report.html.j2",
        title=f"{study.study_id}: {study.question}",
        kicker=f"Study {study.study}, scale {study.scale or '-'}, launched {study.launched}",
        question=study.question,
        answer=answers.answer(results),
        opening=_opening(results),
        command=study.command or "-",
        sections=[Section(title, content) for title, content in sections.items() if content],
    )


def _opening(results: Results) -> list[Block]:
    """Before anything else is read: what is missing and what limits the answer, then the factors."""
    lines = warnings(results)
    if lacking := answers.missing(results):
        lines = [f"Preliminary results: {lacking}", *lines]
    shown: list[Block] = [blocks.Warnings(lines[:FEW_WARNINGS])]
    if len(lines) == FEW_WARNINGS + 1:
        shown = [blocks.Warnings(lines)]
    elif len(lines) > FEW_WARNINGS:
        more = [blocks.Warnings(lines[FEW_WARNINGS:])]
        count = len(lines) - FEW_WARNINGS
        shown.append(blocks.Fold(f"{count} more warning{'s' * (count != 1)}", more))
    return [*shown, blocks.table(comparison.factor_rows(results))]


def anchors_of(results: Results) -> dict[str, str]:
    """Arm -> the anchor of its rows among the trials."""
    return {arm: f"trials-of-arm-{index}" for index, arm in enumerate(results.arms)}


# --- results ---------------------------------------------------------------------------------------------


def _results(results: Results) -> list[Block]:
    anchors = anchors_of(results)
    of_settings = {group: anchors[arm] for group, arm in results.chosen(results.settings()).items()}
    made: list[Block] = []
    said: set[str] = set()  # under an earlier table
    for metric in results.metrics:
        own = metric == results.metric
        notes = [note for note in protocol.table_notes(results, metric) if note not in said]
        said.update(notes)
        shown = comparison.readable(comparison.summary(results, metric), results, metric)
        name = metric_name(metric)
        title = f"{name} (the study's metric)" if own else name
        content: list[Block] = [blocks.table(shown, links=anchors), blocks.Notes(notes)]
        made += blocks.folded(title, content, fold=not own and len(shown) > LONG)
        if len(cells := crosstab.table(results, metric)):
            tabled: list[Block] = [
                blocks.table(crosstab.readable(cells, results)),
                blocks.Notes([crosstab.note(cells, results)]),
            ]
            made += blocks.folded(f"{name}, rows and columns", tabled, fold=not own)
        if len(found := contrasts.table(results, metric)):
            made += blocks.folded(f"{name}, contrasts", [blocks.table(contrasts.readable(found))], fold=not own)
        if own and len(found := sensitivity.table(results)):
            noted = blocks.Notes([sensitivity.note(results)])
            content = [blocks.table(sensitivity.readable(found, results), links=anchors), noted]
            made.append(blocks.Fold(f"{name}, sensitivity", content))
        if len(best := nuisance.table(results, metric)):
            made.append(blocks.Heading(f"{name}, each setting at its best {' and '.join(results.study.tuned)}"))
            made.append(blocks.table(nuisance.readable(best), links=of_settings))
            made.append(blocks.Notes([nuisance.note(results)]))
        made += _factors(results, metric)
    return [*made, blocks.Notes([" ".join(protocol.terms(results)), LINKED])]


def _factors(results: Results, metric: str) -> list[Block]:
    """Sizes of effects and marginal means of crossed factors, folded for all but the study's metric."""
    effects = factors.effects_table(results, metric)
    if effects.empty:
        return []
    levels = factors.readable_levels(factors.levels_table(results, metric))
    content: list[Block] = [blocks.table(factors.readable_effects(effects)), blocks.table(levels)]
    own = metric == results.metric
    if own:
        arms_of = blocks.table(factors.arms_of_levels(results), links=anchors_of(results))
        content += [blocks.Fold("The arms behind each marginal mean", [arms_of]), blocks.Notes(factors.notes(results))]
    return blocks.folded(f"{metric_name(metric)}, factor by factor", content, fold=not own)


def _sheets(results: Results) -> list[Block]:
    """Every score of every list; nothing before the first trial is complete."""
    sheets = scores.readable(scores.table(results), results)
    anchors = anchors_of(results)
    shown: list[Block] = [blocks.table(sheet, links=anchors) for sheet in sheets]
    return [*shown, blocks.Notes(scores.notes(results))] if shown else []


def _classes(results: Results) -> list[Block]:
    """Recall of every label, one folded table per list; nothing where no trial has kept its classes."""
    table, words = classes.table(results), recorded_task.label_words(recorded_task.task_of(results))
    if table.empty:
        return []
    anchors = anchors_of(results)
    heads = {classes.head(arm, table): anchors[arm] for arm in table["arm"].unique()}
    shown: list[Block] = [
        blocks.Fold(f"{name}, {len(sheet)} {words}", [blocks.table(sheet, heads=heads)])
        for name, sheet in classes.readable(table, results).items()
    ]
    return [*shown, blocks.Notes([classes.note(table, results)])]


def _search(results: Results) -> list[Block]:
    """The search's own section; nothing for a study without one."""
    table = search.table(results)
    if results.study.search is None or table.empty:
        return []
    shown = search.readable(table, results)
    shown["folder"] = [f"trials/{trial.trial_key}" for trial in results.study.search.trials]
    made: list[Block] = [blocks.Items(searched.lines(results))]
    if len(again := search.finalists(results)):
        made += [blocks.Heading("Finalists"), blocks.table(search.readable_finalists(again, results))]
        made.append(blocks.Heading("Search trials"))
    return [*made, blocks.table(shown, code=("folder",))]


def _figures(drawn: Sequence[Drawn], results: Results) -> list[Block]:
    made: list[Block] = []
    pictures = f"{recorded_task.picture(recorded_task.task_of(results))}s".capitalize()
    for place, title in (PLACES | {"pictures": pictures}).items():
        of_place = [
            blocks.Picture(one.name, one.title, one.description, one.caption, blocks.encoded(one.png))
            for one in drawn
            if one.place == place
        ]
        made += [blocks.Caption(title), *of_place] if of_place else []
    return made


# --- how it was made -------------------------------------------------------------------------------------


def _setting(results: Results) -> list[Block]:
    """Every field of the baseline arm; what the factors do not change, the arms have in common."""
    fields = pd.DataFrame(list(results.baseline_fields.items()), columns=["field", "baseline"])
    return [blocks.Fold(f"All {len(fields)} fields of the baseline", [blocks.table(fields)])]


def _environment(results: Results) -> list[Block]:
    """Each entry of environment.json once, with the number of trials where they disagree."""
    seen: dict[str, Counter[str]] = {}
    for folder in results.rows["folder"]:
        path = Path(folder) / "environment.json"
        for name, value in (read_json(path) if path.is_file() else {}).items():
            if name == "trial_key":  # the folder's name
                continue
            seen.setdefault(str(name), Counter())[str(value)] += 1
    if not seen:
        return [blocks.Paragraph("No trial has recorded its environment yet.")]
    lines = [{"": name, "recorded": _counted(values)} for name, values in seen.items()]
    return [blocks.table(pd.DataFrame(lines))]


def _counted(values: Mapping[str, int]) -> str:
    """The one value, or each with its number of trials."""
    counts = {value: "1 trial" if n == 1 else f"{n} trials" for value, n in values.items()}
    return " | ".join(value if len(values) == 1 else f"{value} ({trials})" for value, trials in counts.items())


def _trials(results: Results) -> list[Block]:
    """Every trial of the plan, arm by arm: where it lies, its run, its scores, or how it failed."""
    rows = results.rows
    listed = rows[["arm", "seed", "state"]].copy()
    for metric in (name for name in results.metrics if name in rows):
        listed[metric_name(metric)] = [decimal(score) for score in rows[metric].astype(float)]
    listed["MLflow run"] = rows["run_id"].replace("", "-")
    listed["folder"], listed["training"] = "trials/" + rows["trial_key"], rows["train_key"]
    if (rows["state"] == "failed").any():
        failed = zip(rows["state"], rows["folder"], strict=True)
        listed["note"] = [_last_words(Path(folder)) if state == "failed" else "" for state, folder in failed]
    anchors = anchors_of(results)
    rank = {arm: index for index, arm in enumerate(anchors)}
    order = listed.assign(arm=listed["arm"].map(rank)).sort_values(["arm", "seed"], kind="stable").index
    table = blocks.table(listed.loc[order], code=("MLflow run", "folder", "training"), groups=anchors)
    where = f"Runs are those of the MLflow experiment {results.study.study_id}; folders lie in the record."
    content: list[Block] = [table, blocks.Notes([where])]
    return [blocks.Fold(f"All {len(rows):,} trials", content)] if len(rows) > MANY_TRIALS else content


def _last_words(folder: Path) -> str:
    """The last line of a failed trial's traceback."""
    lines = layout.traceback_file(folder).read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
