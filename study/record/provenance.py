"""What the code was when a study was launched: git commit and diff, installed versions."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def tags() -> dict[str, str]:
    """Commit, and whether the tree differs from it; "unknown" outside a git checkout."""
    sha = _git("rev-parse", "HEAD").strip() or "unknown"
    return {"git_sha": sha, "git_dirty": str(bool(_git("status", "--porcelain").strip()))}


def files(command: str) -> dict[str, str]:
    """The texts that rebuild the launch: its command, the uncommitted diff, the installed versions."""
    versions = sorted(f"{item.name}=={item.version}" for item in metadata.distributions())
    return {
        "launch/command.txt": command + "\n",
        "launch/git.diff": _git("diff", "HEAD"),
        "launch/requirements.txt": "\n".join(dict.fromkeys(versions)) + "\n",
    }
