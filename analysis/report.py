"""The report of a study: tables, figures and one page, from the record alone.

    python analysis/report.py                         the latest launched study
    python analysis/report.py --study schedules       the latest launch of that study
    python analysis/report.py --all                   every study, and an index of them

Writes tables/<list>.csv .md .tex, figures/<name>.png .pdf .csv and a self-contained index.html.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # before analysis/, where Python looks first, and before another copy that is installed
    sys.path[: not sys.flags.safe_path] = [str(Path(__file__).resolve().parent.parent)]

from analysis import freshness
from runners.process import command
from study.record import access, layout, reader
from study.record.layout import DEFAULT_RECORD, given_path

if TYPE_CHECKING:
    import pandas as pd

    from analysis.pages.figure_pool import Pool
    from analysis.results import Results

KINDS = (".csv", ".md", ".tex")  # of tables


# --- the answer ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a study has found: its tables as they are read, one sentence, and what limits it."""

    sentence: str
    tables: tuple[pd.DataFrame, ...]
    findings: tuple[str, ...]  # of a search or of crossed factors, one line each
    warnings: tuple[str, ...]
    missing: str  # "" for a complete study

    @property
    def lines(self) -> list[str]:
        """What stands under the tables."""
        return [*self.findings, *(f"Warning: {line}" for line in self.warnings), *filter(None, [self.missing])]


def answer_of(results: Results) -> Answer:
    from analysis.narrative import answer, search, warnings
    from analysis.narrative.stopping import kind_line
    from analysis.tables import comparison, contrasts, crosstab, factors, nuisance

    metric = results.metric
    shown = [comparison.readable(comparison.summary(results, metric), results, metric)]
    if len(cells := crosstab.table(results, metric)):
        shown.append(crosstab.readable(cells, results))
    if len(found := contrasts.table(results, metric)):
        shown.append(contrasts.readable(found))
    if answering := nuisance.metric_that_answers(results):
        shown.append(nuisance.readable(nuisance.table(results, answering)))
    findings = [*search.lines(results), *filter(None, [factors.line(results)]), kind_line(results)]
    answered, limits = answer.answer(results), warnings.warnings(results)
    return Answer(answered, tuple(shown), tuple(findings), tuple(limits), answer.missing(results))


def print_answer(answer: Answer) -> None:
    """The table of the study's metric, the answer, what limits it and what is missing, on the terminal."""
    from analysis.tables.format import text

    print("\n\n".join([*map(text, answer.tables), answer.sentence]))
    print("".join(f"{line}\n" for line in answer.lines), end="")


def answer_markdown(answer: Answer) -> str:
    """The same in Markdown, the sentence first."""
    from analysis.tables.format import markdown, markdown_text

    notes = [*[()] * (len(answer.tables) - 1), answer.lines]
    tables = [markdown(table, under) for table, under in zip(answer.tables, notes, strict=True)]
    return "\n".join([*map(markdown_text, answer.sentence.splitlines()), "", *tables])


# --- reports -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """A report: its index.html, what it was made of, and its answer."""

    page: Path
    results: Results

    @property
    def answer(self) -> Answer:
        return answer_of(self.results)


def build(study: str, record: Path = DEFAULT_RECORD, out: Path | None = None, pool: Pool | None = None) -> Path:
    """Write the report of a study (id or name) and return its index.html; `pool` draws figures beside this process.

    Raises ValueError for an unknown study, or one that cannot be read.
    """
    from analysis.results import Results

    return _build(Results.open(study, record), out, pool)


def _build(results: Results, out: Path | None = None, pool: Pool | None = None) -> Path:
    from analysis.pages import figure_pool, page

    out = Path(out) if out else page_of(results).parent
    freshness.begin(out)
    with figure_pool.begun(results, out / "figures", pool) as drawn:
        write_tables(results, out / "tables")
        index = out / "index.html"
        index.write_text(page.render(results, drawn()), encoding="utf-8")
    freshness.end(results, out)
    return index


def current(study: str, record: Path) -> Written:
    """The report of a study in its record, written anew unless it says what the record says."""
    from analysis.pages import figure_pool
    from analysis.results import Results

    results = Results.open(study, record)
    if not is_current(results):
        with figure_pool.opened(figure_pool.spare_cores()) as pool:
            _build(results, None, pool)
    return Written(page_of(results), results)


