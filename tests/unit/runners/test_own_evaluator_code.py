"""No code in a user's evaluator is run: each trap works under torch's own loaders, and does nothing here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_own_evaluator import Small, exported, load, refusal, rewritten, scripted
from torch import Tensor, nn


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)

    def saved(self) -> bytes:
        buffer = io.BytesIO()
        torch.save(self, buffer)
        return buffer.getvalue()


def example_inputs(trap: Trap) -> tuple[Callable[[str, bytes], bytes], dict[str, bytes]]:
    return lambda name, data: trap.saved() if name.endswith("sample_inputs/model.pt") else data, {}


def pickled_weight(trap: Trap) -> tuple[Callable[[str, bytes], bytes], dict[str, bytes]]:
    def edit(name: str, data: bytes) -> bytes:
        if name.endswith("model_weights_config.json"):
            config = json.loads(data)
            next(iter(config["config"].values()))["use_pickle"] = True
            return json.dumps(config).encode()
        return trap.saved() if name.endswith("weights/weight_0") else data

    return edit, {}


def pickled_constant(trap: Trap) -> tuple[Callable[[str, bytes], bytes], dict[str, bytes]]:
    constant = {"path_name": "tensor_0", "is_param": False, "use_pickle": True, "tensor_meta": None}

    def edit(name: str, data: bytes) -> bytes:
        return json.dumps({"config": {"c": constant}}).encode() if name.endswith("constants_config.json") else data

    return edit, {"data/constants/tensor_0": trap.saved()}


def symbolic_size(trap: Trap) -> tuple[Callable[[str, bytes], bytes], dict[str, bytes]]:
    def edit(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        program = json.loads(data)
        for value in program["graph_module"]["graph"]["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = f"__import__('os').mkdir({str(trap.path)!r})"
        return json.dumps(program).encode()

    return edit, {}


@pytest.mark.parametrize("lay", [example_inputs, pickled_weight, pickled_constant, symbolic_size])
def test_code_in_an_exported_network_is_not_run(tmp_path: Path, lay: Any):
    """Where torch's own loader runs it (torch 2.11 and 2.13): the traps must work, or this test proves nothing."""
    trap = Trap(tmp_path / "planted")
    path = rewritten(exported(tmp_path / "own.pt2", nn.Sequential(nn.Flatten(), nn.Linear(768, 5))), *lay(trap))
    if "pickled" in lay.__name__:
        assert "is pickled: code in it is never run" in refusal(path)
    else:  # what is not needed is not read at all
        load(path)
    assert not trap.path.exists()
    with contextlib.suppress(Exception):
        torch.export.load(path)
    assert trap.path.exists()


class Files(nn.Module):
    """TorchScript that makes a file when it runs."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) + torch.from_file(self.path, True, 3)


def test_a_script_that_touches_files_is_refused(tmp_path: Path):
    path = scripted(tmp_path / "own.pt", Files(tmp_path / "planted"))
    assert "calls aten::from_file, which is no operator on tensors" in refusal(path, classes=3)
    assert not (tmp_path / "planted").exists()
    torch.jit.load(str(path))(torch.zeros(1, 3, 4, 4))
    assert (tmp_path / "planted").exists()


class Restoring(nn.Module):
    """TorchScript that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.weight, self.training = str(path), torch.zeros(1), False

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state[0], state[1]
        self.weight = torch.from_file(self.path, True, 10)

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) + self.weight[0]


def test_a_script_that_acts_when_it_is_loaded_is_refused(tmp_path: Path):
    path = scripted(tmp_path / "own.pt", Restoring(tmp_path / "planted"))
    assert "runs a method __setstate__" in refusal(path, classes=3)
    assert not (tmp_path / "planted").exists()
    torch.jit.load(str(path))
    assert (tmp_path / "planted").exists()


def test_code_in_a_script_s_pickle_is_not_run(tmp_path: Path):
    trap = Trap(tmp_path / "planted")
    pickled = pickle.dumps(trap, protocol=2)
    path = rewritten(
        scripted(tmp_path / "own.pt", Small().eval()),
        lambda name, data: pickled if name.endswith("/data.pkl") else data,
        {},
    )
    assert "is damaged, or no file of TorchScript" in refusal(path)
    assert not trap.path.exists()
    pickle.loads(pickled)
    assert trap.path.exists()


def test_objects_of_other_classes_than_torchscript_s_are_refused(tmp_path: Path):
    path = rewritten(
        scripted(tmp_path / "own.pt", Small().eval()),
        lambda name, data: b"c__torch__.torch.classes.c10d\nTCPStore\n." if name.endswith("/data.pkl") else data,
        {},
    )
    assert "an object of a class that is not TorchScript's" in refusal(path)


def call_of(target: str) -> Callable[[str, bytes], bytes]:
    def edit(name: str, data: bytes) -> bytes:
        return data.replace(b"torch.ops.aten.relu.default", target.encode()) if name.endswith("model.json") else data

    return edit


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.__class__.mro",
        "torch.ops.higher_order.map",
        "_operator.attrgetter",
    ],
)
def test_calls_of_anything_but_operators_are_refused(tmp_path: Path, target: str):
    model = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(768, 5))
    path = rewritten(exported(tmp_path / "own.pt2", model), call_of(target), {})
    assert f"it calls {target}, which is no operator on tensors" in refusal(path)


def test_code_is_refused(tmp_path: Path):
    assert "evaluators.mine:score is code, and no code of a user's is run" in refusal("evaluators.mine:score")
    (tmp_path / "mine.py").write_text("print('hello')\n")
    assert "is no evaluator that can be read" in refusal(tmp_path / "mine.py")
