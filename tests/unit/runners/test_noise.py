"""The noise of sampling: drawn by many threads, with the bits of one."""

from __future__ import annotations

import hashlib
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

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


def test_numbers_are_drawn_without_pythons_lock() -> None:
    """Else many threads would take turns."""
    drawing, ticks = threading.Event(), list[float]()

    def tick() -> None:
        while not drawing.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    torch.randn((10_000_000,), generator=torch.Generator(), out=torch.empty(10_000_000))
    end = time.perf_counter()
    drawing.set()
    thread.join()
    span = end - start
    assert [tick for tick in ticks if start + 0.2 * span < tick < end - 0.2 * span]


@pytest.mark.skipif(usable() < 2, reason="needs two cores")
def test_two_threads_take_less_time_than_one() -> None:
    """Hashing, which is known to need no lock, says whether there is a second core to be had at this moment."""
    keyed = noise.KeyedNoise("test", [(position, ()) for position in range(256)], 0)
    data = bytes(8_000_000)

    def seconds(threads: int, work: Callable[[], object]) -> tuple[float, float]:
        """Of the wall, and of all cores for one of the wall."""
        torch.set_num_threads(threads)
        start, spent = time.perf_counter(), time.process_time()
        work()
        wall = time.perf_counter() - start
        return wall, (time.process_time() - spent) / wall

    def hashed() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: hashlib.sha256(data), range(4)))

    spare, alone = 0, list[float]()
    for _ in range(60):
        alone.append(seconds(1, lambda: keyed.draw(SHAPE))[0])
        together, cores = seconds(2, lambda: keyed.draw(SHAPE))
        if cores > 1.4 and together < 0.8 * statistics.median(alone):
            return
        spare += seconds(1, hashed)[1] > 1.4
    if spare < 20:
        pytest.skip("the second core of this machine is busy")
    pytest.fail(f"with two cores to be had {spare} times, two threads used {cores:.2f} of them")


def test_joined_noises_are_drawn_as_they_were_apart() -> None:
    parts = [noise.KeyedNoise(name, CONDITIONS[:3], 1) for name in "ab"]
    again = [noise.KeyedNoise(name, CONDITIONS[:3], 1) for name in "ab"]
    whole = noise.joined(parts)
    for _ in range(2):
        assert torch.equal(whole.draw((3, 8, 8)), torch.cat([part.draw((3, 8, 8)) for part in again]))
