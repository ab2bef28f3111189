"""A user's images, read and checked: layout, labels, pictures, order."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from runners.experiment import Progress
from runners.reading import cache as caches
from runners.reading import checks, layouts
from runners.reading.source import Source, assemble


def read(
    path: Path, wanted: str = "", allow_unlabelled: bool = False, cache: Path | None = None
) -> Generator[Progress, None, Source]:
    """Read and check a user's images; yields progress, and its value is the Source.

    Whatever can be refused without decoding is refused first. Nothing is written but to `cache`, and that only when
    everything is in order.

    Args:
        path: a folder, a .npz file or an IDX file.
        wanted: the task that the user asks for: "classes", "sets", "images" (labels are left out), "" to guess.
        allow_unlabelled: go on without the images that have no label.
        cache: a folder where what was decoded is kept for the next launch, and for temporary files.

    Raises:
        ValueError: one sentence that says what to write instead.
    """
    listing = layouts.find(path, wanted, cache)
    checked = checks.check(listing, wanted, allow_unlabelled)
    facts = yield from caches.facts(listing.store, [item.place for item in checked.items], cache)
    return assemble(path, checked, listing.store, facts)
