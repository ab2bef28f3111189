"""A user's images: their order depends on content alone, a second launch decodes nothing, memory stays bounded."""

from __future__ import annotations

import json
import os
import threading
import time
import tracemalloc

import numpy as np
import pytest
from picture_sets import (
    COUNT,
    DIGEST,
    class_folders,
    flat,
    grey,
    labels_of,
    metadata_csv,
    metadata_jsonl,
    save,
    taken,
    write_csv,
)

from runners.reading import listing, pictures, read, threads


def everything(source):
    """What must be equal of two copies of one set."""
    images = [image.tobytes() for image in source.pictures()]
    return source.digest, source.labels, source.of_image, source.units, source.held_out, source.picture_digests, images


@pytest.mark.parametrize("seed", range(3))
def test_the_order_depends_on_no_name_and_on_no_listing(tmp_path, seed, monkeypatch):
    images, labels = grey(), labels_of()
    one = taken(class_folders(tmp_path / "one", images, labels))
    shuffled = np.random.default_rng(seed).permutation(COUNT)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            self.listing = scandir(path)

        def __enter__(self):
            return iter(list(self.listing)[::-1])

        def __exit__(self, *error):
            self.listing.close()

    monkeypatch.setattr("runners.reading.tree.os.scandir", Backwards)
    other = metadata_jsonl(tmp_path / "two", images[shuffled], [labels[i] for i in shuffled], "renamed {}.png")
    assert everything(taken(other)) == everything(one)
    arrays = {"x": images[shuffled], "y": np.array(labels)[shuffled]}
    np.savez(tmp_path / "three.npz", **arrays)
    assert everything(taken(tmp_path / "three.npz")) == everything(one)
    assert one.digest == DIGEST


