"""The report as a command, and the tags, addresses and text of a page."""

from __future__ import annotations

import html.parser
import subprocess
import sys
from pathlib import Path

from analysis import figures

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "analysis" / "report.py"
HOSTILE = '<script>alert("x")</script><img src=http://example.org/x.png onerror=alert(1)>'

# The figures that apply to every study of labelled images, and so to a plain one.
OF_LABELS = {"accuracy_by_class", "confusion", "failures", "noise_grids"}
OF_ADAPTATION = {"adaptation_curves", "domain_map"}
GENERAL = {
    name
    for name in set(figures.NAMES) - OF_ADAPTATION
    if not hasattr(figures.load(name), "applies") or name in {"differences", *OF_LABELS}
}

# Runs the report while every import of what analysis must not know fails.
BLOCKED = """
import runpy, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "mlflow", "optuna", "diffusers", "sqlalchemy"}:
            raise ImportError(f"analysis imported {name}")
sys.meta_path.insert(0, Blocker())
sys.argv = sys.argv[1:]
sys.path[0] = ""
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(*arguments: object, blocked: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(("-c", BLOCKED) if blocked else ()), str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")


class Page(html.parser.HTMLParser):
    """Tags, the addresses they load, and the text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.events: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "srcset", "data", "action")]
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.events += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data
