"""A user's folder of domains: each a sub-folder in any layout that is read elsewhere, or a .npz file.

digits/mnistm/data/*.png, train.csv, val.csv     a sub-folder with a table (image_name, label), or class folders
digits/mnist_m.npz                               arrays x, y, or x_train, y_train, x_test, y_test
digits/usps_train.npz, usps_test.npz             the two parts of one domain
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runners.config import Scalar
from runners.dann import split, tasks
from runners.dann.config import TrialConfig
from runners.experiment import Progress
from runners.reading import Source, checks, layouts, npz
from runners.reading import cache as caches
from runners.reading.arrays import ArrayStore
from runners.reading.listing import Listing
from runners.reading.names import counted, some
from runners.reading.source import assemble
from runners.reading.tree import HELD_OUT, TRAIN, read_tree

DRAWN = f"{100 * split.TEST:.0f} % of them"
LAYOUT = "put a sub-folder or a .npz file for each domain into one folder and name that"


@dataclass(frozen=True)
class Folder:
    """The domains of a folder, read and checked. `classes`: of all that have labels."""

    path: Path
    sources: Mapping[str, Source]
    classes: tuple[str, ...]

    @property
    def count(self) -> int:
        return sum(len(source.of_image) for source in self.sources.values())

    @property
    def domains(self) -> tasks.Domains:
        content = {name: source.digest for name, source in sorted(self.sources.items())}
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
        names, unlabelled = tuple(content), tuple(name for name in content if self.sources[name].kind == "none")
        return tasks.Domains("domains", digest, names, len(self.classes), self.count, unlabelled)

    @property
    def changes(self) -> Mapping[str, Scalar]:
        """What a config says of them: their content, never a path."""
        return {"data": tasks.data_of(self.domains)}

    def sentences(self, config: TrialConfig | None = None) -> list[str]:
        """What was found, a sentence for each domain and for each thing that was done with it, and which two domains a
        setting is about."""
        found = []
        for name, source in sorted(self.sources.items()):
            images, classes = counted(len(source.of_image), "image"), counted(len(self.classes), "class", "classes")
            held = sum(source.held_out or ())
            test = f"{held:,} of them for the test by your own split" if held else f"{DRAWN} are drawn as test images"
            what = "without labels" if source.kind == "none" else f"in {classes}"
            found.append(f"Domain {name}: {images} {what}; {test}.")
            found += source.notes
        if config:
            pair = f"from {config.source} to {config.target}"
            found.append(f"Where the study names no others, the classifier is adapted {pair}.")
        return found


def read(inputs: Mapping[str, str], cache: Path | None = None) -> Generator[Progress, None, Folder]:
    """The domains of `inputs["data"]`, a path. `inputs["allow_unlabelled"]`, if not "", goes on without the images of a
    labelled domain that have no label. `cache` keeps what is known of images that were read before.

    Raises ValueError, in one sentence, for what cannot be used.
    """
    path = Path(inputs["data"])
    if inputs.get("task", "") not in ("", "classes"):
        raise ValueError(
            f"--task {inputs['task']} does not fit domains, whose images have one class each: leave it out."
        )
    sources: dict[str, Source] = {}
    for name, listing in _listings(path, cache).items():
        checked = checks.check(listing, "", bool(inputs.get("allow_unlabelled")))
        if checked.kind == "set":
            raise ValueError(f"The domain {name} of --data {path} has images of several labels: give each one class.")
        facts = yield from caches.facts(listing.store, [item.place for item in checked.items], cache)
        source = assemble(listing.path, checked, listing.store, facts)
        split.check(f"domain {name} of --data {path}", source.units, source.held_out)
        sources[name] = source
    return Folder(path, sources, _classes(path, sources))


def _classes(path: Path, sources: Mapping[str, Source]) -> tuple[str, ...]:
    """The classes of all domains that have labels. Raises ValueError where a domain lacks one, or all have none."""
    labelled = {name: source for name, source in sources.items() if source.kind == "class"}
    if not labelled:
        raise ValueError(
            f"No domain of --data {path} ({some(list(sources))}) has labels, and one must have them to be adapted "
            "from. Are these the classes of one domain? Then put them into a sub-folder that is named after it."
        )
    fullest = max(labelled, key=lambda name: len(labelled[name].labels))
    for name, source in labelled.items():
        if lacking := [label for label in labelled[fullest].labels if label not in source.labels]:
            raise ValueError(
                f"The domain {name} has no images of {counted(len(lacking), 'class', 'classes')} of {fullest} "
                f"({some(lacking)}): name the classes alike in all domains, or take one of the "
                f"two domains out of --data {path}."
            )
    return labelled[fullest].labels


# --- what is a domain ------------------------------------------------------------------------------------


def _listings(path: Path, scratch: Path | None) -> dict[str, Listing]:
    """Domain -> its images, before any is decoded. Raises ValueError for what is no folder of domains."""
    if not path.exists():
        raise ValueError(f"--data {path} is not there: name a folder of domains. The built-in digits need no --data.")
    if not path.is_dir():
        raise ValueError(f"--data {path} is no folder of domains: {LAYOUT}.")
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    archives = {entry.stem: entry for entry in entries if entry.is_file() and entry.suffix.casefold() == ".npz"}
    if halves := [entry.name for entry in entries if entry.stem.casefold() in TRAIN | HELD_OUT]:
        raise ValueError(
            f"--data {path} holds {some(halves)}, parts of one set and no domains: put them into a sub-folder that is "
            "named after the domain."
        )
    found = {name: _of_archives(name, parts, scratch) for name, parts in _parts(archives).items()}
    for entry in entries:
        if entry.is_dir() and _holds_images(entry):
            if entry.name in found:
                raise ValueError(
                    f"--data {path} holds the domain {entry.name} twice, as a folder and as a file: leave one."
                )
            found[entry.name] = layouts.find(entry, "", scratch)
    if len(found) < 2:
        held = f"holds one domain ({next(iter(found))})" if found else "holds no domain"
        raise ValueError(f"--data {path} {held}, and adaptation takes two: {LAYOUT}.")
    return found


def _holds_images(folder: Path) -> bool:
    tree = read_tree(folder)
    return bool(tree.images) or any(name.casefold().endswith(".npz") for name in tree.others)


def _parts(archives: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Domain -> "train", and "test" or "" -> its file: usps_train.npz and usps_test.npz are one domain, usps."""
    found: dict[str, dict[str, Path]] = {}
    for stem, path in archives.items():
        name, _, part = stem.rpartition("_")
        known = part.casefold() in TRAIN | HELD_OUT and name
        role = "test" if part.casefold() in HELD_OUT else "train"
        found.setdefault(name if known else stem, {})[role if known else ""] = path
    return found


