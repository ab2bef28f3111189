"""A record in the browser, on 127.0.0.1 only: its runs in MLflow's UI, or its trials in Optuna's dashboard.

python study/ui.py              every study with its runs, curves and pictures
python study/ui.py --optuna     the same trials as Optuna studies (needs the extra `dashboard`)
"""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from study.record import mlflow_index, reader
from study.record.layout import DEFAULT_RECORD, given_path

BAD_INPUT = 2
HOST = "127.0.0.1"
MLFLOW_PORT, OPTUNA_PORT = 5000, 8080  # the ones that both call their own
# Nothing of the record leaves the machine. MLflow's job runner, eight processes, serves language models alone.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A record in the browser, on 127.0.0.1 only.")
    parser.add_argument("--record", metavar="DIR", type=given_path, default=DEFAULT_RECORD, help="default: mlruns")
    parser.add_argument("--port", metavar="N", type=int, help=f"default: {MLFLOW_PORT}, with --optuna {OPTUNA_PORT}")
    parser.add_argument("--optuna", action="store_true", help="Optuna's dashboard instead of MLflow's UI")
    given = parser.parse_args(argv)
    port = given.port or (OPTUNA_PORT if given.optuna else MLFLOW_PORT)
    try:
        record = checked(given.record, "optuna.db" if given.optuna else "mlflow.db", port)
        mlflow_index.relocate(record)  # it may have been moved or copied
        command = optuna_command(record, port) if given.optuna else mlflow_command(record, port)
    except ValueError as error:
        print(f"ui.py: {error}", file=sys.stderr)
        return BAD_INPUT
    print("The server is up in a few seconds; Ctrl-C ends it.", flush=True)
    os.execve(command[0], command, os.environ | ENVIRONMENT)


def checked(record: Path, database: str, port: int) -> Path:
    """The record's full path; ValueError when it has nothing to show, or the port is another program's."""
    record = record.resolve()
    if not (record / database).is_file():
        raise ValueError(
            f"{record} records no study: give the --record DIR of a study, or run one: "
            f"{reader.command('schedules', record)}."
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            raise ValueError(f"Port {port} cannot be used, another program may have it: give --port N.") from None
    return record


def mlflow_command(record: Path, port: int) -> list[str]:
    """MLflow's server; prints the address of each study's runs."""
    pages = mlflow_index.pages(record, f"http://{HOST}:{port}")
    width = max(map(len, pages), default=0)
    for study_id, page in pages.items():
        print(f"{study_id:<{width}}  {page}")
    store = f"sqlite:///{record}/mlflow.db"
    server = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--workers", "1"]
    # uvicorn would import from the current folder first: a user's `mlflow.py`.
    options = f"--log-level warning --app-dir {shlex.quote(sysconfig.get_path('purelib'))}"
    return [*server, "--host", HOST, "--port", str(port), "--uvicorn-opts", options]


def optuna_command(record: Path, port: int) -> list[str]:
    """Optuna's dashboard; ValueError when it is not installed."""
    program = Path(sys.executable).with_name("optuna-dashboard")
    if not program.is_file():
        raise ValueError("optuna-dashboard is not installed: run `make dashboard`, or pip install '.[dashboard]'.")
    print(f"http://{HOST}:{port}/dashboard/")
    return [str(program), f"sqlite:///{record}/optuna.db", "--host", HOST, "--port", str(port), "--quiet"]
