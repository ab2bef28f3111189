"""What a launch keeps of the code rebuilds what ran, whatever the user's git is set to; what git does not say is
unknown."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from study.record import provenance

NEW = "study/studies/mine.py"


def git(root: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def write(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of three files, and a user without settings."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    write(tmp_path / "gitconfig", "")
    root = tmp_path / "checkout"
    for name in (provenance.SELF, "runners/train.py", "README.md"):
        write(root / name, f"name = '{name}'\nlast = 1\n")
    write(root / ".gitignore", "__pycache__/\n/mlruns/*\n")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    return root


def test_a_clean_checkout_has_no_diff(root: Path) -> None:
    commit = git(root, "rev-parse", "HEAD").strip()
    write(root / "runners/__pycache__/train.pyc", b"\0")
    write(root / "mlruns/mlflow.db", b"\0")
    assert provenance.code(root) == provenance.Code(commit, False, "")


def changes(root: Path) -> dict[str, bytes]:
    """Changes of all kinds, and what the files then are."""
    found = {
        NEW: b"STUDY = 1\n",
        "runners/train.py": "name = 'été'\r\nlast = 2".encode(),
        "runners/new.bin": bytes(range(256)),
        "runners/latin.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
        "mine.py": b"",
        "studies of mine/été.py": b"x = 1\r\n",
    }
    for name, content in found.items():
        write(root / name, content)
    return found


def test_commit_and_diff_rebuild_what_ran(root: Path, tmp_path: Path) -> None:
    found = changes(root)
    (root / "README.md").unlink()
    before = provenance.code(root)
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "--quiet", str(root), str(copy))
    git(copy, "checkout", "--quiet", before.commit)
    write(tmp_path / "recorded.diff", before.diff)
    git(copy, "apply", str(tmp_path / "recorded.diff"))
    assert {name: (copy / name).read_bytes() for name in found} == found
    assert not (copy / "README.md").exists()
    git(root, "add", ".")
    assert provenance.code(root) == before  # staged or not
    assert before.changed is True


SETTINGS = [
    "color.ui=always",
    "color.diff=always",
    "diff.noprefix=true",
    "diff.mnemonicPrefix=true",
    "diff.external=true",  # the program, which says nothing
    "diff.relative=true",
    "diff.context=0",
    "diff.orderFile=/not/there",
    "diff.renames=copies",
    "status.showUntrackedFiles=no",
    "core.quotePath=false",
    "core.fsmonitor=/not/there",
    "core.pager=false",
]


@pytest.mark.parametrize("place", ["--global", "--local"])
def test_a_users_git_settings_change_nothing(root: Path, place: str) -> None:
    changes(root)
    before = provenance.code(root)
    assert "STUDY = 1" in before.diff
    for setting in SETTINGS:
        git(root, "config", place, *setting.split("=", 1))
    assert provenance.code(root) == before


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_DIR": "other/.git", "GIT_WORK_TREE": "other", "GIT_INDEX_FILE": "other/.git/index"},
        {"GIT_EXTERNAL_DIFF": "true", "GIT_DIFF_OPTS": "--unified=0", "GIT_LITERAL_PATHSPECS": "1"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "color.ui", "GIT_CONFIG_VALUE_0": "always"},
    ],
)
def test_variables_of_git_change_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """`git rebase --exec` and hooks set them; another repository is not the one that runs."""
    changes(root)
    before = provenance.code(root)
    write(tmp_path / "other/file.py", "x = 1\n")
    git(tmp_path / "other", "init", "--quiet")
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("other", str(tmp_path / "other")))
    assert provenance.code(root) == before


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_a_flag_of_the_index_hides_no_change(root: Path, flag: str) -> None:
    git(root, "update-index", flag, "runners/train.py")
    write(root / "runners/train.py", "changed = 1\n")
    assert "+changed = 1" in provenance.code(root).diff


def test_an_ignore_rule_hides_no_code(root: Path) -> None:
    write(root / NEW, "STUDY = 1\n")
    write(root / ".git/info/exclude", "mine.py\n")
    assert "+STUDY = 1" in provenance.code(root).diff


def test_data_in_the_checkout_is_named_and_no_change_of_code(root: Path) -> None:
    for position in range(8):
        write(root / f"pictures/{position}.png", b"\0")
    write(root / "notes.txt", "x")
    found = provenance.code(root)
    line = "# untracked, not in this diff: "
    assert found.diff == f"{line}notes.txt\n{line}pictures/ (8 files)\n"
    assert found.changed is False


def test_a_large_new_file_of_the_code_is_named_and_is_a_change(root: Path) -> None:
    write(root / "runners/weights.npz", bytes(provenance.LARGEST + 1))
    found = provenance.code(root)
    assert found == provenance.Code(found.commit, True, "# untracked, not in this diff: runners/weights.npz\n")


def test_a_folder_of_somebody_elses_modules_does_not_swell_the_diff(root: Path) -> None:
    for position in range(provenance.MOST + 1):
        write(root / f"libraries/m{position}.py", "x = 1\n")
    write(root / NEW, "STUDY = 1\n")
    found = provenance.code(root)
    assert found.diff.count("diff --git") == 1
    assert found.diff.startswith(f"# untracked, not in this diff: libraries/ ({provenance.MOST + 1} files)\n")


def test_the_users_index_is_left_alone(root: Path) -> None:
    changes(root)
    before = {path: path.read_bytes() for path in (root / ".git").rglob("*") if path.is_file()}
    provenance.code(root)
    assert {path: path.read_bytes() for path in (root / ".git").rglob("*") if path.is_file()} == before


# --- unknown --------------------------------------------------------------------------------------------


def assert_unknown(root: Path, monkeypatch: pytest.MonkeyPatch, reason: str, commit: str = "unknown") -> None:
    monkeypatch.setattr(provenance, "ROOT", root)
    assert provenance.tags() == {"git_sha": commit, "git_dirty": "unknown"}
    diff = provenance.files("command")["launch/git.diff"]
    assert diff.startswith("# unknown: ")
    assert reason in diff


def test_without_git_all_is_unknown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert_unknown(root, monkeypatch, "git cannot be run (No such file or directory)")


def test_a_downloaded_archive_is_unknown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(root / ".git")
    assert_unknown(root, monkeypatch, "not a git repository")


def test_the_repository_around_an_archive_is_not_its_commit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that was unpacked in the repository of a thesis, an installed package in that of a notebook."""
    shutil.rmtree(root / ".git")
    write(root.parent / "thesis.tex", "x")
    git(root.parent, "init", "--quiet")
    git(root.parent, "add", "thesis.tex")
    git(root.parent, "commit", "--quiet", "-m", "thesis")
    assert_unknown(root, monkeypatch, "is no part of the commit")


