"""Whether a set can be studied: enough images, enough of each class, labels for all. Nothing is decoded for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from runners.reading.listing import Item, Listing, Lists
from runners.reading.names import counted, has, natural, shown, some

MIN_IMAGES = 100
MIN_OF_CLASS = 8  # images: with fewer, none or one would be held out and a class's scores would mean nothing
MOST_CLASSES = 1_000
Kind = Literal["set", "class", "none"]
KINDS: dict[str, Kind] = {"classes": "class", "sets": "set", "images": "none"}  # of --task


@dataclass(frozen=True)
class Checked:
    """A set that can be studied. `labels`: in natural order, whatever the layout; `of_item`: indices into them."""

    kind: Kind
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    of_item: tuple[tuple[int, ...], ...]
    lists: Lists
    has_split: bool
    notes: tuple[str, ...]


def check(listing: Listing, wanted: str, allow_unlabelled: bool) -> Checked:
    """Decide what kind of set it is, and refuse what cannot be studied.

    Args:
        listing: what a layout holds.
        wanted: "classes", "sets", "images", or "" for what the layout says.
        allow_unlabelled: go on without the images that have no label.

    Raises:
        ValueError: one sentence that says what to write instead.
    """
    notes = list(listing.notes)
    kind, guess = _kind(listing, wanted)
    notes += guess
    items: Sequence[Item] = listing.items
    if kind != "none":
        items, more = _labelled(listing, allow_unlabelled)
        notes += more
    if len(items) < MIN_IMAGES:
        raise ValueError(
            f"--data {listing.path} has {counted(len(items), 'image')}: a study needs at least {MIN_IMAGES}."
        )
    has_split = any(item.held_out for item in items)
    training = [item for item in items if not item.held_out]
    if not training:
        raise ValueError(f"--data {listing.path} holds out all of its images: leave some for training.")
    if kind == "none" and len(training) < MIN_OF_CLASS:
        raise ValueError(
            f"--data {listing.path} holds out {len(items) - len(training):,} of its {len(items):,} images: leave "
            f"{MIN_OF_CLASS} or more for training."
        )
    if has_split:
        _refuse_split_groups(items)
    if kind == "none":
        return Checked(kind, (), tuple(items), ((),) * len(items), {}, has_split, tuple(notes))
    labels = _labels(listing, items, training)
    index = {label: position for position, label in enumerate(labels)}
    lists = {
        name: tuple(tuple(sorted(condition, key=index.__getitem__)) for condition in conditions)
        for name, conditions in listing.lists.items()
    }
    of_item = tuple(tuple(sorted(index[label] for label in item.labels)) for item in items)
    return Checked(kind, labels, tuple(items), of_item, lists, has_split, tuple(notes))


def _kind(listing: Listing, wanted: str) -> tuple[Kind, list[str]]:
    """The kind of the set, and a note where it was guessed from the number of labels of each image."""
    if wanted not in ("", *KINDS):
        raise ValueError(f"--task {wanted} does not fit --data: write classes, sets or images.")
    if wanted == "images" or not (listing.labelled or wanted):
        return "none", []
    if not listing.labelled:
        raise ValueError(
            f"--data {listing.path} has no labels, which --task {wanted} needs: put the images of each class into a "
            "sub-folder, add metadata.csv with the columns file_name and label, or write --task images."
        )
    several = next((item for item in listing.items if len(item.labels) > 1), None)
    if wanted == "classes" and several is not None:
        raise ValueError(
            f"{shown(listing.store.name(several.place))} has {len(several.labels)} labels in {listing.what}, and "
            "--task classes takes one for each image: write --task sets."
        )
    if wanted:
        return KINDS[wanted], []
    if not listing.several:
        return "class", []
    conditions = [condition for values in listing.lists.values() for condition in values]
    if several is not None or any(len(condition) > 1 for condition in conditions):
        return "set", []
    return "class", [f"Each image has one label in {listing.what}: the task is classes (--task sets: sets of labels)."]


def _labelled(listing: Listing, allow: bool) -> tuple[list[Item], list[str]]:
    """The items that have labels, and a note on those without; ValueError where these are not allowed."""
    without = [listing.store.name(item.place) for item in listing.items if not item.labels]
    if not without:
        return list(listing.items), []
    found = f"{counted(len(without), 'image')} {has(len(without))} no label in {listing.what} ({some(without)})"
    if not allow:
        raise ValueError(f"{found}: label them, or write --allow-unlabelled to go on without them.")
    return [item for item in listing.items if item.labels], [f"{found} and {_are(len(without))} left out."]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _labels(listing: Listing, items: Sequence[Item], training: Sequence[Item]) -> tuple[str, ...]:
    """All labels in natural order.

    Raises:
        ValueError: for one label, for more than 1,000, and for one of which fewer than 8 images can be trained on.
    """
    count = Counter(label for item in training for label in item.labels)
    all_labels = {label for item in items for label in item.labels} | set(listing.known)
    labels = tuple(sorted(all_labels, key=natural))
    if len(labels) == 1:
        inside = f": give --data {listing.path / listing.wrapper}, whose sub-folders are the classes, or write"
        instead = inside if listing.wrapper else ": add images of another class, or write"
        raise ValueError(
            f"--data {listing.path} has one class, {shown(labels[0])!r}{instead} --task images to train without labels."
        )
    if len(labels) > MOST_CLASSES:
        raise ValueError(
            f"--data {listing.path} has {len(labels):,} classes, and {MOST_CLASSES:,} is the most: merge classes, or "
            "write --task images."
        )
    rare = [label for label in labels if count[label] < MIN_OF_CLASS]
    if rare:
        named = some([f"{label}: {count[label]}" for label in rare])
        kind = "training images" if any(item.held_out for item in items) else "images"
        raise ValueError(
            f"{counted(len(rare), 'class', 'classes')} of --data {listing.path} {has(len(rare))} fewer than "
            f"{MIN_OF_CLASS} {kind} ({named}): add images, or take {'it' if len(rare) == 1 else 'them'} out."
        )
    return labels


def _refuse_split_groups(items: Sequence[Item]) -> None:
    """ValueError for a group on both sides of the user's own split."""
    sides = [{item.group for item in items if item.group and item.held_out is side} for side in (False, True)]
    if both := sorted(sides[0] & sides[1], key=natural):
        raise ValueError(
            f"{counted(len(both), 'group')} {has(len(both))} training and held-out images ({some(both)}): put each "
            "group on one side, or leave out the column group."
        )
