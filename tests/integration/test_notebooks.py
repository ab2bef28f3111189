"""Notebooks: one per study, short, without outputs; each runs from its own folder on a record of its study."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import synthetic_record
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from study.design import registry

FOLDER = Path(__file__).resolve().parents[2] / "analysis"
LINES = 5

every_notebook = pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)


def shown(path: Path) -> list[str]:
    """The figures of a notebook, in its order."""
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source.split('"')[1] for cell in cells if cell.source.startswith("study.show(")]


def test_every_study_has_a_notebook() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(registry.names())


@every_notebook
def test_a_notebook_is_short_has_no_outputs_and_explains_its_figures(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.read_text(encoding="utf-8") == nbformat.writes(notebook, indent=1) + "\n"
    assert shown(path)
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert len(cell.source.splitlines()) <= LINES, cell.source
        if cell.source.startswith("study.show("):
            assert notebook.cells[index + 1].source.startswith("**How to read this figure:**")


@pytest.fixture(scope="module")
def kernel() -> Iterator[KernelManager]:
    """One kernel for all notebooks: what a kernel costs to start is not what they are tested for."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(FOLDER))
    yield manager
    manager.shutdown_kernel(now=True)


def test_the_kernel_is_that_of_the_environment(kernel: KernelManager) -> None:
    notebook = nbformat.v4.new_notebook(cells=[new_code_cell("import sys\nprint(sys.prefix)")])
    NotebookClient(notebook, km=kernel, timeout=60).execute()
    assert notebook.cells[0].outputs[0].text.strip() == sys.prefix


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs_on_a_record_of_its_study(path: Path, kernel: KernelManager, tmp_path: Path) -> None:
    record = synthetic_record.planned(tmp_path / "record", path.stem)
    notebook = nbformat.read(path, as_version=4)
    # Nothing of the notebook before may help this one.
    fresh = f"%reset -f\nimport os\nos.environ['ABLATION_RECORD'] = {str(record)!r}"
    notebook.cells.insert(0, new_code_cell(fresh))
    NotebookClient(notebook, km=kernel, timeout=120).execute()
    outputs = {cell.source: cell.get("outputs", []) for cell in notebook.cells}
    figures = shown(path)
    for name in figures:
        kinds = [kind for output in outputs[f'study.show("{name}")'] for kind in output.get("data", {})]
        assert "image/png" in kinds, name
    (folder,) = record.glob(f"studies/{path.stem}-smoke*/report/figures")
    assert {file.stem for file in folder.glob("*.pdf")} == set(figures)
    said = "".join(
        output.get("text", "") for source, found in outputs.items() for output in found if "answer" in source
    )
    assert "n = " in said
    printed = "".join(output.get("text", "") for found in outputs.values() for output in found)
    assert "not recorded" not in printed
    assert "does not apply" not in printed
