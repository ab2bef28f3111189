"""The fourth report's table on small domains, started as a user starts it, and what is refused."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from launch import ROOT, UNDRAWN, refused, table_of

from study.record import reader

SIDE, COUNT = 16, 160
SMALL = [word for field in ("network=cnn(width=4)", "image_size=16", "total_images=1280") for word in ("--set", field)]


def save(
    path: Path, seed: int, classes: int = 2, inverted: bool = False, labelled: bool = True, count: int = COUNT
) -> None:
    """A domain of bright bars on dark noise, across or down, or their negatives."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 60, (count, SIDE, SIDE, 3), dtype=np.uint8), np.arange(count) % classes
    for image, label in zip(x, y, strict=True):
        at = int(rng.integers(3, SIDE - 5))
        image[(slice(at, at + 3), slice(2, -2)) if label % 2 == 0 else (slice(2, -2), slice(at, at + 3))] += 180
    arrays = {"x": 255 - x if inverted else x} | ({"y": y} if labelled else {})
    np.savez(path, **arrays)


@pytest.fixture(scope="module")
def domains(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("domains")
    save(folder / "mnist_m.npz", 0)
    save(folder / "svhn.npz", 1, inverted=True, count=200)
    save(folder / "usps.npz", 2)
    return folder


def line(record: Path, *arguments: object) -> list[str]:
    program = [sys.executable, "study/run.py", "--scale", "smoke", "--record", record, "--devices", "cpu"]
    return [str(word) for word in [*program, "--per-device", "1", *arguments]]


@pytest.fixture(scope="module")
def finished(domains, tmp_path_factory):
    """The report's study with two seeds, drawn; its record and its output."""
    record = tmp_path_factory.mktemp("adapted") / "record"
    program = line(record, "--study", "report_r3_dann", "--data", domains, "--seeds", "2", *SMALL)
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return record, done


@pytest.mark.slow
def test_the_table_has_the_reports_form(finished):
    """Methods by scenarios, each cell beside the published number, and the oracle's rows apart."""
    _, done = finished
    assert "Domain svhn: 200 images in 2 classes; 15 % of them are drawn as test images." in done.stderr
    text = table_of(done.stdout)
    cells = r"\d\.\d{3} \[-?\d\.\d{3}, \d\.\d{3}\]"
    assert re.search(r"\n +mnist_m -> svhn +mnist_m -> usps *\n", text)
    for method, svhn, usps in (
        ("source only", "0.312", "0.683"),
        ("DANN", "0.443", "0.850"),
        ("target only", "0.918", "0.972"),
    ):
        row = rf"\n{method} +{cells} \(published {svhn}\) +{cells} \(published {usps}\)"
        assert re.search(row, text), (method, text)
        assert re.search(rf"\n{method}, best on target \(oracle\) +{cells} +{cells} *\n", text)


@pytest.mark.slow
def test_trainings_that_must_be_alike_are_no_warning(finished):
    """A training on the source is the same whatever the target is; that is no dead factor."""
    record, done = finished
    rows = reader.load("report_r3_dann", record)
    assert (rows["state"] == "complete").all()
    assert len(rows) == 12
    alike = rows[rows["method"] == "source_only"].groupby("seed")["weights_sha256"].nunique()
    assert (alike == 1).all()
    assert rows["weights_sha256"].nunique() == 10
    assert "same weights" not in done.stdout


@pytest.mark.slow
def test_its_figures_are_of_the_domains(finished):
    record, _ = finished
    report = next(record.glob("studies/*/report"))
    drawn = {path.stem for path in (report / "figures").glob("*.png")}
    assert drawn >= {"accuracy_by_arm", "differences", "confusion", "domain_map", "adaptation_curves", "heat_map"}
    assert not drawn & {"feature_map", "grids", "schedule_sheet", "denoising_strips", "class_grid"}
    with (report / "figures" / "domain_map.csv").open(newline="") as file:
        points = list(csv.DictReader(file))
    arms = {point["arm"] for point in points}
    assert len(arms) == 6
    shown = {arm: {(one["domain"], one["point"]) for one in points if one["arm"] == arm} for arm in arms}
    for scenario in ("street numbers", "plain digits"):  # the same points for all methods
        assert len({frozenset(shown[arm]) for arm in arms if arm.endswith(scenario)}) == 1
    text = re.sub(r'"data:[^"]*"|<[^>]+>', " ", (report / "index.html").read_text(encoding="utf-8"))
    assert "Seed 0, perplexity 30" in text
    assert "over target_test and target_validation" in text  # confusions are of the target
    assert "target_test: 24 to 30 images, chance level 0.500." in text  # of no list of 27
    for word in ("not recorded", "nan", "Guidance", "Sampler", "DDIM", "evaluator", "older version"):
        assert not (found := re.search(rf".{{40}}\b{word}\b.{{40}}", text)), found
    assert (report / "tables" / "accuracy_target_test_crosstab.csv").is_file()


@pytest.mark.slow
def test_nothing_is_said_of_sampling_or_of_the_best_of_all_arms(finished):
    """Classifiers sample nothing; methods are compared for each target, and not across targets."""
    record, done = finished
    text = re.sub(r'"data:[^"]*"|<[^>]+>', " ", next(record.glob("studies/*/report/index.html")).read_text("utf-8"))
    for words in ("sampling pass", "is sampling", "two best arms"):
        assert words not in text
        assert words not in done.stdout


@pytest.mark.slow
def test_choices_are_made_without_labels_of_the_target(finished):
    record, _ = finished
    study = json.loads(next(record.glob("studies/*/study.json")).read_text())
    roles = {one["name"]: one["role"] for one in study["task"]["lists"]}
    assert roles == {"source_validation": "choose", "target_test": "report", "target_validation": "report"}
    assert study["metric"] == "accuracy/target_test"


@pytest.mark.slow
def test_the_same_command_runs_nothing(finished, domains):
    record, _ = finished
    program = line(record, "--study", "report_r3_dann", "--data", domains, "--seeds", "2", *SMALL)
    again = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=300, env=UNDRAWN)
    assert again.returncode == 0, again.stderr
    assert "every trial is in the record: nothing to run" in again.stdout


