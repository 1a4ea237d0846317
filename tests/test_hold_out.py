"""What is held out for validation: whole documents, or stretches of long ones."""

import hashlib
import json
import re

import pytest

import lslm
from lslm.__main__ import main

MIN_STRETCH, MAX_STRETCH, GIANT = 256, 64 << 10, 16 << 20


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    lslm.train_tokenizer(texts=["a few words"], vocab_size=260).save(path)
    return path


def play(n_lines, salt=0):
    """Return lines of different lengths, with characters of several bytes."""
    return "".join(f"{i * 37 % 1009 + salt}: {'wörd ' * (i % 9)}\n" for i in range(n_lines))


# -- a second implementation, from the text at the beginning of stretches.rs -----------------------


def draw(seed_hash, index):
    digest = hashlib.sha256(seed_hash + index.to_bytes(8, "little")).digest()
    return int.from_bytes(digest[:8], "little")


def naive_boundary(text, offset, slack, block):
    """Return the line start nearest to ``offset``, or the start of its character."""
    starts = [
        at
        for at in range(max(block[0], offset - slack), min(block[1], offset + slack) + 1)
        if at in {0, len(text)} or text[at - 1 : at] == b"\n"
    ]
    if starts:
        return min(starts, key=lambda at: (abs(at - offset), at))
    while offset < len(text) and 0x80 <= text[offset] < 0xC0:
        offset -= 1
    return offset


