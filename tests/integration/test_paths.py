"""A record whose path has what a URL gives a meaning to: both databases and all artifacts are in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from launch import ROOT, UNDRAWN
from test_own_experiment import copied, line

from analysis.pages import index as index_page
from analysis.results import Results
from study.record import layout, mlflow_index, optuna_store, reader, sqlite

NAMES = ("a?b", "100%20", "a%3Fb", "a#b", "ü 日本", "a?mode=ro", "a{0}b", "a@b:c", "a+b;c&d=e")


@pytest.mark.slow
def test_a_study_keeps_everything_in_the_folder_that_was_named(tmp_path):
    study, place = copied(tmp_path / "own"), tmp_path / "here"
    record = place / "is it 100%20 or %3F? #1 {0} ü"
    program = line(study, record, "--scale", "smoke")
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, env=UNDRAWN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in place.iterdir()] == [record.name]
    assert {"mlflow.db", "optuna.db"} <= {path.name for path in record.iterdir()}
    found = reader.load_study("my_study", record)
    indexed = mlflow_index.MlflowIndex(record, found.study_id, "?")
    assert len(indexed.indexed()) == len(found.trials) == 3
    for run_id in indexed.indexed().values():
        assert "result.json" in {item.path for item in indexed.client.list_artifacts(run_id)}
    program = [sys.executable, "-m", "study.doctor", "--record", str(record)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, env=UNDRAWN)
    assert (done.returncode, done.stdout) == (0, f"{record}: nothing is wrong\n"), done.stderr
    assert [path.name for path in place.iterdir()] == [record.name]


@pytest.mark.parametrize("name", NAMES)
def test_optuna_writes_where_the_record_is(tmp_path, name):
    record = tmp_path / name
    record.mkdir()
    study = optuna_store.OptunaStudy(record, "study", "?", "accuracy")
    study.add({}, {}, {"trial_key": "0" * 12}, "complete", 0.5)
    assert [row.value for row in optuna_store.rows(record, "study")] == [0.5]
    assert layout.optuna_database(record).is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_database_has_the_address_of_its_own_path(tmp_path, name):
    """The driver is named: MLflow would make the folder of a plain sqlite:/// under the name that is in the URL."""
    from sqlalchemy import make_url

    url = sqlite.url(tmp_path / name / "mlflow.db")
    assert make_url(url).database == str(tmp_path / name / "mlflow.db")
    assert make_url(url).query == {}
    assert not url.startswith("sqlite:///")


@pytest.mark.parametrize("name", NAMES)
def test_the_index_of_reports_leads_to_them(miniature_record, tmp_path, name):
    page = tmp_path / name / "index.html"
    page.parent.mkdir()
    page.write_text("")
    written = index_page.render([index_page.entry(Results.open("schedules", miniature_record), page)], tmp_path)
    address = written.partition('<a href="')[2].partition('"')[0].replace("&amp;", "&")
    assert Path(unquote(urlsplit(address).path)) == Path(name) / "index.html"
