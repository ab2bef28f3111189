"""Synthetic records in miniature: arms x seeds with real little PNGs, made in a second, known to the last digit."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from runners.config import Call
from runners.ddpm.config import TrialConfig
from runners.ddpm.schedules import alpha_bars, betas, log_snr
from runners.evaluation.score_sheet import by_class
from runners.tasks.iclevr.labels import LABELS, multi_hot

SIDE = 32
SCHEDULES = ("linear", "cosine", "squaredcos_cap_v2")
# accuracy/validation of seeds 0, 1, 2 of each arm; the other lists are shifted from it.
VALIDATION = {"linear": (0.60, 0.62, 0.58), "cosine": (0.70, 0.73, 0.69), "squaredcos_cap_v2": (0.80, 0.81, 0.85)}
SHIFT = {"validation": 0.0, "test": -0.02, "new_test": 0.01, "unseen": -0.05}
OBJECTS = {"validation": 128, "test": 72, "new_test": 84, "unseen": 120}
CONDITIONS = [["red sphere"], ["cyan cube", "blue sphere"], ["gray cylinder"], ["red cube", "gray cube", "cyan sphere"]]
FAILURE = "Traceback (most recent call last):\n  ...\nValueError: lost <GPU>\n"
QUESTION = "Does the beta schedule matter?"
BASELINE = TrialConfig(total_images=64_000, timesteps=500)
# The runner's sentence, word for word.
TERMINAL = (
    "The schedule ends at sqrt(alpha_bar_T) = {value:.3f} > 0.05: sampling starts from pure noise, which the training "
    "never saw, so schedule, T and terminal SNR are confounded."
)


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
    arms = {f"schedule={schedule}": replace(BASELINE, schedule=schedule) for schedule in SCHEDULES}
    fields = {
        "study": "schedules",
        "question": QUESTION,
        "factors": {"schedule": list(SCHEDULES)},
        "published": {"schedule=linear": {"accuracy/test": 0.6}, "schedule=squaredcos_cap_v2": {"accuracy/test": 0.88}},
    }
    lacking = {"holes": {(f"schedule={name}", seed) for name, seed in holes}}
    lacking |= {"failed": {(f"schedule={name}", seed) for name, seed in failed}}
    return write(root, arms, _schedule_score, seeds=seeds, **lacking, **(fields | study))


def write(
    root: Path,
    arms: Mapping[str, TrialConfig],
    score: Callable[[TrialConfig], float],
    /,
    *,
    seeds: Iterable[int] = (0, 1, 2),
    holes: Collection[tuple[str, int]] = (),
    failed: Collection[tuple[str, int]] = (),
    linked: bool = False,
    **study: Any,
) -> Path:
    """A record of any arms, whose validation accuracy is `score`; the first arm is the baseline, seed 0 has images.

    With `linked` all trials share the pictures, outcomes and schedule of the first.
    """
    seeds = list(seeds)
    trials = []
    first: Path | None = None
    for arm, setting in arms.items():
        for seed in seeds:
            config = replace(setting, seed=seed)
            folder = root / "trials" / config.trial_key
            trials.append(_trial(config, arm))
            if (arm, seed) in failed:
                _write(folder.with_name(f"{folder.name}.failed") / "traceback.txt", FAILURE)
            elif (arm, seed) not in holes:
                write_trial(folder, config, score(config), images=seed == seeds[0], like=first)
                first = folder if linked and first is None else first
    name = study.get("study", "study")
    value = {
        "study_id": f"{name}-smoke",
        "scale": "smoke",
        "launched": "2026-11-21T04:00:00+00:00",
        "metric": "accuracy/validation",
        "baseline_arm": next(iter(arms)),
        "arms": list(arms),
        "seeds": seeds,
        "published": {},
        "baseline": next(iter(arms.values())).to_dict(),
        "command": f"python study/run.py --study {name} --scale smoke",
        "trials": trials,
    } | study
    _write(root / "studies" / value["study_id"] / "study.json", json.dumps(value))
    return root


# --- a small record of every kind of study -----------------------------------------------------------


def guidance(root: Path, drops: int = 3, scales: int = 4, **study: Any) -> Path:
    """drop_probability x guidance_scale: unguided the drops are equal, and the best scale is 2.0 for every p > 0."""
    factors = {
        "drop_probability": [round(0.1 * index, 1) for index in range(drops)],
        "guidance_scale": [1.0 + 0.5 * index for index in range(scales)],
    }
    arms = {
        f"drop_probability={p} guidance_scale={s}": replace(BASELINE, drop_probability=p, guidance_scale=s)
        for p in factors["drop_probability"]
        for s in factors["guidance_scale"]
    }

    def score(config: TrialConfig) -> float:
        gain = 0.6 * config.drop_probability * (1 - abs(config.guidance_scale - 2.0))
        return 0.60 + gain + _luck(config, 0.01)

    fields = {"study": "dropout", "question": "How often must the condition be dropped?", "factors": factors}
    return write(root, arms, score, **(fields | {"nuisance": ["guidance_scale"]} | study))


def samplers(root: Path, steps: Sequence[int] = (5, 10, 25, 50, 100), etas: int = 3, **study: Any) -> Path:
    """ddpm and ddim with `etas` values of eta at the same numbers of steps: more steps help, noise costs at few."""
    names = [f"ddpm(steps={n})" for n in steps]
    for eta in (0.0, 1.0, 0.5, 0.25, 0.75)[:etas]:
        names += [f"ddim(eta={eta}, steps={n})" if eta else f"ddim(steps={n})" for n in steps]
    arms = {f"sampler={name}": replace(BASELINE, sampler=name) for name in names}

    def score(config: TrialConfig) -> float:
        noisy = 0.0 if "eta" not in config.sampler and "ddim" in config.sampler else 1.0
        return 0.82 - (0.3 + 0.9 * noisy) / evaluations(config) + _luck(config, 0.01)

    fields = {"study": "samplers", "question": "How few steps are enough?", "factors": {"sampler": names}}
    return write(root, arms, score, **(fields | study))


def ladder(root: Path, **study: Any) -> Path:
    """Four rows, each one change more: the schedule helps, the flips do nothing, the raw weights hurt."""
    rows = [BASELINE]
    for change in ({"schedule": "cosine"}, {"flips": True}, {"weights": "raw"}):
        rows.append(replace(rows[-1], **change))  # type: ignore[arg-type]
    arms = dict(zip(("start", "+ cosine", "+ flips", "+ raw weights"), rows, strict=True))

    def score(config: TrialConfig) -> float:
        step = 0.1 * (config.schedule == "cosine") - 0.08 * (config.weights == "raw")
        return 0.60 + step + _luck(config, 0.02) + 0.004 * config.flips * (config.seed - 1)

    names = list(arms)
    fields = {
        "study": "ladder",
        "question": "Which step helps?",
        "factors": {"schedule": ["linear", "cosine"], "flips": [False, True], "weights": ["ema", "raw"]},
        "against": dict(zip(names[1:], names, strict=False)),
        "notes": ["Training FLOPs of all arms agree within 10 %."],
    }
    return write(root, arms, score, **(fields | study))


def search(root: Path, finished: bool = True, trials: int = 24, **study: Any) -> Path:
    """A search over lr and schedule; on fresh seeds the winner is better than the baseline and worse than it seemed."""
    rng = np.random.default_rng(0)
    searched = []
    for number in range(trials):
        lr, schedule = float(np.exp(rng.uniform(np.log(1e-5), np.log(1e-2)))), str(rng.choice(SCHEDULES))
        config = replace(BASELINE, lr=lr, schedule=schedule)
        state = "failed" if number == 7 else "pruned" if number % 4 == 3 else "complete"
        state = state if finished or number < trials - 1 else "running"
        value = 0.78 - 0.05 * abs(np.log10(lr) + 3.3) + 0.02 * SCHEDULES.index(schedule) + 0.02 * rng.standard_normal()
        searched.append(
            {
                "number": number,
                "trial_key": config.trial_key,
                "train_key": config.train_key,
                "state": state,
                "params": {"lr": lr, "schedule": schedule},
                "value": None if state in ("failed", "running") else round(value - 0.1 * (state == "pruned"), 4),
                "pruned_at_images": 16_000 if state == "pruned" else None,
                "config": config.to_dict(),
            }
        )
    best = max((trial for trial in searched if trial["state"] == "complete"), key=lambda trial: trial["value"])
    arms = {"baseline": BASELINE}
    if finished:
        arms["winner"] = TrialConfig.from_dict(best["config"])
    fields: dict[str, Any] = {
        "study": "search",
        "question": "What does tuning find?",
        "factors": {"lr": [1e-5, 1e-2], "schedule": list(SCHEDULES)},
        "search": {
            "trials": searched,
            "planned": trials if finished else trials + 6,
            "winner": best["number"],
            "selection_score": best["value"],
            "search_seed": 0,
            "importance": {"schedule": 0.21, "lr": 0.79},
            "importance_evaluator": "fANOVA (Hutter et al. 2014) over 17 complete trials",
            "pruning": "A trial stops when its validation accuracy is below the median of the others at 16,000 images.",
        },
    }

    def score(config: TrialConfig) -> float:
        return 0.60 + 0.15 * (config.lr != BASELINE.lr) + _luck(config, 0.02) + 0.005 * (config.lr < 1e-3) * config.seed

    return write(root, arms, score, seeds=(1, 2, 3), **(fields | study))


def reports(root: Path, **study: Any) -> Path:
    """Published settings: T = 1000 is the reference of a report, and its differences are smaller than its noise."""
    arms = {f"R1 T={steps}": replace(BASELINE, timesteps=steps) for steps in (1000, 500, 2000)}
    arms["R2"] = replace(BASELINE, lr=1e-5)

    def score(config: TrialConfig) -> float:
        return {500: 0.74, 1000: 0.76, 2000: 0.70}[config.timesteps] - 0.05 * (config.lr < 5e-5) + _luck(config, 0.02)

    values = {"R1 T=1000": 0.775, "R1 T=500": 0.76, "R1 T=2000": 0.69, "R2": 0.686}
    fields = {
        "study": "reports",
        "question": "Do the published settings repeat?",
        "factors": {"timesteps": [500, 1000, 2000], "lr": [1e-4, 1e-5]},
        "against": {"R1 T=500": "R1 T=1000", "R1 T=2000": "R1 T=1000"},
        "published": {arm: {"accuracy/test": value} for arm, value in values.items()},
    }
    return write(root, arms, score, **(fields | study))


def many(root: Path, arms: int = 40, seeds: int = 50) -> Path:
    """A large record fast: learning rates x seeds; what does not depend on them is one file with many names."""
    settings = {f"lr={lr:g}": replace(BASELINE, lr=float(f"{lr:g}")) for lr in np.geomspace(1e-5, 1e-2, arms)}
    fields = {"study": "many", "question": "Which learning rate?", "factors": {"lr": [c.lr for c in settings.values()]}}
    score = {config.lr: 0.5 + 0.1 * (index / arms) for index, config in enumerate(settings.values())}
    return write(
        root, settings, lambda config: score[config.lr] + _luck(config, 0.01), seeds=range(seeds), linked=True, **fields
    )


def planned(root: Path, name: str, seeds: int = 2) -> Path:
    """A record of a study of study/studies, from its own plan at scale smoke; later arms are a little better."""
    from study.design import plan, scales, spec

    found = spec.find(name)
    if found.space:
        return search(root, trials=12)
    value = plan.make(name, found, "smoke", scales.find("smoke"), {}, seeds)
    order = list(value.design.arms)
    for trial in value.trials:
        score = 0.45 + 0.3 * order.index(trial.arm) / len(order) + _luck(trial.config, 0.02)
        write_trial(root / "trials" / trial.config.trial_key, trial.config, score, images=trial.seed == 0)
    run_ids = {trial.config.trial_key: f"run{trial.config.trial_key}" for trial in value.trials}
    written = value.to_json("2026-11-21T04:00:00+00:00", f"python study/run.py --study {name}", run_ids, None)
    _write(root / "studies" / value.study_id / "study.json", json.dumps(written))
    return root


def _luck(config: TrialConfig, size: float) -> float:
    """What a seed brings in every arm, and a little that differs from arm to arm but not from run to run."""
    own = np.random.default_rng([config.seed, int(config.trial_key, 16)]).standard_normal()
    return size * ((config.seed % 3) - 1) + 0.1 * size * float(own)


def evaluations(config: TrialConfig) -> int:
    """Forward passes an image takes, as the runner counts them."""
    steps = dict(Call.parse(config.sampler).arguments).get("steps", config.timesteps)
    return int(steps) * (1 if config.guidance_scale == 1 else 2)


# --- a trial -----------------------------------------------------------------------------------------


def _trial(config: TrialConfig, arm: str) -> dict[str, Any]:
    keys = {"trial_key": config.trial_key, "train_key": config.train_key, "run_id": f"run{config.trial_key}"}
    return {"arm": arm, "seed": config.seed, **keys, "config": config.to_dict()}


def _schedule_score(config: TrialConfig) -> float:
    return VALIDATION[config.schedule][config.seed % 3]  # seeds beyond the three written out repeat them


def write_trial(
    folder: Path, config: TrialConfig, score: float | None = None, images: bool = True, like: Path | None = None
) -> None:
    """A complete trial folder: configuration, result, learning curve, schedule, scores by class and images.

    What depends on neither the setting nor the score is linked to the files of `like`, if it is given.
    """
    score = _schedule_score(config) if score is None else score
    rng = np.random.default_rng([config.seed, _place(config)])
    _write(folder / "config.json", json.dumps(config.to_dict()))
    _write(folder / "metrics.jsonl", "".join(f"{json.dumps(line)}\n" for line in _curve(config, rng, score)))
    if like is not None:
        _link(like, folder, images)
        _write(folder / "result.json", json.dumps(_result(config, score)))
        return
    _write(folder / "environment.json", json.dumps({"device": "cpu", "torch": "2.13.0", "python": "3.11.2"}))
    _write(folder / "conditions.json", json.dumps(dict.fromkeys(OBJECTS, CONDITIONS * 2)))
    _write(folder / "schedule.csv", _schedule(config))
    write_outcomes(folder, score)
    write_features(folder, score)
    if images:
        _images(folder, config, rng)
    _write(folder / "result.json", json.dumps(_result(config, score)))


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
    rows = [row for name, seen_KNL in arrays.items() for row in by_class(name, seen_KNL, multi_hot(CONDITIONS * 2))]
    lines = [",".join(map(str, row.values())) for row in rows]
    _write(folder / "classes.csv", "\n".join([",".join(rows[0]), *lines, ""]))


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
        result |= {f"ceiling/{name}": 0.96, f"noise_digest/{name}": f"noise of {name}"}
    result |= {"ceiling_images": 300, "memorised": 0.05, "nearest/generated": 0.11, "nearest/held_out": 0.12}
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


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
