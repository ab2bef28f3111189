"""What is redrawn fits the terminal, and where nothing can be redrawn there are plain lines: on pseudo-terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
from launch import ROOT, UNDRAWN

# Two workers with names of 41 letters, seven updates, and a line that stays and is wider than any of the terminals.
SHOWN = """
import time, types
from study.cli import progress
from study.scheduling import events

progress.REDRAW_SECONDS = progress.PLAIN_SECONDS = 0.0
display = progress.Display()
display.begin(5, 0, slots=2)
trials = [types.SimpleNamespace(name=f"{name} schedule=linear, timesteps=1000 seed=0") for name in ("one", "two")]
for slot, trial in enumerate(trials):
    display.show(events.Started(trial, slot, "cpu"))
for step in range(1, 8):
    for slot, trial in enumerate(trials):
        line = {"loss": 0.1, "images": step * 1000, "images_per_second": 1234.0}
        display.show(events.Training(trial, slot, (line,), 10000))
display.show(events.Noted("a sentence " * 12, "two"))
"""
STOPPING = "display.show(events.Stopping(2, 60.0)); "
KILLED = "import os; time.sleep(0.1); os._exit(0)"  # with what was drawn last on the screen
CSI = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")


def on_terminal(command: list[str], columns: int, term: str = "xterm", **variables: str) -> str:
    """What a command writes to a terminal of so many columns."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in UNDRAWN.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"TERM": term, **variables}
    shown = subprocess.Popen(command, cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    parts = []
    try:
        while part := os.read(master, 65536):
            parts.append(part)
    except OSError:  # how Linux says that nobody writes any more
        pass
    os.close(master)
    assert shown.wait(60) == 0, b"".join(parts).decode()
    return b"".join(parts).decode()


def screen(written: str, columns: int) -> list[str]:
    """The lines of a terminal that knows what rich writes: wraps, goes up, erases."""
    lines, row, column, at = [""], 0, 0, 0
    while at < len(written):
        if control := CSI.match(written, at):
            at = control.end()
            number = int(control[1] or 1) if (control[1] or "1").isdecimal() else 0
            if control[2] == "A":
                row = max(0, row - number)
            elif control[2] == "K":
                lines[row] = "" if number == 2 else lines[row][:column]
            else:
                assert control[2] in "mhl", control
            continue
        letter, at = written[at], at + 1
        if letter == "\r":
            column = 0
        elif letter == "\n" or column == columns:
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        if letter not in "\r\n":
            lines[row] = lines[row].ljust(column)[:column] + letter + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


def display(end: str) -> list[str]:
    return [sys.executable, "-c", SHOWN + end]


@pytest.mark.parametrize("columns", [30, 50, 70, 80, 120])
def test_what_is_redrawn_takes_the_same_lines_again(columns: int) -> None:
    """In a narrow terminal too each worker has one line, and nothing of an earlier drawing stays above it."""
    lines = screen(on_terminal(display(KILLED), columns), columns)
    assert sum(" 63%" in line for line in lines) == 2
    assert not [line for line in lines if re.search(r" (9|18|27|36|45|54)%", line)]
    assert max(map(len, lines)) <= columns
    kept = "".join(line.ljust(columns) for line in lines)
    assert ("a sentence " * 12).strip() in kept  # a line that stays is whole


def test_how_to_stop_now_is_said_in_a_narrow_terminal_too() -> None:
    lines = screen(on_terminal(display(STOPPING + KILLED), 30), 30)
    assert "at most 60 s; Ctrl-C again stops now" in " ".join(" ".join(lines).split())


def test_nothing_of_it_stays_at_the_end() -> None:
    lines = screen(on_terminal(display(STOPPING + "display.end()"), 70), 70)
    assert [line for line in lines if line] == [
        "started   one schedule=linear, timesteps=1000 seed=0 on cpu",
        "started   two schedule=linear, timesteps=1000 seed=0 on cpu",
        *[line.rstrip() for line in re.findall(".{1,70}", "two: " + "a sentence " * 12)],
    ]


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_redraw_gets_plain_lines(term: str) -> None:
    written = on_terminal(display("display.end()"), 70, term)
    assert "\x1b" not in written
    assert "0 of 5 done | one schedule=linear, timesteps=1000 seed=0 63%" in written


@pytest.mark.parametrize("variables", [{"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "1"}])
def test_a_log_file_gets_plain_lines_whatever_colours_are_asked_for(variables: Mapping[str, str]) -> None:
    environment = UNDRAWN | {"TERM": "xterm"} | variables
    done = subprocess.run(
        display(STOPPING + "display.end()"), cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "stopping: 2 at their checkpoints" in done.stdout


def test_what_goes_to_a_file_is_not_taken_to_the_terminal(tmp_path: Path) -> None:
    """`2> errors`: while trials are redrawn, a warning still goes where it was sent."""
    say = f"import sys; sys.stderr = open({str(tmp_path / 'errors')!r}, 'w')\n" + SHOWN
    say += "print('a warning', file=sys.stderr); display.end()"
    assert "a warning" not in on_terminal([sys.executable, "-c", say], 70)
    assert (tmp_path / "errors").read_text() == "a warning\n"


def test_rendering_keeps_to_one_line_of_the_terminal_and_to_lines_elsewhere(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "runners.render", "--image-size", "16", "--scenes", "70", "--workers", "1"]
    lines = screen(on_terminal([*line, str(tmp_path / "one")], 40), 40)
    assert len([text for text in lines if text]) == 1
    done = subprocess.run([*line, str(tmp_path / "two")], cwd=ROOT, capture_output=True, text=True, env=UNDRAWN)
    assert "\r" not in done.stderr
    assert done.stderr.startswith("210 of 210 images")
