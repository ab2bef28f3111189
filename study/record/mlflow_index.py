"""The MLflow index of a record: experiments, runs and artifacts of its trials. This module alone knows MLflow."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import sqlite3
import time
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin

from runners.config import StagedConfig
from runners.process.files import read_json, read_lines
from study.record import layout, mlflow_tables, sqlite
from study.record.mlflow_tables import displaced as displaced
from study.record.mlflow_tables import relocate as relocate
from study.record.schema import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag

# Telemetry is off for whoever imports MLflow later; it must be set before that import.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # the tables that it makes are no news

# Under `python -OO` it registers no data sets of cloud stores, for want of its own docstrings; none is used here.
warnings.filterwarnings("ignore", "Failed to register a dataset source", UserWarning)

BATCH = 900  # metrics of one call: MLflow takes 1,000 entities, tags among them
TAG_LIMIT = 5000  # characters of a tag that every store of MLflow takes
CURVE = "curve/"  # before MLflow's names of the learning curves: a name without it is a score of the finished trial
NOTE = "mlflow.note.content"  # the tag that the UI shows as description, as Markdown
NOTE_DIGEST = "study.description"  # of the description that was written here: another one is the user's own
CHARTS_FIRST = ("accuracy", f"{CURVE}accuracy", CURVE.rstrip("/"))  # of the sections into which the UI puts charts
RUN_NAME = "attributes.`Run Name`"  # the UI's name of that column
SAVED_VIEW = "mlflow.sharedViewState."  # the tags in which the UI's button "Views" keeps what it saves


def other_version(record: Path) -> str:
    """What is said of an mlflow.db that another version of MLflow has written, or one that was killed while it did; ""
    where the installed one can use it, or there is none."""
    database = layout.mlflow_database(record)
    if not database.is_file() or (found := sqlite.revision(database)) is None:
        return ""
    import mlflow
    from mlflow.store.db.utils import _get_latest_schema_revision

    wanted = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    if found == wanted:
        return ""
    return (
        f"mlflow.db was written by another version of MLflow (its schema is {found or 'unknown'}; MLflow "
        f"{mlflow.__version__} has {wanted})"
    )


class MlflowIndex:
    """Experiments, runs and artifacts of one study in `<record>/mlflow.db`; only the scheduler has one."""

    def __init__(self, record: Path, study_id: str, question: str) -> None:
        from mlflow import MlflowClient

        # What cannot be written is told in one sentence by whoever catches it; MLflow would print pages besides.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        record = record.resolve()
        database = layout.mlflow_database(record)
        self.record, self.study_id, self.question = record, study_id, question
        sqlite.relax()
        self.places: dict[str, str] = {}  # run id -> where its artifacts go, of the trials that were started here
        self.client: MlflowClient = MlflowClient(tracking_uri=sqlite.url(database))
        taken = self.client.get_experiment_by_name(study_id) is not None  # the first call makes the tables
        experiment = mlflow_tables.experiment_of(record, study_id)
        if experiment is None:
            sqlite.write_ahead(database)
            for unused in self.client.search_experiments(filter_string="name = 'Default'"):
                self.client.delete_experiment(unused.experiment_id)
            location = (layout.mlflow_artifacts(record) / study_id).as_uri()
            # Somebody may have given the name of this study to the experiment of another one.
            name = f"{study_id} ({uuid.uuid4().hex[:6]})" if taken else study_id
            self.experiment_id = self.client.create_experiment(name, location)
            self._describe(question)
            # Without its kind the UI takes an experiment for one of language models.
            self.client.set_experiment_tag(self.experiment_id, "mlflow.experimentKind", "custom_model_development")
        else:
            self.experiment_id = experiment.id

    def deleted(self) -> bool:
        """Whether somebody has deleted the experiment in the UI; no run can be added to it then."""
        experiment = mlflow_tables.experiment_of(self.record, self.study_id)
        return experiment is not None and experiment.deleted

    def restore(self) -> None:
        """Take the experiment out of MLflow's trash, with its runs; of a trial that has several the latest stays."""
        self.client.restore_experiment(self.experiment_id)
        for _, *extra in self.finished().values():
            for run_id in extra:
                self.client.delete_run(run_id)

    def tag_again(self, run_ids: Mapping[str, str]) -> int:
        """Give runs that study.json knows (trial_key -> run id) the tag again that somebody has edited; how many."""
        changed = mlflow_tables.changed_keys(self.record, run_ids)
        for run_id, trial_key in changed.items():
            self.client.set_tag(run_id, "trial_key", trial_key)
        return len(changed)

    def _describe(self, text: str) -> None:
        """The experiment's description, unless somebody has written another one in the UI."""
        tags = self.client.get_experiment(self.experiment_id).tags
        before, ours = str(tags.get(NOTE, "")), tags.get(NOTE_DIGEST)
        written_here = before.startswith(self.question) if ours is None else _digest(before) == ours
        if not before or written_here:
            self.client.set_experiment_tag(self.experiment_id, NOTE, text)
            self.client.set_experiment_tag(self.experiment_id, NOTE_DIGEST, _digest(text))

    def repair(self) -> list[str]:
        """Delete the runs that a killed launch left RUNNING (their trials run again); the names of those trials."""
        names = []
        for run in self._runs("attributes.status = 'RUNNING'"):
            if run.data.tags.get("kind") == "trial":
                names.append(str(run.info.run_name))
                self.client.delete_run(run.info.run_id)
            else:
                self.client.set_terminated(run.info.run_id, "KILLED")
        return names

    def indexed(self) -> dict[str, str]:
        """trial_key -> run id of every finished trial."""
        return {key: ids[0] for key, ids in self.finished().items()}

    def finished(self) -> dict[str, list[str]]:
        """trial_key -> ids of its finished runs, the latest first; one, unless something went wrong.

        Asked of the database itself: MLflow's search loads every metric, parameter and tag of every run, which takes
        half a minute for 10,000 trials where this takes a tenth of a second.
        """
        query = (
            "SELECT tags.value, runs.run_uuid FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
            "WHERE runs.experiment_id = ? AND runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active' "
            "AND tags.key = 'trial_key' ORDER BY runs.start_time DESC, runs.run_uuid"
        )
        found: dict[str, list[str]] = {}
        with closing(sqlite3.connect(layout.mlflow_database(self.record))) as connection:
            for trial_key, run_id in connection.execute(query, (self.experiment_id,)):
                found.setdefault(str(trial_key), []).append(str(run_id))
        return found

    def stuck(self) -> list[str]:
        """Ids of the runs that are RUNNING."""
        return [str(run.info.run_id) for run in self._runs("attributes.status = 'RUNNING'")]

    def _runs(self, filter_string: str) -> list[Any]:
        found: list[Any] = []
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment_id], filter_string, page_token=token, max_results=1000)
            found += page
            token = page.token
            if not token:
                return found

    def start_launch(self, name: str, study: Study, tags: Mapping[str, str], files: Mapping[str, str]) -> str:
        """The parent run of a launch; `files` become text artifacts (git diff, installed versions)."""
        self._save_views(study)
        run = self.client.create_run(
            self.experiment_id,
            run_name=name,
            tags={"kind": "launch", NOTE: study.question, **tags},
        )
        try:
            for file, text in files.items():
                self.client.log_text(run.info.run_id, text, file)
        except Exception:  # who calls may try again, with another run
            with contextlib.suppress(Exception):
                self.client.delete_run(run.info.run_id)
            raise
        return str(run.info.run_id)

    def start_trial(self, parent: str | None, name: str, config: StagedConfig, tags: Mapping[str, str]) -> str:
        """A RUNNING run with every config field as a parameter; `parent`: the run of its launch, if it has one."""
        from mlflow.entities import Param

        keys = {"trial_key": config.trial_key, "train_key": config.train_key}
        run = self.client.create_run(
            self.experiment_id,
            run_name=name,
            tags={"kind": "trial", **({"mlflow.parentRunId": parent} if parent else {}), **keys, **tags},
        )
        params = [Param(field, str(value)) for field, value in config.to_dict().items()]
        self.client.log_batch(run.info.run_id, params=params)
        self.places[str(run.info.run_id)] = str(run.info.artifact_uri)
        return str(run.info.run_id)

    def log_lines(self, run_id: str, lines: Iterable[Mapping[str, float]]) -> None:
        """Learning-curve lines as metrics `curve/<name>` whose step is the number of images seen."""
        self._log(run_id, _curve(lines))

    def _log(self, run_id: str, metrics: list[Metric], tags: Sequence[RunTag] = ()) -> None:
        first, *rest = [metrics[start : start + BATCH] for start in range(0, len(metrics), BATCH)] or [[]]
        self.client.log_batch(run_id, metrics=first, tags=tags)
        for part in rest:
            self.client.log_batch(run_id, metrics=part)

    def finish_trial(self, run_id: str, folder: Path, lines: Iterable[Mapping[str, float]] = ()) -> None:
        """Results, environment and files of a complete trial folder, and the last `lines` of its learning curve; the
        run is FINISHED."""
        from mlflow.entities import Metric, RunTag

        result = read_json(folder / "result.json")
        now = int(time.time() * 1000)
        numbers = {name: value for name, value in result.items() if isinstance(value, int | float)}
        # A metric of step 0 alone is a bar in the UI's charts; any other step makes it a line of one point.
        metrics = [Metric(name, _finite(value), now, 0) for name, value in numbers.items()]
        texts = {name: str(value) for name, value in result.items() if isinstance(value, str) and value}
        tags = [RunTag(name, value) for name, value in (texts | read_json(folder / "environment.json")).items()]
        self._log_files(run_id, folder)
        self._log(run_id, [*_curve(lines), *metrics], tags)
        self.client.set_terminated(run_id, "FINISHED")

    def index_trial(self, parent: str, name: str, config: StagedConfig, folder: Path, tags: Mapping[str, str]) -> str:
        """The whole run of a complete trial, from its folder."""
        run_id = self.start_trial(parent, name, config, tags)
        self.finish_trial(run_id, folder, read_lines(folder / "metrics.jsonl"))
        return run_id

    def _log_files(self, run_id: str, folder: Path) -> None:
        """As `client.log_artifacts`, which loads the whole run to learn their place, where that is known."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if place := self.places.pop(run_id, ""):
            get_artifact_repository(place).log_artifacts(str(folder))  # type: ignore[no-untyped-call]
        else:
            self.client.log_artifacts(run_id, str(folder))

    def fail_trial(self, run_id: str, traceback: str, status: str) -> None:
        """`status` says how: failed, diverged, crashed, hung or out of memory."""
        self.client.log_text(run_id, traceback, "traceback.txt")
        self.client.set_tag(run_id, "status", status)
        self.client.set_terminated(run_id, "FAILED")

    def prune_trial(self, run_id: str, images: int) -> None:
        """A trial that the search stopped after `images`: FINISHED would pass for a result, KILLED does not."""
        self.client.set_tag(run_id, "pruned", f"after {images:,} images")
        self.client.set_terminated(run_id, "KILLED")

    def finish_launch(
        self,
        run_id: str,
        status: str,
        report: Path | None = None,
        warnings: Iterable[str] = (),
        answer: str = "",
    ) -> None:
        """Status FINISHED, FAILED or KILLED; the report's folder as artifacts of the parent run, warnings as a tag.

        `answer`, in Markdown, describes the parent run and, under its question, the experiment.
        """
        if answer:
            self.client.set_tag(run_id, NOTE, _shortened(answer))
            self._describe(_shortened(f"{self.question}\n\n{answer}"))
        if report is not None:
            self.client.log_artifacts(run_id, str(report), "report")
        if text := "\n".join(warnings):
            self.client.set_tag(run_id, "warnings", text[:TAG_LIMIT])
        self.client.set_terminated(run_id, status)

    def _save_views(self, study: Study) -> None:
        """Two saved views of the experiment's runs, because the UI's own choice of columns has no number in it.

        `trials`: every trial, best first, with what differs and its scores; charts of the scores, then the learning
        curves, then the rest. `arms`: the same with the means of each arm's seeds. The words are those of MLflow 3.
        """
        task, searched = study.of_task(), study.search.trials if study.search else ()
        factors = dict.fromkeys([*study.factors, *(name for trial in searched for name in trial.params)])
        scores = dict.fromkeys([study.metric, *task.scores()])
        shown = [f"params.`{name}`" for name in [*factors, "seed"]] + [f"metrics.`{name}`" for name in scores]
        trials = {
            "searchFilter": "tags.kind = 'trial'",
            "orderByKey": f"metrics.`{study.metric}`",
            "orderByAsc": not task.metric.higher_is_better,
            "selectedColumns": shown,
            "columnOrder": [RUN_NAME, *shown],
            "columnWidths": {RUN_NAME: 260} | dict.fromkeys(shown, 140),
            "runsHiddenMode": "FIRST_20_RUNS",
            "compareRunSections": [{"uuid": name, "name": name, "display": True} for name in CHARTS_FIRST],
            "compareRunCharts": [],  # a chart of every metric is added to its section, and sections to these
            "isAccordionReordered": True,
        }
        means = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]}
        arms = trials | {"groupBy": means, "selectedColumns": [name for name in shown if name != "params.`seed`"]}
        for key, state in (("trials", trials), ("arms", arms)):
            view = {"name": key.capitalize(), "createdAt": int(time.time() * 1000), "state": json.dumps(state)}
            self.client.set_experiment_tag(self.experiment_id, SAVED_VIEW + key, json.dumps(view))


def pages(record: Path, address: str) -> dict[str, str]:
    """study_id -> where a UI at `address` ("http://127.0.0.1:5000") shows its trials, the latest experiment first."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=sqlite.url(layout.mlflow_database(record)))
    found = {}
    for experiment in client.search_experiments(order_by=["creation_time DESC"]):
        # Without the type of workflow the UI opens on its pages for language models.
        query = {"workflowType": "machine_learning"}
        query |= {"viewStateShareKey": "trials"} if f"{SAVED_VIEW}trials" in experiment.tags else {}
        place = f"/experiments/{experiment.experiment_id}/runs?{urlencode(query)}"  # of an app of one page
        found[experiment.name] = urljoin(address, f"#{place}")
    return found


def _curve(lines: Iterable[Mapping[str, float]]) -> list[Metric]:
    """Metrics `curve/<name>` whose step is the number of images seen."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [
        Metric(CURVE + name, _finite(value), now, int(line["images"]))
        for line in lines
        for name, value in line.items()
        if name != "images"
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _shortened(text: str) -> str:
    """What a tag takes of a Markdown text, in whole lines."""
    rest = "\n\nAll of it is in the artifact report/index.html."
    if len(text) <= TAG_LIMIT:
        return text
    return text[: TAG_LIMIT - len(rest)].rpartition("\n")[0] + rest


def _finite(value: float) -> float:
    """MLflow stores infinity as 1.8e308, which every mean would then contain: NaN says what it is."""
    return float(value) if math.isfinite(value) else math.nan
