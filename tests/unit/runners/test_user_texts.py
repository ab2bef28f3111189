"""Tables and JSON as editors and spreadsheets save them: with a byte-order mark, in UTF-16, in Latin-1. The first two
are read; of the third the byte is named, and where it stands."""

from __future__ import annotations

import codecs
import json

import pytest
from launch import refused as refused_by_the_command
from picture_sets import CLASSES, COUNT, DIGEST, flat, grey, labels_of, metadata_csv, refused, sets_json, taken
from PIL import Image

from runners import given, user_texts
from runners.tasks.iclevr.folder import Folder, read_folder
from runners.tasks.iclevr.labels import LABELS

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]  # Python writes a mark with the last three
WORD = "café"


def saved_as(path, encoding):
    """Save a text that is there in another encoding."""
    text = path.read_text(encoding="utf-8")
    path.write_bytes(text.encode(encoding))


@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-16-be with its mark"])
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_table_is_the_same_in_every_encoding_that_says_what_it_is(tmp_path, encoding, name):
    rows = list(zip(flat(tmp_path, grey()), labels_of(), strict=True))
    csv = "file_name,label\n" + "".join(f"{file},{label}\n" for file, label in rows)
    lines = "".join(json.dumps({"file_name": file, "label": label}) + "\n" for file, label in rows)
    text = csv if name.endswith("csv") else lines
    big = codecs.BOM_UTF16_BE + text.encode("utf-16-be")
    (tmp_path / name).write_bytes(big if "mark" in encoding else text.encode(encoding))
    source = taken(tmp_path)
    assert source.digest == DIGEST
    assert set(source.labels) == set(CLASSES)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["train", "objects", "test"])
def test_json_beside_images_is_the_same_too(tmp_path, encoding, name):
    sets_json(tmp_path, grey(), objects=["cat", "dog", "owl"], test=[["cat"], ["owl"]])
    before = taken(tmp_path).digest
    saved_as(tmp_path / f"{name}.json", encoding)
    assert taken(tmp_path).digest == before


@pytest.fixture
def clevr(tmp_path):
    """An i-CLEVR folder of the user's, files with plain names."""
    names = [f"CLEVR_train_{number // 3:06d}_{number % 3}.png" for number in range(COUNT - COUNT % 3)]
    for name in names:
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
    content = {
        "train": {name: [LABELS[position % 24]] for position, name in enumerate(names)},
        "objects": {label: position for position, label in enumerate(LABELS)},
        "test": [[LABELS[0]]],
        "new_test": [[LABELS[1]]],
    }
    for name, value in content.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    return tmp_path


@pytest.mark.parametrize("encoding", ENCODINGS[1:])
@pytest.mark.parametrize("name", ["train", "objects", "test", "new_test", "*"])
def test_json_of_an_i_clevr_folder(clevr, encoding, name):
    before = read_folder(clevr)
    for path in clevr.glob(f"{name}.json"):
        saved_as(path, encoding)
    assert read_folder(clevr).digest == before.digest
    with pytest.raises(StopIteration) as found:  # it is recognised as i-CLEVR
        next(given.read({"data": str(clevr)}))
    assert isinstance(found.value.value, Folder)


LATIN = {
    "metadata.csv": (f"file_name,label\n0000.png,1\n0001.png,{WORD}\n", 3, 13),
    "metadata.jsonl": (f'{{"file_name": "0000.png", "label": "{WORD}"}}\n', 1, 40),
    "train.json": (f'{{"0000.png": ["a"],\n "0001.png": ["{WORD}"]}}', 2, 19),
}


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["", "with a mark"])
@pytest.mark.parametrize("name", LATIN)
def test_a_byte_of_latin_1_is_named_with_its_place(tmp_path, name, mark):
    text, line, place = LATIN[name]
    flat(tmp_path, grey())
    (tmp_path / name).write_bytes(mark + text.encode("latin-1"))
    words = (
        rf"^{name}, line {line}, has the byte 0xE9 at place {place} of the line, which is not valid UTF-8 "
        r"\(in Latin-1 it is 'é'\): save it again as UTF-8\.$"
    )
    refused(tmp_path, words)
    assert text.encode("latin-1").split(b"\n")[line - 1][place - 1] == 0xE9


def test_a_byte_far_behind_the_beginning(tmp_path):
    """Python names its place in the piece that it has just read."""
    metadata_csv(tmp_path, grey(), labels_of())
    with (tmp_path / "metadata.csv").open("ab") as file:
        file.write(b"0000.png,1\n" * 20_000 + "0001.png,\x9c\n".encode("latin-1"))
    words = rf"line {COUNT + 20_002}, has the byte 0x9C at place 10 of the line.*\(in Latin-1 it is 'œ'\)"
    refused(tmp_path, words)


def test_utf_16_without_a_mark_and_utf_16_that_ends_within_a_character(tmp_path):
    metadata_csv(tmp_path, grey(), labels_of())
    text = (tmp_path / "metadata.csv").read_text()
    (tmp_path / "metadata.csv").write_bytes(text.encode("utf-16-le"))
    words = r"^metadata\.csv, line 1, has the byte 0x00, as UTF-16 without a byte-order mark has and no UTF-8: save it"
    refused(tmp_path, words)
    (tmp_path / "metadata.csv").write_bytes(text.encode("utf-16")[:-1])
    refused(tmp_path, r"^metadata\.csv begins as UTF-16 and is none at byte [\d,]+ \(.*\): save it again as UTF-8")


def test_files_that_were_put_together_have_marks_in_their_middle(tmp_path):
    names = flat(tmp_path, grey())
    rows = [
        json.dumps({"file_name": name, "label": label}) + "\n" for name, label in zip(names, labels_of(), strict=True)
    ]
    halves = ["".join(rows[:50]), "".join(rows[50:])]
    (tmp_path / "metadata.jsonl").write_bytes(b"".join(half.encode("utf-8-sig") for half in halves))
    assert taken(tmp_path).digest == DIGEST


def test_the_command_names_the_byte_too(clevr, tmp_path):
    text = (clevr / "new_test.json").read_text().replace("]]", '"]]').replace('""', 'é"')
    (clevr / "new_test.json").write_bytes(text.encode("cp1252"))
    done = refused_by_the_command(
        "--study", "null", "--scale", "smoke", "--devices", "cpu", "--data", clevr, "--record", tmp_path / "record"
    )
    assert done.returncode == 2
    assert "new_test.json, line 1, has the byte 0xE9 at place" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_what_is_no_json_says_where_and_whether_its_end_is_missing(tmp_path):
    for text, words in {
        '{"a": [1, 2': "it is cut short: ",
        '{"a": "b': "it is cut short: ",
        '{"a": 1,}': r"\(Illegal trailing comma|\(Expecting property name",
        "{'a': 1}": r"\(Expecting property name enclosed in double quotes: line 1 column 2",
    }.items():
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ValueError, match=rf"^a\.json cannot be read as JSON .*{words}") as error:
            user_texts.read_json(tmp_path / "a.json", "a.json")
        assert ("cut short" in str(error.value)) == ("cut short" in words)
