"""Arrays of a user: what is refused, and that they are read piece by piece."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest
from picture_sets import grey, idx_files, labels_of, refused, write_idx

X, Y = grey(), np.array(labels_of(), int)
ARRAYS = {
    "floats": (
        {"x": X / 255, "y": Y},
        r"x in a\.npz has the type float64: .* as uint8, of values from 0 to 1 by \(x \* 255\)\.round\(\)",
    ),
    "16 bits": ({"x": X.astype(np.uint16) * 257, "y": Y}, r"as uint8, of 16 bits by \(x // 257\)\.astype"),
    "bits": ({"x": X > 99, "y": Y}, r"has the type bool: .* by x\.astype\('uint8'\) \* 255"),
    "values from 0 to 1 as uint8": ({"x": X // 128, "y": Y}, "are black, with no pixel above 1 of 255: write"),
    "wide integers": ({"x": X.astype(np.int64), "y": Y}, "has the type int64"),
    "channels first": (
        {"x": np.zeros((100, 3, 8, 8), np.uint8)},
        r"has the shape \(100, 3, 8, 8\): write .* so x\.transpose\(0, 2, 3, 1\)",
    ),
    "four channels": ({"x": np.zeros((100, 8, 8, 4), np.uint8)}, r"has the shape \(100, 8, 8, 4\): write \(N, H, W\)"),
    "one picture": ({"x": np.zeros((100, 64), np.uint8)}, r"has the shape \(100, 64\): write"),
    "no pixels": ({"x": np.zeros((100, 0, 8), np.uint8)}, r"has the shape \(100, 0, 8\): write"),
    "large pictures": ({"x": np.zeros((1, 1, 8193), np.uint8)}, "pictures of 8193x1 pixels: write at most 8192 a side"),
    "Fortran order": ({"x": np.asfortranarray(X), "y": Y}, r"stored in Fortran order: save np\.ascontiguousarray"),
    "labels of another length": (
        {"x": X, "y": Y[1:]},
        r"y in a\.npz has the shape \(103,\) and x in a\.npz 104 pictures",
    ),
    "labels of another shape": ({"x": X, "y": np.eye(104)}, r"has the shape \(104, 104\) .*write one label for each"),
    "float labels": ({"x": X, "y": Y / 1}, "y in a.npz has the type float64: write the labels as integers or texts"),
    "NaN labels": ({"x": X, "y": np.where(Y == 1, np.nan, Y)}, "y in a.npz holds NaN: write the labels as integers"),
    "objects": ({"x": X, "y": np.array([["a"], []] * 52, object)}, "holds Python objects, which could run code"),
    "unlabelled": ({"x": X, "y": np.array(["", *labels_of()[1:]])}, r"^1 image has no label in a\.npz \(x\[0\]\)"),
    "labels alone": ({"y": Y}, r"holds no array: call the pictures x and the labels y"),
    "other names": ({"data": X, "target": Y}, r"holds data, target: call the pictures x and the labels y"),
    "held-out labels alone": ({"x_train": X, "y_train": Y, "y_test": Y}, "has y_test without the pictures: add"),
    "labels for one part": ({"x_train": X, "y_train": Y, "x_test": X}, "has no labels for x_test: add y beside each x"),
    "two training sets": ({"x": X, "x_train": X}, "holds x and x_train: leave one of them"),
    "held-out pictures alone": ({"x_test": X, "x_val": X}, "held-out pictures but no x_train"),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_hold_something_else(tmp_path, kind):
    arrays, words = ARRAYS[kind]
    np.savez(tmp_path / "a.npz", **arrays)
    refused(tmp_path / "a.npz", words)


def header(text, data=100):
    """An archive whose x begins with a header of this text, with so many bytes of data."""
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x.npy", content + bytes(data))
    return archive.getvalue()


def archive(cut=0, flip=0):
    content = io.BytesIO()
    np.savez_compressed(content, x=X, y=Y)
    data = bytearray(content.getvalue())
    if flip:
        data[flip] ^= 255
    return bytes(data[: len(data) - cut])


ARCHIVES = {
    "cut short": archive(cut=1000),
    "changed": archive(flip=2000),
    "empty": b"",
    "no archive": b"PK\3\4 nonsense",
    "data cut short": header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (104, 6, 6)}\n"),
    "data too long": header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (104, 6, 6)}\n", 104 * 36 + 1),
    "a header that is code": header(b"__import__('os').system('true')\n"),
    "more pictures than can be": header(b"{'descr': '|u1', 'fortran_order': False, 'shape': (4000000000, 6, 6)}\n"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_are_damaged(tmp_path, kind):
    (tmp_path / "a.npz").write_bytes(ARCHIVES[kind])
    refused(tmp_path / "a.npz", r"a\.npz (is damaged|is no array|holds more|has 4,000|is empty|is cut short)")


def test_idx_files_that_are_damaged(tmp_path):
    path = idx_files(tmp_path, X, labels_of()) / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:9], gzip.compress(whole)[:-9], gzip.compress(whole[:-1])):
        path.write_bytes(content)
        for given in (path, tmp_path):
            refused(given, "is damaged or cut short .*: restore it from its source")
    path.write_bytes(whole + b"\0")
    refused(path, "holds more in train-images-idx3-ubyte than its header says")
    path.write_bytes(b"nonsense")
    refused(tmp_path, "holds a text .* in the place of its content")
    path.write_bytes(whole.replace(b"\0\0\x08", b"\0\0\x0d", 1))
    refused(path, "train-images-idx3-ubyte has the type >f4")
    path.write_bytes(whole)
    write_idx(tmp_path / "train-labels-idx1-ubyte", Y[1:].astype(np.uint8))
    refused(path, r"train-labels-idx1-ubyte has the shape \(103,\) and train-images-idx3-ubyte 104 pictures")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x68abc")
    refused(path, "train-labels-idx1-ubyte is damaged or cut short .*it holds 3 bytes of labels, not 104")
    idx_files(tmp_path, X, labels_of(), "t10k")
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    refused(tmp_path, "no labels beside train-images-idx3-ubyte: add its file of labels, or take both away")
    idx_files(tmp_path, X, labels_of(), "letters-train")
    refused(tmp_path, "several sets of IDX images .*: give the file of one of them")