# --- what is refused -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bad(tmp_path_factory) -> Path:
    """Folders of domains that cannot be used."""
    root = tmp_path_factory.mktemp("bad")
    for name in ("missing", "unlabelled", "alone", "none", "halves"):
        (root / name).mkdir()
    save(root / "missing" / "a.npz", 0, classes=4)
    save(root / "missing" / "b.npz", 1, classes=2)
    save(root / "unlabelled" / "a.npz", 0, labelled=False)
    save(root / "unlabelled" / "b.npz", 1)
    save(root / "alone" / "a.npz", 0)
    save(root / "halves" / "train.npz", 0)
    save(root / "halves" / "test.npz", 1)
    for name in ("a", "b"):
        save(root / "none" / f"{name}.npz", 0, labelled=False)
    return root


@pytest.mark.parametrize(
    ("folder", "changes", "said"),
    [
        ("missing", (), "The domain b has no images of 2 classes of a (2, 3): name the classes alike in all domains"),
        ("unlabelled", ("source=a", "target=b"), "source='a' has no labels to train on: write a domain that has, b."),
        ("unlabelled", (), "is about accuracy/target_test, and these data give accuracy/source_validation alone"),
        ("halves", (), "holds test.npz, train.npz, parts of one set and no domains: put them into a sub-folder"),
        ("alone", (), "holds one domain (a), and adaptation takes two"),
        ("none", (), "has labels, and one must have them to be adapted from"),
    ],
)
def test_folders_that_cannot_be_used(bad, tmp_path, folder, changes, said):
    asked = [word for change in changes for word in ("--set", change)]
    record = tmp_path / "record"
    done = refused(
        *("--study", "adaptation_lambda", "--scale", "smoke", "--record", record, "--data", bad / folder, *asked)
    )
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not record.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lambda_max=-1", "lambda_max="),
        ("optimiser=sgd(momentum=1.5)", "momentum=1.5 must lie in [0, 1): write 0.9, for example."),
        ("guidance_scale=2", "guidance_scale is a field of the experiment ddpm, and this study runs dann"),
        ("source=photoo", "source='photoo' is no domain of the data: did you mean 'photo'?"),
        ("target=photo", "source and target are both 'photo'"),
        ("method=source_only", "are one setting"),
        ("image_size=7", "image_size=7 must lie from 16 to 128: write 28 or 32."),
    ],
)
def test_settings_that_cannot_run(change, said):
    study = "report_r3_dann" if change.startswith("lambda") else "adaptation_lambda"
    done = refused("--study", study, "--scale", "smoke", "--record", "/nonexistent/record", "--set", change)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_field_of_adaptation_is_no_field_of_diffusion():
    done = refused(
        "--study", "schedules", "--scale", "smoke", "--record", "/nonexistent/record", "--set", "lambda_max=2"
    )
    assert done.returncode == 2
    assert "lambda_max is a field of the experiment dann, and this study runs ddpm" in done.stderr


def test_a_study_that_mixes_experiments(tmp_path):
    mixed = tmp_path / "mixed.py"
    mixed.write_text(
        "from study.spec import StudySpec\n"
        'FACTORS = {"lambda_max": (1.0, 2.0), "guidance_scale": (1.0,)}\n'
        'BASELINE = {"lambda_max": 1.0, "guidance_scale": 1.0}\n'
        'STUDY = StudySpec(question="?", experiment="dann", factors=FACTORS, baseline=BASELINE)\n'
    )
    done = refused("--study", mixed, "--scale", "smoke", "--record", "/nonexistent/record")
    assert done.returncode == 2
    assert "'guidance_scale', a field of the experiment ddpm and not of dann" in done.stderr


def test_a_target_with_labels_is_taken_where_there_is_one(tmp_path):
    """The next domain by name has none."""
    for name, labelled in (("a", True), ("b", False), ("c", True)):
        save(tmp_path / f"{name}.npz", 0, labelled=labelled)
    done = refused("--study", "adaptation_lambda", "--scale", "smoke", "--data", tmp_path, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "the classifier is adapted from a to c." in done.stderr


def test_json_is_all_that_is_printed(domains):
    done = refused("--study", "adaptation_lambda", "--scale", "smoke", "--data", domains, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_of_all_studies_those_are_left_out_that_cannot_run(domains):
    """Source and target are what the fourth report's table varies."""
    done = refused("--study", "all", "--scale", "smoke", "--data", domains, "--set", "source=svhn", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "report_r3_dann is left out: 'source' is a factor of the study" in done.stderr
    assert "adaptation_lambda" in done.stdout
