"""Signals around a study: what they were before is what they are afterwards, on the main thread and beside it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.cli.launch import stoppable
from study.cli.stopping import SIGNALS, handled
from study.executors.local import LocalExecutor


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    before = {each: signal.getsignal(each) for each in SIGNALS}
    yield LocalExecutor([], tmp_path)
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_goes_on_after_a_study_has_its_own_signals_again(number: signal.Signals, executor, tmp_path):
    """A notebook's kernel, in which `%run study/run.py` was a cell."""
    own = signal.getsignal(number)
    seen = []
    assert stoppable(lambda: seen.append(signal.getsignal(number)) or 0, tmp_path, executor, "python study/run.py") == 0
    assert seen != [own]
    assert signal.getsignal(number) is own


def test_a_study_runs_in_a_thread_too(executor, tmp_path, capsys):
    codes: list[int] = []
    thread = threading.Thread(
        target=lambda: codes.append(stoppable(lambda: 0, tmp_path, executor, "python study/run.py"))
    )
    thread.start()
    thread.join()
    assert codes == [0], capsys.readouterr().err


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_was_ignored_stays_ignored(number: signal.Signals, executor):
    signal.signal(number, signal.SIG_IGN)
    with handled(executor):
        os.kill(os.getpid(), number)
    assert not executor.stopping


@pytest.mark.parametrize(
    ("first", "second", "now"),
    [
        (signal.SIGINT, signal.SIGINT, True),
        (signal.SIGHUP, signal.SIGTERM, True),
        (signal.SIGHUP, signal.SIGHUP, False),
        (signal.SIGTERM, signal.SIGHUP, False),
    ],
)
def test_a_hang_up_is_no_second_wish(first: signal.Signals, second: signal.Signals, now: bool, executor):
    executor.workers = {0: None}  # at work
    with handled(executor):
        os.kill(os.getpid(), first)
        assert executor.stopping
        if now:
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), second)
        else:
            os.kill(os.getpid(), second)
    executor.workers = {}
