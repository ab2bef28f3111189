"""The report of a study: tables, figures and one page, from the record alone.

    python analysis/report.py                         the latest launched study
    python analysis/report.py --study schedules       the latest launch of that study
    python analysis/report.py --all                   every study, and an index of them

Writes tables/<list>.csv .md .tex, figures/<name>.png .pdf .csv and a self-contained index.html.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.record import layout, reader

if TYPE_CHECKING:
    import pandas as pd

    from analysis.pages.figure_pool import Helper

FIRST = "run `python study/run.py --study schedules` first."
REQUIRED = ("study", "question", "metric", "baseline_arm", "arms", "seeds", "trials")  # fields of study.json


def build(
    study_id: str, record: Path = reader.DEFAULT_RECORD, out: Path | None = None, helpers: Sequence[Helper] = ()
) -> Path:
    """Write the report of a study (id or name) and return its index.html; `helpers` draw figures beside it.

    Raises ValueError for an unknown study, or one whose name is no plain folder name.
    """
    from analysis.pages import figure_pool as drawing
    from analysis.pages import page

    record = Path(record)
    study = load_study(study_id, record)
    out = Path(out) if out else page_of(study, record).parent
    with reader.read_once(), drawing.begun(study, record, out / "figures", helpers) as drawn:
        rows = reader.load(study["study_id"], record)
        write_tables(rows, study, out / "tables")
        index = out / "index.html"
        index.write_text(page.render(rows, study, drawn()), encoding="utf-8")
    return index


def page_of(study: Mapping[str, Any], record: Path) -> Path:
    """index.html of the study's report in the record."""
    return record / "studies" / str(study["study_id"]) / "report" / "index.html"


def is_current(study: Mapping[str, Any], record: Path) -> bool:
    """Whether the report in the record is newer than the plan, the results and the failures that it tells of."""
    page, folders = page_of(study, record), [record / "trials" / trial["trial_key"] for trial in study["trials"]]
    sources = [record / "studies" / str(study["study_id"]) / "study.json"]
    sources += [file for f in folders for file in (f / "result.json", layout.failed_folder(f) / "traceback.txt")]
    times = [file.stat().st_mtime_ns for file in sources if file.is_file()]
    # The page is written last: a report that was cut short has an older one, or none.
    return page.is_file() and page.stat().st_mtime_ns > max(times)


def build_all(
    record: Path = reader.DEFAULT_RECORD, out: Path | None = None, helpers: Sequence[Helper] = ()
) -> tuple[Path, list[str]]:
    """Write the report of every study and <record>/studies/index.html, or <out>/<study id>/ and <out>/index.html.

    Returns the index, and one sentence for each study that cannot be read, which costs no other.
    Raises ValueError for a record without a study that can be read.
    """
    from analysis.pages import index_page

    record, entries, damaged = Path(record), [], []
    folder = Path(out) if out else record / "studies"
    for name in sorted(path.parent.name for path in (record / "studies").glob("*/study.json")):
        try:
            study = load_study(name, record)
            with reader.read_once():
                index = build(name, record, out and folder / name, helpers)
                entries.append(index_page.entry(reader.load(name, record), study, index))
        except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
            damaged.append(f"{name} has no report: {' '.join(str(error).split())}")
    if not entries:
        raise ValueError(damaged[0] if damaged else f"{record} records no study: {FIRST}")
    entries.sort(key=lambda entry: str(entry.study["launched"]), reverse=True)
    index = folder / "index.html"
    index.write_text(index_page.render(entries, folder), encoding="utf-8")
    return index, damaged


def write_tables(rows: pd.DataFrame, study: Mapping[str, Any], folder: Path) -> None:
    """A metric's table in full (CSV) and as it is read (Markdown, LaTeX), with the protocol under it.

    `<metric>_best` is the table of each setting at its best nuisance value, `<metric>_factors` and `_levels` those of
    crossed factors, `score_sheet` all scores of all lists, `classes` those by class, `search` that of the search
    trials. `trials.csv` is the data: one row a trial, every config field, every result.
    """
    from analysis.narrative import answer as answers
    from analysis.tables import classes as class_scores
    from analysis.tables import comparison as tables
    from analysis.tables import factors as factorial
    from analysis.tables import scores as score_sheet
    from analysis.tables import search as search_table

    folder.mkdir(parents=True, exist_ok=True)
    rows.assign(folder="trials/" + rows["trial_key"]).to_csv(folder / "trials.csv", index=False)
    protocol = answers.protocol(rows, study)
    for metric in tables.metrics(rows, study):
        table, best = tables.summary(rows, study, metric), tables.best_of_nuisance(rows, study, metric)
        _write_table(folder / file_stem(metric), table, tables.readable(table, study, metric), protocol)
        if len(best):
            _write_table(folder / f"{file_stem(metric)}_best", best, tables.readable(best), protocol)
        if len(effects := factorial.effects_table(rows, study, metric)):
            levels, lines = factorial.levels_table(rows, study, metric), [*factorial.notes(study), *protocol]
            _write_table(folder / f"{file_stem(metric)}_factors", effects, factorial.readable_effects(effects), lines)
            _write_table(folder / f"{file_stem(metric)}_levels", levels, factorial.readable_levels(levels), lines)
    if sheets := score_sheet.readable(sheet := score_sheet.table(rows, study)):
        _write_table(folder / "score_sheet", sheet, sheets, [*score_sheet.notes(rows, study), *protocol])
    if len(classes := class_scores.table(rows, study)):
        sheets_of = class_scores.readable(classes, study)
        named = [sheet.assign(list=name)[["list", *sheet.columns]] for name, sheet in sheets_of.items()]
        _write_table(folder / "classes", classes, named, [class_scores.note(classes, study), *protocol])
    if len(searched := search_table.table(study)):
        _write_table(folder / "search", searched, search_table.readable(searched, study), protocol)


