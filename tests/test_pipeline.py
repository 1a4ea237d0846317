"""clean, train_tokenizer and tokenize over files: the same bytes for any threads and after a kill."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lslm


def documents(n=400):
    """Yield documents of very different lengths, some equal, some in Chinese."""
    for i in range(n):
        words = " ".join(f"word{(i * 7 + j) % 97}" for j in range(i % 50))
        text = f"Document {i}.\n{words}\n语言模型{i}" if i % 3 else f"the same text {i % 5}"
        yield {"id": f"doc-{i}", "text": text, "meta": {"number": i}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Return a folder of five files: plain, gzip, zstd, one with a broken line, one empty."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [json.dumps(d, ensure_ascii=False) for d in documents()]
    (folder / "a.jsonl").write_text("\n".join(rows[:150]) + "\n", encoding="utf-8")
    with gzip.open(folder / "b.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(rows[150:250]))
    zstandard = pytest.importorskip("zstandard")
    data = "\n".join(rows[250:]).encode()
    (folder / "c.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(data))
    (folder / "d.jsonl").write_text('{"text": "fine"}\n{"text": brok\n{"no": "text"}\n')
    (folder / "e.jsonl").write_text("")
    return folder


@pytest.fixture(scope="module")
def tokenizer(corpus):
    return train(corpus)


def train(corpus, **keywords):
    """Train on the plain files; a warning counts the two lines that cannot be read."""
    with pytest.warns(UserWarning, match="2 documents could not be read"):
        return lslm.train_tokenizer(
            [str(corpus / "*.jsonl")],
            vocab_size=400,
            special_tokens=["<|endoftext|>"],
            **keywords,
        )


def files_of(folder):
    """Return the content of every file below ``folder``."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("partition_bytes", [1000, 1 << 26])
def test_any_number_of_threads_writes_the_same_bytes(corpus, tokenizer, tmp_path, partition_bytes):
    made = []
    for threads in (1, 2, 7):
        out = tmp_path / str(threads)
        lslm.tokenize(
            [str(corpus)],
            output=out,
            tokenizer=tokenizer,
            threads=threads,
            cleaner="default",
            validation_fraction=0.2,
            partition_bytes=partition_bytes,
        )
        made.append(files_of(out))
    assert made[0] == made[1] == made[2]


def test_the_tokens_are_those_of_the_documents(corpus, tokenizer, tmp_path):
    summary = lslm.tokenize(
        [str(corpus)], output=tmp_path / "data", tokenizer=tokenizer, validation_fraction=0
    )
    assert summary.validation is None
    ds = lslm.TokenDataset(tmp_path / "data/train")
    expected = [d["text"] for d in documents()] + ["fine"]
    assert ds.n_documents == len(expected)
    for i, text in enumerate(expected):
        ids = ds.document(i)
        assert ids[-1] == tokenizer.eos_id
        assert tokenizer.decode(ids[:-1]) == text
    assert ds.n_tokens == sum(len(tokenizer.encode(text)) + 1 for text in expected)
    assert summary.train.n_bytes == sum(len(text.encode()) for text in expected)
    assert summary.reading.n_bad_documents == 2
    ds.verify()


def test_equal_texts_are_in_the_same_part(corpus, tokenizer, tmp_path):
    lslm.tokenize(
        [str(corpus)], output=tmp_path / "d", tokenizer=tokenizer, validation_fraction=0.3
    )
    parts = []
    for name in ("train", "validation"):
        ds = lslm.TokenDataset(tmp_path / "d" / name)
        parts.append({tokenizer.decode(ds.document(i)) for i in range(ds.n_documents)})
    assert parts[0]
    assert parts[1]
    assert not parts[0] & parts[1]


def test_a_finished_job_is_not_overwritten(corpus, tokenizer, tmp_path):
    out = tmp_path / "data"
    first = lslm.tokenize([str(corpus)], output=out, tokenizer=tokenizer)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.lslm")}
    with pytest.raises(ValueError, match="finished"):
        lslm.tokenize([str(corpus)], output=out, tokenizer=tokenizer, seed=9)
    assert lslm.TokenDataset(out / "train").n_tokens == first.train.n_tokens
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.lslm")} == before


