"""Datasets: written, read by two readers, and refused when they are damaged."""

import copy
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lslm
from lslm.data import TokenizedDocument, write_dataset

GOLDEN = Path(__file__).parent.parent / "testdata" / "dataset" / "version-1"


def read_shard(path):
    """All sections of a shard by kind, by docs/format.md alone; every checksum is checked."""
    file = path.read_bytes()
    page = file[:4096]
    magic, version, n_sections, n_tokens, n_documents, _, size, vocab = struct.unpack_from(
        "<8sIIQQQQI", page
    )
    assert magic == b"\x89LSLM\r\n\x1a"
    assert version == 1
    assert size == len(file)
    assert zlib.crc32(page[:4092]) == struct.unpack_from("<I", page, 4092)[0]
    sections = {}
    for index in range(n_sections):
        kind, width, flags, _, offset, length, checksums, crc = struct.unpack_from(
            "<IBBHQQQI", page, 128 + 64 * index
        )
        n_blocks = -(-length // (1 << 20))
        stored = file[checksums : checksums + 4 * n_blocks]
        assert zlib.crc32(stored) == crc
        for block, expected in enumerate(struct.unpack(f"<{n_blocks}I", stored)):
            start = offset + (block << 20)
            assert zlib.crc32(file[start : min(start + (1 << 20), offset + length)]) == expected
        assert flags == (kind in (1, 2))
        sections[kind] = np.frombuffer(file, f"<u{width}", length // width, offset)
    assert sections[1].itemsize == (2 if vocab <= 65_536 else 4)
    assert (len(sections[1]), len(sections[2])) == (n_tokens, n_documents)
    return sections


ids = st.lists(st.integers(0, 99), max_size=40)
documents = st.lists(
    st.builds(
        TokenizedDocument,
        tokens=ids,
        n_bytes=st.integers(0, 1000),
        source=st.sampled_from(["a.txt", "b.txt"]),
        id=st.none() | st.text(min_size=1, max_size=5).filter(lambda s: s.isprintable()),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(documents=documents, vocab_size=st.sampled_from([100, 65_536, 65_537]))
def test_both_readers_return_what_was_written(tmp_path_factory, documents, vocab_size):
    folder = tmp_path_factory.mktemp("data") / "set"
    ds = write_dataset(folder, documents, vocab_size=vocab_size, shard_bytes=4100)
    assert ds.verify(threads=1, progress=False) == sum(s["size"] for s in ds.manifest["shards"])
    assert len(ds) == ds.n_documents == len(documents)
    for index, document in enumerate(documents):
        assert ds.document(index).tolist() == document.tokens
        assert ds[index - len(documents)].tolist() == document.tokens
        assert (ds.document_bytes(index) or 0) == document.n_bytes
        assert ds.source(index) == document.source
        assert ds.document_id(index) == document.id
        start, stop = ds.document_span(index)
        assert ds.tokens(start, stop).tolist() == document.tokens
    flat = [token for document in documents for token in document.tokens]
    assert ds.tokens().tolist() == flat
    assert ds.tokens().dtype == ds.dtype == ("uint16" if vocab_size <= 65_536 else "uint32")
    # the second reader
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == ds.manifest
    parts = [read_shard(folder / shard["file"]) for shard in manifest["shards"]]
    assert [token for part in parts for token in part[1].tolist()] == flat
    found = []
    for part in parts:
        ends = part[2].tolist()
        names = part[6].tobytes() if 6 in part else b""
        name_ends = part[5].tolist() if 5 in part else [0] * len(ends)
        for i, end in enumerate(ends):
            tokens = part[1][ends[i - 1] if i else 0 : end].tolist()
            n_bytes = int(part[3][i]) if 3 in part else 0
            source = manifest["sources"][part[4][i] if 4 in part else 0]
            name = names[name_ends[i - 1] if i else 0 : name_ends[i]].decode() or None
            found.append(TokenizedDocument(tokens, n_bytes, source, name))
    assert found == documents


def make(folder, n=5000, **options):
    rng = np.random.default_rng(1)
    cuts = np.split(np.arange(n) % 1000, np.sort(rng.integers(0, n, 40)))
    items = [TokenizedDocument(cut, n_bytes=3 * len(cut), source="counting") for cut in cuts]
    return write_dataset(folder, items, **{"vocab_size": 1000, "shard_bytes": 5000} | options)


def test_version_1_files_stay_readable_and_are_written_byte_for_byte(tmp_path):
    ds = lslm.TokenDataset(GOLDEN)
    ds.verify(progress=False)
    assert ds.n_tokens == 12
    assert ds.n_bytes == 23
    assert [ds[i].tolist() for i in range(3)] == [
        [72, 105, 256],
        [0, 255, 1, 256],
        [7, 7, 7, 7, 256],
    ]
    assert [ds.document_id(i) for i in range(3)] == ["first", None, "drittes ✓"]
    assert [ds.source(i) for i in range(3)] == ["a.txt", "b.txt", "a.txt"]
    assert ds.fingerprint == "2044f3e66f348a0fd51095a8b5fa5593a14f9b04f35e800eee634371ed75b1f4"
    again = write_golden(tmp_path / "again")
    assert again.fingerprint == ds.fingerprint
    shard = "part-000000-000.lslm"
    assert (tmp_path / "again" / shard).read_bytes() == (GOLDEN / shard).read_bytes()
    # only the name and version of the program may differ
    written, golden = ((path / "manifest.json").read_text() for path in (again.path, GOLDEN))
    name = ds.manifest["created_by"]
    assert written.replace(again.manifest["created_by"], name) == golden


def write_golden(folder):
    documents = [
        TokenizedDocument([72, 105, 256], 2, "a.txt", "first"),
        TokenizedDocument([0, 255, 1, 256], 4, "b.txt"),
        TokenizedDocument([7, 7, 7, 7, 256], 17, "a.txt", "drittes ✓"),
    ]
    return write_dataset(folder, documents, vocab_size=257, eos_id=256, split="golden")


def test_properties_are_those_of_the_manifest(tmp_path):
    ds = make(tmp_path / "set", split="train")
    assert ds.path == tmp_path / "set"
    assert (ds.n_tokens, ds.n_documents, ds.n_bytes) == (5000, 41, 15000)
    assert (ds.vocab_size, ds.eos_id, ds.bos_id) == (1000, None, None)
    assert ds.tokenizer_path is None
    assert ds.tokenizer_fingerprint is None
    assert ds.manifest["split"] == "train"
    assert "n_tokens=5000" in repr(ds)
    assert isinstance(ds.fingerprint, str)
    assert len(ds.fingerprint) == 64
    unknown = write_dataset(tmp_path / "other", [[1, 2]], vocab_size=3)
    assert unknown.n_bytes is None
    assert unknown.document_bytes(0) is None
    assert unknown.source(0) is None


def test_a_position_outside_of_the_dataset_is_an_error(tmp_path):
    ds = make(tmp_path / "set")
    for index in (41, -42, 2**62):
        with pytest.raises(IndexError, match="the dataset has 41 documents"):
            ds.document(index)
    for start, stop in ((0, 5001), (3, 2)):
        with pytest.raises(ValueError, match="the dataset has 5000"):
            ds.tokens(start, stop)
    assert ds.tokens(4998).tolist() == [998, 999]
    assert list(ds)[-1].tolist() == ds[-1].tolist()


def test_pickle_and_copies_open_the_same_dataset(tmp_path):
    ds = make(tmp_path / "set")
    for other in (pickle.loads(pickle.dumps(ds)), copy.copy(ds), copy.deepcopy(ds)):
        assert other.fingerprint == ds.fingerprint
        assert other.path == ds.path


def test_tokens_are_written_from_arrays_of_any_integer_type(tmp_path):
    arrays = [np.array([1, 2], dtype) for dtype in ("int8", "uint16", ">i4", "int64", "uint64")]
    ds = write_dataset(tmp_path / "set", [*arrays, np.arange(8)[::4], [], (5,)], vocab_size=9)
    assert ds.tokens().tolist() == [1, 2] * 5 + [0, 4, 5]


@pytest.mark.parametrize(
    ("document", "eos_id", "message"),
    [
        ([1, 9], None, "token 9 in document 1: the vocabulary has 9"),
        ([-1], None, "id -1 is negative"),
        ([2**32], None, "does not fit in 32 bits"),
        ([0.5], None, "float64"),
        ([[1]], None, "2 dimensions"),
        ([1, 2], 3, "does not end with eos_id = 3"),
        ([], 3, "does not end with eos_id = 3"),
    ],
)
def test_a_bad_document_is_refused_and_no_file_stays(tmp_path, document, eos_id, message):
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path / "set", [[3], document], vocab_size=9, eos_id=eos_id)
    assert [p for p in (tmp_path / "set").iterdir() if p.name != ".lock"] == []
    with pytest.raises(lslm.FormatError, match="writing did not finish"):
        lslm.TokenDataset(tmp_path / "set")
    write_dataset(tmp_path / "set", [[3]], vocab_size=9)
    with pytest.raises(ValueError, match="holds a dataset already"):
        write_dataset(tmp_path / "set", [[3]], vocab_size=9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "vocab_size and tokenizer are both None"),
        ({"vocab_size": 0}, "vocab_size = 0"),
        ({"vocab_size": 2**32}, "vocab_size = "),
        ({"vocab_size": 9, "shard_bytes": 0}, "shard_bytes = 0"),
        ({"vocab_size": 9, "eos_id": 9}, "eos_id = 9"),
    ],
)
def test_the_error_names_a_bad_argument(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path / "set", [[3]], **options)
    assert not (tmp_path / "set").exists()


def test_the_tokenizer_is_copied_into_the_dataset(tmp_path):
    class Tokenizer:
        vocab_size = 7
        fingerprint = "ab" * 32

        def save(self, path):
            Path(path).write_text("{}")

    ds = write_dataset(tmp_path / "set", [[6]], tokenizer=Tokenizer())
    assert ds.vocab_size == 7
    assert ds.tokenizer_path.read_text() == "{}"
    assert ds.tokenizer_fingerprint == "ab" * 32


def test_verify_calls_progress(tmp_path):
    calls = []
    ds = write_dataset(
        tmp_path / "set", [[1]] * 10, vocab_size=2, progress=lambda *call: calls.append(call)
    )
    assert calls[-1] == ("write", 10, 10, "documents")
    ds.verify(progress=lambda *call: calls.append(call))
    assert calls[-1][0] == "verify"
    assert calls[-1][1] == calls[-1][2]


def test_a_missing_or_foreign_file_is_an_error_with_its_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        lslm.TokenDataset(tmp_path / "nowhere")
    with pytest.raises(lslm.FormatError, match=r"no manifest\.json"):
        lslm.TokenDataset(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(lslm.FormatError, match="a dataset is a folder"):
        lslm.TokenDataset(tmp_path / "file")
    (tmp_path / "manifest.json").write_bytes(b"\xff\x00")
    with pytest.raises(lslm.FormatError, match="not a manifest"):
        lslm.TokenDataset(tmp_path)
    ds = make(tmp_path / "set")
    shard = tmp_path / "set" / ds.manifest["shards"][1]["file"]
    del ds
    shard.unlink()
    ds = lslm.TokenDataset(tmp_path / "set")  # opening reads the manifest only
    for use in (ds.check_shards, ds.tokens, lambda: lslm.inspect(tmp_path / "set")):
        with pytest.raises(FileNotFoundError, match=shard.name):
            use()


def test_verify_finds_damage_with_file_and_byte(tmp_path):
    ds = make(tmp_path / "set")
    shard = tmp_path / "set" / ds.manifest["shards"][1]["file"]
    good = shard.read_bytes()
    for length in (0, 7, 4095, 4096, len(good) - 1):
        shard.write_bytes(good[:length])
        with pytest.raises(lslm.FormatError, match="the manifest says") as error:
            lslm.TokenDataset(tmp_path / "set").tokens()
        assert error.value.path == str(shard)
    rng = np.random.default_rng(2)
    for at in rng.integers(0, len(good), 60).tolist():
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(8))
        shard.write_bytes(bad)
        with pytest.raises(lslm.FormatError) as error:
            lslm.TokenDataset(tmp_path / "set").verify(progress=False)
        assert error.value.path == str(shard)
        assert error.value.offset is not None
    shard.write_bytes(good)
    lslm.TokenDataset(tmp_path / "set").verify(progress=False)


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_killed_writer_leaves_no_dataset(tmp_path):
    folder = tmp_path / "set"
    script = (
        "import sys, time\n"
        "from lslm.data import write_dataset\n"
        "def documents():\n"
        "    for index in range(10**9):\n"
        "        yield [index % 7] * 3000\n"
        "        if index == 20:\n"
        "            print('ready', flush=True)\n"
        "        if index > 20:\n"
        "            time.sleep(0.01)\n"
        "write_dataset(sys.argv[1], documents(), vocab_size=7, shard_bytes=20_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(ValueError, match="another process is writing"):
            write_dataset(folder, [[1]], vocab_size=7)
        process.send_signal(signal.SIGKILL)
    names = [path.name for path in folder.iterdir()]
    assert "manifest.json" not in names
    with pytest.raises(lslm.FormatError, match="writing did not finish"):
        lslm.TokenDataset(folder)
    # the next writer gets the lock and removes the leftovers
    write_dataset(folder, [[1, 2]], vocab_size=7).verify(progress=False)
    assert {path.name for path in folder.iterdir()} == {"manifest.json", "part-000000-000.lslm"}


def test_opening_does_not_read_the_tokens(tmp_path):
    """A sparse shard of 64 GiB opens at once and takes no memory."""
    ds = write_dataset(tmp_path / "set", [[1, 2]], vocab_size=70_000)
    name = ds.manifest["shards"][0]["file"]
    shard = tmp_path / "set" / name
    page = bytearray(shard.read_bytes()[:4096])
    n_tokens = (1 << 34) + 3  # beyond 32 bits
    data_end = (4096 + 4 * n_tokens + 63) // 64 * 64
    n_blocks = -(-4 * n_tokens // (1 << 20))
    size = data_end + 8 + 4 * (n_blocks + 1)
    struct.pack_into("<QQQQ", page, 16, n_tokens, 1, 0, size)
    struct.pack_into("<QQQ", page, 128 + 8, 4096, 4 * n_tokens, data_end + 8)
    struct.pack_into("<QQQ", page, 192 + 8, data_end, 8, data_end + 8 + 4 * n_blocks)
    struct.pack_into("<I", page, 4092, zlib.crc32(page[:4092]))
    with shard.open("wb") as file:
        file.write(page)
        file.seek(4096 + 4 * (n_tokens - 2))
        file.write(struct.pack("<II", 69_999, 5))
        file.seek(data_end)
        file.write(struct.pack("<Q", n_tokens))
        file.truncate(size)
    import hashlib

    manifest = ds.manifest
    del ds
    manifest["tokens"] = manifest["shards"][0]["tokens"] = n_tokens
    manifest["shards"][0]["size"] = size
    manifest["shards"][0]["digest"] = hashlib.sha256(page).hexdigest()
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(manifest))
    start = time.perf_counter()
    ds = lslm.TokenDataset(tmp_path / "set")
    assert time.perf_counter() - start < 1
    assert ds.tokens(n_tokens - 3).tolist() == [0, 69_999, 5]
    assert ds.document_span(0) == (0, n_tokens)
    with pytest.raises(lslm.FormatError, match="damaged"):
        ds.verify(progress=False, threads=1)


def test_documents_may_be_one_array_with_offsets(tmp_path):
    rng = np.random.default_rng(4)
    ids = rng.integers(0, 99, 5000).astype(np.uint16)
    offsets = np.concatenate([[0], np.sort(rng.integers(0, 5000, 70)), [5000]])
    np.save(tmp_path / "ids.npy", ids)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    one = write_dataset(tmp_path / "one", mapped, offsets=offsets, vocab_size=99)
    two = write_dataset(tmp_path / "two", np.split(ids, offsets[1:-1]), vocab_size=99)
    assert one.fingerprint == two.fingerprint
    assert len(one) == 71
    for bad in ([0, 5, 3, 5000], [1, 5000], [0, 4999], [], [0.0, 5000.0]):
        with pytest.raises(ValueError, match="offsets"):
            write_dataset(tmp_path / "bad", ids, offsets=bad, vocab_size=99)
        assert not (tmp_path / "bad").exists()
