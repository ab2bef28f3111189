"""CUDA graphs: what is recorded, on which stream, and what happens where a recording fails. No GPU is needed: a fake
recording calls the function."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import pytest
import torch

from runners.ddpm import graphs

LACK = "CUDA out of memory. Tried to allocate 2.00 GiB"


class Graph:
    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1


class Recording:
    """What `torch.cuda.graph` does: whatever fails inside of it, its end fails too, with words of its own."""

    def __init__(self, graph: Graph, stream: object, capture_error_mode: str) -> None:
        RECORDED_ON.append(stream)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


class Stream:
    def wait_stream(self, other: object) -> None:
        pass


RECORDED_ON: list[object] = []
MADE: list[Stream] = []
BACK: list[object] = []


@pytest.fixture(autouse=True)
def _fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for seen in (RECORDED_ON, MADE, BACK):
        seen.clear()

    def stream(device: torch.device) -> Stream:
        MADE.append(Stream())
        return MADE[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Recording)
    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: warnings.catch_warnings())  # any context will do
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: MADE[0] if MADE else Stream())
    monkeypatch.setattr(torch.cuda, "set_stream", BACK.append)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: None)
    monkeypatch.setattr(graphs.Replayed, "broken", False)
    monkeypatch.setattr(graphs.Replayed, "seconds", 0.0)
    graphs.stream_of.cache_clear()
    yield
    graphs.stream_of.cache_clear()


class Function:
    """x + 1, which fails while it is recorded as long as `words` says so."""

    words = ""
    recording = False

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        if self.words and len(RECORDED_ON) > self.seen:
            self.seen = len(RECORDED_ON)
            raise RuntimeError(self.words)
        return (x + 1,)

    seen = 0


ONE = torch.ones(1)


def test_one_stream_serves_all_recordings_of_a_process() -> None:
    """Each stream that a library has seen keeps a workspace for ever: a process that recorded a graph per chunk of
    images had as many of them."""
    for _ in range(3):
        replayed = graphs.Replayed(Function())
        for _ in range(graphs.WARM + 2):
            replayed(ONE)
        assert replayed.graph is not None
        assert replayed.graph.replays == 2
    assert len(MADE) == 1
    assert set(RECORDED_ON) == set(MADE)


def test_the_seconds_of_a_recording_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recording, "__enter__", lambda self: time.sleep(0.05))
    replayed = graphs.Replayed(Function())
    for _ in range(graphs.WARM + 2):
        replayed(ONE)
    assert 0.05 < graphs.Replayed.seconds < 5


def test_a_recording_that_fails_says_so_once_and_for_all() -> None:
    function = Function()
    function.words = "operation not permitted when stream is capturing"
    replayed = graphs.Replayed(function)
    for _ in range(graphs.WARM):
        replayed(ONE)
    with pytest.warns(UserWarning, match=r"No CUDA graph \(operation not permitted.*singly"):
        assert replayed(ONE)[0] == 2
    assert [MADE[0]] == BACK
    assert graphs.Replayed.broken
    for _ in range(3 * graphs.FIRST_WAIT):
        replayed(ONE)
    assert len(RECORDED_ON) == 1


def test_a_recording_that_lacks_memory_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole batch has fitted without a graph, so that it goes on without one; each failure doubles the wait."""
    monkeypatch.setattr(graphs, "FIRST_WAIT", 4)
    function = Function()
    function.words = LACK
    replayed = graphs.Replayed(function)
    for _ in range(graphs.WARM):
        replayed(ONE)
    with pytest.warns(UserWarning, match=r"No CUDA graph \(out of memory; tried again in 4 steps\)"):
        assert replayed(ONE)[0] == 2
    for _ in range(3):
        replayed(ONE)
    with pytest.warns(UserWarning, match="in 8 steps"):
        assert replayed(ONE)[0] == 2
    assert not graphs.Replayed.broken
    assert len(RECORDED_ON) == 2
    function.words = ""
    for _ in range(7):
        replayed(ONE)
    assert replayed.graph is None
    replayed(ONE)
    assert replayed.graph is not None