def test_before_the_first_commit_all_is_unknown(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(root / ".git")
    git(root, "init", "--quiet")
    assert_unknown(root, monkeypatch, "HEAD")


def test_a_git_that_fails_halfway_leaves_the_commit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(root, "rev-parse", "HEAD").strip()
    program = root.parent / "bin" / "git"
    real = shutil.which("git")
    write(program, f'#!/bin/sh\ncase "$*" in *ls-files*) echo "fatal: disk" >&2; exit 128;; esac\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert_unknown(root, monkeypatch, "fatal: disk", commit)


def test_code_that_is_a_part_of_a_larger_repository_is_known(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / ".git")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "all")
    found = changes(root)
    diff = provenance.code(root).diff
    git(tmp_path, "clone", "--quiet", str(tmp_path), str(tmp_path / "copy"))
    copy = tmp_path / "copy" / root.name
    write(tmp_path / "recorded.diff", diff)
    git(tmp_path / "copy", "apply", str(tmp_path / "recorded.diff"))
    assert {name: (copy / name).read_bytes() for name in found} == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a checkout to somebody else")
@pytest.mark.parametrize("whose", ["ours", "around it"])
def test_a_checkout_of_somebody_else(root: Path, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    """In a container root runs a checkout of the host's user. Its code is running, so git may read it; a repository
    around it is not trusted."""
    write(root / NEW, "STUDY = 1\n")
    if whose == "around it":
        shutil.rmtree(root / ".git")
        git(root.parent, "init", "--quiet")
        git(root.parent, "add", ".")
        git(root.parent, "commit", "--quiet", "-m", "all")
    top = root if whose == "ours" else root.parent
    for path in (top, top / ".git"):
        os.chown(path, 12345, 12345)
    if whose == "ours":
        assert "+STUDY = 1" in provenance.code(root).diff
    else:
        assert_unknown(root, monkeypatch, "dubious ownership")


# --- files that no commit has ---------------------------------------------------------------------------


def test_files_outside_of_the_checkout_are_copied_without_loss(tmp_path: Path) -> None:
    write(tmp_path / "a.py", "x = 'é'\r\n")
    write(tmp_path / "b.py", b"x = '\xe9'\n")
    write(tmp_path / "c.bin", bytes(provenance.LARGEST + 1))
    found = provenance.texts((path.name, path) for path in sorted(tmp_path.iterdir()))
    assert found == {
        "a.py": "x = 'é'\r\n",
        "b.py.base64": "eCA9ICfpJwo=\n",
        "c.bin.txt": "not copied: 1,048,577 bytes\n",
    }
