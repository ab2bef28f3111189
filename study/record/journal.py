"""What became known of a study since study.json was written: a line each, appended, so that no event of one trial
costs more in a larger study.

A launch writes study.json when it begins and when it ends; in between, and after a kill, the journal says the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runners.process.files import append_lines, read_lines, write_json
from study.record import layout
from study.record.schema import Search, SearchTrial, Study, renamed

RUN, SUGGESTION = "run", "suggestion"  # kinds of lines


class Journal:
    """The journal of one study; the scheduler alone writes it."""

    def __init__(self, record: Path, study_id: str) -> None:
        self.path = layout.journal_file(record, study_id)
        self.study_file = layout.study_file(record, study_id)

    def run(self, trial_key: str, run_id: str) -> None:
        """A trial got its finished run of MLflow."""
        self._add(RUN, {"trial_key": trial_key, "run_id": run_id}, lasting=False)

    def suggestion(self, trial: SearchTrial) -> None:
        """A search made a suggestion, or one of its trials changed its state."""
        self._add(SUGGESTION, trial.model_dump(mode="json"), lasting=True)

    def fold(self, study: Study) -> None:
        """Write the study as study.json, in which all that the journal said is, and begin the journal anew."""
        write_json(self.study_file, study.to_json())
        self.path.unlink(missing_ok=True)

    def _add(self, kind: str, value: Mapping[str, Any], lasting: bool) -> None:
        # MLflow knows its runs itself: their lines need not outlive a power cut.
        append_lines(self.path, [{"kind": kind, **value}], lasting=lasting)


def applied(study: Study, path: Path) -> Study:
    """The study with what the journal at `path` says; a line that a kill cut short ends it."""
    run_ids: dict[str, str] = {}
    suggestions: dict[int, SearchTrial] = {}
    for line in read_lines(path):
        if line.get("kind") == RUN:
            run_ids[str(line["trial_key"])] = str(line["run_id"])
        elif line.get("kind") == SUGGESTION:
            trial = SearchTrial.model_validate({name: value for name, value in line.items() if name != "kind"})
            suggestions[trial.number] = trial
    if suggestions:
        search = study.search or Search()
        known = {trial.number: trial for trial in search.trials} | suggestions
        trials = tuple(known[number] for number in sorted(known))
        study = study.model_copy(update={"search": search.model_copy(update={"trials": trials})})
    return renamed(study, run_ids) if run_ids else study
