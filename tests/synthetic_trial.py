"""One complete trial of a synthetic record: its folder, with real little PNGs, known to the last digit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from runners.config import Call
from runners.ddpm.config import TrialConfig
from runners.ddpm.schedules import alpha_bars, betas, log_snr
from runners.evaluation.set_sheet import by_class
from runners.tasks.iclevr.labels import LABELS, multi_hot

SCHEDULES = ("linear", "cosine", "squaredcos_cap_v2")
SIDE = 32
SHIFT = {"validation": 0.0, "test": -0.02, "new_test": 0.01, "unseen": -0.05}
OBJECTS = {"validation": 128, "test": 72, "new_test": 84, "unseen": 120}
CONDITIONS = [["red sphere"], ["cyan cube", "blue sphere"], ["gray cylinder"], ["red cube", "gray cube", "cyan sphere"]]
# The runner's sentence, word for word.
TERMINAL = (
    "The schedule ends at sqrt(alpha_bar_T) = {value:.3f} > 0.05: sampling starts from pure noise, which the training "
    "never saw, so schedule, T and terminal SNR are confounded."
)


def evaluations(config: TrialConfig) -> int:
    """Forward passes per image, as the runner counts them."""
    steps = dict(Call.parse(config.sampler).arguments).get("steps", config.timesteps)
    return int(steps) * (1 if config.guidance_scale == 1 else 2)


def write_trial(folder: Path, config: TrialConfig, score: float, images: bool = True, like: Path | None = None) -> None:
    """A complete trial folder: configuration, result, learning curve, schedule, scores by class and images.

    What depends on neither the setting nor the score is linked to the files of `like`, if it is given.
    """
    rng = np.random.default_rng([config.seed, _place(config)])
    write_text(folder / "config.json", json.dumps(config.to_dict()))
    write_text(folder / "metrics.jsonl", "".join(f"{json.dumps(line)}\n" for line in _curve(config, rng, score)))
    if like is not None:
        _link(like, folder, images)
        write_text(folder / "result.json", json.dumps(_result(config, score)))
        return
    write_text(folder / "environment.json", json.dumps({"device": "cpu", "torch": "2.13.0", "python": "3.11.2"}))
    write_text(folder / "conditions.json", json.dumps(dict.fromkeys(OBJECTS, CONDITIONS * 2)))
    write_text(folder / "schedule.csv", _schedule(config))
    write_outcomes(folder, score)
    write_features(folder, score)
    if images:
        _images(folder, config, rng)
    write_text(folder / "result.json", json.dumps(_result(config, score)))


def write_outcomes(folder: Path, score: float, passes: int = 1, seed: int = 0) -> None:
    """outcomes.npz and classes.csv: each object asked for is seen when its own number, the same in every trial, is
    below the score; one that is not is seen as the third label after it, which no condition asks for beside it."""
    luck = np.random.default_rng(seed)
    arrays = {}
    for name in OBJECTS:
        seen_KNL = np.zeros((passes, 2 * len(CONDITIONS), len(LABELS)), dtype=bool)
        for position, labels in enumerate(CONDITIONS * 2):
            for label in labels:
                hit_K = luck.random(passes) < score
                seen_KNL[:, position, LABELS.index(label)] |= hit_K
                seen_KNL[:, position, (LABELS.index(label) + 3) % len(LABELS)] |= ~hit_K
        arrays[name] = seen_KNL
    np.savez_compressed(folder / "outcomes.npz", **arrays)  # type: ignore[arg-type]
    rows = [
        row for name, seen_KNL in arrays.items() for row in by_class(name, LABELS, seen_KNL, multi_hot(CONDITIONS * 2))
    ]
    lines = [",".join(map(str, row.values())) for row in rows]
    write_text(folder / "classes.csv", "\n".join([",".join(rows[0]), *lines, ""]))


def write_features(folder: Path, score: float) -> None:
    """features.npz: three images of each condition a side; the lower the score, the further apart the two sides."""
    rng = np.random.default_rng(0)
    labels_NL = multi_hot(CONDITIONS * 6)
    features_ND = rng.standard_normal((len(labels_NL), 6))
    features_ND[: len(labels_NL) // 2] += 4 * (1 - score)
    source = np.repeat(["test", "real"], len(labels_NL) // 2)
    np.savez(folder / "features.npz", features=features_ND.astype(np.float16), labels=labels_NL, source=source)


def _link(like: Path, folder: Path, images: bool) -> None:
    """Names in `folder` for the files of the trial `like`; its own are config, curve and result."""
    for path in like.rglob("*"):
        own = path.name in ("config.json", "metrics.jsonl", "result.json")
        if path.is_file() and not own and (images or path.suffix != ".png"):
            (folder / path.relative_to(like)).parent.mkdir(parents=True, exist_ok=True)
            os.link(path, folder / path.relative_to(like))


def _result(config: TrialConfig, score: float) -> dict[str, Any]:
    terminal = float(np.sqrt(alpha_bars(config.schedule, config.timesteps)[-1]))
    result: dict[str, Any] = {f"accuracy/{name}": round(score + shift, 4) for name, shift in SHIFT.items()}
    result |= {f"accuracy_macro/{name}": round(score + shift + 0.01, 4) for name, shift in SHIFT.items()}
    for name, shift in SHIFT.items():
        result |= {f"exact/{name}": round(0.9 * (score + shift), 4), f"spurious/{name}": round(1 - score - shift, 4)}
        result |= {f"real_accuracy/{name}": 0.96, f"noise_digest/{name}": f"noise of {name}"}
    result |= {"real_images": 300, "memorised_matched": 0.05, "memorised_images": 264}
    result |= {"nearest/generated": 0.11, "nearest/held_out_matched": 0.12}
    result |= {f"x0_error/snr_{low}_{low + 2}": 0.02 * (8 - low) / 16 for low in (-4, -2, 0, 2)}
    result |= {"diversity": round(0.21 - 0.02 * config.guidance_scale + 0.002 * config.seed, 4)}
    result |= {f"chance/{name}": 0.2 for name in OBJECTS} | {f"objects/{name}": n for name, n in OBJECTS.items()}
    seconds = round(0.12 * evaluations(config) * (1.1 if "ddpm" in config.sampler else 1.0) + 0.1 * config.seed, 3)
    result |= {"seconds/train": 600.0 + config.seed, "seconds/sample": seconds, "images": config.total_images}
    result |= {"images_per_second": 106.0, "parameters": 1_000_000, "peak_memory_mb": 900.0}
    result |= {"network_evaluations": evaluations(config), "gflop_forward": 0.5, "train_pflop": 0.096}
    result |= {"weights_sha256": f"{config.weights} of {config.train_key}", "terminal_sqrt_alpha_bar": terminal}
    result |= {"warnings": TERMINAL.format(value=terminal) if terminal > 0.05 else ""}
    result |= {"evaluator_kind": "stand-in", "evaluator_held_out_accuracy": 0.97}
    return result | {"checkpoint_rule": "last step, EMA weights", "data_digest": "0123456789ab"}


def _curve(config: TrialConfig, rng: np.random.Generator, final: float) -> list[dict[str, float]]:
    """Twenty reports; every fifth has a validation accuracy."""
    images = np.linspace(config.total_images / 20, config.total_images, 20)
    pace = 100 * (1 + 0.05 * config.seed)
    lines: list[dict[str, float]] = []
    for index, seen in enumerate(images):
        loss = 0.03 + 0.01 * _place(config) + 0.4 * np.exp(-seen / 9000) + 0.003 * rng.standard_normal()
        line = {"images": int(seen), "seconds": seen / pace, "loss": float(loss), "gradient_norm": 0.5}
        line |= {"lr": config.lr * min(1.0, (index + 1) / 4), "images_per_second": pace}
        # Of decile k of t: an eps network finds little noise hard and much noise easy; decile 3 was not drawn at first.
        shape = {f"loss/t_{decile}": float(loss * 0.6 ** (decile - 2)) for decile in range(10)}
        line |= {name: value for name, value in shape.items() if index or name != "loss/t_3"}
        if index % 4 == 3:
            line["accuracy/validation"] = float(0.2 + (final - 0.25) * (1 - np.exp(-seen / 25000)))
        lines.append(line)
    return lines


def _place(config: TrialConfig) -> int:
    """Of the schedule among SCHEDULES; others stand behind them."""
    return SCHEDULES.index(config.schedule) if config.schedule in SCHEDULES else len(SCHEDULES)


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
    _save(folder / "diversity.png", np.concatenate([_row(scenes[:4])] * 8))
    _save(folder / "interpolation.png", np.concatenate([_row(scenes), _row(scenes[::-1])]))
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


def write_text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