# a background job ignores SIGINT, and its children inherit that
TOKENIZE = """
import signal, sys, lslm
signal.signal(signal.SIGINT, signal.default_int_handler)
lslm.tokenize([sys.argv[1]], output=sys.argv[2], tokenizer=lslm.Tokenizer.load(sys.argv[3]),
              partition_bytes=4000, threads=2, cleaner="default", progress=False)
"""


@pytest.fixture(scope="module")
def larger(tmp_path_factory, tokenizer):
    """Return a folder with enough text to kill a job in the middle, and the tokenizer as a file."""
    folder = tmp_path_factory.mktemp("larger")
    rows = [json.dumps(d, ensure_ascii=False) for d in documents(400)] * 60
    (folder / "text.jsonl").write_text("\n".join(rows), encoding="utf-8")
    tokenizer.save(folder / "tokenizer.json")
    return folder


def command(larger, out):
    words = [sys.executable, "-c", TOKENIZE, larger / "text.jsonl", out, larger / "tokenizer.json"]
    return [str(word) for word in words]


def start(larger, out):
    return subprocess.Popen(command(larger, out), stderr=subprocess.PIPE, text=True)


def finish(larger, out):
    subprocess.run(command(larger, out), check=True, timeout=120)


def wait_for_records(out, n):
    end = time.monotonic() + 60
    while len(list(Path(out).glob(".progress/0*.json"))) < n:
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_job_continues_and_ends_with_the_same_bytes(larger, tmp_path):
    straight = tmp_path / "straight"
    finish(larger, straight)
    out = tmp_path / "killed"
    for records in (3, 40):
        with start(larger, out) as process:
            wait_for_records(out, records)
            process.send_signal(signal.SIGKILL)
        assert not (out / "train/manifest.json").exists()
    finished = {p.name: p.stat().st_mtime_ns for p in (out / ".progress").glob("0*.json")}
    assert finished
    finish(larger, out)
    assert files_of(out) == files_of(straight)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child")
