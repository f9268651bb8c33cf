"""Shards are one array cut at document borders: by hand, and against numpy."""
import pickle
import random

import numpy as np
import pytest
from data_helpers import Characters

from data import TokenFileWriter, prepare
from data.token_file.shards import Shards, borders


def write(folder, *parts):
    for number, part in enumerate(parts):
        np.array(part, np.uint16).tofile(folder / str(number))
    return Shards([folder / str(number) for number in range(len(parts))], list(map(len, parts)), "uint16")


def test_slices_by_hand(tmp_path):
    ids = write(tmp_path, [5, 6, 7], [8, 9], [10])
    assert len(ids) == 6 and ids.dtype == np.uint16
    assert ids[:].tolist() == [5, 6, 7, 8, 9, 10] and ids[2:4].tolist() == [7, 8] and ids[1:6].tolist() == [6, 7, 8, 9, 10]
    assert ids[3:5].tolist() == [8, 9] and ids[-1:].tolist() == [10] and ids[4:99].tolist() == [9, 10]
    assert all(len(ids[a:b]) == 0 and ids[a:b].dtype == np.uint16 for a, b in ((0, 0), (3, 3), (6, 6), (9, 12), (4, 2)))


def test_within_a_shard_nothing_is_copied(tmp_path):
    ids = write(tmp_path, [5, 6, 7], [8, 9])
    assert np.shares_memory(ids[0:3], ids[1:2]) and np.shares_memory(ids[3:5], ids[4:5])
    assert not np.shares_memory(ids[2:4], ids[0:3]) and not np.shares_memory(ids.read(0, 3), ids[0:3])


def test_every_slice_is_that_of_one_array(tmp_path):
    rng = random.Random(0)
    parts = [[rng.randrange(1000) for _ in range(rng.randint(1, 5))] for _ in range(5)]
    ids, whole = write(tmp_path, *parts), np.array(sum(parts, []))
    for start in range(len(whole) + 2):
        for stop in range(len(whole) + 2):
            assert ids[start:stop].tolist() == ids.read(start, stop).tolist() == whole[start:stop].tolist()


def test_what_would_read_the_whole_corpus_is_refused(tmp_path):
    ids = write(tmp_path, [5, 6, 7])
    for key in (0, slice(0, 3, 2), slice(None, None, -1), [0, 1]):
        with pytest.raises(TypeError, match=r"slices of step 1, ids\[a:b\]"):
            ids[key]


def test_they_are_pickled_as_their_paths(tmp_path):
    ids = write(tmp_path, range(3000), range(7))
    packed = pickle.dumps(ids)
    assert len(packed) < 1000 and (pickle.loads(packed)[:] == ids[:]).all()


def test_borders_are_those_of_dealing_out_one_document_after_the_other():
    rng = random.Random(1)
    for _ in range(1000):
        sizes, limit, held = [rng.randint(1, 9) for _ in range(rng.randint(1, 12))], rng.randint(1, 12), rng.randint(0, 15)
        found = borders(np.cumsum(sizes).tolist(), held, limit)
        dealt, end = [], 0
        for size in sizes:
            if held and held + size > limit:
                dealt.append(end)
                held = 0
            held, end = held + size, end + size
        assert found == [*dealt, end]


@pytest.mark.parametrize("limit", [1, 7, 30])
def test_small_shards_hold_what_one_large_one_holds_whole_documents_each(tmp_path, monkeypatch, limit):
    rng = random.Random(2)
    documents = ["\n".join("x" * rng.randint(1, 6) + chr(rng.randint(97, 122)) for _ in range(rng.randint(1, 4))) for _ in range(60)]
    one = prepare(documents, Characters(), tmp_path / "one", show_progress=False)
    monkeypatch.setattr("data.token_file.writer.SHARD", limit)
    many = prepare(documents, Characters(), tmp_path / "many", show_progress=False)
    assert many.ids[:].tolist() == one.ids[:].tolist() and many.verify() == len(many.ids.maps) + 3
    assert (many.segments == one.segments).all() and (many.documents == one.documents).all()
    starts = many.segments[many.documents].tolist()  # of each document in ids, and the end
    sizes = {end - start for start, end in zip(starts, starts[1:])}
    assert len(many.ids.maps) > 5 and set(many.ids.ends) <= set(starts)
    assert all(length <= limit or length in sizes for length in many.ids.lengths)
    for end, length in zip(many.ids.ends[:-1], many.ids.lengths):  # no shard ends before it must: the next document would not have fitted
        assert starts[starts.index(end) + 1] - (end - length) > limit
    for number in range(many.num_segments):
        assert not many.segment(number).flags.owndata


def test_shards_do_not_depend_on_how_the_documents_were_batched(tmp_path, monkeypatch):
    monkeypatch.setattr("data.token_file.writer.SHARD", 10)
    rng, folders = random.Random(3), []
    sizes = [rng.choice([1, 2, 3, 5, 11, 25]) for _ in range(80)]
    for batch in (1, 3, 80):
        folders.append(tmp_path / str(batch))
        with TokenFileWriter(folders[-1], 100, "") as writer:
            for start in range(0, 80, batch):
                some = sizes[start:start + batch]
                writer.add([7] * sum(some), some, [1] * len(some), sum(some))
    contents = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders]
    assert contents[0] == contents[1] == contents[2] and len(contents[0]) > 20
