"""Claims and looks: what is planned before the first look, what the record remembers, what comes too late."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import synthetic_record
from launch import refused

from study.design import plan, registry, scales
from study.record import reader
from study.record.schema import Study


def made(**asked) -> plan.Plan:
    return plan.make("null", registry.find("null"), "smoke", scales.find("smoke"), plan.Request(**asked))


def recorded(of: plan.Plan, **changes) -> Study:
    return of.as_study("2026-11-27T12:00:00+00:00", "command", {}, None).model_copy(update=changes)


def test_a_claim_names_its_looks_before_the_first_one():
    claim = made(confirmatory=True, looks=(5, 10))
    assert claim.seeds == (0, 1, 2, 3, 4)
    assert claim.planned_looks == (5, 10)
    assert made(confirmatory=True).planned_looks == (5,)
    assert made(seeds=3).planned_looks == ()
    said = recorded(claim)
    assert (said.claim, said.planned_looks, said.looks) == (True, (5, 10), ())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"looks": (5, 10)}, "add --confirmatory, or leave them out"),
        ({"confirmatory": True, "looks": (10, 5)}, "write rising numbers of seeds"),
        ({"confirmatory": True, "looks": (1, 5)}, "write rising numbers of seeds"),
        ({"confirmatory": True, "looks": (3, 4)}, "the last one 5 or more"),
        ({"confirmatory": True, "looks": (5, 10), "seeds": 7}, "write --seeds 5 or --seeds 10"),
    ],
)
def test_looks_that_are_no_plan_are_refused(asked, words):
    with pytest.raises(ValueError, match=words):
        made(**asked)


def test_a_study_that_was_looked_at_is_no_claim_any_more():
    """Before, --confirmatory --seeds 5 after a look at 3 printed "Confirmatory"."""
    before = recorded(made(seeds=3))
    with pytest.raises(
        ValueError, match="looked at with 3 seeds before it was planned as a claim: leave --confirmatory out"
    ) as late:
        plan.continued(made(confirmatory=True), before, judged=True)
    assert str(late.value).endswith("a claim needs trainings that nobody has looked at.")
    assert "--record" not in str(late.value)  # another record would train the same seeds again
    grown = plan.continued(made(seeds=5), before, judged=True)
    assert (grown.confirmatory, grown.looks) == (False, (3,))
    # Nothing was judged yet: it may still be planned.
    assert plan.continued(made(confirmatory=True), before, judged=False).confirmatory
    assert plan.continued(made(seeds=3), None, judged=False).looks == ()


def test_a_claim_goes_on_with_its_plan():
    first = recorded(made(confirmatory=True, looks=(5, 10)), looks=(5,))
    second = plan.continued(made(confirmatory=True, seeds=10), first, judged=True)
    assert (second.confirmatory, second.planned_looks, second.looks) == (True, (5, 10), (5,))
    again = plan.continued(made(seeds=5), first, judged=True)  # the same look, without the word
    assert (again.confirmatory, again.planned_looks) == (True, (5, 10))
    with pytest.raises(ValueError, match="write --looks 5 10"):
        plan.continued(made(confirmatory=True, looks=(5, 8)), first, judged=True)
    with pytest.raises(ValueError, match="planned with --seeds 5 or --seeds 10"):
        plan.continued(made(confirmatory=True, seeds=7), first, judged=True)
    beyond = plan.continued(made(seeds=12), first, judged=True)
    assert (beyond.confirmatory, beyond.planned_looks) == (False, ())


def test_the_command_line_reads_what_was_looked_at(tmp_path):
    """A record of an earlier version, complete at three seeds, says nothing of looks: it was one."""
    record = synthetic_record.planned(tmp_path, "null", seeds=3)
    (study_id,) = reader.studies(record)
    arguments = [
        "--study",
        "null",
        "--scale",
        study_id.split("-")[1],
        "--record",
        record,
        "--dry-run",
        "--devices",
        "cpu",
    ]
    late = refused(*arguments, "--confirmatory")
    assert late.returncode == 2
    assert "looked at with 3 seeds before it was planned as a claim" in late.stderr
    assert refused(*arguments, "--seeds", 5).returncode == 0


def test_the_dry_run_of_a_claim_with_looks(tmp_path):
    """What a seed more would add is no look: it was refused as one, "--seeds 6 is none of the planned looks"."""
    arguments = ["--study", "null", "--scale", "smoke", "--confirmatory", "--record", tmp_path, "--devices", "cpu"]
    done = refused(*arguments, "--looks", 5, 10, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "note: Confirmatory: 5 training seeds per arm." in done.stdout
    assert "--seeds 2 makes such a pilot (a pilot is a look: it cannot become a claim)." in done.stdout
    said = json.loads(refused(*arguments, "--looks", 5, 10, "--json").stdout)
    usual = json.loads(refused(*arguments, "--json").stdout)
    assert said["seconds_of_another_seed"] == usual["seconds_of_another_seed"] > 0


def test_a_budget_that_buys_no_table_says_why(miniature_record, tmp_path):
    def said(record, study, hours):
        arguments = ["--study", study, "--scale", "smoke", "--record", record, "--devices", "cpu", "--dry-run"]
        return refused(*arguments, *(["--budget", hours] if hours else [])).stdout

    words = "No table of seeds against passes: it takes two seeds and two sampling passes of a study of this scale in"
    assert words in said(tmp_path / "empty", "schedules", 2)
    assert words in said(miniature_record, "schedules", 2)  # of one pass
    assert "seeds against passes" not in said(miniature_record, "schedules", None)
    search = said(miniature_record, "search", 2)
    assert "seeds against passes" not in search
    assert "search: lr, 0.0008 to 0.008, log scale\n" in search
    assert "search: timesteps, one of 500, 1000, 2000\n" in search


def test_the_dry_run_of_one_seed_counts_one(tmp_path):
    arguments = ["--study", "null", "--scale", "smoke", "--record", tmp_path, "--devices", "cpu", "--dry-run"]
    assert " x 1 seed, " in refused(*arguments, "--seeds", 1).stdout
    assert " x 2 seeds, " in refused(*arguments, "--seeds", 2).stdout
    assert "1 trial of a search, " in refused("--study", "search", "--trials", 1, *arguments[2:]).stdout
    assert "with 1 seed confirms nothing" in refused(*arguments, "--confirmatory", "--seeds", 1).stderr


def test_what_the_budget_buys(miniature_record):
    arguments = ["--study", "schedules", "--scale", "smoke", "--seeds", 3, "--record", miniature_record]
    assert "write hours, such as --budget 2.5" in refused(*arguments, "--dry-run", "--budget", 0).stderr
    assert "--budget plans and runs nothing: add --dry-run" in refused(*arguments, "--budget", 2).stderr
    said = json.loads(refused(*arguments, "--json", "--devices", "cpu", "--budget", 2).stdout)
    assert said["budget_seconds"] == 7200
    assert said["seeds_against_passes"] == []  # the record has one pass: it cannot tell sampling from training


def test_importing_keeps_every_look(tmp_path):
    from study.record.importer import united

    ours = recorded(made(seeds=3), looks=(3,))
    theirs = recorded(made(seeds=5), looks=(3, 5), launched="2026-11-28T12:00:00+00:00")
    assert united(ours, theirs).looks == (3, 5)
    assert united(theirs, replace_looks(ours)).looks == (3, 5)


def replace_looks(study: Study) -> Study:
    return study.model_copy(update={"looks": ()})


def test_a_plan_of_passes():
    """Seeds against passes for one budget: with a noisy pass and cheap sampling, more passes see more."""
    from analysis.stats import power
    from analysis.stats.variance import Split

    split = Split(training=0.01, sampling=0.05, low=0.5, high=1.0, passes=4, df=6)
    spread = power.Spread(0.027, 6, "pilot", 3.2, split)

    def seconds(seeds: int, passes: int) -> float:
        return seeds * (100.0 + 10 * passes)

    made_of = {one.passes: one for one in power.options(spread, seconds, 1000.0, 2)}
    assert {passes: one.seeds for passes, one in made_of.items()} == {1: 9, 2: 8, 4: 7, 8: 5, 16: 3}
    assert all(one.seconds <= 1000 for one in made_of.values())
    assert made_of[4].detectable < made_of[1].detectable
    lines = power.budget_lines(spread, list(made_of.values()), "accuracy/test", "17 min", 4)
    assert sum("smallest" in line for line in lines[1:]) == 1
    assert "1 pass   x   9 seeds" in lines[1]
    assert sum("this plan's passes" in line for line in lines) == 1
    assert power.options(replace(spread, split=None), seconds, 1000.0, 2) == []
    assert power.options(spread, seconds, 200.0, 2) == []
    assert power.no_budget_line(spread, "3 min").endswith("3 min buy fewer than two seeds.")
