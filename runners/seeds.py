"""Seeds of single steps, so that a training resumed at a step draws what the uninterrupted one does. Standard library
only."""

from __future__ import annotations

import hashlib


def step_seed(*parts: int | str) -> int:
    """A 63-bit seed from its parts: neighbouring steps get unrelated generators."""
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8], "big") >> 1
