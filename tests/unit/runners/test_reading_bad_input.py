"""Whatever is wrong with a user's images is one sentence that says what to write instead."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from picture_sets import (
    COUNT,
    class_folders,
    flat,
    grey,
    labels_of,
    metadata_csv,
    metadata_jsonl,
    refused,
    save,
    sets_json,
    taken,
    write_csv,
    write_json_lines,
)

ONE = grey(1, seed=9)[0]


def test_paths_that_hold_nothing(tmp_path):
    refused(tmp_path / "gone", r"--data .*gone is not there: give a folder of images, a \.npz file or an IDX file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no images: put PNG, JPEG")
    (tmp_path / "empty" / "a.pt").touch()
    refused(tmp_path / "empty", r"holds no images but a\.pt: put")
    for name, words in {
        "a.csv": "is a table: give the folder that holds it",
        "a.zip": "is an archive, or a damaged IDX file: unpack it",
        "a.npy": "is a file of another kind: give a folder",
    }.items():
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, words)
    for name in "ab":
        np.savez(tmp_path / "empty" / name, x=grey())
    refused(tmp_path / "empty", r"several \.npz files \(a\.npz, b\.npz\): give one of them")


def test_a_folder_of_one_class(tmp_path):
    class_folders(tmp_path / "flowers", grey(), labels_of(classes=("rose", "tulip")))
    refused(tmp_path, rf"has one class, 'flowers': give --data {tmp_path}/flowers, whose sub-folders are the classes")
    class_folders(tmp_path / "one", grey(), labels_of(classes=("rose",)))
    refused(tmp_path / "one", "has one class, 'rose': add images of another class, or write --task images")
    assert taken(tmp_path / "one", "images").kind == "none"


def test_classes_of_fewer_than_8_images(tmp_path):
    labels = labels_of()
    class_folders(tmp_path, grey(115), [*labels, *["rare"] * 7, *["one"] * 4])
    refused(
        tmp_path, r"^2 classes of --data .* have fewer than 8 images \(one: 4, rare: 7\): add images, or take them out"
    )
    class_folders(tmp_path, grey(4, seed=1), ["one"] * 4, "more {}.png")
    refused(tmp_path, r"^1 class of --data .* has fewer than 8 images \(rare: 7\): add images, or take it out")
    class_folders(tmp_path, grey(1, seed=2), ["rare"], "last {}.png")
    assert len(taken(tmp_path).labels) == 6


def test_a_class_needs_8_images_to_train_on(tmp_path):
    class_folders(tmp_path / "train", grey(), labels_of())
    class_folders(tmp_path / "val", grey(40, seed=1), [*labels_of(30), *["new"] * 10])
    refused(tmp_path, r"^1 class .* has fewer than 8 training images \(new: 0\)")


def test_a_label_of_objects_json_without_images(tmp_path):
    sets_json(tmp_path, grey(), objects=["cat", "dog", "owl", "fox"])
    refused(tmp_path, r"fewer than 8 images \(fox: 0\)")


def test_more_than_1000_classes_and_fewer_than_100_images(tmp_path):
    refused(class_folders(tmp_path / "a", grey(99), labels_of(99)), "has 99 images: a study needs at least 100")
    np.savez(tmp_path / "b.npz", x=grey(8008), y=np.repeat(np.arange(1001), 8))
    refused(tmp_path / "b.npz", "has 1,001 classes, and 1,000 is the most: merge classes, or write --task images")


def test_tasks_that_do_not_fit(tmp_path):
    flat(tmp_path / "flat", grey())
    for task in ("classes", "sets"):
        refused(
            tmp_path / "flat", f"has no labels, which --task {task} needs: put .* or write --task images", wanted=task
        )
    refused(tmp_path / "flat", "--task digits does not fit --data: write classes, sets or images", wanted="digits")
    sets_json(tmp_path / "sets", grey())
    words = r"0002\.png has 2 labels in train\.json, and --task classes takes one for each image: write --task sets"
    refused(tmp_path / "sets", words, wanted="classes")


def test_files_without_labels(tmp_path):
    metadata_csv(tmp_path, grey(), labels_of())
    for position in range(5):
        save(ONE, tmp_path / "new" / f"{position}.png")
    words = (
        r"^5 images have no label in metadata\.csv \(new/0\.png, new/1\.png, new/2\.png and 2 more\): label them, or"
    )
    assert "--allow-unlabelled" in refused(tmp_path, words)
    class_folders(tmp_path / "folders", grey(), labels_of())
    save(ONE, tmp_path / "folders" / "stray.png")
    refused(tmp_path / "folders", r"^1 image has no label in the sub-folders \(stray\.png\)")
    metadata_csv(tmp_path / "cells", grey(), ["", *labels_of()[1:]])
    refused(tmp_path / "cells", r"^1 image has no label in metadata\.csv \(0000\.png\)")


def test_labels_without_files(tmp_path):
    metadata_jsonl(tmp_path, grey(), labels_of())
    for position in range(4):
        (tmp_path / f"{position:04d}.png").unlink()
    words = r"^metadata\.jsonl names 4 images that are not in .* \(0000\.png, 0001\.png, 0002\.png and 1 more\): add"
    for allow in (False, True):
        refused(tmp_path, words, allow_unlabelled=allow)
    refused(tmp_path, words, wanted="images")


def test_one_file_named_twice(tmp_path):
    names = flat(tmp_path / "data", grey())
    rows = [("file_name", "label"), *zip(names, labels_of(), strict=True)]
    write_csv(tmp_path / "train.csv", [*rows, ("./0001.png", "10")])
    refused(tmp_path, r"^The image \./0001\.png is named twice in train\.csv: leave one row")
    write_csv(tmp_path / "train.csv", [*rows, ("0001.png", "33")])
    refused(tmp_path, r"0001\.png is named twice in train\.csv, with different labels: leave one row")
    write_csv(tmp_path / "train.csv", rows)
    write_csv(tmp_path / "val.csv", rows[:3])
    refused(tmp_path, r"0000\.png is named in train\.csv and again in val\.csv: leave one row")


@pytest.mark.parametrize("cell", [["cat", "dog"], '["cat", "dog"]', "cat,dog", "cat; dog"])
def test_two_labels_in_the_column_label(tmp_path, cell):
    names = flat(tmp_path, grey())
    labels = [*labels_of(COUNT - 1, ("cat", "dog", "a, b")), cell]
    write_json_lines(
        tmp_path / "metadata.jsonl",
        [{"file_name": name, "label": label} for name, label in zip(names, labels, strict=True)],
    )
    refused(tmp_path, r"in the column label: call the column labels\.$")


NAMES = ["../a.png", "/etc/passwd", "..", "a/../../a.png", "..\\a.png", "C:\\a.png", "a\0.png"]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_leave_the_folder(tmp_path, name):
    root = metadata_jsonl(tmp_path / "set", grey(), labels_of())
    save(ONE, tmp_path / "a.png")
    with (root / "metadata.jsonl").open("a") as file:
        file.write(json.dumps({"file_name": name, "label": "1"}) + "\n")
    refused(root, "names the file .* leaves the folder: write paths inside it", allow_unlabelled=True)
    (root / "metadata.jsonl").unlink()
    (root / "train.json").write_text(json.dumps({name: ["cat"]}))
    refused(root, "names the file .* leaves the folder: write paths inside it", allow_unlabelled=True)


def test_links_that_lead_out(tmp_path):
    root = metadata_csv(tmp_path / "set", grey(), labels_of())
    save(ONE, tmp_path / "outside" / "a.png")
    words = "^The link a.* leads out of --data .* or nowhere: put the file itself there"
    for target in ("../outside/a.png", "../outside", "../gone.png"):
        (root / "a.png").symlink_to(target)
        refused(root, words, allow_unlabelled=True)
        (root / "a.png").unlink()
    (root / "0000.png").rename(root / "b.png")
    (root / "0000.png").symlink_to("b.png")
    os.symlink(".", root / "again")
    assert taken(root, allow_unlabelled=True).notes[0] == "Links to folders are not followed: again."


def table(header, *rows):
    return "\n".join([header, *rows]).encode()


TABLES = {
    "no file column": (
        "metadata.csv",
        table("a,b", "c,d"),
        r"has the columns a, b: name the images in a column file_name",
    ),
    "no label column": (
        "metadata.csv",
        table("file_name,text", "0000.png,a dog"),
        r"metadata\.csv has no column label or labels: add one, or write --task images",
    ),
    "no rows": ("metadata.csv", b"file_name,label\n", "has no rows: write one for each image"),
    "empty": ("metadata.csv", b"", "is empty: download it or save it again"),
    "no file name": ("metadata.csv", table("file_name,label", ",cat"), "line 2, names no file: write the path"),
    "an open quote": ("metadata.csv", table("file_name,label", '0000.png,"cat'), "cannot be read as CSV"),
    "no UTF-8": (
        "metadata.csv",
        b"file_name,label\n0000.png,caf\xe9\n",
        r"line 2, has the byte 0xE9 at place 13 of the line, which is not valid UTF-8 \(in Latin-1 it is 'é'\)",
    ),
    "a comma too many": (
        "metadata.csv",
        table("file_name,labels", "0000.png,cat,dog"),
        "line 2, has 3 values for 2 columns: put a value that holds a comma in double quotes",
    ),
    "a control character": (
        "metadata.csv",
        table("file_name,label", "0000.png,a\x07b"),
        r"has the label a\\x07b: write",
    ),
    "a long label": ("metadata.csv", table("file_name,label", "0000.png," + "a" * 201), "a label of 201 characters"),
    "a label twice": ("metadata.csv", table("file_name,labels", '0000.png,"a,a"'), "names the label 'a' twice"),
    "no JSON": ("metadata.jsonl", b'{"file_name": "0000.png", "label": 1}\n{"file', "line 2, cannot be read as JSON"),
    "no object": ("metadata.jsonl", b"[]", r"line 1, cannot be read as JSON \(it is no object\)"),
    "brackets": ("metadata.jsonl", b"[" * 100_000, "line 1, cannot be read as JSON"),
    "a long number": ("metadata.jsonl", b'{"file_name": "a", "label": ' + b"1" * 5000 + b"}", "cannot be read as JSON"),
    "infinity": ("metadata.jsonl", b'{"file_name": "a", "label": 1e999}', "has the label inf: write a text or a whole"),
    "a fraction": ("metadata.jsonl", b'{"file_name": "a", "label": 0.5}', "has the label 0.5: write a text or a whole"),
    "a truth value": ("metadata.jsonl", b'{"file_name": "a", "label": true}', "has the label True: write a text"),
    "a name that is a number": ("metadata.jsonl", b'{"file_name": 7, "label": 1}', "names no file"),
    "no Parquet": ("metadata.parquet", b"PAR1\0nonsense", "is cut short: download it again"),
    "damaged Parquet": ("metadata.parquet", b"PAR1\0nonsensePAR1", "cannot be read as Parquet .*: save it again"),
    "train.json cut short": ("train.json", b'{"0000.png": ["cat"', "cannot be read as JSON"),
    "train.json of a list": ("train.json", b"[]", "must map file names to lists of labels"),
    "train.json with a name twice": ("train.json", b'{"a.png": ["b"], "a.png": ["c"]}', r"it names 'a\.png' twice"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_cannot_be_read(tmp_path, kind):
    name, content, words = TABLES[kind]
    flat(tmp_path, grey())
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path, words).startswith(name)


JSON_FILES = {
    "unknown label": (
        "test",
        [["cat"], ["dgo"]],
        "test.json, entry 1, has the unknown label 'dgo': did you mean 'dog'?",
    ),
    "no list": ("test", {"a.png": ["cat"]}, "must be a list of lists of labels"),
    "no condition": ("new_test", [[]], "entry 0, must be a list of labels"),
    "a text": ("test", ["cat"], "entry 0, must be a list of labels"),
    "indices with a gap": ("objects", {"cat": 0, "dog": 2, "owl": 3}, "must be a list of labels, or map each label"),
    "a label that no objects.json permits": ("objects", ["cat", "dog"], "unknown label 'owl'"),
}


@pytest.mark.parametrize("kind", JSON_FILES)
def test_json_files_beside_train_json(tmp_path, kind):
    name, value, words = JSON_FILES[kind]
    sets_json(tmp_path, grey(), **{name: value})
    with pytest.raises(ValueError, match=re.escape(words)):
        taken(tmp_path)


def test_a_group_on_both_sides_of_the_users_split(tmp_path):
    names = flat(tmp_path / "data", grey())
    rows = list(zip(names, labels_of(), [f"g{position % 30}" for position in range(COUNT)], strict=True))
    header = ("file_name", "label", "group")
    write_csv(tmp_path / "train.csv", [header, *rows[:100]])
    write_csv(tmp_path / "val.csv", [header, *rows[100:]])
    refused(
        tmp_path,
        r"^4 groups have training and held-out images \(g10, g11, g12 and 1 more\): put each group on one side",
    )


def test_nothing_that_could_be_held_out(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((200, 4, 4), np.uint8))
    refused(tmp_path / "a.npz", "of one group or copies of one picture: add others, so that a part can be held out")


def test_two_tables_in_one_folder(tmp_path):
    metadata_csv(tmp_path, grey(), labels_of())
    metadata_jsonl(tmp_path, grey(), labels_of())
    refused(tmp_path, r"several tables in one folder, metadata\.csv, metadata\.jsonl: leave one of them")


def test_held_out_images_without_training_images(tmp_path):
    for name in ("test", "val"):
        class_folders(tmp_path / name, grey(), labels_of())
    refused(tmp_path, "has the folders test, val, but no train: add the training images")


def test_images_that_all_show_the_same_labels_have_no_conditions(tmp_path):
    names = flat(tmp_path, grey())
    write_json_lines(tmp_path / "metadata.jsonl", [{"file_name": name, "labels": ["a", "b"]} for name in names])
    refused(tmp_path, "show the same labels, so no condition differs from another: write --task images")
