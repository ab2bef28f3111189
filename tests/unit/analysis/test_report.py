"""The report as a command: what it writes, what it refuses, and what it must never load or execute."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic_record
from report_page import GENERAL, HOSTILE, SCRIPT, Page, run

from analysis import figures, report
from analysis.results import Results
from study.record import reader


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report built by the real command, with the imports blocked, of a hostile study with an incomplete arm."""
    root = tmp_path_factory.mktemp("hostile")
    trials = {"missing": [("cosine", 1)], "failed": [("cosine", 2)]}
    synthetic_record.make(root / "record", question=HOSTILE, command=HOSTILE, scale=HOSTILE, **trials)
    done = run("--record", root / "record", "--out", root / "out", blocked=True)
    assert done.returncode == 0, done.stderr
    assert "squaredcos_cap_v2 is better by 0.220 [0.112, 0.328]" in done.stdout
    assert str(root / "out" / "index.html") in done.stdout
    return root / "out"


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page((out / "index.html").read_text(encoding="utf-8"))


def test_every_table_and_figure_is_written(out: Path) -> None:
    written = {path.name for path in (out / "tables").iterdir()}
    lists = [f"accuracy_{name}" for name in ("validation", "test", "new_test", "unseen")]
    names = [*lists, "accuracy_validation_sensitivity", "score_sheet", "classes"]
    assert written == {f"{name}.{kind}" for name in names for kind in ("csv", "md", "tex")} | {"trials.csv"}
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.{kind}" for name in GENERAL for kind in ("png", "pdf", "csv")
    }
    assert "incomplete 1/3 seeds (1 failed, 1 missing)" in (out / "tables" / "accuracy_test.csv").read_text()
    for path in sorted((out / "tables").glob("*.md")) + sorted((out / "tables").glob("*.tex")):
        text = path.read_text()
        for words in (
            "training run, n = 3 seeds per arm",
            "Checkpoint rule: last",
            "Sampler: ddpm",
            "s = 1 is",
            "Evaluator: surrogate",
        ):
            assert words in text, (path.name, words)


def test_a_table_that_the_report_has_no_longer_goes(tmp_path: Path) -> None:
    """One that an earlier version wrote would be read as a result of this one."""
    results = Results.open("schedules-smoke", synthetic_record.make(tmp_path))
    (tmp_path / "tables").mkdir()
    for name in ("accuracy_validation_best.csv", "finalists.md", "mine.csv"):
        (tmp_path / "tables" / name).write_text("old")
    report.write_tables(results, tmp_path / "tables")
    written = {path.name for path in (tmp_path / "tables").iterdir()}
    assert {"accuracy_validation.csv", "mine.csv"} <= written
    assert not {"accuracy_validation_best.csv", "finalists.md"} & written


def test_the_page_has_every_part(page: Page) -> None:
    for words in (
        "Results",
        "Figures",
        "Statistical protocol",
        "Setting",
        "Environment",
        "Trials",
        "accuracy/unseen",
        "2.13.0",
    ):
        assert words in page.text
    assert page.text.count("How to read this figure:") == len(GENERAL)
    assert page.tags.count("img") == len(GENERAL)
    assert "Preliminary results: 2 of 9 trials are not complete (1 failed and 1 missing)" in page.text
    assert "ValueError: lost <GPU>" in page.text
    assert len(re.findall(r"trials/[0-9a-f]{12}", page.text)) == 9
    assert len(re.findall(r"run[0-9a-f]{12}", page.text)) == 9


def test_the_page_loads_nothing(page: Page, out: Path) -> None:
    assert page.loads, "no image was found: the parser would see no foreign one either"
    assert all(address.startswith("data:image/png;base64,") for address in page.loads)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    source = (out / "index.html").read_text()
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(set(page.ids)) == len(page.ids)
    assert "url(" not in source
    assert "@import" not in source
    assert "default-src 'none'" in source


