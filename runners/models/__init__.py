"""One architecture a file; `model="NAME(...)"` is built by `runners/models/NAME.py`.

Each has `build(image_size, labels, ...) -> nn.Module`, which maps (x_BCHW, t_B, c_BK) to (B, C, H, W), and
`check(image_size, ...)`, which raises ValueError for arguments that cannot be built.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from runners.config import Call, nearest


def names() -> list[str]:
    """The architectures: the files of this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def architecture(model: str) -> tuple[Any, dict[str, Any]]:
    """The module and the arguments of `model`; ValueError for an unknown name (with the nearest) or argument."""
    call = Call.parse(model)
    if call.name not in names():
        raise ValueError(f"Unknown model {call.name!r}{nearest(call.name, names())}")
    module = importlib.import_module(f"{__name__}.{call.name}")
    return module, call.bind(module.build, given=("image_size", "labels"))
