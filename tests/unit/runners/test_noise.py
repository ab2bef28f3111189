"""The noise of sampling: drawn by many threads, with the bits of one."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from runners.ddpm import noise

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


@pytest.mark.parametrize("threads", [1, 2])
def test_the_noise_of_a_batch_is_drawn_by_as_many_threads_as_the_worker_has(threads: int, monkeypatch) -> None:
    """Not timed: other programs on the machine decide how much two threads gain."""
    drawing, draw = set(), torch.randn

    def noted(*arguments, **named):
        drawing.add(threading.get_ident())
        time.sleep(0.001)  # so that no thread is done before another begins
        return draw(*arguments, **named)

    monkeypatch.setattr(torch, "randn", noted)
    torch.set_num_threads(threads)
    noise.KeyedNoise("test", [(position, ()) for position in range(64)], 0).draw(SHAPE)
    assert len(drawing) == threads


def test_joined_noises_are_drawn_as_they_were_apart() -> None:
    parts = [noise.KeyedNoise(name, CONDITIONS[:3], 1) for name in "ab"]
    again = [noise.KeyedNoise(name, CONDITIONS[:3], 1) for name in "ab"]
    whole = noise.joined(parts)
    for _ in range(2):
        assert torch.equal(whole.draw((3, 8, 8)), torch.cat([part.draw((3, 8, 8)) for part in again]))