def page_of(results: Results) -> Path:
    """index.html of the study's report in the record."""
    return layout.report_folder(results.record, results.study.study_id) / "index.html"


def is_current(results: Results) -> bool:
    """Whether the page in the record was built from what the record says now."""
    return freshness.is_current(results, page_of(results))


def build_all(
    record: Path = DEFAULT_RECORD, out: Path | None = None, pool: Pool | None = None
) -> tuple[Path, list[str]]:
    """Write the report of every study and <record>/studies/index.html, or <out>/<study id>/ and <out>/index.html.

    Returns the index, and one sentence for each study that cannot be read, which costs no other.
    Raises ValueError for a record without a study that can be read.
    """
    from analysis.pages import index
    from analysis.results import Results

    entries, damaged = [], []
    folder = Path(out) if out else layout.studies_folder(Path(record))
    for name in (path.parent.name for path in layout.study_files(Path(record))):
        try:
            results = Results.open(name, record)
            entries.append(index.entry(results, _build(results, out and folder / name, pool)))
        except (ValueError, OSError) as error:
            damaged.append(f"{name} has no report: {' '.join(str(error).split())}")
    if not entries:
        nothing = f"{record} records no study: run {reader.command('schedules', Path(record))} first."
        raise ValueError((damaged or [nothing])[0])
    entries.sort(key=lambda entry: reader.launch_order(entry.study), reverse=True)
    page = folder / "index.html"
    page.write_text(index.render(entries, folder), encoding="utf-8")
    return page, damaged


# --- tables --------------------------------------------------------------------------------------------


def write_tables(results: Results, folder: Path) -> None:
    """A metric's table in full (CSV) and as it is read (Markdown, LaTeX), with the protocol under it.

    `<metric>_crosstab` has one cell per arm, where a study has rows and columns;
    `<metric>_contrasts` is what is compared beside arms and references, `<metric>_sensitivity` the study's metric seen
    in other ways; `<metric>_best`, of a list that nothing is chosen on, has each setting at its best nuisance value.
    `<metric>_factors` and `_levels` are of crossed factors, `score_sheet` has all scores of all lists, `classes` those
    by class, `search`, `finalists` and `importance` those of a search. `trials.csv` is the data: one row per trial,
    every config field, every result.
    """
    from analysis import recorded_task
    from analysis.narrative.protocol import protocol
    from analysis.narrative.warnings import warnings
    from analysis.tables import classes, scores, search

    folder.mkdir(parents=True, exist_ok=True)
    for stem in _stems(results):  # what the table of an earlier report or version would claim
        for kind in KINDS:
            (folder / f"{stem}{kind}").unlink(missing_ok=True)
    results.rows.assign(folder="trials/" + results.rows["trial_key"]).to_csv(folder / "trials.csv", index=False)
    lines = [*protocol(results), *(f"Warning: {sentence}" for sentence in warnings(results))]
    for metric in results.metrics:
        _write_metric(results, metric, folder, lines)
    if sheets := scores.readable(sheet := scores.table(results), results):
        _write_table(folder / "score_sheet", sheet, sheets, [*scores.notes(results), *lines])
    if len(by_class := classes.table(results)):
        sheets_of = classes.readable(by_class, results)
        named = [sheet.assign(list=name)[["list", *sheet.columns]] for name, sheet in sheets_of.items()]
        renamed = by_class.rename(columns=recorded_task.columns(recorded_task.task_of(results)))
        _write_table(folder / "classes", renamed, named, [classes.note(by_class, results), *lines])
    if len(searched := search.table(results)):
        _write_table(folder / "search", searched, [search.readable(searched, results)], lines)
    if len(again := search.finalists(results)):
        _write_table(folder / "finalists", again, [search.readable_finalists(again, results)], lines)
    if len(weighed := search.importance(results)):
        _write_table(folder / "importance", weighed, [weighed.round(3)], lines)


def _stems(results: Results) -> list[str]:
    """The names of all tables that a report of the study may have."""
    parts = ("", "_crosstab", "_contrasts", "_sensitivity", "_best", "_factors", "_levels")
    of_metrics = [f"{file_stem(metric)}{part}" for metric in results.metrics for part in parts]
    return [*of_metrics, "score_sheet", "classes", "search", "finalists", "importance"]


