"""A study that the record has already is grown as it was begun, although today's scale may have another baseline.

Its trainings are what is dear: a seed more of another baseline would be another study under the same name, and would
train every arm anew. How trainings are sampled follows today's baseline. A search keeps that too: its suggestions are
compared with each other, and those that are scored were scored so.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runners.config import Scalar
    from study.design.plan import Plan
    from study.design.plan import Request as Asked
    from study.design.registry import Named
    from study.design.scales import Scale


def plan_of(one: Named, scale_name: str, scale: Scale, asked: Asked, record: Path) -> tuple[Plan, str]:
    """The plan of a study, and a sentence on what it keeps of the baseline that it was begun with ("": nothing).

    What the study itself and the user set goes before what is kept. Raises ValueError as `plan.make` does, and for a
    record whose study.json is damaged.
    """
    from study.design import plan

    today = plan.make(one.name, one.spec, scale_name, scale, asked)
    grown = plan.make(one.name, one.spec, scale_name, scale, asked, _kept(today, record))
    differing = [
        f"{name}={value}" for name, value in grown.baseline.to_dict().items() if value != getattr(today.baseline, name)
    ]
    if not differing:
        return today, ""
    return grown, (
        f"The study {grown.study_id} was begun with {', '.join(differing)}, which today's {scale_name} scale sets "
        f"otherwise: it keeps {'them' if len(differing) > 1 else 'it'}. A new --record DIR starts with today's."
    )


def _kept(today: Plan, record: Path) -> dict[str, Scalar]:
    """The recorded baseline's fields of the training; a field that is younger than the record had its default."""
    from study.record import reader

    known = reader.find_study(today.study_id, record)
    if known is None or not known.baseline:
        return {}
    config = today.experiment.Config
    recorded = config.defaults() | known.baseline
    return {
        field.name: recorded[field.name]
        for field in dataclasses.fields(config)
        if (today.space or field.metadata["stage"] == "train") and field.name not in config.replicated()
    }


def looked_at(plan: Plan, record: Path) -> Plan:
    """The plan with the looks that the record knows of; ValueError for a claim that comes after one."""
    from study.design.plan import continued
    from study.record import layout, reader

    known = reader.find_study(plan.study_id, record)
    judged = known is not None and all(
        layout.state(layout.trial_folder(record, trial.trial_key)) == "complete" for trial in known.trials
    )
    return continued(plan, known, judged and not (known is not None and known.searching))
