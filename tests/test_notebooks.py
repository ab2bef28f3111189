"""Notebooks: they run from their own folder on a record of any size, and are kept without outputs."""

from __future__ import annotations

from pathlib import Path

import miniature
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "analysis"
LINES = 5

every_notebook = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.name)


@every_notebook
def test_a_notebook_is_short_and_has_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= LINES, cell.source


@every_notebook
def test_every_figure_of_a_notebook_is_explained_under_it(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    shown = [index for index, cell in enumerate(cells) if cell.cell_type == "code" and cell.source.startswith("show(")]
    assert shown
    for index in shown:
        assert cells[index + 1].source.startswith("**Parsing the plot above:**")


@every_notebook
def test_a_notebook_runs_on_a_miniature_record(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = miniature.make(tmp_path / "record")
    monkeypatch.setenv("ABLATION_RECORD", str(record))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}}
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    drawn = list((record / "studies" / "schedules-smoke" / "report" / "figures").glob("*.png"))
    assert (
        len(pictures)
        == len(drawn)
        == sum("show(" in cell.source and "def" not in cell.source for cell in notebook.cells)
    )
    assert any("is better by 0.220" in output.get("text", "") for output in outputs)
