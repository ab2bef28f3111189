"""A user's images in every layout: which labels, split, groups and lists are read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from picture_sets import (
    COUNT,
    DIGEST,
    class_folders,
    flat,
    grey,
    idx_files,
    label_sets,
    labels_of,
    metadata_csv,
    metadata_jsonl,
    save,
    sets_json,
    taken,
    write_csv,
    write_idx,
    write_json_lines,
)

from runners.reading import sentence
from runners.reading.names import natural

NATURAL = ("1", "2", "10", "33")


def images_and_labels(source):
    """{first pixels: label names} of a source."""
    return {
        picture[:2, :, 0].tobytes(): tuple(source.labels[i] for i in one)
        for picture, one in zip(source.pictures(), source.of_image, strict=True)
    }


def expected(images, labels):
    return {image[:2].tobytes(): (label,) for image, label in zip(images, labels, strict=True)}


def npz(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


CLASS_LAYOUTS = {
    "class folders": class_folders,
    "metadata.csv": metadata_csv,
    "metadata.jsonl": metadata_jsonl,
    "IDX": idx_files,
    "IDX packed": lambda root, images, labels: idx_files(root, images, labels, packed=True),
    "npz": lambda root, images, labels: npz(root / "a.npz", x=images, y=np.array(labels)),
    "npz of numbers": lambda root, images, labels: npz(root / "a.npz", x=images[..., None], y=np.array(labels, int)),
    "npz of colours": lambda root, images, labels: npz(
        root / "a.npz", x=np.repeat(images[..., None], 3, 3), y=np.array(labels, "S")[:, None]
    ),
    "npz in a folder": lambda root, images, labels: npz(root / "a.npz", images=images, labels=np.array(labels)).parent,
}


@pytest.mark.parametrize("layout", CLASS_LAYOUTS)
def test_one_set_is_the_same_in_every_layout(tmp_path, layout):
    images, labels = grey(), labels_of()
    source = taken(CLASS_LAYOUTS[layout](tmp_path, images, labels))
    assert (source.kind, source.labels, source.held_out) == ("class", NATURAL, None)
    assert images_and_labels(source) == expected(images, labels)
    assert source.digest == DIGEST
    assert source.notes == ()
    assert source.sizes == ((6, 6),)
    assert len(set(source.units)) == COUNT


@pytest.mark.parametrize("layout", ["npz", "IDX", "IDX packed", "class folders", "metadata.csv", "train.csv"])
def test_the_users_own_split(tmp_path, layout):
    """x_test, t10k, test/, val.csv: one split in all of them."""
    images, labels = grey(), labels_of()
    parts = {"train": (images[:80], labels[:80]), "test": (images[80:], labels[80:])}
    path = tmp_path
    for part, (some, of_some) in parts.items():
        if layout == "npz":
            arrays = {
                f"{key}_{one}": value for one, pair in parts.items() for key, value in zip("xy", pair, strict=True)
            }
            path = npz(tmp_path / "a.npz", **arrays)
        elif layout.startswith("IDX"):
            idx_files(tmp_path, some, of_some, "t10k" if part == "test" else part, layout == "IDX packed")
        elif layout == "class folders":
            class_folders(tmp_path / part, some, of_some)
        elif layout == "metadata.csv":
            metadata_csv(tmp_path / part, some, of_some)
        else:
            names = flat(tmp_path / "data", some, part + "{}.png")
            table = "train.csv" if part == "train" else "val.csv"
            write_csv(tmp_path / table, [("image_name", "label"), *zip(names, of_some, strict=True)])
    source = taken(path)
    assert source.held_out is not None
    held = {picture[:2, :, 0].tobytes() for picture, out in zip(source.pictures(), source.held_out, strict=True) if out}
    assert held == set(expected(images[80:], labels[80:]))
    assert images_and_labels(source) == expected(images, labels)
    assert source.digest == "4c75315fa3b6"


def test_a_file_of_idx_images_stands_for_itself(tmp_path):
    """The file that is given, with its labels; the folder holds t10k out."""
    idx_files(tmp_path, grey(), labels_of())
    idx_files(tmp_path, grey(seed=1), labels_of(), "t10k")
    assert taken(tmp_path).held_out is not None
    for part, seed in (("train", 0), ("t10k", 1)):
        source = taken(tmp_path / f"{part}-images-idx3-ubyte")
        assert source.held_out is None
        assert images_and_labels(source) == expected(grey(seed=seed), labels_of())


def test_idx_files_of_other_names(tmp_path):
    """As Kaggle has them; of a packed and an unpacked copy, as torchvision keeps both, one is read."""
    images, labels = grey(), labels_of()
    write_idx(tmp_path / "raw" / "train-images.idx3-ubyte", images)
    write_idx(tmp_path / "raw" / "train-images.idx3-ubyte.gz", images)
    write_idx(tmp_path / "raw" / "train-labels.idx1-ubyte.gz", np.array(labels, np.uint8))
    assert images_and_labels(taken(tmp_path)) == expected(images, labels)


def test_images_without_labels(tmp_path):
    flat(tmp_path / "flat", grey())
    write_idx(tmp_path / "idx" / "faces", grey())
    sources = [
        taken(tmp_path / "flat"),
        taken(npz(tmp_path / "a.npz", x=grey())),
        taken(tmp_path / "idx" / "faces"),
        taken(class_folders(tmp_path / "classes", grey(), labels_of()), "images"),
    ]
    for source in sources:
        assert (source.kind, source.labels, set(source.of_image)) == ("none", (), {()})
    assert len({source.digest for source in sources}) == 1


def test_images_alone_in_train_and_test(tmp_path):
    flat(tmp_path / "train", grey(90))
    flat(tmp_path / "test", grey(20, seed=1))
    source = taken(tmp_path)
    assert source.kind == "none"
    assert sum(source.held_out) == 20


def test_class_folders_below_train_alone_and_deeper_images(tmp_path):
    images, labels = grey(), labels_of()
    for position, (image, label) in enumerate(zip(images, labels, strict=True)):
        save(image, tmp_path / "train" / label / f"camera {position % 3}" / f"{position}.png")
    source = taken(tmp_path)
    assert source.labels == NATURAL
    assert images_and_labels(source) == expected(images, labels)


def test_a_class_may_be_called_train(tmp_path):
    source = taken(class_folders(tmp_path, grey(), labels_of(classes=("train", "ship"))))
    assert source.labels == ("ship", "train")
    assert source.held_out is None


def test_label_sets_in_every_layout(tmp_path):
    """train.json, metadata.jsonl with lists, metadata.csv with commas, semicolons or lists in a cell."""
    images, sets = grey(), label_sets()
    sources = [taken(sets_json(tmp_path / "json", images))]
    root = tmp_path / "tables"
    names = flat(root, images)
    rows = [{"file_name": name, "labels": one} for name, one in zip(names, sets, strict=True)]
    write_json_lines(root / "metadata.jsonl", rows)
    sources.append(taken(root))
    (root / "metadata.jsonl").unlink()
    for written in (", ".join, ";".join, json.dumps, repr):
        cells = [written(one) for one in sets]
        write_csv(root / "metadata.csv", [("file_name", "labels"), *zip(names, cells, strict=True)])
        sources.append(taken(root))
    for source in sources:
        assert (source.kind, source.labels) == ("set", ("cat", "dog", "owl"))
        assert images_and_labels(source) == {
            image[:2].tobytes(): tuple(sorted(one)) for image, one in zip(images, sets, strict=True)
        }
    assert len({source.digest for source in sources}) == 1


def test_the_lists_of_a_set(tmp_path):
    lists = {"test": [["dog", "cat"], ["owl"]], "new_test": [["owl", "dog"]]}
    objects = {"owl": 0, "dog": 1, "cat": 2}
    source = taken(sets_json(tmp_path, grey(), objects=objects, **lists))
    assert source.labels == ("cat", "dog", "owl")
    assert source.lists == {"test": (("cat", "dog"), ("owl",)), "new_test": (("dog", "owl"),)}
    assert source.notes == ("Labels are numbered in natural order, not as objects.json numbers them.",)
    (tmp_path / "objects.json").write_text(json.dumps(["cat", "dog", "owl"]))
    again = taken(tmp_path)
    assert again.digest == source.digest
    assert again.notes == ()
    (tmp_path / "test.json").unlink()
    assert taken(tmp_path).digest != source.digest


def test_labels_of_one_each_are_classes_unless_sets_are_wanted(tmp_path):
    names = flat(tmp_path, grey())
    (tmp_path / "train.json").write_text(
        json.dumps({name: [label] for name, label in zip(names, labels_of(), strict=True)})
    )
    source = taken(tmp_path)
    assert source.kind == "class"
    assert source.notes == (
        "Each image has one label in train.json: the task is classes (--task sets: sets of labels).",
    )
    assert source.digest == DIGEST
    assert taken(tmp_path, "sets").kind == "set"
    assert taken(tmp_path, "classes").notes == ()


def test_groups_are_units(tmp_path):
    """A column group in a table, an array group in a .npz: the people of faces, the scenes of photographs."""
    images = grey()
    people = [f"person {position // 4}" for position in range(COUNT)]
    people[0] = ""
    rows = zip(flat(tmp_path / "folder", images), labels_of(), people, strict=True)
    write_csv(tmp_path / "folder" / "metadata.csv", [("file_name", "label", "group"), *rows])
    one = taken(tmp_path / "folder")
    two = taken(npz(tmp_path / "a.npz", x=images, y=np.array(labels_of()), group=np.array(people)))
    assert one.digest == two.digest != DIGEST
    assert sorted(one.units)[1:] == sorted(people)[1:]
    assert sorted(one.units)[0].startswith("image ")
    assert sentence(one, 6, 8, 64).endswith("; 8 held out in whole groups; validation 64 conditions")
    assert taken(tmp_path / "folder", "images").units == one.units


def test_a_parquet_table(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    names = flat(tmp_path, grey())
    frame = pandas.DataFrame({"file_name": names, "label": labels_of(), "image": [b"0" * 100] * COUNT})
    frame.to_parquet(tmp_path / "metadata.parquet")
    assert taken(tmp_path).digest == DIGEST
    frame["label"] = frame["label"].astype(int).astype("category")
    frame.to_parquet(tmp_path / "metadata.parquet")
    assert taken(tmp_path).digest == DIGEST
    frame = frame.rename(columns={"label": "labels"})
    frame["labels"] = label_sets()
    frame.to_parquet(tmp_path / "metadata.parquet")
    assert taken(tmp_path).labels == ("cat", "dog", "owl")


@pytest.mark.parametrize("place", ["", "data", "images", "train"])
@pytest.mark.parametrize("column", ["image_name", "file_name", "Filename "])
def test_images_of_a_csv_lie_beside_it_or_in_a_usual_folder(tmp_path, place, column):
    names = flat(tmp_path / place, grey())
    write_csv(tmp_path / "train.csv", [(column, "label"), *zip(names, labels_of(), strict=True)], delimiter=";")
    assert taken(tmp_path).digest == DIGEST


def test_names_of_files_and_classes_in_any_script(tmp_path):
    """Accents decomposed (macOS) or composed, spaces, backslashes of Windows, ./ in front, sub-folders."""
    classes = ("chat éveillé", "chat e\u0301veille\u0301", "猫 2", "猫 10")
    for position, image in enumerate(grey()):
        save(image, tmp_path / "e\u0301te\u0301 1" / f"bild {position:03d}.PNG")
    forms = (" été 1/bild {:03d}.PNG", "./e\u0301te\u0301 1/bild {:03d}.PNG", "été 1\\bild {:03d}.PNG")
    rows = [(forms[position % 3].format(position), classes[position % 4]) for position in range(COUNT)]
    write_csv(tmp_path / "metadata.csv", [("file_name", "label"), *rows])
    assert taken(tmp_path).labels == ("chat éveillé", "猫 2", "猫 10")
    (tmp_path / "e\u0301te\u0301 1" / "bild 000.PNG").rename(tmp_path / " 0 .png")
    write_csv(tmp_path / "metadata.csv", [("file_name", "label"), (" 0 .png", classes[0]), *rows[1:]])
    assert len(taken(tmp_path).of_image) == COUNT


def test_labels_sort_naturally():
    labels = ["b10", "10", "b9", "2", "-1", "B1", "a", "007", "7", "1.5", "b9a"]
    assert sorted(labels, key=natural) == ["-1", "2", "007", "7", "10", "1.5", "a", "B1", "b9", "b9a", "b10"]


def test_what_is_no_image_is_left_out(tmp_path):
    class_folders(tmp_path, grey(), labels_of())
    for name in (".DS_Store", "1/Thumbs.db", ".git/config.png", "__MACOSX/1/0000.png", "2/.hidden.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing")
    assert taken(tmp_path).notes == ()
    (tmp_path / "1" / "notes.txt").write_text("nothing")
    (tmp_path / "empty").mkdir()
    assert taken(tmp_path).notes == (
        "Sub-folders without images are left out: empty.",
        "1 file is no image and is left out: 1/notes.txt.",
    )
    assert taken(tmp_path).digest == DIGEST


def test_of_several_tables_the_most_certain_is_read(tmp_path):
    names = flat(tmp_path, grey())
    write_csv(tmp_path / "metadata.csv", [("file_name", "label"), *zip(names, labels_of(), strict=True)])
    (tmp_path / "train.json").write_text(json.dumps({name: ["x"] for name in names}))
    source = taken(tmp_path)
    assert source.labels == NATURAL
    assert source.notes[0] == "The labels are those of metadata.csv, not of train.json."


def test_images_without_a_label_are_left_out_where_that_is_allowed(tmp_path):
    metadata_csv(tmp_path, grey(), labels_of())
    save(grey(1, seed=5)[0], tmp_path / "more.png")
    source = taken(tmp_path, allow_unlabelled=True)
    assert source.notes == ("1 image has no label in metadata.csv (more.png) and is left out.",)
    assert source.digest == DIGEST
    assert len(taken(tmp_path, "images").of_image) == COUNT + 1


def test_the_sentence(tmp_path):
    source = taken(class_folders(tmp_path / "a", grey(), labels_of()))
    assert sentence(source, 64, 5, 64) == (
        "104 images in 4 classes, 64x64 after resizing; 5 held out; validation 64 conditions"
    )
    assert sentence(source, 6, 5, 64).startswith("104 images in 4 classes, 6x6; 5 held out")
    sets = taken(sets_json(tmp_path / "b", grey(1000)))
    assert sentence(sets, 6, 100, 1).startswith("1,000 images with sets of 3 labels, 6x6; 100 held out")
    assert sentence(sets, 6, 100, 1).endswith("validation 1 condition")
    none = taken(npz(tmp_path / "c.npz", x_train=grey(), x_test=grey(10, seed=1)))
    assert sentence(none, 8, 10, 256) == (
        "114 images without labels, 8x8 after resizing; 10 held out by your own split; validation 256 samples"
    )