def _write_metric(results: Results, metric: str, folder: Path, lines: list[str]) -> None:
    """The tables of one metric."""
    from analysis import recorded_task
    from analysis.tables import comparison, contrasts, crosstab, factors, nuisance, sensitivity

    stem, table = file_stem(metric), comparison.summary(results, metric)
    timed = [comparison.SECONDS_NOTE] if comparison.shows_seconds(results, metric) else []
    columns = recorded_task.columns(recorded_task.task_of(results))
    _write_table(
        folder / stem, table.rename(columns=columns), [comparison.readable(table, results, metric)], [*timed, *lines]
    )
    if len(cells := crosstab.table(results, metric)):
        _write_table(
            folder / f"{stem}_crosstab",
            cells,
            [crosstab.readable(cells, results)],
            [crosstab.note(cells, results), *lines],
        )
    if len(found := contrasts.table(results, metric)):
        _write_table(folder / f"{stem}_contrasts", found, [contrasts.readable(found)], lines)
    if metric == results.metric and len(found := sensitivity.table(results)):
        noted = [sensitivity.note(results), *lines]
        _write_table(folder / f"{stem}_sensitivity", found, [sensitivity.readable(found, results)], noted)
    if len(best := nuisance.table(results, metric)):
        _write_table(folder / f"{stem}_best", best.rename(columns=columns), [nuisance.readable(best)], lines)
    if len(effects := factors.effects_table(results, metric)):
        levels, noted = factors.levels_table(results, metric), [*factors.notes(results), *lines]
        _write_table(folder / f"{stem}_factors", effects, [factors.readable_effects(effects)], noted)
        _write_table(folder / f"{stem}_levels", levels, [factors.readable_levels(levels)], noted)


def _write_table(stem: Path, table: pd.DataFrame, shown: list[pd.DataFrame], lines: list[str]) -> None:
    """`table` as CSV; `shown`, one table or more under each other, with the lines that belong to them."""
    from analysis.tables import format as formats

    under: list[list[str]] = [*[[]] * (len(shown) - 1), lines]
    stem.with_suffix(KINDS[0]).write_text(table.to_csv(index=False), encoding="utf-8")
    for kind, write in zip(KINDS[1:], (formats.markdown, formats.latex), strict=True):
        texts = [write(part, notes) for part, notes in zip(shown, under, strict=True)]
        stem.with_suffix(kind).write_text("\n".join(texts), encoding="utf-8")


def file_stem(metric: str) -> str:
    """`accuracy/new_test` -> `accuracy_new_test`: letters, digits and underscores only."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in metric)


# --- the command ---------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Tables, figures and one page of a study, from the record alone.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--study", metavar="NAME", help="a study or a study id (default: the latest launched)")
    which.add_argument("--all", action="store_true", help="every study of the record, and an index of them")
    parser.add_argument("--record", type=given_path, default=DEFAULT_RECORD, metavar="DIR", help="default: mlruns")
    parser.add_argument("--out", type=given_path, metavar="DIR", help="default: <record>/studies/<study id>/report")
    given = parser.parse_args(arguments)
    try:
        layout.require_open(given.record)
        if given.out is not None and given.out.exists() and not given.out.is_dir():
            raise ValueError(f"--out {given.out} is a file: write the name of a folder.")
        return _build_every(given) if given.all else _build_one(given)
    except (ValueError, OSError) as error:
        print(f"report: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _build_every(given: argparse.Namespace) -> int:
    from analysis.pages import figure_pool, unwritten

    unwritten.refuse(given.record, given.out)
    with figure_pool.opened(figure_pool.spare_cores()) as pool:
        index, damaged = build_all(given.record, given.out, pool)
    print(f"Index: {index}")
    for sentence in damaged:
        print(f"report: {sentence}", file=sys.stderr)
    return 1 if damaged else 0


def _build_one(given: argparse.Namespace) -> int:
    from analysis.pages import figure_pool, unwritten
    from analysis.results import Results

    results = Results.open(given.study or reader.latest(given.record), given.record)
    print_answer(answer_of(results))
    if given.out is None and access.closed(page_of(results).parent):
        return unwritten.show(results, page_of(results), is_current(results))
    with figure_pool.opened(figure_pool.spare_cores()) as pool:
        print(f"\nReport: {_build(results, given.out, pool)}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main, locks=False))
