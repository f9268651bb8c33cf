"""Shards behave like one array that is cut between documents."""
import random

import numpy as np
import pytest
from data_helpers import write_token_file

from data import TokenFileWriter
from data.token_file.shards import Shards


def write_shards(folder, *parts):
    paths = [folder / str(i) for i in range(len(parts))]
    for path, part in zip(paths, parts):
        np.array(part, np.uint16).tofile(path)
    return Shards(paths, [len(part) for part in parts], "uint16")


def test_slices_by_hand(tmp_path):
    ids = write_shards(tmp_path, [5, 6, 7], [8, 9], [10])
    assert len(ids) == 6 and ids.dtype == np.uint16
    assert ids[:].tolist() == [5, 6, 7, 8, 9, 10]
    assert ids[1:6].tolist() == [6, 7, 8, 9, 10]
    assert ids[2:4].tolist() == [7, 8]
    assert ids[3:5].tolist() == [8, 9]
    assert ids[-1:].tolist() == [10]
    assert ids[4:99].tolist() == [9, 10]


def test_every_slice_is_that_of_one_array(tmp_path):
    rng = random.Random(0)
    parts = [[rng.randrange(1000) for _ in range(rng.randint(1, 5))] for _ in range(5)]
    ids = write_shards(tmp_path, *parts)
    array = np.concatenate(parts)
    for start in range(len(array) + 2):
        for stop in range(len(array) + 2):
            expected = array[start:stop].tolist()
            assert ids[start:stop].tolist() == expected
            assert ids[start:stop].dtype == np.uint16


def test_a_slice_within_a_shard_is_not_copied(tmp_path):
    ids = write_shards(tmp_path, [5, 6, 7], [8, 9])
    assert np.shares_memory(ids[0:3], ids[1:2])
    assert np.shares_memory(ids[3:5], ids[4:5])
    assert not np.shares_memory(ids[2:4], ids[0:3])


@pytest.mark.parametrize("key", [0, slice(0, 3, 2), slice(None, None, -1), [0, 1]])
def test_other_ways_to_index_are_refused(tmp_path, key):
    ids = write_shards(tmp_path, [5, 6, 7])
    with pytest.raises(TypeError, match=r"slices of step 1, ids\[a:b\]"):
        ids[key]


@pytest.mark.parametrize("shard_size", [1, 7, 30])
def test_small_shards_contain_the_same_as_a_large_one(tmp_path, shard_size):
    rng = random.Random(2)
    documents = []
    for _ in range(60):
        lines = ["x" * rng.randint(1, 7) for _ in range(rng.randint(1, 4))]
        documents.append("\n".join(lines))
    one = write_token_file(tmp_path / "one", documents)
    many = write_token_file(tmp_path / "many", documents, shard_size=shard_size)
    assert many.ids[:].tolist() == one.ids[:].tolist()
    assert (many.segments == one.segments).all()
    assert (many.documents == one.documents).all()

    # Shards are cut between documents, so every segment is a view.
    starts = many.segments[many.documents].tolist()  # of each document in ids, and the end
    assert len(many.ids.maps) > 5
    assert set(many.ids.ends) <= set(starts)
    assert not any(many.segment(i).flags.owndata for i in range(many.num_segments))
    # Only a single document makes a shard larger than the limit.
    document_sizes = set(np.diff(starts).tolist())
    assert all(size <= shard_size or size in document_sizes for size in many.ids.lengths)
    # No shard ends early: the next document would not have fit.
    for end, length in zip(many.ids.ends[:-1], many.ids.lengths):
        next_end = starts[starts.index(end) + 1]
        assert next_end - (end - length) > shard_size


def test_shards_do_not_depend_on_the_batches(tmp_path):
    rng = random.Random(3)
    sizes = [rng.choice([1, 2, 3, 5, 11, 25]) for _ in range(80)]
    contents = []
    for batch_size in (1, 3, 80):
        folder = tmp_path / str(batch_size)
        with TokenFileWriter(folder, 100, "", shard_size=10) as writer:
            for start in range(0, 80, batch_size):
                batch = sizes[start:start + batch_size]
                writer.add([7] * sum(batch), batch, [1] * len(batch), sum(batch))
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0]) > 20
