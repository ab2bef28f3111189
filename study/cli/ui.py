"""A record in the browser, on 127.0.0.1 only: its runs in MLflow's UI, or its trials in Optuna's dashboard.

python study/ui.py              every study with its runs, curves and pictures
python study/ui.py --optuna     the same trials as Optuna studies (needs the extra `dashboard`)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlunsplit

from runners.process import output
from study.cli import indexes
from study.record import access, database_copies, integrity, mlflow_index, reader, sqlite
from study.record.layout import DEFAULT_RECORD, given_path, mlflow_database, optuna_database, require_open

BAD_INPUT = 2
HOST = "127.0.0.1"
UP = "The server is up in a few seconds; Ctrl-C ends it."
MLFLOW_PORT, OPTUNA_PORT = 5000, 8080  # the ones that both call their own
END_SECONDS = 5.0  # that a server has to end by itself
# Nothing of the record leaves the machine. MLflow's job runner, eight processes, serves language models alone. What
# libraries warn their authors of is nothing to a user.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "PYTHONWARNINGS": "ignore",
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A record in the browser, on 127.0.0.1 only.")
    parser.add_argument("--record", metavar="DIR", type=given_path, default=DEFAULT_RECORD, help="default: mlruns")
    parser.add_argument("--port", metavar="N", type=int, help=f"default: {MLFLOW_PORT}, with --optuna {OPTUNA_PORT}")
    parser.add_argument("--optuna", action="store_true", help="Optuna's dashboard instead of MLflow's UI")
    given = parser.parse_args(argv)
    port = given.port or (OPTUNA_PORT if given.optuna else MLFLOW_PORT)
    try:
        require_open(given.record)
        record = checked(given.record, "optuna.db" if given.optuna else "mlflow.db", port)
        if reason := access.unwritable(record):
            return serve_copy(record, reason, given.optuna, port)
        usable(record, given.optuna)
        mlflow_index.relocate(record)  # it may have been moved or copied
        command = optuna_command(record, port) if given.optuna else mlflow_command(record, port)
    except ValueError as error:
        print(f"ui.py: {error}", file=sys.stderr)
        return BAD_INPUT
    return serve(command)


def serve(command: Sequence[str]) -> int:
    """Run the server until it ends, or Ctrl-C, SIGTERM or the terminal's end ends it; the exit code.

    It has a session of its own: a Ctrl-C in the middle of its start would end each of its processes with a traceback.
    """

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, end)
    print(UP, flush=True)
    output.drain()  # the server writes below it
    server = subprocess.Popen(command, env=os.environ | ENVIRONMENT, start_new_session=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for number, seconds in ((signal.SIGTERM, END_SECONDS), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired, KeyboardInterrupt):
                os.killpg(server.pid, number)
                server.wait(seconds)


def serve_copy(record: Path, reason: str, optuna: bool, port: int) -> int:
    """Serve a record that cannot be written from copies of its databases, which go when the server ends.

    Raises ValueError for a database that the server could not open.
    """
    name = "optuna.db" if optuna else "mlflow.db"
    with database_copies.stand_in(record) as copy:
        if wrong := next((one.text for one in integrity.useless_databases(copy) if one.name == name), ""):
            raise ValueError(f"{wrong}: copy the record to a folder that you may write to, where it is made anew.")
        command = optuna_command(copy, port) if optuna else mlflow_command(copy, port)
        print(f"The record cannot be written ({reason}): what you change in the browser is not kept.")
        return serve(command)


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


def usable(record: Path, optuna: bool) -> None:
    """Make a database anew that the server could not open. Raises ValueError where the study's command has to do it."""
    if not optuna:
        indexes.renew(record, "mlflow.db")
        return
    wrong = next((one.text for one in integrity.useless_databases(record) if one.name == "optuna.db"), "")
    if wrong:
        again = reader.command("NAME", record)
        raise ValueError(f"{wrong}: run its study again, {again}, which writes it again from the trials.")


def address(port: int, path: str = "/") -> str:
    return urlunsplit(("http", f"{HOST}:{port}", path, "", ""))


def mlflow_command(record: Path, port: int) -> list[str]:
    """MLflow's server; prints the address of each study's runs."""
    pages = mlflow_index.pages(record, address(port))
    width = max(map(len, pages), default=0)
    for study_id, page in pages.items():
        print(f"{study_id:<{width}}  {page}")
    store = sqlite.url(mlflow_database(record))
    server = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--workers", "1"]
    # uvicorn would import from the current folder first: a user's `mlflow.py`.
    options = f"--log-level warning --app-dir {shlex.quote(sysconfig.get_path('purelib'))}"
    return [*server, "--host", HOST, "--port", str(port), "--uvicorn-opts", options]


def optuna_command(record: Path, port: int) -> list[str]:
    """Optuna's dashboard; ValueError when it is not installed."""
    program = Path(sys.executable).with_name("optuna-dashboard")
    if not program.is_file():
        raise ValueError("optuna-dashboard is not installed: run `make dashboard`, or pip install '.[dashboard]'.")
    print(address(port, "/dashboard/"))
    return [str(program), sqlite.url(optuna_database(record)), "--host", HOST, "--port", str(port), "--quiet"]
