"""What was found in each picture, kept beside the record, so that the next launch decodes nothing.

An entry is found by the bytes and names of the picture files alone: other labels of the same pictures decode nothing
either. The decoder's version belongs to the key, since another one may give other pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from runners import readable
from runners.experiment import Progress
from runners.process.files import read_json, sha256, write_aside
from runners.reading.listing import STRIDE, Store
from runners.reading.pictures import REMARKS, Facts
from runners.reading.threads import in_order

READER = 1  # to be raised by whoever changes what is read from the same bytes


def facts(store: Store, places: Sequence[int], cache: Path | None) -> Generator[Progress, None, list[Facts]]:
    """The facts of the pictures at these places, decoded only where `cache` does not know them.

    Args:
        store: the pictures.
        places: which of them, in order.
        cache: a folder; entries are `sources/<key>.json` in it. None keeps nothing.

    Raises:
        ValueError: for a picture that cannot be read.
    """
    if cache is None:
        return (yield from store.facts(places))
    key = yield from _key(store, places)
    path = cache / "sources" / f"{key}.json"
    known = _read(path, len(places))
    if known is not None:
        return known
    found = yield from store.facts(places)
    _write(path, found)
    return found


def _key(store: Store, places: Sequence[int]) -> Generator[Progress, None, str]:
    """32 hex digits of the names and bytes of the files, and of what decodes them."""
    import PIL

    files = store.files(places)
    digest = hashlib.sha256(json.dumps([READER, PIL.__version__]).encode())
    for position, (name, one) in enumerate(
        zip((name for name, _ in files), in_order(_sha256, [path for _, path in files]), strict=True), 1
    ):
        digest.update(json.dumps([name, one]).encode())
        if position % (10 * STRIDE) == 0 or position == len(files):
            yield Progress("comparing files", position, len(files))
    if len(places) != len(files):  # pictures of an array: all of them, or some
        digest.update(json.dumps(list(places)).encode())
    return digest.hexdigest()[:32]


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise ValueError(f"The file {readable.of_error(path, error).sentence(path, 'restore it')}") from error


# --- entries -------------------------------------------------------------------------------------------


def _write(path: Path, found: Sequence[Facts]) -> None:
    content = {
        "digests": [one.digest for one in found],
        "sizes": [[one.width, one.height] for one in found],
        "remarks": {str(position): list(one.remarks) for position, one in enumerate(found) if one.remarks},
    }
    text = json.dumps(content | {"sha256": _checksum(content)})
    write_aside(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _read(path: Path, count: int) -> list[Facts] | None:
    """An entry; None where there is none or it is not what was written."""
    try:
        content = read_json(path)
        if content.pop("sha256") != _checksum(content) or len(content["digests"]) != count:
            return None
        remarks = {int(position): tuple(names) for position, names in content["remarks"].items()}
        found = [
            Facts(digest, width, height, remarks.get(position, ()))
            for position, (digest, (width, height)) in enumerate(zip(content["digests"], content["sizes"], strict=True))
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if set().union(*remarks.values()) <= REMARKS.keys() else None


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
