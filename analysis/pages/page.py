"""The page of a report: one HTML file that loads nothing, with every text of the record escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.narrative import answer as answers
from analysis.pages.figure_pool import Drawn
from analysis.tables import classes as class_scores
from analysis.tables import comparison as tables
from analysis.tables import factors as factorial
from analysis.tables import scores as score_sheet
from analysis.tables import search as search_table
from runners.process.files import read_json
from study.record import layout

Study = Mapping[str, Any]

# Nothing may be loaded or run, whatever a name in the record says: images are data, there is no script.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
FEW_NOTES = 3  # limits that stand open under the answer; more are folded
WIDE = 28  # letters of a cell that stay on one line: an interval, not a sentence
LONG = 12  # rows of a table of a further list; longer ones are folded
PLACES = {"answer": "What answers the question", "pictures": "Pictures", "diagnostics": "Diagnostics"}

CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1c1c1c; background: #fff;
       max-width: 76rem; margin: 2.5rem auto 4rem; padding: 0 1.25rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: .25rem 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 1.75rem 0 .4rem; }
.kicker { color: #666; font-size: .85rem; margin: 0; }
.answer { border-left: 4px solid #0072b2; background: #f3f8fb; padding: .8rem 1rem; margin: 1rem 0; }
.note { border-left: 4px solid #e69f00; background: #fdf7ea; padding: .6rem 1rem; margin: .75rem 0; font-size: .92rem; }
nav { font-size: .9rem; margin: 1rem 0; }
nav a { margin-right: 1rem; white-space: nowrap; }
a { color: #0b5c8c; }
.scroll { overflow: auto; max-height: 34rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th { text-align: left; font-weight: 600; border-top: 1.5px solid #333; border-bottom: 1px solid #333; }
th, td { padding: .25rem .8rem .25rem 0; vertical-align: top; }
th, td { white-space: nowrap; }
td.long { white-space: normal; min-width: 12rem; }
td:last-child { white-space: normal; padding-right: 0; min-width: 11rem; }
thead th { position: sticky; top: 0; background: #fff; }
tbody:last-child tr:last-child td { border-bottom: 1.5px solid #333; }
tbody:target, tr:target { background: #fff3c4; }
figure { margin: 0 0 1.5rem; }
figure img { max-width: 100%; height: auto; display: block; margin: .25rem 0 .5rem; }
.place { color: #666; font-weight: 600; margin: 1.5rem 0 0; }
figcaption, .protocol { font-size: .9rem; }
.under { font-size: .82rem; color: #666; margin: .2rem 0; }
.protocol li { margin: .2rem 0; }
details { margin: .75rem 0; }
summary { cursor: pointer; font-size: .9rem; color: #0b5c8c; }
code { font: .85em ui-monospace, "DejaVu Sans Mono", monospace; }
@media (max-width: 40rem) { body { margin-top: 1rem; padding: 0 .75rem; } h1 { font-size: 1.35rem; } }
@media print {
  html { font-size: 10px; } body { max-width: none; margin: 0; padding: 0; font-size: 1rem; } nav { display: none; }
  .scroll { overflow: visible; max-height: none; } thead th { position: static; }
  th, td { white-space: normal; padding-right: .4rem; } td.long, td:last-child { min-width: 0; }
  td code { overflow-wrap: anywhere; } figure img { max-height: 20cm; }
  figure, tr { break-inside: avoid; } h2, h3, .place { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""


def render(rows: pd.DataFrame, study: Study, drawn: Sequence[Drawn]) -> str:
    """The whole page: question, answer, limits, tables, figures, and then how all of it was made."""
    contents = {
        "Results": _results(rows, study),
        "Figures": _figures(drawn),
        "Search": _search(rows, study),
        "Score sheet": _sheets(rows, study),
        "Classes": _classes(rows, study),
        "Protocol": _protocol(rows, study),
        "Setting": _setting(study),
        "Environment": _environment(rows),
        "Trials": _trials(rows, study),
    }
    sections = {title: content for title, content in contents.items() if content}
    body = [_opening(rows, study), _navigation(sections), *(_section(*section) for section in sections.items())]
    return document(f"{study['study_id']}: {study['question']}", "\n".join(body))


def text(value: object) -> str:
    return html.escape(str(value), quote=True)


def document(title: str, body: str) -> str:
    """An HTML document that loads and runs nothing."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _opening(rows: pd.DataFrame, study: Study) -> str:
    """Question, answer, and before anything else is read: what is missing and what limits it."""
    kicker = f"Study {study['study']}, scale {study.get('scale', '-')}, launched {study['launched']}"
    notes = [line.removeprefix("Warning: ") for line in answers.protocol(rows, study) if line.startswith("Warning: ")]
    if lacking := answers.missing(rows, study):
        notes.insert(0, f"Half finished. {lacking}")
    return (
        f'<p class="kicker">{text(kicker)}</p>\n<h1>{text(study["question"])}</h1>\n'
        f'<p class="answer">{text(answers.answer(rows, study))}</p>\n'
        + _limits(notes)
        + table(tables.factor_rows(study))
        + f"<p>Run and resumed with <code>{text(study.get('command', '-'))}</code></p>"
    )


