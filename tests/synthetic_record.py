"""Synthetic records: arms x seeds with real little PNGs, made in a second, known to the last digit."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runners.ddpm.config import TrialConfig
from tests import adapted_record, synthetic_tasks
from tests.synthetic_trial import SCHEDULES, evaluations, write_text, write_trial

# accuracy/validation of seeds 0, 1, 2 of each arm; the other lists are shifted from it.
VALIDATION = {"linear": (0.60, 0.62, 0.58), "cosine": (0.70, 0.73, 0.69), "squaredcos_cap_v2": (0.80, 0.81, 0.85)}
FAILURE = "Traceback (most recent call last):\n  ...\nValueError: lost <GPU>\n"
QUESTION = "Does the beta schedule matter?"
BASELINE = TrialConfig(total_images=64_000, timesteps=500)


def make(
    root: Path,
    *,
    seeds: Iterable[int] = (0, 1, 2),
    missing: Iterable[tuple[str, int]] = (),
    failed: Iterable[tuple[str, int]] = (),
    task: Mapping[str, Any] | None = None,
    **study: Any,
) -> Path:
    """A record of the study "schedules" in `root`; (schedule, seed) in `missing` are missing, in `failed` have failed.

    `task`: another one than i-CLEVR (`synthetic_tasks`). Keyword arguments replace fields of study.json.
    """
    baseline = BASELINE if task is None else replace(BASELINE, data=synthetic_tasks.source(task))
    arms = {f"schedule={schedule}": replace(baseline, schedule=schedule) for schedule in SCHEDULES}
    fields = {
        "study": "schedules",
        "question": QUESTION,
        "factors": {"schedule": list(SCHEDULES)},
        "published": {"schedule=linear": {"accuracy/test": 0.6}, "schedule=squaredcos_cap_v2": {"accuracy/test": 0.88}},
    }
    lacking = {"missing": {(f"schedule={name}", seed) for name, seed in missing}}
    lacking |= {"failed": {(f"schedule={name}", seed) for name, seed in failed}}
    return write(root, arms, _schedule_score, seeds=seeds, task=task, **lacking, **(fields | study))


def write(
    root: Path,
    arms: Mapping[str, TrialConfig],
    score: Callable[[TrialConfig], float],
    /,
    *,
    seeds: Iterable[int] = (0, 1, 2),
    missing: Collection[tuple[str, int]] = (),
    failed: Collection[tuple[str, int]] = (),
    linked: bool = False,
    task: Mapping[str, Any] | None = None,
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
            config = setting.at_seed(seed, seed)
            folder = root / "trials" / config.trial_key
            trials.append(_trial(config, arm))
            if (arm, seed) in failed:
                write_text(folder.with_name(f"{folder.name}.failed") / "traceback.txt", FAILURE)
            elif (arm, seed) not in missing:
                write_trial(folder, config, score(config), images=seed == seeds[0], like=first)
                first = folder if linked and first is None else first
                if task is not None:
                    synthetic_tasks.rewrite(folder, task, score(config), images=seed == seeds[0])
    name = study.get("study", "study")
    value = {
        "study_id": f"{name}-smoke",
        "study": name,
        "question": QUESTION,
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
    write_text(root / "studies" / value["study_id"] / "study.json", json.dumps(value))
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


def search(root: Path, finished: bool = True, trials: int = 24, finalists: int = 5, **study: Any) -> Path:
    """A search over lr and schedule, its finalists on seeds 1 to 3, and winner and baseline on seeds 4 to 6: there the
    winner is better than the baseline and worse than it seemed.

    Without finalists it is as earlier versions wrote it: the winner has the best score of the search, on seed 0, and
    seeds 1 to 3 answer.
    """
    rng = np.random.default_rng(0)
    searched = [_suggestion(number, finished or number < trials - 1, rng) for number in range(trials)]
    best = sorted((one for one in searched if one["state"] == "complete"), key=lambda one: -one["value"])
    fields: dict[str, Any] = {
        "study": "search",
        "question": "What does tuning find?",
        "factors": {"lr": [1e-5, 1e-2], "schedule": list(SCHEDULES)},
        "search": {
            "trials": searched,
            "planned": trials if finished else trials + 6,
            "winner": best[0]["number"],
            "selection_score": best[0]["value"],
            "search_seed": 0,
            "importance": {"schedule": 0.21, "lr": 0.79},
            "importance_evaluator": "fANOVA (Hutter et al. 2014) over 17 complete trials",
            "pruning": "A trial stops when its validation accuracy is below the median of the others at 16,000 images.",
        },
    }
    winner = best[0]
    if finalists:
        winner = best[1] if len(best) > 1 else best[0]
        again, chosen = _finalists(root, best[:finalists] if finished else [], winner)
        fields["search"] |= chosen | {
            "finalists": again,
            "selection_seeds": [1, 2, 3],
            "answer_metric": "accuracy/unseen",
        }
        fields["search"] |= {"importance_null": {"schedule": 0.4, "lr": 0.6}, "importance_shuffles": 39}
        fields["search"] |= {"importance_limit": {"schedule": 0.55, "lr": 0.75}}
    arms = {"baseline": BASELINE}
    if finished:
        arms["winner"] = TrialConfig.from_dict(winner["config"])

    def score(config: TrialConfig) -> float:
        return 0.60 + 0.15 * (config.lr != BASELINE.lr) + _luck(config, 0.02) + 0.005 * (config.lr < 1e-3) * config.seed

    return write(root, arms, score, seeds=(4, 5, 6) if finalists else (1, 2, 3), **(fields | study))


def _suggestion(number: int, ended: bool, rng: np.random.Generator) -> dict[str, Any]:
    """A search trial as study.json has it; the seventh has failed, every fourth was pruned."""
    lr, schedule = float(np.exp(rng.uniform(np.log(1e-5), np.log(1e-2)))), str(rng.choice(SCHEDULES))
    config = replace(BASELINE, lr=lr, schedule=schedule)
    state = "failed" if number == 7 else "pruned" if number % 4 == 3 else "complete"
    state = state if ended else "running"
    value = 0.78 - 0.05 * abs(np.log10(lr) + 3.3) + 0.02 * SCHEDULES.index(schedule) + 0.02 * rng.standard_normal()
    return {
        "number": number,
        "trial_key": config.trial_key,
        "train_key": config.train_key,
        "state": state,
        "params": {"lr": lr, "schedule": schedule},
        "value": None if state in ("failed", "running") else round(value - 0.1 * (state == "pruned"), 4),
        "pruned_at_images": 16_000 if state == "pruned" else None,
        "config": config.to_dict(),
    }


def _finalists(
    root: Path, best: Sequence[Mapping[str, Any]], winner: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The trials of the finalists on seeds 1 to 3, .05 below their searched scores, and .02 more for the winner."""
    trials = []
    for one in best:
        shift = -0.05 + 0.02 * (one is winner)
        for seed in (1, 2, 3):
            config = replace(TrialConfig.from_dict(one["config"]), seed=seed)
            score = one["value"] + shift + 0.01 * (seed - 2)
            write_trial(root / "trials" / config.trial_key, config, score, images=False, like=None)
            trials.append(_trial(config, f"finalist {one['number']}"))
    if not best:
        return [], {"winner": None, "selection_score": None}
    return trials, {"winner": winner["number"], "selection_score": round(winner["value"] - 0.03, 6)}


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


