"""What README and docs say is so: links lead somewhere, commands are accepted, examples are studies, tables are
complete, and the project's words are used in everything that a user reads."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from PIL import Image

from analysis import figures
from analysis.verdict import Outcome
from runners import experiment as experiments
from runners.ddpm.config import TrialConfig
from study.cli import doctor, request
from study.design import plan, registry
from study.design.scales import SCALES
from study.design.spec import StudySpec

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, ROOT / "benchmarks/README.md", ROOT / "mlruns/README.md", *sorted(DOCS.glob("*.md"))]
MOST_LINES, MOST_WORDS = 150, 1600
MOST_IMAGE_BYTES = 200_000

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"(?:study|runners|analysis|tests|benchmarks|docs)/[\w/.-]*")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


pages = pytest.mark.parametrize("page", PAGES, ids=named)


def blocks(page: Path, language: str) -> list[str]:
    return [text for name, text in FENCED.findall(page.read_text(encoding="utf-8")) if name == language]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


# --- links -------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The fragments that a hoster makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: there is no {target}"
        assert ROOT in [target, *target.parents], f"{link} leaves the project"
        assert not fragment or fragment in anchors(target), f"{link}: no such heading"


def test_every_page_can_be_reached_from_the_first() -> None:
    found, waiting = {README}, [README]
    while waiting:
        page = waiting.pop()
        links = [(page.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(page))]
        new = [target for target in links if target.suffix == ".md" and target not in found]
        found |= set(new)
        waiting += new
    assert found >= set(PAGES)


@pytest.mark.parametrize("image", sorted((DOCS / "images").glob("*")), ids=named)
def test_pictures_are_small_and_are_shown(image: Path) -> None:
    assert image.stat().st_size <= MOST_IMAGE_BYTES
    with Image.open(image) as opened:
        opened.verify()
    assert any(f"images/{image.name})" in page.read_text(encoding="utf-8") for page in PAGES)


@pages
def test_files_that_are_named_exist(page: Path) -> None:
    for span in SPAN.findall(prose(page)):
        path = span.rstrip("/")
        if PATH.fullmatch(path) and "NAME" not in path:
            assert (ROOT / path).exists(), f"`{span}` is not there"


# --- commands ----------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[Path, str]]:
    """Lines of blocks without a language, and spans in the text, that a reader may type."""
    for page in PAGES:
        lines = [line for block in blocks(page, "") for line in block.splitlines()]
        for line in [*lines, *SPAN.findall(prose(page))]:
            if re.match(r"(python|make|pytest) ", line):
                yield page, line


COMMANDS = sorted({(named(page), line.partition("  #")[0].strip()) for page, line in commands()})


def test_the_commands_were_found() -> None:
    assert len(COMMANDS) > 40
    assert {line.split()[0] for _, line in COMMANDS} == {"python", "make", "pytest"}


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_command_is_accepted(page: str, line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    if program == "make":
        check_make(words)
    elif program == "python":
        check_python(words)
    else:
        assert words == ["-m", "not slow and not long"]


def check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w./-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^(\w+) [?:]?=", makefile, re.MULTILINE))
    given = {word.partition("=")[0] for word in words if "=" in word}
    assert given <= variables
    assert {word for word in words if "=" not in word} <= targets


def check_python(words: list[str]) -> None:
    module = words[0] == "-m"
    name, arguments = (words[1], words[2:]) if module else (words[0], words[1:])
    path = ROOT / (f"{name.replace('.', '/')}.py" if module else name)
    assert path.is_file(), f"there is no program {path}"
    if name == "study/run.py":
        check_run(arguments)
    elif name == "study.doctor":
        doctor.parser().parse_args(arguments)
    elif options := {word for word in arguments if word.startswith("-")}:
        assert options <= set(re.findall(r"--[\w-]+", help_of(name))), f"{name} has no such option"


def check_run(arguments: list[str]) -> None:
    """With the program's own parser; studies, scales and fields are those that there are."""
    given = request.parser().parse_args(arguments)
    for study in given.study or []:
        assert study in [*registry.names(), "all", "NAME"] or study.endswith("my_study.py")
    assert given.scale in [*SCALES, None]
    known = [registry.find(study).experiment for study in given.study or [] if study in registry.names()]
    config = experiments.find(known[0]).Config if known else TrialConfig
    for setting in given.set:
        name, _, value = setting.partition("=")
        config.read_value(name, value)