def _limits(notes: Sequence[str]) -> str:
    """The first of them open, because they limit the answer; the others one click away."""
    shown = [f'<p class="note">{text(note)}</p>\n' for note in notes]
    if len(notes) <= FEW_NOTES + 1:
        return "".join(shown)
    folded = _folded(f"{len(notes) - FEW_NOTES} more limits", "".join(shown[FEW_NOTES:]))
    return "".join(shown[:FEW_NOTES]) + folded


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{text(title)}</summary>\n{content}</details>\n"


def _navigation(titles: Iterable[str]) -> str:
    links = (f'<a href="#{_anchor(title)}">{text(title)}</a>' for title in titles)
    return f'<nav aria-label="Contents">{" ".join(links)}</nav>'


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(title: str, content: str) -> str:
    return f'<h2 id="{_anchor(title)}">{text(title)}</h2>\n{content}'


def _results(rows: pd.DataFrame, study: Study) -> str:
    trials = trials_of(study)
    of_settings = {
        group: trials[arm] for group, arm in tables.chosen(rows, study, tables.settings(rows, study)).items()
    }
    parts: list[str] = []
    said: set[str] = set()  # under an earlier table
    for metric in tables.metrics(rows, study):
        shown = tables.readable(tables.summary(rows, study, metric), study, metric)
        own = metric == study["metric"]
        title = metric + (" (the study's metric)" if own else "")
        notes = [note for note in answers.table_notes(rows, study, metric) if note not in said]
        said.update(notes)
        content = table(shown, links=trials) + _under(notes)
        parts.append(f"<h3>{text(title)}</h3>\n{content}" if own or len(shown) <= LONG else _folded(title, content))
        if len(best := tables.best_of_nuisance(rows, study, metric)):
            title = f"{metric}, each setting at its best {' and '.join(tables.factors_by_role(study)[1])}"
            content = table(tables.readable(best), links=of_settings) + _under([answers.nuisance_line(rows, study)])
            parts.append(f"<h3>{text(title)}</h3>\n{content}")
        parts += _factors(rows, study, metric)
    return "\n".join([*parts, _under([" ".join(answers.terms(rows)), LINKED])])


LINKED = "The name of an arm leads to its trials at the end of the page: their scores, MLflow runs and folders."


def trials_of(study: Study) -> dict[str, str]:
    """Arm -> the anchor of its rows among the trials."""
    return {arm: f"trials-of-arm-{index}" for index, arm in enumerate(study["arms"])}


