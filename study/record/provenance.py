"""What the code was when a study was launched: its commit, all that differs from it, installed versions.

Commit and diff together rebuild what ran, whatever a user's git is set to. What git does not say is "unknown".
"""

from __future__ import annotations

import base64
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent.parent
UNKNOWN = "unknown"
ROOMS = ("study", "runners", "analysis")  # a new file in one of them is code, whatever its name
SELF = "study/record/provenance.py"
SECONDS = 30
LARGEST = 2**20  # bytes of a new file that is copied
MOST = 200  # new files that are copied: more are no work of a day, but somebody's libraries
# Variables that say where git itself and the user's settings are; all others would change which tree is looked at, or
# how its differences are written.
KEPT = ("GIT_EXEC_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CEILING_DIRECTORIES")
NAMED = 5  # files of a folder that are named one by one, of those that are not copied
SETTINGS = ("core.quotePath=true", "core.fsmonitor=false")
# Each of them has a setting that would write another thing than a patch for `git apply`.
PATCH = (
    *("diff", "--patch", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"),
    *("--unified=3", "--no-relative", "--submodule=short", "--ignore-submodules=none", "-O/dev/null"),
)


@dataclass(frozen=True)
class Code:
    """The code of a checkout. `diff` is a patch for `git apply`, with comments above it; `changed`: whether the code
    differs from its commit, None where nobody knows."""

    commit: str
    changed: bool | None
    diff: str


class _Unanswered(Exception):
    """git does not say; the message is the reason."""


def tags() -> dict[str, str]:
    """Commit, and whether the code differs from it; "unknown" for what git does not say."""
    found = code()
    return {"git_sha": found.commit, "git_dirty": UNKNOWN if found.changed is None else str(found.changed)}


def files(command: str) -> dict[str, str]:
    """The texts that rebuild the launch: its command, what differs from the commit, the installed versions."""
    named = {str(item.name): item.version for item in metadata.distributions() if item.name}
    versions = sorted(f"{name}=={version}" for name, version in named.items())
    python = f"# Python {platform.python_version()}, {platform.platform()}"
    return {
        "launch/command.txt": command + "\n",
        "launch/git.diff": code().diff,
        "launch/requirements.txt": "\n".join([python, *versions]) + "\n",
    }


def texts(paths: Iterable[tuple[str, Path]]) -> dict[str, str]:
    """Files that no commit has, as texts by name: a small one that is no text as base64, a large one as its size."""
    found = {}
    for name, path in paths:
        if (size := path.stat().st_size) > LARGEST:
            found[f"{name}.txt"] = f"not copied: {size:,} bytes\n"
            continue
        content = path.read_bytes()
        try:
            found[name] = content.decode("utf-8")
        except UnicodeDecodeError:
            found[f"{name}.base64"] = base64.encodebytes(content).decode("ascii")
    return found


# --- the checkout ----------------------------------------------------------------------------------------


def code(root: Path | None = None) -> Code:
    """The state of the checkout at `root`, the project's own by default. Never raises for what git says or lacks."""
    commit = UNKNOWN
    try:
        with TemporaryDirectory() as folder:
            checkout = _Checkout(root or ROOT, Path(folder))
            commit = checkout.commit()
            patch, left = checkout.changes()
    except (_Unanswered, OSError) as error:
        return Code(commit, None, f"# {UNKNOWN}: {error}\n")
    return Code(commit, bool(patch) or any(_is_code(name) for name in left), "".join(_comments(left)) + patch)


def _patch(folder: str = "") -> tuple[str, ...]:
    """Arguments of git for a patch; `folder`: what its paths begin with."""
    return (*PATCH, f"--src-prefix=a/{folder}", f"--dst-prefix=b/{folder}")


def _is_code(name: str) -> bool:
    return name.split("/")[0] in ROOMS or ("/" not in name and name.endswith(".py"))


def _comments(left: Iterable[str]) -> Iterator[str]:
    """What is untracked and not in the patch, a line each; many files of one folder are one line."""
    folders: dict[str, list[str]] = {}
    for name in left:
        folders.setdefault(name.split("/")[0], []).append(name)
    for folder, names in sorted(folders.items()):
        for line in names if len(names) <= NAMED else [f"{folder}/ ({len(names):,} files)"]:
            yield f"# untracked, not in this diff: {line.encode('utf-8', 'backslashreplace').decode('utf-8')}\n"


class _Checkout:
    """A checkout seen through an index of our own: the commit's, without flags that hide a changed file. The user's
    index is neither read nor refreshed."""

    def __init__(self, root: Path, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if name in KEPT or not name.startswith("GIT_")}
        own = {"GIT_INDEX_FILE": str(folder / "index"), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        self.root, self.environment = root, kept | own
        self.binary = folder / "attributes"
        self.binary.write_text("* -diff\n")

    def commit(self) -> str:
        """The commit that is checked out. Raises _Unanswered where there is none that this code is a part of."""
        found = self.git("rev-parse", "HEAD^{commit}").decode().strip()
        if not self.git("ls-tree", "--name-only", "HEAD", "--", SELF):
            raise _Unanswered(f"{self.root} is no part of the commit {found} of the repository around it")
        self.git("read-tree", "HEAD")
        return found

    def changes(self) -> tuple[str, list[str]]:
        """The patch from the commit to the files as they are, new code included; names of new files outside of it.
        Paths of the patch are relative to the repository, names to `root`."""
        patch = "".join(self.tracked())
        prefix = os.fsdecode(self.git("rev-parse", "--show-prefix")).removesuffix("\n")  # "" at the repository's top
        new, left = self.new()
        for name in new[:MOST]:
            path = self.root / name
            try:
                if path.is_symlink() or path.stat().st_size <= LARGEST:
                    patch += self.text(*_patch(prefix), "--no-index", "--", "/dev/null", name, differs=1)
                    continue
            except (OSError, _Unanswered):
                pass  # not readable, or gone in the meantime
            left.append(name)
        return patch, sorted([*left, *new[MOST:]])

    def tracked(self) -> Iterator[str]:
        try:
            yield self.git(*_patch(), "HEAD", "--", ".").decode("utf-8")
        except UnicodeDecodeError:  # of one file: the others are still to be read
            for name in self.names("diff", "--name-only", "--no-renames", "--relative", "-z", "HEAD", "--", "."):
                yield self.text(*_patch(), "HEAD", "--", f":(literal){name}")

    def new(self) -> tuple[list[str], list[str]]:
        """Untracked code, then what else is untracked and not ignored. An ignore rule hides no module of the rooms."""
        others = ("ls-files", "--others", "-z")
        every = self.names(*others, "--exclude-standard", "--", ".")
        ours = {name for name in every if _is_code(name)}
        ours |= {*self.names(*others, "--", *(f"{room}/*.py" for room in ROOMS))}
        elsewhere = {name for name in every if name.endswith(".py")}
        if len(ours | elsewhere) <= MOST:
            ours |= elsewhere
        return sorted(ours), [name for name in every if name not in ours]

    def names(self, *arguments: str) -> list[str]:
        return [os.fsdecode(name) for name in self.git(*arguments).split(b"\0") if name]

    def text(self, *arguments: str, differs: int = 0) -> str:
        """A patch in UTF-8: of a file in another encoding, as for a binary one."""
        try:
            return self.git(*arguments, differs=differs).decode("utf-8")
        except UnicodeDecodeError:
            return self.git(*arguments, differs=differs, settings=(f"core.attributesFile={self.binary}",)).decode()

    def git(self, *arguments: str, differs: int = 0, settings: tuple[str, ...] = ()) -> bytes:
        """What git prints. Raises _Unanswered when its exit code is neither 0 nor `differs`.

        Whoever owns the checkout, its code is running already; a repository around it is not trusted by that.
        """
        given = [word for one in (*SETTINGS, *settings, f"safe.directory={self.root}") for word in ("-c", one)]
        try:
            done = subprocess.run(
                ["git", *given, *arguments],
                cwd=self.root,
                env=self.environment,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=SECONDS,
            )
        except OSError as error:
            raise _Unanswered(f"git cannot be run ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise _Unanswered(f"git {arguments[0]} took more than {SECONDS} s") from None
        if done.returncode not in (0, differs):
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise _Unanswered(said[0] if said else f"git {arguments[0]} ended with {done.returncode}")
        return done.stdout