def _of_archives(name: str, parts: Mapping[str, Path], scratch: Path | None) -> Listing:
    """The listing of one .npz file, or of two whose second is held out."""
    if len(parts) == 1:
        return npz.from_npz(next(iter(parts.values())), scratch)
    if set(parts) != {"train", "test"}:
        files = some([path.name for path in parts.values()])
        raise ValueError(f"The domain {name} is in several files ({files}): leave one, or one each for train and test.")
    train, test = (npz.from_npz(parts[role], scratch) for role in ("train", "test"))
    if train.labelled != test.labelled:
        lacking = parts["test" if train.labelled else "train"].name
        raise ValueError(f"{lacking} has no labels, and the other part of the domain {name} has: add y to it.")
    stores = train.store, test.store
    assert isinstance(stores[0], ArrayStore)
    assert isinstance(stores[1], ArrayStore)
    first = stores[0].starts[-1]
    items = [
        *(dataclasses.replace(item, held_out=False) for item in train.items),
        *(dataclasses.replace(item, place=item.place + first, held_out=True) for item in test.items),
    ]
    store = ArrayStore(stores[0].blocks + stores[1].blocks, scratch)
    what = f"{parts['train'].name} and {parts['test'].name}"
    return Listing(train.path.parent, store, items, what, train.labelled, notes=(*train.notes, *test.notes))
