"""What was run, read back as data.

from study import record

rows = record.load("schedules")     one row per trial: arm, seed, state, every config field, every result
record.curves("schedules")          one row per report of a training
record.load_finalists("search")     one row per trial that chose the winner of a search

<record>/trials/<trial_key>/    the truth of one trial (its files: mlruns/README.md)
<record>/studies/<study_id>/    study.json: question, arms, seeds, the trials and their keys
<record>/cache/                 prepared data, surrogate evaluators, trainings with their checkpoints
<record>/mlflow.db artifacts/   the MLflow index of the trials; <record>/optuna.db the same for Optuna
"""

from study.record.layout import DEFAULT_RECORD
from study.record.reader import curves, load, load_finalists, load_study, studies

__all__ = ["DEFAULT_RECORD", "curves", "load", "load_finalists", "load_study", "studies"]
