"""What a docstring says, read in the source: under `python -OO` and PYTHONOPTIMIZE=2 programs have none.

Texts that people see (titles of figures, definitions of schedules, helps of commands) are the same then.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def of(owner: ModuleType | Callable[..., Any]) -> str:
    """The docstring of a module or of a function at its top, without indentation; "" where there is none, or no
    source."""
    try:
        file = inspect.getsourcefile(owner)
        tree = _tree(file or "")
    except (TypeError, OSError, SyntaxError, ValueError):
        return ""
    if isinstance(owner, ModuleType):
        return ast.get_docstring(tree) or ""
    named = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == owner.__name__]
    return (ast.get_docstring(named[-1]) or "") if named else ""


@functools.lru_cache(maxsize=64)
def _tree(file: str) -> ast.Module:
    return ast.parse(Path(file).read_bytes())
