"""The table of network sizes: about this code, complete, and never believed about other code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runners import models
from study.cli import sizes

AGAIN = "run `python -m study.sizes` and commit runners/models/sizes.json"
COUNTED = (
    "unet(attention=(-1,), channels=(16, 32, 32), encoder='embedding', groups=8, layers=1)",
    "concat_unet",
    "unet",
)


def test_the_table_is_of_this_code_and_has_every_study() -> None:
    table = json.loads(models.SIZES.read_text())
    assert table["sources"] == models.sources_digest(), AGAIN
    assert set(table["sizes"]) == {models.size_key(*network) for network in sizes.networks()}, AGAIN


@pytest.mark.parametrize("model", COUNTED)
def test_a_size_of_the_table_is_what_is_counted(model: str) -> None:
    network = next(network for network in sizes.networks() if network[0] == model)
    assert models.measure(*network) == models.count(*network)


def test_a_table_of_other_code_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = next(network for network in sizes.networks() if network[0] == COUNTED[0])
    other = tmp_path / "sizes.json"
    other.write_text(json.dumps({"sources": "of before", "sizes": {models.size_key(*network): [1, 1.0]}}))
    monkeypatch.setattr(models, "_known", models._known.__wrapped__)
    with monkeypatch.context() as patched:
        patched.setattr(models, "SIZES", other)
        patched.setattr(models, "sources_digest", lambda: "of now")
        assert models.measure.__wrapped__(*network) == models.count(*network)
        patched.setattr(models, "sources_digest", lambda: "of before")
        assert models.measure.__wrapped__(*network).parameters == 1


def test_a_dry_run_imports_neither_diffusers_nor_what_a_study_runs_on(tmp_path: Path) -> None:
    source = (
        "import sys; from study.cli import launch; launch.main(['--study', 'schedules', '--scale', 'laptop', "
        f"'--dry-run', '--record', {str(tmp_path / 'none')!r}]); "
        "print(sorted({'diffusers', 'mlflow', 'optuna', 'matplotlib', 'scipy.stats'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
