"""The report of each kind of study, and of many trials; the index of a record."""

from __future__ import annotations

import json
import re
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import synthetic_record
from report_page import GENERAL, HOSTILE, Page, run

from analysis import figures, report
from analysis.results import Results
from study.record import reader

# Study -> its own figures, its own tables, and what its page must say.
PAGES: dict[str, tuple[Any, set[str], set[str], tuple[str, ...]]] = {
    "guidance": (
        synthetic_record.guidance,
        {"accuracy_by_guidance", "frontier", "heat_map", "importance"},
        {
            f"accuracy_{name}_{kind}"
            for name in ("validation", "test", "new_test", "unseen")
            for kind in ("best", "factors", "levels", "contrasts")
            if (name, kind) != ("validation", "best")  # the list of choice has no table of the best
        },
        (
            "accuracy/test, each setting at its best guidance_scale",
            "Each drop_probability has its best guidance_scale of 4, chosen on accuracy/validation",
            "Unequal compute across the arms: network evaluations per image from 500 (",
            "with each drop_probability at its best guidance_scale",
            "accuracy/validation, factor by factor",
            "drop_probability x guidance_scale",
            "each effect against its own interaction with the seed",
        ),
    ),
    "samplers": (
        synthetic_record.samplers,
        {"accuracy_by_cost"},
        {f"accuracy_{name}_contrasts" for name in ("validation", "test", "new_test", "unseen")},
        (
            "evaluations per image",
            "sampling s: seconds as measured, whatever else ran on the machine.",
            "network evaluations per image from 5 (sampler=ddpm(steps=5)) to 100 (",
        ),
    ),
    "ladder": (
        synthetic_record.ladder,
        {"ladder_steps"},
        set(),
        (
            "1 of 3 steps helped: + cosine by 0.100",
            "Training FLOPs of all arms agree within 10 %.",
            "start: The schedule ends at sqrt(alpha_bar_T) = 0.080 > 0.05",
            "signal at T",
            "Holm-corrected over the family, each arm with its own reference",
            "Family: the 3 comparisons on accuracy/validation.",
        ),
    ),
    "search": (
        synthetic_record.search,
        {"importance", "search_history", "search_parallel", "search_slices"},
        {"search", "finalists", "importance"},
        (
            "24 of 24 search trials are done",
            "pruned at images",
            "lr 0.79 (0.60, 0.75), schedule 0.21 (0.40, 0.55)",
            "A trial stops when its",
            "accuracy/unseen (the study's metric)",
            "seed 0 (searched)",
        ),
    ),
    "reports": (
        synthetic_record.reports,
        set(),
        set(),
        (
            "-0.015, inside the noise of one evaluation (±0.138)",
            "predicted [95 %]",
            "R1 T=500, R2: The schedule ends at",
            "for the m objects of the list",
        ),
    ),
}


def test_every_study_and_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two scales of one study, and one that is damaged; then the same record in another place."""
    monkeypatch.setattr(figures, "NAMES", ("accuracy_by_arm", "same_noise_grids"))
    record = synthetic_record.make(tmp_path / "here")
    synthetic_record.make(
        record, study_id="schedules-laptop", scale="laptop", question=HOSTILE, seeds=(0, 1, 5), missing=[("cosine", 5)]
    )
    (record / "studies" / "broken").mkdir()
    (record / "studies" / "broken" / "study.json").write_text("{")
    assert report.main(["--record", str(record), "--all"]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"Index: {record / 'studies' / 'index.html'}\n"
    assert captured.err.startswith("report: broken has no report: ")
    assert len(captured.err.splitlines()) == 1
    moved = tmp_path / "there"
    shutil.move(record, moved)
    index = Page((moved / "studies" / "index.html").read_text())
    assert not index.events
    assert set(index.links) == {"schedules-laptop/report/index.html", "schedules-smoke/report/index.html"}
    assert all((moved / "studies" / link).is_file() for link in index.links)
    assert index.tags.count("img") == 2
    for words in (
        synthetic_record.QUESTION,
        HOSTILE,
        "laptop",
        "8 of 9",
        "9 of 9",
        "squaredcos_cap_v2 is better by 0.220",
    ):
        assert words in index.text, words
    shutil.rmtree(moved / "studies" / "broken")
    assert report.main(["--record", str(moved), "--all", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "schedules-smoke" / "tables" / "trials.csv").is_file()
    page = Page((tmp_path / "out" / "schedules-laptop" / "index.html").read_text())
    assert page.tags.count("img") == 2
    assert (
        "not recorded" not in (tmp_path / "out" / "schedules-laptop" / "figures" / "same_noise_grids.csv").read_text()
    )


def cpu_seconds(record: Path) -> float:
    """CPU time of a report's process: the clock's would be that of whatever else the machine does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run("--record", record)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.long