def test_ctrl_c_stops_at_once_and_keeps_finished_work(larger, tmp_path):
    out = tmp_path / "stopped"
    with start(larger, out) as process:
        wait_for_records(out, 2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 2  # with the time in which the interpreter ends
    assert "KeyboardInterrupt" in errors
    assert not (out / "train/manifest.json").exists()
    assert not [p for p in out.rglob("*") if p.name.endswith(".tmp")]
    finish(larger, out)


def test_other_options_on_an_unfinished_folder_are_refused(larger, tokenizer, tmp_path):
    out = tmp_path / "out"
    options = {"output": out, "tokenizer": tokenizer, "partition_bytes": 4000}

    def stop(stage, done, total, unit):
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        lslm.tokenize([str(larger / "text.jsonl")], **options, progress=stop)
    with pytest.raises(ValueError, match="another seed"):
        lslm.tokenize([str(larger / "text.jsonl")], **options, seed=5)


def test_the_error_names_a_bad_input_or_option(corpus, tokenizer, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.jsonl"):
        lslm.tokenize(["missing.jsonl"], output=tmp_path / "a", tokenizer=tokenizer)
    with pytest.raises(ValueError, match=r"nothing\*\.txt"):
        lslm.tokenize([str(tmp_path / "nothing*.txt")], output=tmp_path / "a", tokenizer=tokenizer)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes((corpus / "b.jsonl.gz").read_bytes()[:500])
    with pytest.raises(lslm.FormatError, match=r"cut\.jsonl\.gz"):
        lslm.tokenize([str(cut)], output=tmp_path / "b", tokenizer=tokenizer)
    assert not (tmp_path / "b/train/manifest.json").exists()
    with pytest.raises(ValueError, match="fineweb"):
        lslm.tokenize([str(corpus)], output=tmp_path / "c", tokenizer=tokenizer, cleaner="finweb")
    with pytest.raises(ValueError, match="eos"):
        lslm.tokenize(
            [str(corpus)], output=tmp_path / "c", tokenizer=tokenizer, eos_token="<|nope|>"
        )
    with pytest.raises(ValueError, match="validation_fraction"):
        lslm.tokenize(
            [str(corpus)], output=tmp_path / "c", tokenizer=tokenizer, validation_fraction=1.5
        )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a file")
def test_a_write_that_fails_names_the_file_and_commits_nothing(corpus, tokenizer, tmp_path):
    """A limit on the size of a file makes a write fail in the middle, as a full disk does."""
    limit = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
    )
    tokenizer.save(tmp_path / "tokenizer.json")
    out = tmp_path / "full"
    arguments = [corpus / "a.jsonl", out, tmp_path / "tokenizer.json"]
    words = [sys.executable, "-c", limit + TOKENIZE, *arguments]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "OSError" in done.stderr
    assert str(out) in done.stderr
    assert not (out / "train/manifest.json").exists()
    assert not list(out.rglob("*.tmp"))


def test_clean_writes_documents_with_their_ids_and_metadata(corpus, tmp_path):
    result = lslm.clean([str(corpus)], output=tmp_path / "clean", cleaner="none")
    rows = []
    for name in result.files:
        data = (tmp_path / "clean" / name).read_bytes()
        zstandard = pytest.importorskip("zstandard")
        text = zstandard.ZstdDecompressor().decompressobj().decompress(data).decode()
        rows += [json.loads(line) for line in text.splitlines()]
    expected = [*documents(), {"text": "fine"}]
    assert [row["text"] for row in rows] == [d["text"] for d in expected]
    assert [row.get("id") for row in rows] == [d.get("id") for d in expected]
    assert rows[7]["meta"] == {"number": 7}
    assert result.n_documents == len(expected)


def test_exact_dedup_keeps_the_first_for_any_number_of_threads(corpus, tmp_path):
    made = []
    for threads in (1, 3):
        out = tmp_path / str(threads)
        result = lslm.clean(
            [str(corpus)],
            output=out,
            cleaner="none",
            dedup="exact",
            threads=threads,
            partition_bytes=2000,
        )
        made.append(files_of(out))
        kept = len({d["text"] for d in documents()}) + 1
        assert result.n_documents == kept
        assert result.funnel.dropped["dedup.document"].n_documents == 401 - kept
    assert made[0] == made[1]


def test_the_same_documents_train_the_same_tokenizer(corpus, tokenizer):
    again = train(corpus, threads=1)
    assert again.fingerprint == tokenizer.fingerprint
    little = train(corpus, memory=100_000)
    assert little.fingerprint == tokenizer.fingerprint
    rows = [*documents()][:150]
    given = lslm.train_tokenizer(
        texts=(d["text"] for d in [*rows, {"text": "fine"}]),
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        threads=2,
    )
    assert given.fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("special_tokens_first", [False, True])
def test_a_learned_tokenizer_is_the_same_after_saving(tmp_path, special_tokens_first):
    tok = lslm.train_tokenizer(
        texts=["some text, some more text, a"] * 3,
        vocab_size=280,
        special_tokens=["<|endoftext|>", "<|other|>"],
        special_tokens_first=special_tokens_first,
    )
    assert tok.special_tokens["<|endoftext|>"] == (
        0 if special_tokens_first else tok.vocab_size - 2
    )
    tok.save(tmp_path / "tokenizer.json")
    again = lslm.Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.fingerprint == tok.fingerprint
    assert again.encode("some text").tolist() == tok.encode("some text").tolist()


def test_an_iterator_that_fails_raises_its_own_error():
    def texts():
        yield "some text"
        raise ZeroDivisionError("in the iterator")

    with pytest.raises(ZeroDivisionError, match="in the iterator"):
        lslm.train_tokenizer(texts=texts(), vocab_size=300)


def test_progress_reaches_the_total(corpus, tokenizer, tmp_path):
    seen = []
    lslm.tokenize(
        [str(corpus)],
        output=tmp_path / "d",
        tokenizer=tokenizer,
        progress=lambda *report: seen.append(report),
    )
    stage, done, total, unit = seen[-1]
    assert (stage, unit) == ("tokenize", "bytes")
    assert done == total == sum(p.stat().st_size for p in corpus.iterdir())
    assert np.all(np.diff([report[1] for report in seen]) >= 0)
