"""Memory that ran out once may be there again: the whole batch is tried again. What no smaller batch would help is
tried twice, and then said."""

from __future__ import annotations

import copy

import pytest
import torch
from test_memory import LACKS, MEMORY, Cramped
from test_train import images_and_labels
from tiny_trainings import CPU, Small, outcome, turn

from runners.ddpm import graphs, manipulation_check, passes
from runners.ddpm.steps import Execution
from runners.ddpm.train import Training, train
from runners.experiment import Note
from runners.process import worker

LACK = LACKS["GPU"]


def lack() -> Exception:
    """A new one each time: notes stay with an error."""
    return torch.OutOfMemoryError(str(LACK))


LONG = MEMORY.replace(total_images=7 * 16, prediction="v")  # 16 steps


class Sized(Small):
    """Notes how many images each pass has; in the steps of `tight` there is memory for 4 of them."""

    def __init__(self, tight: set[int] | None = None) -> None:
        super().__init__()
        self.tight, self.step, self.sizes = tight, 0, list[int]()

    def forward(self, x, t, c):
        self.sizes.append(len(x))
        if len(x) > 4 and (self.tight is None or self.step in self.tight):
            raise lack()
        return super().forward(x, t, c)


def trained(model: Sized, execution: Execution | None = None) -> Training:
    training = Training(LONG, model, CPU, execution)
    for model.step, _ in enumerate(train(training, *images_and_labels(24)), start=1):
        pass
    return training


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch) -> None:
    monkeypatch.setattr(passes, "FIRST_WAIT", 2)


def assert_same(found: Training, wanted: Training) -> None:
    for which in ("raw", "ema"):
        for name, value in wanted.weights(which).items():
            torch.testing.assert_close(found.weights(which)[name], value, rtol=0, atol=1e-6)


def test_where_memory_is_there_again_the_whole_batch_goes_through_at_once():
    model = Sized(tight={0})  # the first step: 7 images do not fit, 4 and 3 do; so in the next step, too
    training = trained(model)
    assert model.sizes == [7, 4, 3, 4, 3, *[7] * 14]
    assert training.micro_batch == 0
    assert {"micro_batch": 4, "steps_in_parts": 2}.items() <= training.treatment().items()
    (warning,) = [text for text in manipulation_check.warnings(LONG, training.treatment()) if "Memory" in text]
    assert "in 2 of 16 steps a batch of 7 went through the network in parts of 4 or more" in warning
    assert_same(training, trained(Sized(tight=set())))


def test_where_the_lack_lasts_the_tries_become_rare():
    model = Sized()
    training = trained(model)
    tried = [index for index, size in enumerate(step for step in model.sizes if step != 3) if size == 7]
    # Steps 0, 2, 6 and 14 begin with 7 images; each such try is one pass more.
    assert tried == [0, 2 + 1, 6 + 2, 14 + 3]
    assert training.micro_batch == 4
    assert training.treatment()["steps_in_parts"] == 16


def test_a_resumed_training_goes_on_with_its_tries(tmp_path):
    """Stopped between two of them, it ends as the uninterrupted one, which had the same memory."""
    folder = tmp_path / LONG.train_key
    first = turn(folder, LONG, Cramped(4, LACK))
    while not any("images" in line and line["images"] >= 28 for line in getattr(next(first), "lines", ())):
        pass
    first.close()
    list(turn(folder, LONG, Cramped(4, LACK)))
    list(turn(tmp_path / "whole", LONG, Cramped(4, LACK)))
    assert outcome(folder) == outcome(tmp_path / "whole")


def test_a_trial_says_when_the_whole_batch_fits_again(tmp_path):
    class Relieved(Small):
        def forward(self, x, t, c):
            if len(x) > 4 and training[0].steps == 0:
                raise lack()
            return super().forward(x, t, c)

    training: list[Training] = []
    own = Training.__init__

    def remembered(self, *given, **named):
        own(self, *given, **named)
        training.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "__init__", remembered)
        notes = [event.text for event in turn(tmp_path / "a", LONG, Relieved()) if isinstance(event, Note)]
    assert notes == [
        "out of memory: a batch goes through the network in parts of 4",
        "a whole batch fits into memory again",
    ]


def test_a_checkpoint_of_an_older_version_goes_on_in_its_parts():
    older = Training(LONG, Small(), CPU).state_dict()
    del older["parts"], older["clipped"], older["steps"]
    training = Training(LONG, Sized(), CPU)
    training.load_state_dict(copy.deepcopy(older) | {"micro_batch": 4})
    assert (training.micro_batch, training.parts.smallest) == (4, 4)
    next(train(training, *images_and_labels(24)))
    assert training.model.sizes == [7, 4, 3]  # tried at once: that version never did


# --- what the whole batch is executed as -----------------------------------------------------------------


