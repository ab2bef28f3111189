"""Figures that processes of a pool draw: the same ones, whatever happens to the process that draws them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from analysis import report
from analysis.pages import figure_pool
from analysis.results import Results

ROOT = Path(__file__).resolve().parents[3]
STUDY = "schedules-smoke"


def drawn_with(pool: figure_pool.Pool | None, record: Path, out: Path) -> dict[str, bytes]:
    report.build(STUDY, record, out, pool)
    return {path.name: path.read_bytes() for path in (out / "figures").iterdir()}


def where(*_: object) -> int:
    """Of a process of the pool: its id."""
    return os.getpid()


def test_a_pool_draws_the_same_figures(miniature_record: Path, tmp_path: Path) -> None:
    alone = drawn_with(None, miniature_record, tmp_path / "alone")
    with figure_pool.opened(1) as pool:
        assert pool is not None
        assert pool.submit(where).result() != os.getpid()
        together = drawn_with(pool, miniature_record, tmp_path / "together")
        again = drawn_with(pool, miniature_record, tmp_path / "again")
    assert together == again == alone
    pages = {(tmp_path / name / "index.html").read_text() for name in ("alone", "together", "again")}
    assert len(pages) == 1


def test_a_process_that_dies_costs_no_figure(miniature_record: Path, tmp_path: Path) -> None:
    results = Results.open(STUDY, miniature_record)
    with figure_pool.opened(1) as pool:
        assert pool is not None
        with figure_pool.begun(results, tmp_path / "figures", pool) as drawn:
            (process,) = pool._processes.values()
            process.kill()
            found = drawn()
        later = drawn_with(pool, miniature_record, tmp_path / "later")  # the pool is broken for good
    names = figure_pool.applying(results)
    assert [one.name for one in found] == names
    assert all(one.png and one.png.is_file() for one in found)
    assert {f"{name}{suffix}" for name in names for suffix in (".png", ".pdf", ".csv")} == later.keys()
    assert "not drawn" not in (tmp_path / "later" / "index.html").read_text()


def test_few_figures_start_no_process(miniature_record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.figures.NAMES", ("accuracy_by_arm", "grids"))
    with figure_pool.opened(2) as pool:
        assert pool is not None
        drawn_with(pool, miniature_record, tmp_path)
        assert not pool._processes


def test_no_spare_core_is_no_pool() -> None:
    with figure_pool.opened(0) as pool:
        assert pool is None


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")
@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGINT])
def test_a_report_that_is_ended_leaves_no_process(
    ended_by: signal.Signals, miniature_record: Path, tmp_path: Path
) -> None:
    line = [sys.executable, "-c", MANY_CORES, "--record", str(miniature_record), "--out", str(tmp_path)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(tmp_path.glob("figures/*.png")):
        assert process.poll() is None, "the report has ended before a figure was drawn"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pids = children(process.pid)
    assert pids
    process.send_signal(ended_by)
    process.wait(60)
    deadline = time.monotonic() + 30
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, pids
        time.sleep(0.05)


MANY_CORES = """
import sys
from analysis import report
from analysis.pages import figure_pool
figure_pool.spare_cores = lambda: 2
if __name__ == "__main__":
    sys.exit(report.main(sys.argv[1:]))
"""


def alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
