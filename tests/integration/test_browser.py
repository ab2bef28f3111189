"""The page in a real browser: it is drawn, its pictures are shown, its links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import synthetic_record
from PIL import Image

from analysis import figures, report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on this machine"),
]


def browse(profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
    logged = ["--enable-logging=stderr", "--v=0"]
    return subprocess.run(
        [str(BROWSER), *options, *logged, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "NAMES", ("accuracy_by_arm", "same_noise_grids"))
        return report.build("schedules", synthetic_record.make(tmp_path_factory.mktemp("browser")))


def test_the_page_is_drawn_without_a_complaint(index: Path, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    done = browse(tmp_path, f"--screenshot={shot}", "--window-size=1280,4800", index.as_uri())
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr  # a violation of the policy, a picture that cannot be loaded
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (4800, 1280, 3)
    inked = (pixels < 200).any(axis=2).mean(axis=1)
    assert (inked.reshape(48, 100).max(axis=1) > 0.01).sum() >= 40  # text or pictures all the way down
    strong = pixels.max(axis=2).astype(int) - pixels.min(axis=2) > 150
    assert strong.mean() > 0.002  # the coloured shapes of the grids; 0.0002 where no picture is shown


def test_links_lead_to_parts_of_the_page_that_the_browser_has(index: Path, tmp_path: Path) -> None:
    done = browse(tmp_path, "--dump-dom", index.as_uri())
    links = set(re.findall(r'href="#([^"]+)"', done.stdout))
    ids = set(re.findall(r' id="([^"]+)"', done.stdout))
    assert {"results", "figures", "statistical-protocol", "trials", "trials-of-arm-0"} <= links
    assert links <= ids
