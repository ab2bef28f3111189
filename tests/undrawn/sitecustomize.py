"""On PYTHONPATH of a study whose figures are not what is tested: its report has none, its schedule sheets are a pixel.

Drawing is half of what a study of a few seconds takes; the figures have tests of their own.
"""

import importlib.util
import sys

PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cc\xf8\x0f\x00\x01\x01\x01\x00\x1b\xb6\xeeV\x00\x00\x00\x00IEND\xaeB`\x82"
)


class Undrawn:
    """Finds the modules of CHANGED as usual, and changes them once they are loaded."""

    def find_spec(self, name, path=None, target=None):
        if name not in CHANGED:
            return None
        change = CHANGED.pop(name)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            change(module)

        spec.loader.exec_module = exec_module
        return spec


def save(drawn, stem):
    stem.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".pdf", ".png"):
        stem.with_suffix(suffix).write_bytes(PIXEL)
    return stem.with_suffix(".png")


CHANGED = {
    "analysis.figures": lambda module: setattr(module, "NAMES", ()),
    "analysis.plotting.style": lambda module: setattr(module, "save", save),  # of the schedule sheets
}
sys.meta_path.insert(0, Undrawn())
