"""Nothing gets in: images that explode, file names that lead out of their folder."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest

from runners.tasks.iclevr import folder as folders
from runners.tasks.iclevr import source
from runners.tasks.iclevr.labels import LABELS


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG whose header promises a picture of this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


BOMBS = {
    "400 million pixels": png(20_000, 20_000),
    "144 million pixels, of which Pillow warns": png(12_000, 12_000),
    "a line of pixels": png(2**31 - 1, 1),
    "no pixels": png(0, 0),
    "a small picture with 100 MB of text": png(16, 16, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "a small picture with a colour profile of 100 MB": png(16, 16, (b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "another format under this name": b"GIF89a\x10\x00\x10\x00\x00\x00\x00;",
}


def one_folder(root: Path, content: bytes) -> folders.Folder:
    (root / "a.png").write_bytes(content)
    return folders.Folder(root, root, {"a.png": ("red cube",)}, {}, "0" * 12)


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_image_bomb_is_refused_in_one_sentence(tmp_path, bomb, recwarn):
    with pytest.raises(ValueError, match=r"^The image a\.png in .* is corrupt \(.*\): restore it\.$"):
        list(source.decoded(one_folder(tmp_path, BOMBS[bomb]), 16))
    assert not [warning for warning in recwarn if "DecompressionBomb" in str(warning.category)]


NAMES = ["../a.png", "/etc/passwd", "..", ".", "", "a/b.png", "..\\a.png", "C:\\a.png", "a\0.png", "images/../../a"]
JSON_HARM = {
    **{f"the name {name!r}": ("train.json", json.dumps({name: ["red cube"]})) for name in NAMES},
    "a number of 5,000 digits": ("train.json", '{"a.png": [' + "1" * 5000 + "]}"),
    "a number beyond all floats": ("train.json", '{"a.png": [1e999]}'),
    "not a number": ("train.json", '{"a.png": NaN}'),
    "100,000 brackets": ("train.json", "[" * 100_000),
    "bytes that are no text": ("train.json", b"\xff\xfe{"),
    "numbers beyond all floats for objects": ("objects.json", '{"gray cube": 1e999}'),
    "a list that names a file": ("test.json", '"../../etc/passwd"'),
    "a condition of the wrong kind": ("test.json", '[{"red cube": 1}]'),
    "a label twice": ("new_test.json", '[["red cube", "red cube"]]'),
}


@pytest.mark.parametrize("harm", JSON_HARM)
def test_a_hostile_json_file_is_refused_in_one_sentence(tmp_path, harm):
    for name in ("test", "new_test"):
        (tmp_path / f"{name}.json").write_text('[["red cube"]]')
    (tmp_path / "objects.json").write_text(json.dumps({label: index for index, label in enumerate(LABELS)}))
    (tmp_path / "train.json").write_text(json.dumps({f"{index}.png": ["red cube"] for index in range(100)}))
    name, content = JSON_HARM[harm]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"[:.]") as error:
        folders.read_folder(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
