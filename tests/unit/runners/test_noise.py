"""The noise of sampling: drawn by many threads, with the bits of one."""

from __future__ import annotations

import statistics
import threading
import time

import pytest
import torch

from runners.ddpm import noise
from runners.process.cores import usable

CONDITIONS = [(position, ("red cube",)) for position in range(40)]
SHAPE = (3, 64, 64)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def one_by_one(keyed: noise.KeyedNoise, shape: tuple[int, ...]) -> torch.Tensor:
    """The definition, which earlier records were drawn by."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in keyed.generators])


@pytest.mark.parametrize("shape", [SHAPE, (3, 8, 8), (3, 1, 1), (5,)])
@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_many_threads_draw_the_bits_of_one(monkeypatch, shape: tuple[int, ...], threads: int) -> None:
    monkeypatch.setattr(noise, "WORTH_A_THREAD", 1)
    torch.set_num_threads(threads)
    keyed, wanted = (noise.KeyedNoise("test", CONDITIONS, 0) for _ in range(2))
    for _ in range(3):
        assert torch.equal(keyed.draw(shape), one_by_one(wanted, shape))


def test_a_worker_of_one_thread_draws_by_itself(monkeypatch) -> None:
    """On a CPU there is a worker per core: more threads would take the others' time."""
    drawing: set[int] = set()
    own = torch.randn

    def randn(*given, **named):
        drawing.add(threading.get_ident())
        return own(*given, **named)

    monkeypatch.setattr(torch, "randn", randn)
    torch.set_num_threads(1)
    noise.KeyedNoise("test", CONDITIONS, 0).draw(SHAPE)
    assert drawing == {threading.get_ident()}
    torch.set_num_threads(2)
    drawing.clear()
    noise.KeyedNoise("test", CONDITIONS, 0).draw((3, 8, 8))  # too little to share
    assert drawing == {threading.get_ident()}
    noise.KeyedNoise("test", CONDITIONS, 0).draw(SHAPE)
    assert 1 <= len(drawing - {threading.get_ident()}) <= 2


def test_a_thread_that_draws_ahead_has_the_threads_of_its_process(monkeypatch) -> None:
    """OpenMP's number is one per thread; torch's is the process's."""
    asked: list[int] = []
    own = noise._threads
    monkeypatch.setattr(noise, "_threads", lambda count: asked.append(count) or own(count))
    torch.set_num_threads(3)
    with noise.ahead(noise.KeyedNoise("test", CONDITIONS, 0), SHAPE, 1, torch.device("meta")) as draws:
        next(draws)
    assert asked == [3]


@pytest.mark.skipif(usable() < 2, reason="needs two cores")
def test_two_threads_take_less_time_than_one() -> None:
    """The two take turns on a machine that others use, too: what counts is the median of the ratios, or the best."""
    keyed = noise.KeyedNoise("test", [(position, ()) for position in range(256)], 0)

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        start = time.perf_counter()
        keyed.draw(SHAPE)
        return time.perf_counter() - start

    seconds(2)
    for _ in range(5):
        pairs = [(seconds(1), seconds(2)) for _ in range(7)]
        alone, together = zip(*pairs, strict=True)
        ratio = min(statistics.median(b / a for a, b in pairs), min(together) / min(alone))
        if ratio < 0.85:
            return
    pytest.fail(f"two threads took {ratio:.2f} of the time of one")


def test_joined_noises_are_drawn_as_they_were_apart() -> None:
    parts = [noise.KeyedNoise(name, CONDITIONS[:3], 1) for name in "ab"]
    again = [noise.KeyedNoise(name, CONDITIONS[:3], 1) for name in "ab"]
    whole = noise.joined(parts)
    for _ in range(2):
        assert torch.equal(whole.draw((3, 8, 8)), torch.cat([part.draw((3, 8, 8)) for part in again]))
