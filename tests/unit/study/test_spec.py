"""Specs, designs and plans: what a study file may say, and what it comes to."""

from __future__ import annotations

import itertools

import pytest

from runners.ddpm.config import TrialConfig
from study.design import plan as planning
from study.design import registry, scales
from study.design.space import Choice, Range
from study.design.spec import StudySpec

BASELINE = scales.find("smoke").config


def plan(study: StudySpec, changes=None, seeds=1, **options) -> planning.Plan:
    asked = planning.Request(changes or {}, seeds, **options)
    return planning.make("test", study, "smoke", scales.find("smoke"), asked)


def of(name: str, scale: str, seeds: int | None = None) -> planning.Plan:
    found = registry.find(name)
    return planning.make(name, found, scale, scales.of(found.experiment, scale), planning.Request(seeds=seeds))


CROSSED = {"factors": {"schedule": ("linear", "cosine")}, "baseline": {"schedule": "linear"}}
SEARCH = {"space": {"lr": Range(0.1, 0.2)}, "trials": 3}
BAD = {
    "no arm": ({}, "has no arm"),
    "an unknown field": ({"factors": {"schedul": ("linear",)}, "baseline": {}}, "did you mean 'schedule'"),
    "a field by what it is": ({"factors": {"learning_rate": (0.1,)}, "baseline": {}}, "did you mean 'lr'"),
    "an empty factor": ({"factors": {"schedule": ()}, "baseline": {}}, "values that differ"),
    "a value twice": ({"factors": {"lr": (0.1, 0.1)}, "baseline": {"lr": 0.1}}, "values that differ"),
    "no baseline": ({"factors": {"lr": (0.1, 0.2)}}, "baseline needs a value of the factor 'lr'"),
    "factor and fixed": (CROSSED | {"fixed": {"schedule": "linear"}}, "is both varied and fixed"),
    "factor and nuisance": (CROSSED | {"nuisance": {"schedule": ("linear",)}}, "is both in factors and in nuisance"),
    "crossed and listed": (CROSSED | {"arms": {"a": {}}}, "not both"),
    "no margin": (CROSSED | {"margin": 0.0}, "must be above 0: write margin=0.05"),
    "notes that are one text": (CROSSED | {"notes": "One note."}, r"must be a list of sentences: write notes=\[...\]"),
    "no seeds": (CROSSED | {"seeds": 0}, "seeds=0 runs nothing: write seeds=1 or more"),
    "an unknown metric": (CROSSED | {"metric": "accuracy/tset"}, "did you mean 'accuracy/test'"),
    "a factor that is a text": ({"factors": {"schedule": "linear"}}, r"write \('linear',\)"),
    "published of no arm": (CROSSED | {"published": {"schedule=cosin": {}}}, "did you mean 'schedule=cosine'"),
    "a search of nothing": ({"space": {"lr": Range(0.1, 0.2)}}, "trials=0 finds nothing: write trials=1 or more"),
    "a search that chooses on nothing": (SEARCH | {"selection_seeds": 0}, "write selection_seeds=1 or more"),
    "a search without finalists": (SEARCH | {"finalists": 0}, "leaves no winner: write finalists=1 or more"),
    "a search that chooses on a reported list": (SEARCH | {"metric": "accuracy/test"}, "metric='accuracy/validation'"),
    "a search answered where it chose": (
        SEARCH | {"answer_metric": "accuracy/validation"},
        "did you mean 'accuracy/test'",
    ),
    "a search answered nowhere": (SEARCH | {"answer_metric": "accuracy/unsen"}, "did you mean 'accuracy/unseen'"),
    "an answer of its own in a grid": (CROSSED | {"answer_metric": "accuracy/test"}, "is for a search: write metric="),
    "an empty arm": ({"arms": {"a": {}, "b": {}}}, "The arm 'b' is empty"),
    "a nameless arm": ({"arms": {"a": {}, " ": {"lr": 0.1}}}, "is empty"),
    "two arms that are one": ({"arms": {"a": {"lr": 0.1}, "b": {"lr": 0.1}}}, "'a' and 'b' are one setting"),
    "an unknown baseline": ({"arms": {"a": {"lr": 0.1}}, "baseline_arm": "c"}, "not among the arms: write one of a"),
    "an unknown reference": ({"arms": {"aa": {}, "ab": {"lr": 0.1}}, "against": {"ab": "aaa"}}, "did you mean 'aa'"),
    "an unknown field of an arm": ({"arms": {"a": {}, "b": {"lrr": 0.1}}}, "did you mean 'lr'"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_nonsense_is_refused_with_what_to_write(case):
    fields, words = BAD[case]
    with pytest.raises(ValueError, match=words):
        plan(StudySpec(question="?", **fields))


@pytest.mark.parametrize("dimension", [lambda: Choice(("a",)), lambda: Range(2, 1), lambda: Range(0, 1, log=True)])
def test_ranges_without_extent_are_refused(dimension):
    with pytest.raises(ValueError, match=r"needs"):
        dimension()


def test_against():
    """By default the baseline; "previous" the row before; a mapping says so per arm, "" for none."""
    arms = {"a": {}, "b": {"lr": 0.1}, "c": {"lr": 0.2}, "d": {"lr": 0.3}}
    for against, expected in {
        "baseline": {"b": "a", "c": "a", "d": "a"},
        "previous": {"b": "a", "c": "b", "d": "c"},
    }.items():
        assert StudySpec(question="?", arms=arms, against=against).design("smoke", BASELINE).against == expected
    given = StudySpec(question="?", arms=arms, against={"c": "b", "d": ""}).design("smoke", BASELINE)
    assert given.against == {"b": "a", "c": "b"}


def test_factors_of_listed_arms_are_the_fields_that_differ():
    arms = {"a": {"lr": 0.1, "timesteps": 500}, "b": {"lr": 0.2, "timesteps": 500}, "c": {"timesteps": 500}}
    design = StudySpec(question="?", arms=arms).design("smoke", BASELINE)
    assert design.factors == {"lr": (0.1, 0.2, BASELINE.lr)}


def test_nuisance_is_crossed_with_the_factors():
    study = StudySpec(
        question="?",
        factors={"drop_probability": (0.0, 0.1)},
        nuisance={"guidance_scale": (1.0, 2.0)},
        baseline={"drop_probability": 0.1, "guidance_scale": 1.0},
    )
    made = plan(study, seeds=2)
    assert len(made.trials) == 8
    assert len(made.train_keys) == 4
    assert made.as_study("now", "command", {}, None).nuisance == ("guidance_scale",)
    with pytest.raises(ValueError, match="is a factor of the study"):
        plan(study, {"guidance_scale": 3.0})


def test_power_is_planned_for_the_comparisons_that_get_a_verdict():
    """With nuisance factors the settings at their best value, on a reported list: five drop probabilities are four
    comparisons. Before, the 30 arms were 29, and the dry run asked for a difference twice as large."""
    dropout = of("dropout", "laptop")
    assert (dropout.comparisons, dropout.answered_in) == (4, "accuracy/test")
    guidance = of("guidance", "laptop")
    assert (guidance.comparisons, guidance.answered_in) == (5 + 2, "accuracy/validation")


def test_a_search_plans_the_baseline_and_then_its_winner_on_seeds_that_chose_nothing():
    """Scale smoke has one seed: the search trains on 0, the finalists on 1, the answer on 2 and, as asked for, 3."""
    study = StudySpec(question="?", space={"lr": Range(1e-3, 1e-2, log=True)}, trials=7)
    made = plan(study, seeds=2)
    assert (made.searched, made.seeds, [trial.arm for trial in made.trials]) == (7, (2, 3), ["baseline", "baseline"])
    assert (made.most_finalists, made.selection_seeds, made.answered_in) == (5, (1,), "accuracy/test")
    won = made.with_winner({"lr": 0.005})
    assert [(trial.arm, trial.config.seed, trial.config.lr) for trial in won.trials] == [
        ("baseline", 2, BASELINE.lr),
        ("winner", 2, 0.005),
        ("baseline", 3, BASELINE.lr),
        ("winner", 3, 0.005),
    ]
    assert plan(study, searched=3).searched == 3


def test_the_search_of_the_project_is_answered_on_label_sets_that_no_training_image_shows():
    made = of("search", "laptop")
    assert (made.selection_seeds, made.seeds, made.answered_in) == ((1, 2, 3), (4, 5, 6), "accuracy/unseen")
    assert of("schedules", "laptop").answered_in == "accuracy/validation"


@pytest.mark.parametrize(
    ("name", "scale"),
    [(name, scale) for name in registry.names() for scale in scales.offered_by(registry.find(name).experiment)],
)
def test_every_study_can_run_at_every_scale(name, scale):
    from study.cli.request import check

    made = of(name, scale)
    check(made)
    assert len({trial.config.trial_key for trial in made.trials}) == len(made.trials)
    assert made.design.baseline_arm in made.design.arms


def trainings(name: str) -> tuple[int, int]:
    made = of(name, "laptop", 3)
    return len(made.trials), len(made.train_keys)


def test_studies_of_sampling_share_their_trainings():
    """guidance at n seeds runs n trainings, not 6 n; so do the samplers; dropout crosses 5 with 6."""
    assert trainings("guidance") == (18, 3)
    assert trainings("samplers") == (72, 3)
    assert trainings("dropout") == (90, 15)
    assert trainings("report_r4") == (27, 9)
    assert trainings("ladder") == (30, 24)


def test_studies_share_trainings_with_each_other():
    """The laptop's own setting is one training per seed, whichever study asks for it."""
    keys = [
        set(of(name, "laptop", 1).train_keys)
        for name in ("guidance", "samplers", "schedules", "dropout", "timesteps", "architectures", "objective")
    ]
    assert len(set.intersection(*keys)) == 1


def test_the_terminal_signal_is_confounded_with_t_only_in_the_fixed_arms():
    from runners.ddpm.schedules import alpha_bars

    design = registry.find("timesteps").design("laptop", scales.find("laptop").config)
    ends = {name: alpha_bars(arm["schedule"], arm["timesteps"])[-1] ** 0.5 for name, arm in design.arms.items()}
    assert ends["T=500 matched"] == pytest.approx(ends["T=1000"]) == pytest.approx(ends["T=2000 matched"])
    assert ends["T=500 fixed"] == pytest.approx(0.0797, abs=1e-4)
    assert ends["T=2000 fixed"] == pytest.approx(4e-5, rel=0.02)


EXACT = {
    "R0": {
        "model": "context_unet", "timesteps": 400, "schedule": "linear_from_zero", "total_images": 150 * 18_009,
        "batch_size": 64, "lr": 1e-4, "drop_probability": 0.0, "guidance_scale": 1.0, "sampler": "ddpm",
    },
    "R1 T=2000": {
        "model": "unet(encoder='mlp')", "timesteps": 2000, "schedule": "squaredcos_cap_v2",
        "total_images": 50 * 18_009, "batch_size": 32, "lr": 1e-4, "lr_schedule": "constant", "weights": "raw",
    },
    "R2": {
        "model": "unet", "timesteps": 1000, "total_images": 28 * 18_009, "batch_size": 20, "lr": 1e-5,
        "weight_decay": 0.01, "lr_schedule": "constant", "prediction": "eps", "weighting": "uniform",
    },
    "R4 cosine s=1.5": {
        "model": "unet", "schedule": "cosine", "guidance_scale": 1.5, "drop_probability": 0.2, "batch_size": 32,
        "total_images": 200 * 18_009, "lr": 1e-5, "lr_schedule": "cosine", "precision": "bf16", "warmup_images": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("arm", EXACT)
def test_reports_have_their_exact_settings_at_paper_scale(arm):
    design = registry.find("reports").design("paper", scales.find("paper").config)
    config = scales.find("paper").config.replace(**design.arms[arm])
    assert {name: getattr(config, name) for name in EXACT[arm]} == EXACT[arm]


def test_reports_shrink_by_common_factors():
    laptop = scales.find("laptop").config
    arms = registry.find("reports").design("laptop", laptop).arms
    config = {name: laptop.replace(**arm) for name, arm in arms.items()}
    images = {name: one.total_images for name, one in config.items()}
    assert images["R4 linear s=1.0"] == laptop.total_images
    assert images["R0"] / images["R4 linear s=1.0"] == pytest.approx(150 / 200)
    assert images["R2"] / images["R1 T=500"] == pytest.approx(28 / 50)
    assert config["R1 T=500"].lr == laptop.lr
    assert config["R2"].lr == pytest.approx(laptop.lr / 10)
    assert [one.model.split("(")[0] for one in (config["R0"], config["R2"])] == ["context_unet", "unet"]


def test_reports_are_the_single_reports_together():
    """The same keys: a report that has been run alone is not run again with the others."""
    everything = of("reports", "gpu", 1)
    for name in ("report_r0", "report_r1", "report_r2", "report_r4"):
        alone = of(name, "gpu", 1)
        assert {t.config.trial_key for t in alone.trials} <= {t.config.trial_key for t in everything.trials}


def test_the_ladder_changes_one_thing_a_row_and_ends_at_our_best():
    for scale in ("laptop", "gpu", "paper"):
        baseline = scales.find(scale).config
        design = registry.find("ladder").design(scale, baseline)
        configs = [baseline.replace(**arm).to_dict() for arm in design.arms.values()]
        for before, after in itertools.pairwise(configs):
            assert before != after
        assert len({config["total_images"] for config in configs}) == 1
        best = TrialConfig.from_dict(configs[-1])
        wanted = baseline if scale != "paper" else scales.find("gpu").config.replace(total_images=3_600_000)
        same = {"schedule": "cosine", "model": best.model, "drop_probability": wanted.drop_probability}
        kept = {name: baseline.to_dict()[name] for name in ("sampling_seeds", "quality_samples")}
        assert best == wanted.replace(**same, **kept)


def test_the_planted_null_is_one_setting_with_other_training_seeds():
    made = of("null", "laptop", 2)
    assert [(trial.arm, trial.seed, trial.config.seed) for trial in made.trials] == [
        ("one", 0, 0),
        ("the same again", 0, 1000),
        ("one", 1, 1),
        ("the same again", 1, 1001),
    ]
    assert len({trial.config.at_seed(0, 0) for trial in made.trials}) == 1
    assert made.design.factors == {}
    assert [row.seed for row in made.as_study("now", "command", {}, None).trials] == [0, 0, 1, 1]


def test_contrasts_are_checked():
    arms = {"a": {}, "b": {"lr": 0.1}, "c": {"lr": 0.2}}

    def design(**weights):
        return StudySpec(question="?", arms=arms, contrasts={"one": weights}).design("smoke", BASELINE)

    assert design(b=1, c=-1).contrasts == {"one": {"b": 1, "c": -1}}
    for weights, words in (
        ({"b": 1, "d": -1}, "names the unknown arm 'd'"),
        ({"b": 1, "c": 1}, "must sum to 0"),
        ({"b": 0, "c": 0}, "must sum to 0 over two arms or more"),
        ({"b": 1, "a": -1}, "compares an arm with its reference"),
    ):
        with pytest.raises(ValueError, match=words):
            design(**weights)


def test_noise_is_drawn_per_block_and_is_no_setting():
    made = plan(StudySpec(question="?", arms={"a": {}, "b": {"seed": 1000}}), seeds=2)
    assert [(trial.config.seed, trial.config.noise_seed) for trial in made.trials] == [
        (0, 0),
        (1000, 0),
        (1, 1),
        (1001, 1),
    ]
    with pytest.raises(ValueError, match="noise_seed is a replication"):
        plan(StudySpec(question="?", arms={"a": {}}), {"noise_seed": 3})
    with pytest.raises(ValueError, match="drawn anew for each training seed"):
        StudySpec(question="?", factors={"noise_seed": (0, 1)}, baseline={"noise_seed": 0})


def test_every_study_says_why_its_margin_is_what_it_is():
    for name in registry.names():
        if registry.find(name).kinds != ("none",):  # KID has no margin
            assert len(registry.find(name).margin_reason) > 20, name
