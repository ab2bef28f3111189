"""Databases of a record that the installed MLflow and Optuna cannot use: they are indexes, and made anew."""

from __future__ import annotations

import sys
from pathlib import Path


def renew(record: Path, *names: str) -> None:
    """Make these databases of a record anew where they are of another version or damaged, and say so in a sentence
    each. Raises ValueError while a study of the record is running, which may use them."""
    from runners.process.locks import Held, lock
    from study.cli.progress import Screen, watched
    from study.record import integrity, repair
    from study.record.layout import record_lock

    wrong = [trouble for trouble in integrity.useless_databases(record) if trouble.name in names]
    if not wrong:
        return
    try:
        with lock(record_lock(record)):
            for trouble in wrong:
                done = watched(repair.apply(record, trouble), Screen(sys.stderr))
                print(f"{trouble.text}: {done}.", file=sys.stderr, flush=True)
    except Held as held:
        raise ValueError(
            f"{wrong[0].text}, and {record} is in use {held}: wait for that, and run the same command again."
        ) from None