def test_the_digest_follows_whatever_may_change_a_result(tmp_path):
    images, labels = grey(), labels_of()
    names = flat(tmp_path, images)

    def digest(*rows, header=("file_name", "label")):
        write_csv(tmp_path / "metadata.csv", [header, *rows])
        return taken(tmp_path).digest

    rows = list(zip(names, labels, strict=True))
    digests = [
        digest(*rows),
        digest((names[0], "1"), *rows[1:]),
        digest(*((name, {"33": "34"}.get(label, label)) for name, label in rows)),
        digest(*((*row, str(i // 2)) for i, row in enumerate(rows)), header=("file_name", "label", "group")),
    ]
    save(images[0] ^ 1, tmp_path / names[0])
    digests.append(digest(*rows))
    save(images[0].reshape(4, 9), tmp_path / names[0])
    digests.append(digest(*rows))
    assert digests[0] == DIGEST
    assert len(set(digests)) == 6


def test_copies_of_a_picture_are_one_unit(tmp_path):
    images = grey()
    images[1], images[4] = images[0], images[0]
    labels = labels_of()
    source = taken(metadata_csv(tmp_path, images, labels))
    assert len(set(source.units)) == COUNT - 2
    assert source.notes == (
        "3 images have an exact copy among the others; copies are held out together.",
        "1 picture among them has copies with other labels.",
    )
    (tmp_path / "metadata.csv").unlink()
    np.savez(tmp_path / "a.npz", x_train=images, y_train=np.array(labels), x_test=images[3:6], y_test=labels[3:6])
    split = taken(tmp_path / "a.npz")
    assert split.notes[0] == "8 images have an exact copy among the others."
    assert split.notes[-1] == "3 held-out images have an exact copy among the training images."


# --- the cache -----------------------------------------------------------------------------------------


@pytest.fixture
def decodings(monkeypatch):
    """The files that are decoded."""
    seen = []

    def counted(path):
        seen.append(path.name)
        return pictures.file_facts(path)

    monkeypatch.setattr(listing, "file_facts", counted)
    return seen


def test_the_second_launch_decodes_nothing(tmp_path, decodings):
    path, cache = metadata_csv(tmp_path / "set", grey(), labels_of()), tmp_path / "cache"
    first = taken(path, cache=cache)
    assert len(decodings) == COUNT
    assert everything(taken(path, cache=cache)) == everything(first)
    assert taken(path, "images", cache=cache).kind == "none"
    assert len(decodings) == COUNT
    assert len(list((cache / "sources").glob("*.json"))) == 1
    assert list(cache.rglob("*.partial")) == []


def test_other_pictures_and_other_names_are_decoded(tmp_path, decodings):
    path, cache = class_folders(tmp_path / "set", grey(), labels_of()), tmp_path / "cache"
    first = taken(path, cache=cache)
    save(grey(seed=1)[0], path / "2" / "0000.png")
    assert taken(path, cache=cache).digest != first.digest
    assert len(decodings) == 2 * COUNT
    (path / "2" / "0000.png").rename(path / "1" / "0000.png")
    assert len(taken(path, cache=cache).of_image) == COUNT
    assert len(decodings) == 3 * COUNT


HARM = {
    "cut short": lambda text: text[:-10],
    "empty": lambda text: "",
    "a list": lambda text: "[]",
    "no checksum": lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != "sha256"}),
    "a changed size": lambda text: text.replace("[6, 6]", "[6, 7]", 1),
    "a changed digest": lambda text: text.replace('{"digests": ["', '{"digests": ["0'),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_entry_is_made_anew(tmp_path, harm, decodings):
    path, cache = metadata_csv(tmp_path / "set", grey(), labels_of()), tmp_path / "cache"
    first = taken(path, cache=cache)
    entry = next((cache / "sources").iterdir())
    whole = entry.read_text()
    entry.write_text(HARM[harm](whole))
    assert entry.read_text() != whole
    assert everything(taken(path, cache=cache)) == everything(first)
    assert len(decodings) == 2 * COUNT
    assert entry.read_text() == whole


def test_remarks_and_arrays_are_kept(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    np.savez_compressed(tmp_path / "a.npz", x=np.concatenate([grey(), grey(1)]))
    sources = [taken(tmp_path / "a.npz", cache=cache)]
    monkeypatch.setattr("runners.reading.arrays.ArrayStore.facts", None)
    sources.append(taken(tmp_path / "a.npz", cache=cache))
    assert sources[0] == sources[1]
    assert sources[1].notes == ("2 images have an exact copy among the others; copies are held out together.",)


def test_nothing_is_written_for_what_is_refused(tmp_path):
    path = class_folders(tmp_path / "set", grey(), labels_of())
    (path / "2" / "0000.png").write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        taken(path, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_picture_that_changes_meanwhile_is_noticed(tmp_path):
    source = taken(class_folders(tmp_path, grey(), labels_of()))
    save(grey(seed=1)[0], tmp_path / "2" / "0000.png")
    with pytest.raises(
        ValueError, match=r"^2/0000\.png in .* changed while it was read: run the same command again\.$"
    ):
        list(source.pictures())


# --- progress and memory -------------------------------------------------------------------------------


def test_progress_is_reported(tmp_path):
    class_folders(tmp_path / "set", grey(250), labels_of(250))
    events = list(read(tmp_path / "set", cache=tmp_path / "cache"))
    assert [(event.what, event.done, event.total) for event in events] == [
        ("comparing files", 250, 250),
        ("reading images", 100, 250),
        ("reading images", 200, 250),
        ("reading images", 250, 250),
    ]
    assert [event.what for event in read(tmp_path / "set", cache=tmp_path / "cache")] == ["comparing files"]


def test_few_results_wait():
    """Of 5,000 items at most 16 are begun and not yet taken, and an abandoned reading stops."""
    begun = []
    results = threads.in_order(lambda item: begun.append(item) or item, range(5000), 16)
    for taken_ones, result in enumerate(results, 1):
        assert result == taken_ones - 1
        assert len(begun) <= taken_ones + 15
        if taken_ones == 100:
            break
    results.close()
    assert len(begun) <= 116


def test_large_pictures_take_turns(monkeypatch):
    """Threads wait for each other where their pictures together are too large; one alone always goes on."""
    monkeypatch.setattr(pictures, "PIXELS_AT_ONCE", 100)
    alive, most = [], []

    def decode(pixels):
        with pictures._turn(pixels):
            alive.append(pixels)
            most.append(sum(alive))
            time.sleep(0.001)
            alive.remove(pixels)

    sizes = [60, 50, 40, 250, 30, 20, 10, 90] * 5
    workers = [threading.Thread(target=decode, args=(pixels,)) for pixels in sizes]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(10)
    assert len(most) == len(sizes)
    assert {total for total in most if total > 100} == {250}


@pytest.mark.parametrize("kind", ["files", "compressed", "plain"])
def test_memory_does_not_grow_with_the_pictures(tmp_path, kind):
    """400 pictures of 96x96 RGB take 11 MB; a reading holds a part of them at a time."""
    monkeypatched = pytest.MonkeyPatch()
    monkeypatched.setattr(listing, "AHEAD", 16)
    monkeypatched.setattr("runners.reading.arrays.CHUNK", 2**18)
    monkeypatched.setattr("runners.reading.arrays.IN_MEMORY", 2**18)
    images = np.repeat(grey(400, 96)[..., None], 3, axis=3)
    images[..., 1] ^= 255
    path = tmp_path / "a.npz"
    if kind == "files":
        path = tmp_path / "set"
        flat(path, images, "{}.bmp")
    else:
        (np.savez_compressed if kind == "compressed" else np.savez)(path, x=images)
    size = images.nbytes
    del images
    tracemalloc.start()
    try:
        source = taken(path, cache=tmp_path / "cache")
        reading = source.pictures()
        next(reading)
        time.sleep(0.3)  # threads that decode all that there is have time for it
        count = 1 + sum(1 for _ in reading)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        monkeypatched.undo()
    assert count == 400
    assert peak < size / 3