def _factors(rows: pd.DataFrame, study: Study, metric: str) -> list[str]:
    """Shares of variance and marginal means of crossed factors, folded for all but the study's metric."""
    effects = factorial.effects_table(rows, study, metric)
    if effects.empty:
        return []
    levels = factorial.levels_table(rows, study, metric)
    tables_of = table(factorial.readable_effects(effects)) + table(factorial.readable_levels(levels))
    if metric == study["metric"]:
        arms_of = table(factorial.arms_of_levels(rows, study), links=trials_of(study))
        tables_of += _folded("the arms behind each marginal mean", arms_of)
        return [f"<h3>{text(metric)}, factor by factor</h3>\n{tables_of}{_under(factorial.notes(study))}"]
    return [_folded(f"{metric}, factor by factor", tables_of)]


def _sheets(rows: pd.DataFrame, study: Study) -> str:
    """Every score of every list; nothing before the first trial is complete."""
    sheets = score_sheet.readable(score_sheet.table(rows, study))
    if not sheets:
        return ""
    shown = "".join(table(sheet, links=trials_of(study)) for sheet in sheets)
    return shown + _under(score_sheet.notes(rows, study))


def _classes(rows: pd.DataFrame, study: Study) -> str:
    """Recall of every label, one folded table a list; nothing where no trial has kept its classes."""
    scores = class_scores.table(rows, study)
    if scores.empty:
        return ""
    sheets = class_scores.readable(scores, study)
    anchors = trials_of(study)
    heads = {class_scores.head(arm, scores): anchors[arm] for arm in scores["arm"].unique()}
    folded = (_folded(f"{name}, {len(sheet)} labels", table(sheet, heads=heads)) for name, sheet in sheets.items())
    return "".join(folded) + _under([class_scores.note(scores, study)])


def _under(lines: Iterable[str]) -> str:
    return "".join(f'<p class="under">{text(line)}</p>' for line in lines)


def _search(rows: pd.DataFrame, study: Study) -> str:
    """The search's own section; nothing for a study without one."""
    searched = search_table.table(study)
    if searched.empty:
        return ""
    shown = search_table.readable(searched, study)
    shown["folder"] = [f"trials/{trial['trial_key']}" for trial in study["search"]["trials"]]
    return f"{_list(search_table.lines(rows, study))}{table(shown, code=('folder',))}"


def _figures(drawn: Sequence[Drawn]) -> str:
    parts = []
    for place, title in PLACES.items():
        of_place = [_figure(figure) for figure in drawn if figure.place == place]
        parts += [f'<p class="place">{text(title)}</p>\n', *of_place] if of_place else []
    return "".join(parts)


def _figure(drawn: Drawn) -> str:
    image = ""
    if drawn.png is not None:
        data = base64.b64encode(drawn.png.read_bytes()).decode("ascii")
        image = f'<img alt="{text(drawn.title)}" src="data:image/png;base64,{data}">\n'
    return (
        f'<figure id="figure-{text(drawn.name)}">\n<h3>{text(drawn.title)}</h3>\n{image}'
        f"<figcaption><b>Parsing the plot above:</b> {text(drawn.caption)}</figcaption>\n</figure>\n"
    )


def _protocol(rows: pd.DataFrame, study: Study) -> str:
    return _list(answers.protocol(rows, study))


def _list(lines: Iterable[str]) -> str:
    return f'<ul class="protocol">{"".join(f"<li>{text(line)}</li>" for line in lines)}</ul>'


def _setting(study: Study) -> str:
    """Every field of the baseline: what the arms have in common."""
    fields = pd.DataFrame(list((study.get("baseline") or {}).items()), columns=["field", "baseline"])
    return f"<details><summary>All {len(fields)} fields of the baseline</summary>\n{table(fields)}</details>"


