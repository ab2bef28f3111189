"""A synthetic record in miniature: arms x seeds with real little PNGs, made in a second, known to the last digit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from runners.config import TrialConfig
from runners.schedules import alpha_bars, betas, log_snr

SIDE = 32
SCHEDULES = ("linear", "cosine", "squaredcos_cap_v2")
# accuracy/validation of seeds 0, 1, 2 of each arm; the other lists are shifted from it.
VALIDATION = {"linear": (0.60, 0.62, 0.58), "cosine": (0.70, 0.73, 0.69), "squaredcos_cap_v2": (0.80, 0.81, 0.85)}
SHIFT = {"validation": 0.0, "test": -0.02, "new_test": 0.01, "unseen": -0.05}
OBJECTS = {"validation": 128, "test": 72, "new_test": 84, "unseen": 120}
CONDITIONS = [["red sphere"], ["cyan cube", "blue sphere"], ["gray cylinder"], ["red cube", "gray cube", "cyan sphere"]]
FAILURE = "Traceback (most recent call last):\n  ...\nValueError: lost <GPU>\n"
QUESTION = "Does the beta schedule matter?"


def make(
    root: Path,
    *,
    seeds: Iterable[int] = (0, 1, 2),
    holes: Iterable[tuple[str, int]] = (),
    failed: Iterable[tuple[str, int]] = (),
    **study: Any,
) -> Path:
    """A record of the study "schedules" in `root`; (schedule, seed) in `holes` are missing, in `failed` have failed.

    Keyword arguments replace fields of study.json.
    """
    seeds = list(seeds)
    baseline = TrialConfig(total_images=64_000, timesteps=500)
    trials = []
    for schedule in SCHEDULES:
        for seed in seeds:
            config = replace(baseline, schedule=schedule, seed=seed)
            folder = root / "trials" / config.trial_key
            trials.append(_trial(config))
            if (schedule, seed) in failed:
                _write(folder.with_name(f"{folder.name}.failed") / "traceback.txt", FAILURE)
            elif (schedule, seed) not in holes:
                write_trial(folder, config)
    value = _study(baseline, trials, seeds) | study
    _write(root / "studies" / value["study_id"] / "study.json", json.dumps(value))
    return root


def _trial(config: TrialConfig) -> dict[str, Any]:
    keys = {"trial_key": config.trial_key, "train_key": config.train_key, "run_id": f"run{config.trial_key}"}
    return {"arm": f"schedule={config.schedule}", "seed": config.seed, **keys, "config": config.to_dict()}


def _study(baseline: TrialConfig, trials: list[dict[str, Any]], seeds: list[int]) -> dict[str, Any]:
    return {
        "study_id": "schedules-smoke",
        "study": "schedules",
        "scale": "smoke",
        "question": QUESTION,
        "launched": "2026-11-21T04:00:00+00:00",
        "metric": "accuracy/validation",
        "factors": {"schedule": list(SCHEDULES)},
        "baseline_arm": "schedule=linear",
        "arms": [f"schedule={schedule}" for schedule in SCHEDULES],
        "seeds": seeds,
        "published": {"schedule=linear": {"accuracy/test": 0.6}, "schedule=squaredcos_cap_v2": {"accuracy/test": 0.88}},
        "baseline": baseline.to_dict(),
        "command": "python study/run.py --study schedules --scale smoke",
        "trials": trials,
    }


def write_trial(folder: Path, config: TrialConfig) -> None:
    """A complete trial folder: configuration, result, learning curve, schedule and images."""
    rng = np.random.default_rng([config.seed, SCHEDULES.index(config.schedule)])
    _write(folder / "config.json", json.dumps(config.to_dict()))
    _write(folder / "metrics.jsonl", "".join(f"{json.dumps(line)}\n" for line in _curve(config, rng)))
    _write(folder / "environment.json", json.dumps({"device": "cpu", "torch": "2.13.0", "python": "3.11.2"}))
    _write(folder / "conditions.json", json.dumps(dict.fromkeys(OBJECTS, CONDITIONS * 2)))
    _write(folder / "schedule.csv", _schedule(config))
    _images(folder, config, rng)
    _write(folder / "result.json", json.dumps(_result(config)))


def _result(config: TrialConfig) -> dict[str, Any]:
    # Seeds beyond the three written out repeat them.
    score = VALIDATION[config.schedule][config.seed % 3]
    result: dict[str, Any] = {f"accuracy/{name}": round(score + shift, 4) for name, shift in SHIFT.items()}
    result |= {f"accuracy_macro/{name}": round(score + shift + 0.01, 4) for name, shift in SHIFT.items()}
    result |= {f"chance/{name}": 0.2 for name in OBJECTS} | {f"objects/{name}": n for name, n in OBJECTS.items()}
    result |= {"seconds/train": 600.0 + config.seed, "seconds/sample": 60.0, "images": config.total_images}
    result |= {"images_per_second": 106.0, "parameters": 1_000_000, "peak_memory_mb": 900.0}
    result |= {"terminal_sqrt_alpha_bar": float(np.sqrt(alpha_bars(config.schedule, config.timesteps)[-1]))}
    result |= {"evaluator_kind": "stand-in", "evaluator_held_out_accuracy": 0.97}
    return result | {"checkpoint_rule": "last step, EMA weights", "data_digest": "0123456789ab"}


def _curve(config: TrialConfig, rng: np.random.Generator) -> list[dict[str, float]]:
    """Twenty reports; every fifth has a validation accuracy."""
    images = np.linspace(config.total_images / 20, config.total_images, 20)
    pace = 100 * (1 + 0.05 * config.seed)
    lines: list[dict[str, float]] = []
    for index, seen in enumerate(images):
        loss = (
            0.03 + 0.01 * SCHEDULES.index(config.schedule) + 0.4 * np.exp(-seen / 9000) + 0.003 * rng.standard_normal()
        )
        line = {"images": int(seen), "seconds": seen / pace, "loss": float(loss), "gradient_norm": 0.5}
        line |= {"lr": 1e-4, "images_per_second": pace}
        if index % 4 == 3:
            final = VALIDATION[config.schedule][config.seed % 3]
            line["accuracy/validation"] = float(0.2 + (final - 0.25) * (1 - np.exp(-seen / 25000)))
        lines.append(line)
    return lines


def _schedule(config: TrialConfig) -> str:
    beta, bar = betas(config.schedule, config.timesteps), alpha_bars(config.schedule, config.timesteps)
    lines = ["t,beta,alpha_bar,sqrt_alpha_bar,log_snr"]
    for t, row in enumerate(zip(beta, bar, np.sqrt(bar), log_snr(bar), strict=True)):
        lines.append(",".join([str(t), *(f"{value:.8g}" for value in row)]))
    return "\n".join(lines) + "\n"


def _images(folder: Path, config: TrialConfig, rng: np.random.Generator) -> None:
    scenes = [_scene(index, rng) for index in range(8)]
    for index, scene in enumerate(scenes):
        _save(folder / "images" / "test" / f"{index}.png", scene)
    for name in OBJECTS:
        _save(folder / f"grid_{name}.png", _row(scenes))
    bars = alpha_bars(config.schedule, config.timesteps)[np.linspace(0, config.timesteps - 1, 8).astype(int)]
    clean, noise = scenes[0] / 127.5 - 1, rng.standard_normal(scenes[0].shape)
    frames = [np.clip((np.sqrt(a) * clean + np.sqrt(1 - a) * noise + 1) * 127.5, 0, 255).astype(np.uint8) for a in bars]
    _save(folder / "noised.png", _row(frames))
    _save(folder / "denoising.png", np.concatenate([_row(frames[::-1]), _row([scenes[0]] * 8)]))


def _scene(index: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One coloured shape on grey, a little displaced."""
    image = Image.new("RGB", (SIDE, SIDE), (120, 120, 122))
    left, top = rng.integers(4, 14, size=2)
    box = (int(left), int(top), int(left) + 13, int(top) + 13)
    colour = ("red", "cyan", "gray", "green", "blue", "purple", "brown", "yellow")[index]
    (ImageDraw.Draw(image).ellipse if index % 2 else ImageDraw.Draw(image).rectangle)(box, fill=colour)
    return np.asarray(image)


def _row(frames: list[NDArray[np.uint8]], padding: int = 2) -> NDArray[np.uint8]:
    """Frames side by side, as a grid of one row with `padding` around each."""
    framed = [np.pad(frame, ((padding, padding), (padding, 0), (0, 0))) for frame in frames]
    return np.pad(np.concatenate(framed, axis=1), ((0, 0), (0, padding), (0, 0)))


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