def test_two_hundred_trials_take_a_few_times_as_long_as_nine(tmp_path: Path) -> None:
    """Not 20 times: most of a report is its figures, whose number does not grow."""
    record = synthetic_record.many(tmp_path / "many", arms=20, seeds=10)
    assert cpu_seconds(record) < 6 * cpu_seconds(synthetic_record.make(tmp_path / "nine"))
    source = (record / "studies" / "many-smoke" / "report" / "index.html").read_text()
    assert "not drawn" not in source
    assert source.count('<tr id="trials-of-arm-') == 200


@pytest.mark.parametrize("name", PAGES)
def test_the_report_of_each_kind_of_study(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker, own_figures, own_tables, words = PAGES[name]
    special = tuple(sorted(set(figures.NAMES) - GENERAL))
    monkeypatch.setattr(figures, "NAMES", special)  # the others are drawn for every kind in test_figures
    record = maker(tmp_path)
    index = report.build(reader.latest(record), record)
    page = Page(index.read_text(encoding="utf-8"))
    assert "not drawn" not in page.text
    assert {path.stem for path in (index.parent / "figures").glob("*")} == own_figures
    assert page.tags.count("img") == len(own_figures)
    lists = {f"accuracy_{name}" for name in ("validation", "test", "new_test", "unseen")}
    judged = "unseen" if name == "search" else "validation"
    always = lists | {"score_sheet", "classes", "trials", f"accuracy_{judged}_sensitivity"}
    assert {path.stem for path in (index.parent / "tables").iterdir()} == always | own_tables
    for path in (index.parent / "tables").glob("*.md"):
        assert "- Checkpoint rule: last step" in path.read_text(), path.name
    assert ("factor by factor" in page.text) == (name == "guidance")
    for words_of_all in ("Score sheet", "spurious", "real images: the evaluator's own accuracy", "x0 error/snr -4 -2"):
        assert words_of_all in page.text
    for word in words:
        assert word in page.text
    assert ("search" in page.ids) == (name == "search")


def test_a_pruned_trial_of_a_search_cannot_inject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters are strings of whoever wrote the search space."""
    monkeypatch.setattr(figures, "NAMES", ("search_history",))
    record = synthetic_record.search(tmp_path, trials=9)
    path = record / "studies" / "search-smoke" / "study.json"
    value = json.loads(path.read_text())
    value["search"]["trials"][0]["params"] = {HOSTILE: HOSTILE}
    value["notes"] = [HOSTILE]
    path.write_text(json.dumps(value))
    page = Page(report.build("search", record).read_text())
    assert not page.events
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 3


def test_the_answer_names_the_sizes_of_the_effects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = synthetic_record.guidance(tmp_path)
    report.print_answer(report.answer_of(Results.open("dropout", record)))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Effect sizes in accuracy")]
    assert len(lines) == 1
    assert re.search(r"drop_probability 0\.999 \[0\.99.*guidance_scale 0\.996 \[0\.94", lines[0])


def test_a_page_of_one_training_per_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "NAMES", ())
    page = Page(report.build("schedules", synthetic_record.make(tmp_path, seeds=[0])).read_text())
    assert "the table compares one training with another" in page.text
    assert "one training per arm: no interval over seeds, p " in page.text
    assert "p Holm" not in page.text