def test_graph_and_compiled_network_are_those_of_the_whole_batch(monkeypatch):
    """After the parts they are back. Parts are compiled where the lack lasts; what is left of a batch never."""
    compiled: list[int] = []

    def compiling(network, dynamic):
        def call(x, t, c):
            compiled.append(len(x))
            return network(x, t, c)

        return call

    monkeypatch.setattr(torch, "compile", compiling)
    trained(Sized(tight={0}), Execution(compiled=True))
    assert compiled == [7] * 15  # the one that failed, and steps 2 to 15
    compiled.clear()
    trained(Sized(), Execution(compiled=True))
    # The try of step 2 fails: from step 3 on parts are compiled, beside the tries of steps 6 and 14.
    assert compiled == [7, 7, *[4] * 3, 7, *[4] * 8, 7, 4, 4]


class Replaying:
    """What a graph does to gradients: a replay writes them where the recorded call did, whatever the parameters have
    now."""

    made = 0

    def __init__(self, function, device) -> None:
        type(self).made += 1
        self.function, self.calls, self.held = function, 0, None

    def __call__(self, *given):
        training = self.function.args[0]
        self.calls += 1
        if self.held is None:
            found = self.function(*given)
            if self.calls > graphs.WARM:
                self.held = [parameter.grad for parameter in training.model.parameters()]
            return found
        visible = [parameter.grad for parameter in training.model.parameters()]
        found = self.function(*given)
        for parameter, held, seen in zip(training.model.parameters(), self.held, visible, strict=True):
            held.copy_(parameter.grad)
            parameter.grad = seen
        return found


def test_after_parts_a_graph_is_recorded_anew(monkeypatch):
    """The parts leave other gradients in the parameters: what the old graph wrote, nobody would read."""
    monkeypatch.setattr(graphs, "replayed", Replaying)
    monkeypatch.setattr(Replaying, "made", 0)
    training = trained(Sized(tight={8}), Execution(graphed=True))
    assert training.treatment()["steps_in_parts"] == 2
    assert Replaying.made == 3  # at the start, and in each of the two steps in parts
    assert_same(training, trained(Sized(tight=set())))


# --- optimiser and average -------------------------------------------------------------------------------


def lacking(monkeypatch, owner: object, name: str, fails) -> None:
    """The calls of a function whose numbers `fails` says lack memory."""
    own, calls = getattr(owner, name), iter(range(10**6))

    def call(*given, **named):
        if fails(next(calls)):
            raise lack()
        return own(*given, **named)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize(("owner", "name", "call"), [(torch, "_foreach_sub", 3), (torch, "zeros_like", 5)])
def test_optimiser_and_average_are_tried_twice(monkeypatch, owner, name, call):
    """The average's temporary copy of the weights, and one of the optimiser's moments: to the bit as without."""
    wanted = trained(Sized(tight=set()))
    lacking(monkeypatch, owner, name, lambda number: number == call)
    found = trained(Sized(tight=set()))
    monkeypatch.undo()
    assert found.ema.optimization_step == wanted.ema.optimization_step == 16
    for which in ("raw", "ema"):
        for name, value in wanted.weights(which).items():
            assert torch.equal(found.weights(which)[name], value), (which, name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("_foreach_sub", "each step of the weight average needs 1 x 0.0 M numbers (0 MB)"),
        ("zeros_like", "the optimiser needs 2 x 0.0 M numbers (0 MB)"),
    ],
)
def test_what_lacked_memory_is_named_and_what_to_write_instead(monkeypatch, name, words):
    """Fewer images at once would not help, so that nothing is said of them."""
    lacking(monkeypatch, torch, name, lambda number: True)
    with pytest.raises(torch.OutOfMemoryError) as error:
        trained(Sized(tight=set()))
    status, text = worker.explain(error.value)
    assert status == "out of memory"
    assert text.startswith(f"{words}, which is not there: write --per-device 1, or a smaller model: CUDA out of")


def test_an_optimisers_step_that_is_half_done_is_not_made_again(monkeypatch):
    training = Training(LONG, Small(), CPU)
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        raise lack()

    monkeypatch.setattr(training.optimizer, "step", step)
    with pytest.raises(torch.OutOfMemoryError) as error:
        next(train(training, *images_and_labels(24)))
    assert worker.explain(error.value)[1].startswith("the optimiser's step needs memory")
    assert len(calls) == 1
    assert training.images == 0


def test_the_optimisers_memory_is_taken_before_the_first_step():
    """So that a batch that does not fit beside it goes through in parts. The moments are those of torch's own start."""
    training = Training(LONG, Small(), CPU)
    own = torch.optim.AdamW(Small().parameters(), fused=True)
    for parameter in own.param_groups[0]["params"]:
        parameter.grad = torch.zeros_like(parameter)
    own.step()
    moments = list(own.state.values())
    for found, wanted in zip(training.optimizer.state.values(), moments, strict=True):
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            assert not found[name].any()
