"""The page of a report: one HTML file that loads nothing, with every text of the record escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import answers, factorial, score_sheet, search_table, tables
from runners.files import read_json
from study import record as reader

Study = Mapping[str, Any]

# Nothing may be loaded or run, whatever a name in the record says: images are data, there is no script.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1c1c1c; background: #fff;
       max-width: 68rem; margin: 2.5rem auto 4rem; padding: 0 1.25rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: .25rem 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid #ddd; }
h3 { font-size: 1rem; margin: 1.75rem 0 .4rem; }
.kicker { color: #666; font-size: .85rem; margin: 0; }
.answer { border-left: 4px solid #0072b2; background: #f3f8fb; padding: .8rem 1rem; margin: 1rem 0; }
.note { border-left: 4px solid #e69f00; background: #fdf7ea; padding: .6rem 1rem; margin: .75rem 0; font-size: .92rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th { text-align: left; font-weight: 600; border-top: 1.5px solid #333; border-bottom: 1px solid #333; }
th, td { padding: .25rem .8rem .25rem 0; vertical-align: top; }
th, td { white-space: nowrap; }
td:last-child { white-space: normal; padding-right: 0; min-width: 11rem; }
tr:last-child td { border-bottom: 1.5px solid #333; }
figure { margin: 0 0 1.5rem; }
figure img { max-width: 100%; height: auto; display: block; margin: .25rem 0 .5rem; }
figcaption, .protocol { font-size: .9rem; }
.under { font-size: .82rem; color: #666; margin: .2rem 0; }
.protocol li { margin: .2rem 0; }
details { margin: .75rem 0; }
summary { cursor: pointer; font-size: .9rem; color: #0b5c8c; }
code { font: .85em ui-monospace, "DejaVu Sans Mono", monospace; }
@media print { body { max-width: none; margin: 0; } details > * { display: block; } figure { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Drawn:
    """A figure as the page needs it; `png` is None when it could not be drawn, and `caption` says why."""

    name: str
    title: str
    caption: str
    png: Path | None
    place: str  # one of figures.PLACES


def render(rows: pd.DataFrame, study: Study, drawn: Sequence[Drawn]) -> str:
    """The whole page."""
    parts = [
        _head(study),
        _opening(rows, study),
        _section("Results", _results(rows, study)),
        _sheets(rows, study),
        _search(rows, study),
        _section("Figures", "".join(_figure(figure) for figure in drawn)),
        _section("Protocol", _protocol(rows, study)),
        _section("Setting", _setting(study)),
        _section("Environment", _environment(rows)),
        _section("Trials", _trials(rows, study)),
    ]
    return "\n".join(parts) + "\n</body>\n</html>\n"


def text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _head(study: Study) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(study['study_id'])}: {text(study['question'])}</title>\n<style>{CSS}</style>\n</head>\n<body>"
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
        + "".join(f'<p class="note">{text(note)}</p>\n' for note in notes)
        + _table(tables.factor_rows(study))
        + f"<p>Run and resumed with <code>{text(study.get('command', '-'))}</code></p>"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{text(title)}</h2>\n{content}"


def _results(rows: pd.DataFrame, study: Study) -> str:
    parts = []
    for metric in tables.metrics(rows, study):
        shown = tables.readable(tables.summary(rows, study, metric), study, metric)
        notes = [*answers.table_notes(rows, study, metric), " ".join(answers.terms(rows))]
        role = " (the study's metric)" if metric == study["metric"] else ""
        parts.append(f"<h3>{text(metric)}{role}</h3>\n{_table(shown)}{_under(notes)}")
        if len(best := tables.best_of_nuisance(rows, study, metric)):
            title = f"{metric}, each setting at its best {' and '.join(tables.factors_by_role(study)[1])}"
            note = answers.nuisance_line(rows, study)
            parts.append(f"<h3>{text(title)}</h3>\n{_table(tables.readable(best))}{_under([note])}")
        parts += _factors(rows, study, metric)
    return "\n".join(parts)


def _factors(rows: pd.DataFrame, study: Study, metric: str) -> list[str]:
    """Shares of variance and marginal means of crossed factors, folded for all but the study's metric."""
    effects = factorial.effects_table(rows, study, metric)
    if effects.empty:
        return []
    levels = factorial.levels_table(rows, study, metric)
    tables_of = _table(factorial.readable_effects(effects)) + _table(factorial.readable_levels(levels))
    if metric == study["metric"]:
        return [f"<h3>{text(metric)}, factor by factor</h3>\n{tables_of}{_under(factorial.notes(study))}"]
    return [f"<details><summary>{text(metric)}, factor by factor</summary>\n{tables_of}</details>"]


