"""A record in the browser, on 127.0.0.1 only: its runs in MLflow's UI, or its trials in Optuna's dashboard.

python study/ui.py              every study with its runs, curves and pictures
python study/ui.py --optuna     the same trials as Optuna studies (needs the extra `dashboard`)
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from study.record import access, mlflow_index, readable, reader
from study.record.layout import DEFAULT_RECORD, given_path

BAD_INPUT = 2
INTERRUPTED = 130
END_SECONDS = 10.0  # that a server has to end
HOST = "127.0.0.1"
UP = "The server is up in a few seconds; Ctrl-C ends it."
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
        if reason := access.unwritable(record):
            return serve_copy(record, reason, given.optuna, port)
        mlflow_index.relocate(record)  # it may have been moved or copied
        command = optuna_command(record, port) if given.optuna else mlflow_command(record, port)
    except ValueError as error:
        print(f"ui.py: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    print(UP, flush=True)
    os.execve(command[0], command, os.environ | ENVIRONMENT)


def serve_copy(record: Path, reason: str, optuna: bool, port: int) -> int:
    """Serve a record that cannot be written from copies of its databases, which go when the server ends."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):  # the second: an SSH session that drops
        signal.signal(number, end)
    with readable.stand_in(record) as copy:
        command = optuna_command(copy, port) if optuna else mlflow_command(copy, port)
        print(f"The record cannot be written ({reason}): what you change in the browser is not kept.")
        print(UP, flush=True)
        # Of its own, so that a Ctrl-C reaches it, and the processes that it starts, in one way only.
        server = subprocess.Popen(command, env=os.environ | ENVIRONMENT, start_new_session=True)
        try:
            return server.wait()
        except KeyboardInterrupt:
            with suppress(KeyboardInterrupt, subprocess.TimeoutExpired, ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
                server.wait(END_SECONDS)
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


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
    return [*server, "--host", HOST, "--port", str(port), "--uvicorn-opts", "--log-level warning"]


def optuna_command(record: Path, port: int) -> list[str]:
    """Optuna's dashboard; ValueError when it is not installed."""
    program = Path(sys.executable).with_name("optuna-dashboard")
    if not program.is_file():
        raise ValueError("optuna-dashboard is not installed: run `make dashboard`, or pip install '.[dashboard]'.")
    print(f"http://{HOST}:{port}/dashboard/")
    return [str(program), f"sqlite:///{record}/optuna.db", "--host", HOST, "--port", str(port), "--quiet"]