@cache
def help_of(name: str) -> str:
    """What a program says to --help: of a script, or of a module with a dot in its name."""
    program = [name] if name.endswith(".py") else ["-m", name]
    done = subprocess.run(
        [sys.executable, *program, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


# --- examples ----------------------------------------------------------------------------------------

STUDIES = [
    (named(page), block)
    for page in (README, DOCS / "own_study.md")
    for block in blocks(page, "python")
    if "STUDY" in block
]


def test_the_examples_were_found() -> None:
    assert len(STUDIES) >= 4


@pytest.mark.parametrize(("page", "code"), STUDIES)
def test_an_example_is_a_study(page: str, code: str, tmp_path: Path) -> None:
    path = tmp_path / "my_study.py"
    path.write_text(code, encoding="utf-8")
    one = registry.asked(str(path))
    made = plan.make(one.name, one.spec, "laptop", SCALES["laptop"], plan.Request(digest=one.digest))
    request.check(made)
    assert len(made.design.arms) >= 2 or made.space


@pages
def test_other_examples_are_python(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, named(page), "exec")


# --- what must be complete -----------------------------------------------------------------------------


def words_of(page: str) -> set[str]:
    """Every word in code on a page of docs."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return set(re.findall(r"[\w-]+", " ".join(SPAN.findall(text))))


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[\w-]+", text))


def test_every_option_is_explained() -> None:
    assert options(request.parser().format_help()) - {"--help"} <= words_of("cli.md")
    text = (DOCS / "recovery.md").read_text(encoding="utf-8")
    assert options(doctor.parser().format_help()) - {"--help", "--check"} <= options(text)


def test_every_study_scale_and_figure_is_listed() -> None:
    listed = words_of("cli.md") | {f"report_r{number}" for number in range(5)}
    assert set(registry.names()) <= listed
    assert set(SCALES) <= listed
    assert set(figures.NAMES) <= listed


def test_every_field_of_a_study_is_explained() -> None:
    assert set(StudySpec.__dataclass_fields__) <= words_of("own_study.md")


def test_every_verdict_is_explained() -> None:
    text = (DOCS / "statistics.md").read_text(encoding="utf-8")
    unnamed = {Outcome.REFERENCE_INCOMPLETE}  # said as: not compared
    missing = [outcome.value for outcome in set(Outcome) - unnamed if outcome.value not in text]
    assert not missing


def test_the_readme_is_short() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert len(text.split()) <= MOST_WORDS
    assert "![" in "".join(text.splitlines(keepends=True)[:15])  # a picture in the first screen


def test_the_layout_in_the_readme_is_that_of_the_project() -> None:
    (layout,) = [block for block in blocks(README, "") if "runners/" in block]
    rooms = [ROOT, ROOT / "study", ROOT / "runners", ROOT / "analysis"]
    for folder in re.findall(r"\b([a-z]+)/(?=\s)", layout):
        assert any((room / folder).is_dir() for room in rooms), f"{folder}/ is not there"
    for room in ("study", "runners", "analysis", "tests", "docs", "benchmarks", "mlruns"):
        assert f"{room}/" in layout


def test_the_number_of_studies_is_right() -> None:
    assert f"# {len(registry.names())} studies," in README.read_text(encoding="utf-8")


def test_the_citation_is_that_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)  # what the format requires
    assert [set(author) for author in cited["authors"]] == [{"name"}]
    assert cited["version"] == project["version"]
    assert cited["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


# --- words -------------------------------------------------------------------------------------------

COUNTED = r"(?:\d+|one|number|numbers|rows?|trainings?|seeds?|trials?|workers?|processes|objects?|tokens?|files?|figures?|questions?|times?|seconds|minutes|intervals?)"  # fmt: skip  # noqa: E501
EACH = (
    r"(?:an arm|a seed|a trial|a training|a device|a core|a study|a file|an object|an image|a label|a list|a picture)"
)
NOT_WRITTEN = {  # a phrase -> what is written instead
    r"pulses?|beats?": "heartbeat",
    r"judges?|judgements?|stand-ins?": "evaluator, surrogate evaluator",
    r"treatments?": "manipulation check",
    r"holes?": "incomplete 2/3 seeds",
    r"(?:put|puts|set) aside": "quarantine",
    r"forg[eo]ts?|forgotten": "prune checkpoints",
    r"packed": "colocated",
    r"not separated|(?:is|are) separated": "inconclusive",
    r"no difference larger than": "equivalent",
    r"--claim|--patience": "--confirmatory, --worker-timeout",
    r"how it is decided": "Statistical protocol",
    r"parsing the plots? above": "How to read this figure",
    r"as it comes|signs? of life|repays? itself|flattered|mends?": "a plain word",
    rf"{COUNTED} {EACH}": "per arm, per seed, per trial",
}
# A history says what things were called.
QUOTED = {"docs/history.md": re.compile(r'"[^"\n]+"')}


def texts() -> dict[str, str]:
    """Everything that is read for its words: pages and notebooks without code, and help texts."""
    found = {named(page): SPAN.sub("", page.read_text(encoding="utf-8")) for page in PAGES}
    for name, quoted in QUOTED.items():
        found[name] = quoted.sub("", found[name])
    for path in sorted((ROOT / "analysis").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        written = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        found[named(path)] = SPAN.sub("", "\n".join(written))
    found["run.py --help"] = request.parser().format_help()
    found["doctor --help"] = doctor.parser().format_help()
    for name in ("study/ui.py", "analysis/report.py", "runners.render", "docs/screenshots.py"):
        found[f"{name} --help"] = help_of(name)
    for name in registry.names():
        found[f"study {name}"] = " ".join([registry.find(name).question, *registry.find(name).notes])
    return found


@pytest.mark.parametrize("phrase", NOT_WRITTEN)
def test_the_projects_words_are_used(phrase: str) -> None:
    pattern = re.compile(rf"(?<![\w-])(?:{phrase})(?![\w-])", re.IGNORECASE)
    found = []
    for name, text in texts().items():
        line = re.sub(r"\s+", " ", re.sub(r"\n\s*\n", " / ", text))  # a phrase may be broken, a paragraph ends it
        found += [f"{name}: ...{line[max(0, hit.start() - 30) : hit.end() + 30]}..." for hit in pattern.finditer(line)]
    assert not found, f"write {NOT_WRITTEN[phrase]}:\n" + "\n".join(found)


def test_a_forbidden_phrase_would_be_found() -> None:
    """The patterns match what they are made for: the words of the version before."""
    before = (
        "a pulse, a stand-in judges, the treatment, a hole, put aside, forgets, packed trials, not separated, no "
        "difference larger than x, --claim, How it is decided, Parsing the plot above, as it comes, one training an arm"
    )
    for phrase in NOT_WRITTEN:
        assert re.search(rf"(?<![\w-])(?:{phrase})(?![\w-])", before, re.IGNORECASE), phrase