def _write_table(
    stem: Path, table: pd.DataFrame, shown: pd.DataFrame | Sequence[pd.DataFrame], lines: Sequence[str]
) -> None:
    """`table` as CSV; `shown`, one table or more under each other, with the lines that belong to them."""
    import pandas as pd

    from analysis.tables import format as writing

    parts = [shown] if isinstance(shown, pd.DataFrame) else shown
    under: list[Sequence[str]] = [*[()] * (len(parts) - 1), lines]
    stem.with_suffix(".csv").write_text(table.to_csv(index=False), encoding="utf-8")
    for kind, write in ((".md", writing.markdown), (".tex", writing.latex)):
        texts = [write(part, notes) for part, notes in zip(parts, under, strict=True)]
        stem.with_suffix(kind).write_text("\n".join(texts), encoding="utf-8")


def file_stem(metric: str) -> str:
    """`accuracy/new_test` -> `accuracy_new_test`: letters, digits and underscores only."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in metric)


def load_study(name: str | None, record: Path) -> dict[str, Any]:
    """The named study, or the latest launched.

    Raises ValueError in one sentence when there is none, when study.json is damaged, or when its id is not the name
    of its own folder (the report is written there).
    """
    try:
        if name is None and not (known := list(reader.studies(record).values())):
            raise ValueError(f"{record} records no study: {FIRST}")
        study = known[-1] if name is None else reader.load_study(name, record)
        lacking = [field for field in REQUIRED if not study.get(field)]
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"A study.json in {record / 'studies'} is damaged ({reason}).") from error
    if lacking:
        raise ValueError(f"The study.json of {study['study_id']!r} in {record / 'studies'} lacks {', '.join(lacking)}.")
    folder = str(study["study_id"])
    if Path(folder).name != folder or not (record / "studies" / folder / "study.json").is_file():
        raise ValueError(f"The study id {folder!r} is not the name of its folder in {record / 'studies'}.")
    return study


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Tables, figures and one page of a study, from the record alone.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--study", metavar="NAME", help="a study or a study id (default: the latest launched)")
    which.add_argument("--all", action="store_true", help="every study of the record, and an index of them")
    parser.add_argument("--record", type=Path, default=reader.DEFAULT_RECORD, metavar="DIR", help="default: mlruns")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: <record>/studies/<study id>/report")
    given = parser.parse_args(arguments)
    if given.out is not None and given.out.exists() and not given.out.is_dir():
        print(f"report: --out {given.out} is a file: write the name of a folder.", file=sys.stderr)
        return 2
    from analysis.pages import figure_pool as drawing

    drawing.collect_less_garbage()
    try:
        if given.all:
            with drawing.helping(drawing.spare_cores()) as helpers:
                index, damaged = build_all(given.record, given.out, helpers)
            print(f"Index: {index}")
            print(*(f"report: {sentence}" for sentence in damaged), sep="\n", end="\n" * bool(damaged), file=sys.stderr)
            return 1 if damaged else 0
        study = load_study(given.study, given.record)
        with drawing.helping(drawing.spare_cores()) as helpers:
            index = build(study["study_id"], given.record, given.out, helpers)
    except (ValueError, OSError) as error:
        print(f"report: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    print_answer(study, given.record)
    print(f"\nReport: {index}")
    return 0


def print_answer(study: Mapping[str, Any], record: Path) -> None:
    """The table of the study's metric, the answer, what limits it and what is missing, on the terminal."""
    from analysis.tables import format as writing

    shown, answer, lines = _answer(study, record)
    print("\n\n".join(writing.text(table) for table in shown) + f"\n\n{answer}")
    for line in lines:
        print(line)


def answer_markdown(study: Mapping[str, Any], record: Path) -> str:
    """The same in Markdown, the answer first."""
    from analysis.tables import format as writing

    shown, answer, lines = _answer(study, record)
    notes = [*[()] * (len(shown) - 1), lines]
    tables = [writing.markdown(table, under) for table, under in zip(shown, notes, strict=True)]
    return "\n".join([*map(writing.markdown_text, answer.splitlines()), "", *tables])


def _answer(study: Mapping[str, Any], record: Path) -> tuple[list[pd.DataFrame], str, list[str]]:
    """The tables of the study's metric as they are read, the answer, and the lines under it."""
    from analysis.narrative import answer as answers
    from analysis.narrative import warnings as caveats
    from analysis.tables import comparison as tables
    from analysis.tables import factors as factorial
    from analysis.tables import search as search_table

    rows = reader.load(study["study_id"], record)
    shown = [tables.readable(tables.summary(rows, study, study["metric"]), study, study["metric"])]
    if len(best := tables.best_of_nuisance(rows, study, study["metric"])):
        shown.append(tables.readable(best))
    lines = search_table.lines(rows, study) if study.get("search") else []
    if shares := factorial.line(rows, study):
        lines.append(shares)
    lines += [f"Warning: {line}" for line in caveats.warnings(rows[rows["state"] == "complete"], study)]
    if lacking := answers.missing(rows, study):
        lines.append(lacking)
    return shown, answers.answer(rows, study), lines


if __name__ == "__main__":
    sys.exit(main())