def naive_parts(text, fraction, seed):
    """Return (training pieces, held-out pieces) of a document that is divided, as bytes."""
    n = len(text)
    seed_hash = hashlib.sha256(seed.to_bytes(8, "little") + text).digest()
    share = fraction * n
    if share < MIN_STRETCH:
        is_chosen = (draw(seed_hash, 1) >> 11) / 2**53 * MIN_STRETCH < share
        wanted = [((0, n), MIN_STRETCH, 0)] if is_chosen else []
    else:
        k = max(1, int(share / MAX_STRETCH))
        blocks = [(i * n // k, (i + 1) * n // k) for i in range(k)]
        wanted = [(b, int(fraction * (b[1] - b[0])), i) for i, b in enumerate(blocks)]
    train, held_out, last = [], [], 0
    for block, length, index in wanted:
        start = block[0] + (draw(seed_hash, index) * (block[1] - block[0] - length + 1) >> 64)
        ends = [naive_boundary(text, at, length // 4, block) for at in (start, start + length)]
        train.append(text[last : ends[0]])
        held_out.append(text[slice(*ends)])
        last = ends[1]
    return [part for part in [*train, text[last:]] if part], held_out


def texts_of(folder, tokenizer):
    """Return the documents of a dataset as bytes, without their ends."""
    dataset = lslm.TokenDataset(folder)
    tok = lslm.Tokenizer.load(tokenizer)
    documents = [tok.decode_bytes(dataset[i][:-1]) for i in range(len(dataset))]
    assert [dataset.document_bytes(i) for i in range(len(dataset))] == list(map(len, documents))
    return documents


@pytest.mark.parametrize(
    ("text", "fraction"),
    [
        (play(3000), 0.1),
        (play(40), 0.1),  # a share below MIN_STRETCH
        (play(20_000), 0.5),  # several blocks
        ("好" * 5000, 0.1),  # no line
        (play(100), 0.9),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2**63])
@pytest.mark.filterwarnings("ignore:the validation part is empty")
def test_one_file_is_divided_as_the_second_implementation_does(
    text, fraction, seed, tokenizer, tmp_path
):
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    made = lslm.tokenize(
        tmp_path / "a.txt",
        output=tmp_path / "data",
        tokenizer=tokenizer,
        validation_fraction=fraction,
        seed=seed,
    )
    train, held_out = naive_parts(text.encode(), fraction, seed)
    assert texts_of(made.train.path, tokenizer) == train
    assert texts_of(made.validation.path, tokenizer) == held_out
    assert made.train.n_bytes + made.validation.n_bytes == len(text.encode())
    n_divided = int(bool(held_out))
    entry = {"by": "stretches" if n_divided else "documents", "fraction": fraction, "seed": seed}
    entry |= {"divided_documents": n_divided}
    for part in (made.train, made.validation):
        assert json.loads((part.path / "manifest.json").read_text())["hold_out"] == entry
    assert made.held_out.n_divided_documents == n_divided
    lslm.TokenDataset(made.validation.path).verify()


def test_the_parts_do_not_depend_on_threads_partitions_or_what_stands_beside(tokenizer, tmp_path):
    long = [play(4000, salt) for salt in range(4)]
    rows = [{"id": str(i), "text": text} for i, text in enumerate(["short", *long, long[0]])]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def parts(name, **options):
        output = tmp_path / name
        lslm.tokenize(path, output=output, tokenizer=tokenizer, **options)
        sides = [output / "train", output / "validation"]
        datasets = [lslm.TokenDataset(side) for side in sides]
        ids = [[ds.document_id(i) for i in range(len(ds))] for ds in datasets]
        return [texts_of(side, tokenizer) for side in sides], ids

    first, ids = parts("one", threads=1, validation_fraction=0.05)
    again = parts("two", threads=2, partition_bytes=100_000, validation_fraction=0.05)
    assert again == (first, ids)
    # equal documents have equal stretches, under the id of their document
    assert ids[1] == ["1", "2", "3", "4", "5"]
    assert first[1][0] == first[1][4]
    assert sum(len(text) for side in first for text in side) == sum(
        len(row["text"].encode()) for row in rows
    )
    alone = tmp_path / "alone.txt"
    alone.write_text(long[1])
    lslm.tokenize(alone, output=tmp_path / "3", tokenizer=tokenizer, validation_fraction=0.05)
    assert texts_of(tmp_path / "3" / "validation", tokenizer) == [first[1][1]]


def test_a_resumed_job_holds_out_the_same(tokenizer, tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": play(2000, salt)}) + "\n" for salt in range(80)]
    path.write_text("".join(lines))
    options = {"tokenizer": tokenizer, "threads": 1, "partition_bytes": 100_000}

    def stop(*_):  # once a partition is done
        if list((tmp_path / "killed" / ".progress").glob("[0-9]*.json")):
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        lslm.tokenize(path, output=tmp_path / "killed", progress=stop, **options)
    assert (tmp_path / "killed" / ".progress").exists()
    lslm.tokenize(path, output=tmp_path / "killed", **options)
    lslm.tokenize(path, output=tmp_path / "whole", **options)
    for part in ("train", "validation"):
        killed, whole = (lslm.TokenDataset(tmp_path / n / part) for n in ("killed", "whole"))
        assert killed.fingerprint == whole.fingerprint


def test_many_documents_stay_whole_and_the_choice_can_be_made(tokenizer, tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [json.dumps({"text": play(60, salt)}) + "\n" for salt in range(60)]
    path.write_text("".join(rows))

    def n_divided(name, hold_out, fraction=0.1):
        made = lslm.tokenize(
            path,
            output=tmp_path / name,
            tokenizer=tokenizer,
            validation_fraction=fraction,
            hold_out=hold_out,
        )
        return made.held_out.n_divided_documents

    assert n_divided("auto", "auto") == 0
    assert n_divided("stretches", "stretches") > 30
    assert n_divided("few", "auto", 0.05) > 10
    assert n_divided("documents", "documents", 0.05) == 0
    with pytest.raises(ValueError, match=r"hold_out = .*: choose auto, documents or"):
        n_divided("wrong", "lines")


def test_the_vocabulary_never_sees_the_stretches(tokenizer, tmp_path):
    text = "".join(f"word{i} word{i} word{i}\n" for i in range(3000))
    (tmp_path / "a.txt").write_text(text)
    share = {"validation_fraction": 0.2, "seed": 1}
    made = lslm.tokenize(tmp_path / "a.txt", output=tmp_path / "d", tokenizer=tokenizer, **share)
    train = texts_of(made.train.path, tokenizer)
    learned = lslm.train_tokenizer(tmp_path / "a.txt", vocab_size=900, **share)
    assert learned == lslm.train_tokenizer(texts=[t.decode() for t in train], vocab_size=900)
    measured = lslm.measure_tokenizer(tmp_path / "a.txt", tokenizer=tokenizer, **share)
    assert measured.validation.n_bytes == made.validation.n_bytes
    assert (measured.validation.n_documents, measured.total.n_documents) == (1, 1)
    assert measured.total.n_bytes == len(text)


def test_the_command_line_says_what_was_divided(tokenizer, tmp_path, capsys, monkeypatch):
    path = tmp_path / "play.txt"
    path.write_text(play(5000))
    arguments = ["lslm", "tokenize", path, "-o", tmp_path / "data", "-t", tokenizer, "-q"]
    monkeypatch.setattr("sys.argv", [str(argument) for argument in arguments])
    main_code(main)
    printed = capsys.readouterr()
    assert "held out: stretches of 1 document; --hold-out documents keeps" in printed.out
    assert not printed.err
    monkeypatch.setattr("sys.argv", ["lslm", "inspect", str(tmp_path / "data" / "validation")])
    main_code(main)
    assert re.search(r"held out +stretches\b", capsys.readouterr().out)


def main_code(main):
    """Run the command line in this process."""
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, None)


# -- bytes of the text as it came ------------------------------------------------------------------


def test_a_shard_has_the_bytes_of_the_text_before_normalising(tokenizer, tmp_path):
    """NFC makes "e" and an accent one character; bits per byte are about what was read."""
    hf = json.loads(tokenizer.read_text())
    hf["normalizer"] = {"type": "NFC"}
    (tmp_path / "nfc.json").write_text(json.dumps(hf))
    text = "e\u0301 \u1112\u1161\u11ab \u212b plain\n" * 500
    texts = [text, "e\u0301" * 3]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    made = lslm.tokenize(
        tmp_path / "a.jsonl",
        output=tmp_path / "data",
        tokenizer=tmp_path / "nfc.json",
        validation_fraction=0.2,
    )
    raw = [len(t.encode()) for t in texts]
    assert made.train.n_bytes + made.validation.n_bytes == sum(raw) == made.reading.n_bytes
    dataset = lslm.TokenDataset(made.train.path)
    tok = lslm.Tokenizer.load(tmp_path / "nfc.json")
    sizes = [dataset.document_bytes(i) for i in range(len(dataset))]
    assert sizes[-1] == raw[-1]
    normalised = [len(tok.decode_bytes(dataset[i][:-1])) for i in range(len(dataset))]
    assert normalised[-1] == 6  # "ééé", of nine bytes
    assert sum(normalised) < 0.8 * sum(sizes) == 0.8 * made.train.n_bytes


# -- texts in memory -------------------------------------------------------------------------------


def test_texts_in_memory_become_what_a_file_of_them_becomes(tokenizer, tmp_path):
    texts = [play(300, salt) for salt in range(3)] + ["", "short", "a\u2028b\r\n\ud83d"]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    options = {"tokenizer": tokenizer, "validation_fraction": 0.1}
    of_file = lslm.tokenize(path, output=tmp_path / "file", **options)
    of_texts = lslm.tokenize(texts=iter(texts), output=tmp_path / "texts", **options)
    assert of_texts.held_out == of_file.held_out
    for part in ("train", "validation"):
        one, other = (lslm.TokenDataset(tmp_path / name / part) for name in ("file", "texts"))
        assert one.fingerprint == other.fingerprint
        assert {other.source(i) for i in range(len(other))} == {"texts"}
    pa = pytest.importorskip("pyarrow")
    column = pa.chunked_array([texts[:2], texts[2:5]])
    of_column = lslm.tokenize(texts=column, output=tmp_path / "column", **options)
    assert of_column.reading.n_documents == 5
    with pytest.raises(TypeError, match=r"texts\[1\] is missing \(None\)"):
        lslm.tokenize(texts=pa.array(["a", None]), output=tmp_path / "null", **options)
    assert not (tmp_path / "null").exists()
    with pytest.raises(ValueError, match="no document"):
        lslm.tokenize(texts=[], output=tmp_path / "null", **options)
    assert not (tmp_path / "null").exists()
    for wrong in ({}, {"inputs": path, "texts": texts}):
        with pytest.raises(TypeError, match="either inputs or texts"):
            lslm.tokenize(output=tmp_path / "null", **wrong, **options)


def test_texts_in_memory_leave_no_temporary_file(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    stages = set()

    def texts():
        for salt in range(3):
            assert any((tmp_path / "temporary").iterdir())
            yield play(300, salt)
        if failing:
            raise OSError("the source ends here")

    options = {"tokenizer": tokenizer, "validation_fraction": 0.1}
    failing = True
    with pytest.raises(OSError, match="the source ends here"):
        lslm.tokenize(texts=texts(), output=tmp_path / "data", **options)
    failing = False
    lslm.tokenize(
        texts=texts(),
        output=tmp_path / "data",
        progress=lambda stage, done, total, unit: stages.add(stage),
        **options,
    )
    assert "take texts" in stages
    assert not list((tmp_path / "temporary").iterdir())
