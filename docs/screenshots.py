"""The pictures of the documentation: a report's first screen, and the runs of the same study in MLflow's UI.

    python docs/screenshots.py RECORD

Needs chromium, chromium-browser or google-chrome. Writes docs/images/report.png and docs/images/mlflow.png. Where the
record has no report yet, one is built. The report shows the command that it was run with: run the study into mlruns.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REPORT, RUNS = (1200, 1000), (1760, 790)  # width and height of a window in pixels
KEPT = 0.742  # of the width of MLflow's page: right of it is a panel for a language model that nothing here uses
MOST_BYTES = 150_000
PALETTES = (256, 128, 64, 32, 16)  # colours, until the file is small enough
START_SECONDS = 90.0  # that the server may take


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python docs/screenshots.py", description="Pictures of the documentation.")
    parser.add_argument("record", metavar="RECORD", type=Path, help="a record with one study or more")
    record: Path = parser.parse_args(argv).record.resolve()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"screenshots.py: no browser: install one of {', '.join(BROWSERS)}.", file=sys.stderr)
        return 2
    IMAGES.mkdir(exist_ok=True)
    shoot(browser, report_of(record).as_uri(), IMAGES / "report.png", REPORT)
    with served(record) as address:
        # The table of runs is drawn by scripts, after several answers of the server.
        shoot(browser, address, IMAGES / "mlflow.png", RUNS, wait_ms=30_000)
    crop(IMAGES / "mlflow.png", int(KEPT * RUNS[0]))
    for path in (IMAGES / "report.png", IMAGES / "mlflow.png"):
        shrink(path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.0f} kB")
    return 0


def report_of(record: Path) -> Path:
    """The newest report of the record; one is built where there is none."""
    pages = lambda: sorted(record.glob("studies/*/report/index.html"), key=lambda path: path.stat().st_mtime)  # noqa: E731
    if not pages():
        subprocess.run([sys.executable, str(ROOT / "analysis" / "report.py"), "--record", str(record)], check=True)
    return pages()[-1]


@contextmanager
def served(record: Path) -> Iterator[str]:
    """The address of the newest study's runs, while MLflow's UI serves the record on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "study" / "ui.py"), "--record", str(record), "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        _wait_for(f"http://127.0.0.1:{port}/health", server)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(address: str, server: subprocess.Popen[str]) -> None:
    """Until the server answers. Raises RuntimeError when it ends or takes longer than START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise RuntimeError(f"MLflow's UI did not answer at {address}.")


def shoot(browser: str, address: str, path: Path, size: tuple[int, int], wait_ms: int = 3_000) -> None:
    """A picture (PNG) of the first screen of a page, after `wait_ms` milliseconds of its scripts' time.

    `size`: width and height in pixels. Raises RuntimeError when the browser takes none.
    """
    path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        options += [f"--window-size={size[0]},{size[1]}", f"--virtual-time-budget={wait_ms}", f"--screenshot={path}"]
        subprocess.run([browser, *options, address], check=True, timeout=180, stderr=subprocess.DEVNULL)
    if not path.is_file():
        raise RuntimeError(f"{browser} took no picture of {address}.")


def crop(path: Path, width: int) -> None:
    """Keep the left `width` pixels."""
    with Image.open(path) as opened:
        image = opened.crop((0, 0, width, opened.height))
    image.save(path)


def shrink(path: Path) -> None:
    """Rewrite a PNG with as many colours of a palette as MOST_BYTES allow. Raises RuntimeError when none fits."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    for colours in PALETTES:
        image.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return
    raise RuntimeError(f"{path} is larger than {MOST_BYTES:,} bytes with {PALETTES[-1]} colours.")


if __name__ == "__main__":
    sys.exit(main())
