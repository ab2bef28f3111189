"""A function over many items by threads: results in order, few of them alive. Standard library only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from runners.process.cores import usable

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 256  # results that may wait for the one before them
MOST = 32  # threads: more only contend for the interpreter


def in_order(function: Callable[[Item], Result], items: Iterable[Item], ahead: int = AHEAD) -> Iterator[Result]:
    """`function(item)` for each item, in their order; at most `ahead` of them are begun and not yet taken.

    `ThreadPoolExecutor.map` begins them all at once: of 200,000 pictures it would keep what the reader has not taken.
    """
    pool = ThreadPoolExecutor(max(1, min(usable(), ahead, MOST)))
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