def _environment(rows: pd.DataFrame) -> str:
    """Each entry of environment.json once, with the number of trials where they disagree."""
    seen: dict[str, dict[str, int]] = {}
    for folder in rows["folder"]:
        path = Path(folder) / "environment.json"
        for name, value in (read_json(path) if path.is_file() else {}).items():
            values = seen.setdefault(str(name), {})
            values[str(value)] = values.get(str(value), 0) + 1
    if not seen:
        return "<p>No trial has recorded its environment yet.</p>"
    lines = [
        {"": name, "recorded": " | ".join(v if len(values) == 1 else f"{v} ({n} trials)" for v, n in values.items())}
        for name, values in seen.items()
    ]
    return table(pd.DataFrame(lines))


def _trials(rows: pd.DataFrame, study: Study) -> str:
    """Every trial of the plan, arm by arm: where it lies, its run, its scores, or how it failed."""
    metrics = [metric for metric in tables.metrics(rows, study) if metric in rows]
    listed = rows[["arm", "seed", "state"]].copy()
    for metric in metrics:
        listed[metric] = [tables.decimal(score) for score in rows[metric].astype(float)]
    listed["MLflow run"] = rows["run_id"].replace("", "-")
    listed["folder"], listed["training"] = "trials/" + rows["trial_key"], rows["train_key"]
    if (rows["state"] == "failed").any():
        failed = zip(rows["state"], rows["folder"], strict=True)
        listed["note"] = [_last_words(Path(folder)) if state == "failed" else "" for state, folder in failed]
    anchors = trials_of(study)
    order = {arm: index for index, arm in enumerate(anchors)}
    listed = listed.sort_values(
        ["arm", "seed"], key=lambda column: column.map(order) if column.name == "arm" else column
    )
    where = f"Runs are those of the MLflow experiment {study['study_id']}; folders lie in the record."
    return table(listed, code=("MLflow run", "folder", "training"), groups=anchors) + _under([where])


def _last_words(folder: Path) -> str:
    """The last line of a failed trial's traceback."""
    lines = (layout.failed_folder(folder) / "traceback.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def table(
    shown: pd.DataFrame,
    code: Iterable[str] = (),
    links: Mapping[str, str] | None = None,
    groups: Mapping[str, str] | None = None,
    heads: Mapping[str, str] | None = None,
) -> str:
    """`shown` with the columns `code` in a typewriter's letters.

    `links`: arm -> the anchor that its name leads to, in the column `arm` and in a tuple of arms; `heads`: the same
    for names of columns. `groups`: arm -> the anchor of its rows, which then lie together
    in `shown`; each row has the anchor of its arm and seed.
    """
    columns = list(map(str, shown.columns))
    marked = [name in set(code) for name in columns]
    arm = columns.index("arm") if "arm" in columns else -1
    links = links or {}
    lines: dict[str, list[str]] = {}
    for row in shown.to_numpy():
        cells = [_cell(value, mark, links) for value, mark in zip(row, marked, strict=True)]
        name = str(row[arm])
        if arm >= 0 and name in links:
            cells[arm] = f"<td>{_link(name, links)}</td>"
        own = f' id="{groups[name]}-seed-{text(row[columns.index("seed")])}"' if groups else ""
        lines.setdefault(name if groups else "", []).append(f"<tr{own}>{''.join(cells)}</tr>\n")
    head = "".join(f"<th>{_link(name, heads or {})}</th>" for name in columns)
    anchors = {name: f' id="{groups[name]}"' if groups else "" for name in lines}
    bodies = "".join(f"<tbody{anchors[name]}>\n{''.join(of_group)}</tbody>\n" for name, of_group in lines.items())
    return f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n{bodies}</table></div>\n'


def _link(name: str, anchors: Mapping[str, str]) -> str:
    return f'<a href="#{anchors[name]}">{text(name)}</a>' if name in anchors else text(name)


def _cell(value: object, mark: bool, links: Mapping[str, str]) -> str:
    if isinstance(value, tuple):
        return f'<td class="long">{", ".join(_link(name, links) for name in value)}</td>'
    shown = f"<code>{text(value)}</code>" if mark else text(value)
    return f'<td class="long">{shown}</td>' if len(str(value)) > WIDE and not mark else f"<td>{shown}</td>"
