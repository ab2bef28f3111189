"""Render scenes into a folder in i-CLEVR's layout.

    python -m runners.render DEST --image-size 64 --workers 2

writes 6,003 scenes x 3 frames: PNG files, train.json, objects.json, test.json, new_test.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from runners import readable
from runners.process import command
from runners.process.cores import usable
from runners.process.status import Status
from runners.tasks.iclevr.labels import LABELS
from runners.tasks.iclevr.render import render_scenes
from runners.tasks.iclevr.scenes import VIEWS, frame_labels, frame_name, sample_scenes, test_lists


def write_folder(destination: Path, image_size: int, scenes: int, seed: int, view: str, workers: int) -> None:
    """Render into DEST.partial and rename at the end, so that an interrupted run leaves no half folder behind."""
    from PIL import Image  # here, so that --help answers at once

    unfinished = destination.with_name(destination.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    train: dict[str, list[str]] = {}
    drawn, start, status = sample_scenes(scenes, seed, view), time.monotonic(), Status()
    for index, (scene, frames) in enumerate(zip(drawn, render_scenes(drawn, image_size, view, workers), strict=True)):
        for k, labels in enumerate(frame_labels(scene)):
            Image.fromarray(frames[k]).save(unfinished / frame_name(index, k))
            train[frame_name(index, k)] = labels
        if index % 32 == 31 or index + 1 == scenes:
            status.show(_progress(3 * (index + 1), 3 * scenes, time.monotonic() - start), last=index + 1 == scenes)
    lists = {"train": train, "objects": {label: i for i, label in enumerate(LABELS)}, **test_lists(seed)}
    for name, content in lists.items():
        (unfinished / f"{name}.json").write_text(json.dumps(content))
    if destination.exists():
        destination.rmdir()  # Windows does not rename onto a folder, even an empty one
    os.replace(unfinished, destination)


def _progress(done: int, total: int, seconds: float) -> str:
    return f"{done} of {total} images, {done / seconds:.0f} images/s, {(total - done) * seconds / done:.0f} s left"


def _refusal(arguments: argparse.Namespace) -> str | None:
    """The first thing wrong with the command line, as a sentence."""
    destination: Path = arguments.destination
    try:
        readable.require_open(destination, "DEST", folder=True)
    except ValueError as error:
        return str(error)
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        return f"{destination} exists and is not empty; name a new folder."
    for name, low, high in (("image_size", 8, 512), ("scenes", 1, 999_999), ("workers", 1, 1024)):
        if not low <= getattr(arguments, name) <= high:
            return f"--{name.replace('_', '-')} is {getattr(arguments, name)}; write {low} to {high}."
    return None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m runners.render", description="Render scenes in i-CLEVR's layout.")
    parser.add_argument("destination", type=Path, metavar="DEST", help="folder to write; must not exist or be empty")
    parser.add_argument("--image-size", type=int, default=64, help="pixels per side (default 64)")
    parser.add_argument("--scenes", type=int, default=6003, help="scenes of three frames each (default 6003)")
    parser.add_argument("--seed", type=int, default=0, help="of scenes, held-out triples and test lists (default 0)")
    parser.add_argument("--view", choices=sorted(VIEWS), default="clevr", help="near: closer view, for 16 or 32 pixels")
    parser.add_argument("--workers", type=int, default=usable(), help="processes (default: one per core)")
    arguments = parser.parse_args(argv)
    refusal = _refusal(arguments)
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    write_folder(**vars(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main, locks=False))