def test_an_arm_leads_to_its_runs_and_folders(out: Path) -> None:
    source = (out / "index.html").read_text()
    study = json.loads((out.parent / "record" / "studies" / "schedules-smoke" / "study.json").read_text())
    for arm in study["arms"]:
        (anchor,) = set(re.findall(rf'<td[^>]*><a href="#([^"]+)">{arm}</a></td>', source))
        (rows,) = re.findall(rf'<tbody id="{anchor}">(.*?)</tbody>', source, re.DOTALL)
        trials = [trial for trial in study["trials"] if trial["arm"] == arm]
        assert rows.count("<tr ") == len(trials) == 3
        for trial in trials:
            assert f"<code>{trial['run_id']}</code></td><td><code>trials/{trial['trial_key']}</code>" in rows


def test_a_marginal_mean_and_a_class_lead_to_their_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "NAMES", ())
    source = report.build("dropout", synthetic_record.guidance(tmp_path)).read_text()
    anchors = dict(re.findall(r'<td[^>]*><a href="#(trials-of-arm-\d+)">([^<]+)</a></td>', source))
    (levels,) = re.findall(r"The arms behind each marginal mean</summary>(.*?)</details>", source, re.DOTALL)
    lines = re.findall(r"<td[^>]*>(\w+)</td><td>([\d.]+)</td><td[^>]*>(.*?)</td></tr>", levels)
    assert len(lines) == 3 + 4
    for factor, level, arms in lines:
        led = dict(re.findall(r'<a href="#([^"]+)">([^<]+)</a>', arms))
        assert led == {anchor: arm for anchor, arm in anchors.items() if f"{factor}={level}" in arm.split()}
    heads = re.findall(r'<th[^>]*><a href="#([^"]+)">(.+?) \(n = \d\)</a></th>', source)
    assert heads
    assert all(anchors[anchor] == arm for anchor, arm in heads)


def test_the_data_of_the_report_is_the_record(out: Path) -> None:
    loaded = reader.load("schedules", out.parent / "record")
    written = pd.read_csv(out / "tables" / "trials.csv", keep_default_na=False, na_values=[""])
    assert list(written.columns) == list(loaded.columns)
    assert written["accuracy/test"].tolist() == pytest.approx(loaded["accuracy/test"].tolist(), nan_ok=True)
    assert written["folder"].tolist() == [f"trials/{key}" for key in loaded["trial_key"]]


def test_what_answers_stands_before_pictures_and_diagnostics(page: Page) -> None:
    drawn = [name.removeprefix("figure-") for name in page.ids if name.startswith("figure-")]
    places = [figures.PLACES.index(figures.place(figures.load(name))) for name in drawn]
    assert places == sorted(places)
    assert drawn[0] == "accuracy_by_arm"
    assert set(places) == {0, 1, 2}
    assert drawn == [name for name in figures.ordered() if name in GENERAL]


def test_hostile_texts_are_shown_and_not_executed(page: Page) -> None:
    assert page.text.count(HOSTILE) >= 3
    assert not page.events


def test_no_path_of_this_machine_is_published(out: Path) -> None:
    for path in [out / "index.html", *out.glob("*/*.csv"), *out.glob("*/*.md"), *out.glob("*/*.tex")]:
        assert str(out.parent) not in path.read_text(), path.name


def test_build_finds_the_study_by_name_and_writes_into_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "NAMES", ())  # they cost seconds, and the command above has drawn them
    index = report.build("schedules", synthetic_record.make(tmp_path))
    assert index == tmp_path / "studies" / "schedules-smoke" / "report" / "index.html"
    assert synthetic_record.QUESTION in Page(index.read_text()).text


def test_a_figure_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "NAMES", ("accuracy_by_arm", "denoising_strips"))
    record = synthetic_record.make(tmp_path)
    for path in record.glob("trials/*/denoising.png"):
        path.write_bytes(b"no image")
    page = Page(report.build("schedules", record).read_text())
    assert page.tags.count("img") == 1
    assert "Denoising, arm by armHow to read this figure: not drawn (" in page.text.replace("\n", "")


