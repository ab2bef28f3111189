"""Which domains a config's `data` has, and what a trial on two of them is scored on. Standard library only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from runners.config import Call, nearest
from runners.experiment import ListSpec, Metric, Task

ACCURACY = Metric("accuracy", higher_is_better=True, is_share=True, margin=0.05)
SOURCE_VALIDATION, TARGET_VALIDATION, TARGET_TEST = "source_validation", "target_validation", "target_test"
# Without labels of the target, a choice can only be made on the source.
LISTS = (
    ListSpec(SOURCE_VALIDATION, "choose", of="source"),
    ListSpec(TARGET_TEST, "report", of="target"),
    ListSpec(TARGET_VALIDATION, "report", of="target"),
)
DIGITS, PHOTO, PLAIN, STREET = "digits", "photo", "plain", "street"


@dataclass(frozen=True)
class Domains:
    """What a `data` says of its domains: their `names`, those that have no labels, K classes, all images together."""

    source: str
    digest: str
    names: tuple[str, ...]
    k: int
    images: int
    unlabelled: tuple[str, ...] = ()

    @property
    def built_in(self) -> bool:
        return self.source == DIGITS

    def has_labels(self, name: str) -> bool:
        return name not in self.unlabelled

    def check(self, name: str, role: str) -> None:
        """Raises ValueError, with the nearest name, for a domain that the data do not have."""
        if name not in self.names:
            raise ValueError(f"{role}={name!r} is no domain of the data{nearest(name, self.names)}")


def _digits() -> Domains:
    """The built-in ones: 1,797 real digits on patches of photographs and on black, 2,000 synthetic street numbers."""
    return Domains(DIGITS, "", (PHOTO, PLAIN, STREET), 10, 2 * 1797 + 2000)


def _domains(digest: str, names: tuple[str, ...], k: int, images: int, unlabelled: tuple[str, ...] = ()) -> Domains:
    """Those of a user's folder."""
    return Domains("domains", digest, names, k, images, unlabelled)


SOURCES: dict[str, Callable[..., Domains]] = {DIGITS: _digits, "domains": _domains}


@functools.cache
def parse(data: str) -> Domains:
    """The domains of a config's `data`. Raises ValueError, with what to write instead, for data that are unknown."""
    call = Call.parse(data)
    if call.name not in SOURCES:
        raise ValueError(
            f"data={data!r} is no set of domains{nearest(call.name, SOURCES)} Your own domains are given with --data "
            "FOLDER."
        )
    function = SOURCES[call.name]
    try:
        return function(**call.bind(function))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"data={data!r} is written by --data FOLDER, not by hand: {str(error).rstrip('.')}."
        ) from error


def data_of(domains: Domains) -> str:
    """The `data` that `parse` reads: `domains(digest='...', images=18298, k=10, names=('mnist_m', 'usps'))`."""
    if domains.built_in:
        return DIGITS
    found: dict[str, object] = {
        "digest": domains.digest,
        "images": domains.images,
        "k": domains.k,
        "names": domains.names,
    }
    if domains.unlabelled:
        found["unlabelled"] = domains.unlabelled
    return str(Call("domains", tuple(sorted(found.items()))))


@functools.cache
def of(data: str, target: str) -> Task:
    """What a trial is scored on: of a target without labels, on the source alone."""
    domains = parse(data)
    domains.check(target, "target")
    lists = LISTS[:1] if target in domains.unlabelled else LISTS
    return Task(domains.source, "class", domains.k, ACCURACY, lists, conditions=0, images=domains.images)
