"""A search in words: pruned trials, finalists, the winner's scores, the answer, and what can be told from noise."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import synthetic_record
from frames import METRIC, lr_results

from analysis.narrative import answer as answers
from analysis.narrative import explain, protocol
from analysis.narrative import search as search_text
from analysis.results import Results
from analysis.tables import comparison
from analysis.tables import search as search_table


def test_a_search_is_told_with_its_finalists_and_answered_on_another_list(tmp_path: Path) -> None:
    """The winner is the second best where it was searched, and the best where it was trained again."""
    record = synthetic_record.search(tmp_path)
    results = Results.open("search", record)
    assert results.metric == "accuracy/unseen"
    searched = search_table.table(results)
    assert list(searched.columns) == ["trial", "state", "lr", "schedule", METRIC, "pruned at images", "chosen"]
    assert searched["state"].value_counts().to_dict() == {"complete": 18, "pruned": 5, "failed": 1}
    assert searched.set_index("trial")["chosen"].value_counts().to_dict() == {"": 19, "finalist": 4, "winner": 1}
    best = searched[searched["state"] == "complete"].sort_values(METRIC, ascending=False)
    winner = best.iloc[1]
    assert winner["chosen"] == "winner"
    shown = search_table.readable(searched, results)
    assert shown.loc[7, [METRIC, "pruned at images"]].tolist() == ["-", "-"]
    assert shown.loc[3, "pruned at images"] == "16,000"
    again = search_table.finalists(results)
    assert again["trial"].tolist() == [winner["trial"], best.iloc[0]["trial"], *best["trial"].iloc[2:5]]
    assert again["mean"].iloc[0] == pytest.approx(winner[METRIC] - 0.03)
    mean = comparison.summary(results, METRIC).set_index("arm").loc["winner", "mean"]
    said = "\n".join(protocol.protocol(results))
    for expected in (
        "Search: 24 of 24 search trials are done (18 complete, 5 pruned, 1 failed). A trial stops when",
        "Pruned after 16,000 images: trials 3, 11, 15, 19 and 23 (5 of 24). They have no final score, so none of them",
        "the importance leaves them out",
        "TPE ranks them below every complete trial.",
        "the 5 best of 18 complete trials on seed 0, were trained again on seeds 1, 2 and 3.",
        f"The winner is trial {winner['trial']}, whose mean in accuracy/validation there is the best, ",
        "the scores on seed 0 are not used again.",
        f"the winner has {winner[METRIC]:.3f} on seed 0 and {winner[METRIC] - 0.03:.3f} on seeds 1, 2 and 3; it has "
        f"{mean:.3f} [",
        "on seeds 4, 5 and 6, which chose nothing (n = 3).",
        # expected maximum of 5 normals 1.163 (Teichroew 1956); sd .01 between the seeds of a finalist
        f"the best mean of 5 equally good finalists looks {1.163 * 0.01 / 3**0.5:.3f} better than it is, 1.16 times",
        "Answer: winner and baseline are compared in accuracy/unseen on seeds 4, 5 and 6, which chose nothing.",
        "lr 0.79 (0.60, 0.75), schedule 0.21 (0.40, 0.55). In brackets what noise gives: the mean of 39 shuffles",
        "Above the limit: lr. Indistinguishable from noise: schedule; beside a strong parameter",
    ):
        assert expected in said, expected
    found = answers.answer(results)
    assert found.startswith("In accuracy/unseen, against baseline (0.5")
    assert "winner is better by 0.1" in found
    assert "on seeds 4, 5 and 6, which chose nothing; the mean that the winner was chosen for" in found


def test_a_finalist_that_is_incomplete_is_named(tmp_path: Path) -> None:
    record = synthetic_record.search(tmp_path)
    last = Results.open("search", record).study.search.finalists[-1]
    (record / "trials" / last.trial_key / "result.json").unlink()
    results = Results.open("search", record)
    number = last.arm.removeprefix("finalist ")
    assert f"Incomplete there, and so not chosen: trial {number}." in "\n".join(search_text.lines(results))
    assert search_table.readable_finalists(search_table.finalists(results), results)["n"].iloc[-1] == "2/3"
    study = results.study.model_copy(update={"arms": ("baseline",), "trials": results.study.trials[::2]})
    open_search = study.search.model_copy(update={"winner": None, "selection_score": None})
    waiting = results.of(study.model_copy(update={"search": open_search}), results.rows[::2])
    assert answers.answer(waiting) == (
        "No answer yet: 24 of 24 search trials are done (18 complete, 5 pruned, 1 failed); 14 of 15 trainings of its 5 "
        "finalists are complete."
    )
    assert "so there is no winner yet" in "\n".join(search_text.lines(waiting))


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.5, 0.5), "No parameter is above its limit. Indistinguishable from noise: a and b."),
        ((0.7, 0.3), "Above the limit: a. Indistinguishable from noise: b; beside a strong"),
        ((0.7, 0.7), "Above their limit: a and b."),
    ],
)
def test_a_parameter_is_told_from_noise_by_its_limit_alone(shares: tuple[float, float], expected: str) -> None:
    table = pd.DataFrame({"parameter": ["a", "b"], "importance": shares, "null mean": 0.5, "null limit": 0.6})
    assert search_text.verdict(table).startswith(expected)


def test_a_search_that_found_the_baseline_says_so(tmp_path: Path) -> None:
    record = synthetic_record.search(tmp_path)
    results = Results.open("search", record)
    search = results.study.search
    same = search.best.model_copy(update={"config": results.study.baseline})
    trials = [same if trial.number == search.winner else trial for trial in search.trials]
    fields = {"arms": ("baseline",), "search": search.model_copy(update={"trials": tuple(trials)})}
    found = results.of(results.study.model_copy(update=fields), results.rows[results.rows["arm"] == "baseline"])
    assert answers.answer(found) == (
        f"The search found nothing better than the baseline: its winner, trial {search.winner} of 18 complete trials, "
        "is the baseline's own setting."
    )


def test_a_search_of_an_earlier_version_is_told_with_its_selection_score(tmp_path: Path) -> None:
    """Its winner had the best score of the search, and is answered on the list that chose it."""
    record = synthetic_record.search(tmp_path, finalists=0)
    results = Results.open("search", record)
    assert results.metric == METRIC
    searched = search_table.table(results)
    best = searched[searched["state"] == "complete"][METRIC].max()
    assert searched.loc[searched["chosen"] == "winner", METRIC].tolist() == [best]
    assert search_table.finalists(results).empty
    mean = comparison.summary(results, METRIC).set_index("arm").loc["winner", "mean"]
    said = "\n".join(protocol.protocol(results))
    for expected in (
        f"scored {best:.3f} in accuracy/validation on seed 0, the best of 18 complete trials. Chosen on",
        f"The winner has {mean:.3f} [",
        "on seeds 1, 2 and 3, which chose nothing (n = 3).",
        f"Expected optimism: the best of 18 equally good settings looks 1.82 standard deviations better than it is, "
        # expected maximum of 18 normals 1.8200 (Teichroew 1956); objects: 128
        f"here {1.8200 * (best * (1 - best) / 128) ** 0.5:.3f}, where {(best * (1 - best) / 128) ** 0.5:.3f} = sqrt(p",
        "This is a lower bound: variation between trainings adds to it.",
        "Importance by fANOVA (Hutter et al. 2014) over 17 complete trials: lr 0.79, schedule 0.21 (shares of the",
        "variance; noise has shares too, and its own were not computed).",
    ):
        assert expected in said, expected
    found = answers.answer(results)
    assert "winner is better by 0.1" in found
    selected = f"its selection score, the best of 18 and so optimistically biased by selection, was {best:.3f} (n = 3"
    assert f"on fresh seeds; {selected}" in found


def test_a_search_that_is_not_finished_has_no_answer(tmp_path: Path) -> None:
    record = synthetic_record.search(tmp_path / "new", finished=False)
    counts = "23 of 30 search trials are done (18 complete, 4 pruned, 1 failed)"
    assert answers.answer(Results.open("search", record)) == f"No answer yet: {counts}."
    record = synthetic_record.search(tmp_path / "old", finished=False, finalists=0)
    assert answers.answer(Results.open("search", record)) == (
        "No answer yet: 23 of 30 search trials are done (18 complete, 4 pruned, 1 failed); the best so far, trial 16, "
        "has not been trained on fresh seeds."
    )
    assert search_table.table(lr_results([[0.6, 0.7]])).empty


def test_the_winner_is_explained_by_the_trainings_that_chose_it(tmp_path: Path) -> None:
    results = Results.open("search", synthetic_record.search(tmp_path))
    said = explain.text(results, "winner")
    first = search_table.finalists(results).iloc[0]
    assert "how the winner was chosen: the best mean accuracy/validation\ntrial  seed 0 (searched)  seed 1" in said
    assert re.search(rf"finalist {first['trial']} +1 +complete +{first['seed 1']:.6f}", said)
    assert "how the winner was chosen" not in explain.text(results, "baseline")