def _sheets(rows: pd.DataFrame, study: Study) -> str:
    """Every score of every list; nothing before the first trial is complete."""
    sheets = score_sheet.readable(score_sheet.table(rows, study))
    if not sheets:
        return ""
    shown = "".join(_table(sheet) for sheet in sheets)
    return _section("Score sheet", shown + _under(score_sheet.notes(rows, study)))


def _under(lines: Iterable[str]) -> str:
    return "".join(f'<p class="under">{text(line)}</p>' for line in lines)


def _search(rows: pd.DataFrame, study: Study) -> str:
    """The search's own section; nothing for a study without one."""
    searched = search_table.table(study)
    if searched.empty:
        return ""
    shown = _table(search_table.readable(searched, study))
    return _section("Search", f"{_list(search_table.lines(rows, study))}{shown}")


def _figure(drawn: Drawn) -> str:
    image = ""
    if drawn.png is not None:
        data = base64.b64encode(drawn.png.read_bytes()).decode("ascii")
        image = f'<img alt="{text(drawn.title)}" src="data:image/png;base64,{data}">\n'
    return (
        f"<figure>\n<h3>{text(drawn.title)}</h3>\n{image}"
        f"<figcaption><b>Parsing the plot above:</b> {text(drawn.caption)}</figcaption>\n</figure>\n"
    )


def _protocol(rows: pd.DataFrame, study: Study) -> str:
    return _list(answers.protocol(rows, study))


def _list(lines: Iterable[str]) -> str:
    return f'<ul class="protocol">{"".join(f"<li>{text(line)}</li>" for line in lines)}</ul>'


def _setting(study: Study) -> str:
    """Every field of the baseline: what the arms have in common."""
    fields = pd.DataFrame(list((study.get("baseline") or {}).items()), columns=["field", "baseline"])
    return f"<details><summary>All {len(fields)} fields of the baseline</summary>\n{_table(fields)}</details>"


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
    return _table(pd.DataFrame(lines))


def _trials(rows: pd.DataFrame, study: Study) -> str:
    """Every trial of the plan: where it lies, its run, its score, or how it failed."""
    run_ids = {trial["trial_key"]: trial.get("run_id", "") for trial in study["trials"]}
    scores = pd.Series(rows.get(study["metric"], float("nan")), index=rows.index, dtype=float)
    listed = [
        {
            "arm": row["arm"],
            "seed": row["seed"],
            "state": row["state"],
            study["metric"]: "-" if score != score else f"{score:.3f}",
            "folder": f"trials/{row['trial_key']}",
            "training": row["train_key"],
            "run": run_ids.get(row["trial_key"]) or "-",
            "note": _last_words(Path(row["folder"])) if row["state"] == "failed" else "",
        }
        for score, (_, row) in zip(scores.tolist(), rows.iterrows(), strict=True)
    ]
    shown = pd.DataFrame(listed)
    if not (shown["note"] != "").any():
        shown = shown.drop(columns="note")
    return _table(shown, code=("folder", "training", "run"))


def _last_words(folder: Path) -> str:
    """The last line of a failed trial's traceback."""
    lines = (reader.failed_folder(folder) / "traceback.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _table(shown: pd.DataFrame, code: Iterable[str] = ()) -> str:
    marked = [name in set(code) for name in shown.columns]
    head = "".join(f"<th>{text(name)}</th>" for name in shown.columns)
    body = "".join(
        "<tr>" + "".join(_cell(value, mark) for value, mark in zip(row, marked, strict=True)) + "</tr>\n"
        for row in shown.to_numpy()
    )
    return f'<div class="scroll"><table>\n<tr>{head}</tr>\n{body}</table></div>\n'


def _cell(value: object, mark: bool) -> str:
    return f"<td><code>{text(value)}</code></td>" if mark else f"<td>{text(value)}</td>"
