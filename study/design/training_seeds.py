"""How many training seeds an arm gets, which of them choose, and at which numbers a claim is looked at."""

from __future__ import annotations

from collections.abc import Sequence

CONFIRMATORY = 5  # at .05 and 80 % power they see 1.68 sd of the paired differences; 3 seeds see 3.3
MOST = 1000  # per arm: more are a slip of the keyboard
OF_SEARCH = 0  # the training seed of a search's trials; its winner is chosen, and then scored, on others


def choosing(count: int) -> tuple[int, ...]:
    """The training seeds that choose a search's winner."""
    return tuple(range(OF_SEARCH + 1, OF_SEARCH + 1 + count))


def after(choosing: Sequence[int], count: int) -> tuple[int, ...]:
    """`count` training seeds on which nothing was chosen."""
    first = choosing[-1] + 1 if choosing else 0
    return tuple(range(first, first + count))


def check_looks(looks: Sequence[int], confirmatory: bool) -> None:
    """Raises ValueError for looks that are no plan."""
    if not looks:
        return
    written = " ".join(map(str, looks))
    if not confirmatory:
        raise ValueError(f"--looks {written} are those of a claim: add --confirmatory, or leave them out.")
    if list(looks) != sorted(set(looks)) or looks[0] < 2 or looks[-1] < CONFIRMATORY:
        raise ValueError(
            f"--looks {written} is no plan: write rising numbers of seeds from 2 on, the last one "
            f"{CONFIRMATORY} or more, such as --looks 5 10."
        )


def count(asked: int | None, looks: Sequence[int], confirmatory: bool, exploratory: int) -> int:
    """Training seeds per arm; ValueError where they run, or confirm, nothing, or are too many."""
    most = max(asked if asked is not None else exploratory, *looks, 0)
    if most > MOST:
        raise ValueError(f"{most} training seeds per arm are too many: write {MOST} or fewer.")
    if looks:
        chosen = asked if asked is not None else looks[0]
        if chosen not in looks:
            words = " or ".join(f"--seeds {look}" for look in looks)
            raise ValueError(f"--seeds {chosen} is none of the planned looks: write {words}.")
        return chosen
    usual = max(exploratory, CONFIRMATORY) if confirmatory else exploratory
    chosen = asked if asked is not None else usual
    if confirmatory and 1 <= chosen < CONFIRMATORY:
        raise ValueError(
            f"--confirmatory with {chosen} seed{'s' * (chosen != 1)} confirms nothing: write --seeds {CONFIRMATORY}"
            " or more, or leave --confirmatory out."
        )
    if chosen < 1:
        raise ValueError(f"--seeds {chosen} runs nothing: write --seeds 1 or more.")
    return chosen