def test_an_out_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").write_text("")
    assert report.main(["--record", str(tmp_path), "--out", str(tmp_path / "taken")]) == 2
    assert capsys.readouterr().err == f"report: --out {tmp_path / 'taken'} is a file: write the name of a folder.\n"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (None, "records no study"),
        ("{", "is damaged"),
        ('{"study_id": "schedules-smoke"}', "is damaged"),
        ('{"study_id": "schedules-smoke", "study": "schedules", "launched": "1"}', "question: Field required"),
    ],
)
def test_bad_records_are_refused_in_one_sentence(
    broken: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if broken is not None:
        (tmp_path / "studies" / "schedules-smoke").mkdir(parents=True)
        (tmp_path / "studies" / "schedules-smoke" / "study.json").write_text(broken)
    assert report.main(["--record", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_a_study_id_cannot_leave_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthetic_record.make(tmp_path / "record", study_id="../../outside")
    inside = tmp_path / "record" / "studies" / "x"
    inside.mkdir(parents=True)
    shutil.copy(tmp_path / "outside" / "study.json", inside)
    assert report.main(["--record", str(tmp_path / "record")]) == 2
    assert "not the name of its folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["study.json"]


def test_an_unknown_study_as_a_command(miniature_record: Path) -> None:
    done = run("--study", "schedulse", "--record", miniature_record)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "did you mean" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Prints what --help has imported (a time limit would measure the machine).
HELP = """
import runpy, sys
sys.argv, sys.path[0] = ["report", "--help"], ""
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit:
    print({{"pandas", "matplotlib", "scipy", "numpy", "mlflow"}} & set(sys.modules))
"""


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", HELP.format(script=str(SCRIPT))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    assert done.stdout.startswith("usage: report")
    assert done.stdout.rstrip().endswith("set()")


def test_a_report_is_current_until_the_record_says_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the clocks of the files say: a record that was copied has new ones."""
    monkeypatch.setattr(figures, "NAMES", ())
    record = synthetic_record.make(tmp_path, failed=[("cosine", 2)])

    def current() -> bool:
        return report.is_current(Results.open("schedules", record))

    assert not current()
    page = report.build("schedules", record)
    assert current()
    study_file, *results = (record / "studies/schedules-smoke/study.json", *record.glob("trials/*/result.json"))
    for source in (study_file, *results):
        os.utime(source, (page.stat().st_mtime + 1,) * 2)
    assert current()
    changes = {"question": "Another question?", "accuracy/test": 0.123}
    for source, name in zip((study_file, results[0]), changes, strict=True):
        before = source.read_text()
        source.write_text(json.dumps(json.loads(before) | {name: changes[name]}))
        assert not current(), name
        source.write_text(before)
        assert current()
    results[0].unlink()
    assert not current()


def test_a_report_that_was_cut_short_is_not_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "NAMES", ())
    record = synthetic_record.make(tmp_path)
    report.build("schedules", record)
    with monkeypatch.context() as broken:
        broken.setattr(report, "write_tables", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            report.build("schedules", record)
    assert not report.is_current(Results.open("schedules", record))


def test_the_latest_launch_is_known_whatever_the_clocks_say(tmp_path: Path) -> None:
    """One machine of those that share a record was a year ahead; a study of an earlier version counts no launches."""
    ahead = {"launched": "2027-11-28T00:00:00+00:00"}
    record = synthetic_record.make(tmp_path, seeds=[0], study_id="schedules-laptop", launch=1, **ahead)
    synthetic_record.make(record, seeds=[0], study_id="schedules-gpu", **ahead)
    synthetic_record.make(record, seeds=[0], launch=2)
    assert reader.latest(record) == reader.load_study("schedules", record).study_id == "schedules-smoke"
    assert list(reader.studies(record)) == ["schedules-gpu", "schedules-laptop", "schedules-smoke"]
    assert reader.next_launch(record) == 3
    (record / "studies/schedules-laptop/study.json").write_text("[")
    assert reader.next_launch(record) == 3