OF_KIND = {"class": synthetic_tasks.classes, "none": synthetic_tasks.unlabelled}  # beside i-CLEVR's


def planned(root: Path, name: str, seeds: int = 2) -> Path:
    """A record of a study of study/studies, from its own plan at scale smoke; later arms are a little better."""
    from study.design import plan, registry, scales

    found = registry.find(name)
    if found.space:
        return search(root, trials=12)
    if found.experiment == "dann":
        return adapted_record.planned(root, name, seeds)
    value = plan.make(name, found, "smoke", scales.find("smoke"), plan.Request(seeds=seeds))
    order = list(value.design.arms)
    for trial in value.trials:
        score = 0.45 + 0.3 * order.index(trial.arm) / len(order) + _luck(trial.config, 0.02)
        folder = root / "trials" / trial.config.trial_key
        write_trial(folder, trial.config, score, images=trial.seed == 0)
        if (task := OF_KIND.get(value.task.kind)) is not None:
            synthetic_tasks.rewrite(folder, task(), score, images=trial.seed == 0)
    run_ids = {trial.config.trial_key: f"run{trial.config.trial_key}" for trial in value.trials}
    written = value.as_study("2026-11-21T04:00:00+00:00", f"python study/run.py --study {name}", run_ids, None)
    write_text(root / "studies" / value.study_id / "study.json", json.dumps(written.to_json()))
    return root


def _luck(config: TrialConfig, size: float) -> float:
    """What a seed brings in every arm, and a little that differs from arm to arm but not from run to run."""
    own = np.random.default_rng([config.seed, int(config.trial_key, 16)]).standard_normal()
    return size * ((config.seed % 3) - 1) + 0.1 * size * float(own)


def _trial(config: TrialConfig, arm: str) -> dict[str, Any]:
    keys = {"trial_key": config.trial_key, "train_key": config.train_key, "run_id": f"run{config.trial_key}"}
    return {"arm": arm, "seed": config.seed, **keys, "config": config.to_dict()}


def _schedule_score(config: TrialConfig) -> float:
    return VALIDATION[config.schedule][config.seed % 3]  # seeds beyond the three written out repeat them
