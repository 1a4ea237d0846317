"""Stages after ``dedup``, comparison with documents, and the files of removed lines."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import lslm
from lslm.report import clean_report
from test_dedup import corpus, files_of, read_texts

KEYWORDS = {"format": "jsonl", "progress": False}
LINES = {"containing": ["another"], "min_chars": 3}


def rows_of(folder, pattern="*.jsonl"):
    paths = sorted(folder.glob(pattern))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def staged(stages, **settings):
    return lslm.Cleaner("none", stages=stages, **settings)


def test_stages_after_dedup_equal_a_second_job(tmp_path):
    raw = tmp_path / "raw"
    texts = corpus(raw, 11)
    dedup = {"parts": "lines", "min_part_chars": 5}
    before, after = {"breaks": True, "lines": LINES}, {"length": {"min_chars": 30}, "redact": True}
    both = {"dedup": dedup} | before | after
    whole = staged([*before, "dedup", *after], **both)
    # what the stages after it do is what a second job does with the output of the first
    lslm.clean(
        raw,
        output=tmp_path / "first",
        cleaner=staged([*before, "dedup"], dedup=dedup, **before),
        **KEYWORDS,
    )
    second = lslm.clean(
        tmp_path / "first",
        output=tmp_path / "second",
        cleaner=staged([*after], **after),
        **KEYWORDS,
    )
    expected = read_texts(tmp_path / "second")
    assert 0 < len(expected) < len(read_texts(tmp_path / "first"))
    made, files = None, []
    for threads, partition_bytes in ((1, 2000), (3, 2000), (2, 10**9)):
        out, dropped = tmp_path / f"out{threads}", tmp_path / f"dropped{threads}"
        made = lslm.clean(
            raw, output=out, dropped=dropped, cleaner=whole, threads=threads,
            partition_bytes=partition_bytes, signals=True, **KEYWORDS,
        )  # fmt: skip
        assert read_texts(out) == expected
        assert made.n_documents == made.funnel.n_documents_kept == len(expected)
        assert made.n_bytes == made.funnel.n_bytes_kept == sum(len(t.encode()) for t in expected)
        short, alone = (of.funnel.dropped["length.too_short"] for of in (made, second))
        assert (short.n_documents, short.examples) == (alone.n_documents, alone.examples)
        n_dropped = sum(row.n_documents for row in made.funnel.dropped.values())
        assert n_dropped == len(texts) - len(expected)
        if partition_bytes == 2000:
            files.append((files_of(out), files_of(dropped)))
    assert files[0] == files[1]
    # each document that was dropped is there as it was read, by the stages that dropped it
    late = rows_of(tmp_path / "dropped1", "late-0*.jsonl")
    assert {row["lslm_reason"] for row in late} == {"length.too_short"}
    assert len(late) == made.funnel.dropped["length.too_short"].n_documents
    dropped = [*late, *rows_of(tmp_path / "dropped1", "duplicates-*.jsonl")]
    assert Counter(row["text"] for row in dropped) <= Counter(texts)
    assert len(dropped) + len(expected) == len(texts)
    # those of the stage after it are of the documents that it leaves
    signal = made.funnel.signals["length.too_short"]
    assert (signal.n_documents, signal.n_failed) == (len(late) + len(expected), len(late))


def test_rules_after_dedup_see_texts_without_the_removed_lines(tmp_path):
    raw = tmp_path / "raw.jsonl"
    rows = [
        {"id": "a", "text": "the same line in both\nmail me@site.org", "url": "https://fine.net/"},
        {"id": "b", "text": "the same line in both\nalone", "url": "https://evil.net/"},
        {"id": "c", "text": "the same line in both\nalone as well, and long", "url": None},
    ]
    raw.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "urls.txt").write_text("evil.net\n")
    cleaner = staged(
        ["dedup", "lists", "redact"], dedup={"parts": "lines"}, redact=True,
        lists={"urls": str(tmp_path / "urls.txt")},
    )  # fmt: skip
    made = lslm.clean(raw, output=tmp_path / "out", cleaner=cleaner, annotate=True, **KEYWORDS)
    found = {row["id"]: row for row in rows_of(tmp_path / "out")}
    assert found["a"]["text"] == "the same line in both\nmail <EMAIL>"
    # dropped: as it was read, with the lines that dedup removed
    assert found["b"]["text"] == rows[1]["text"]
    assert (found["b"]["lslm_reason"], found["b"]["lslm_span"]) == ("lists.url", "evil.net")
    assert found["c"]["text"] == "alone as well, and long"
    assert made.funnel.n_without_url == 1
    assert "1 document had no URL" in clean_report(made.funnel)
    tok = lslm.train_tokenizer(texts=["a b c"], vocab_size=258, special_tokens=["<|end|>"])
    for source in (raw, tmp_path / "rows.parquet"):
        if source.suffix == ".parquet":
            pa = pytest.importorskip("pyarrow")
            pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), source)
        result = lslm.tokenize(
            source, output=tmp_path / f"data-{source.suffix[1:]}", tokenizer=tok, cleaner=cleaner,
            validation_fraction=0, eos_token="<|end|>", progress=False,
        )  # fmt: skip
        dataset = lslm.TokenDataset(result.train.path)
        texts = [tok.decode(dataset[at][:-1]) for at in range(len(dataset))]
        assert texts == [found["a"]["text"], found["c"]["text"]]
        assert result.funnel == made.funnel


@pytest.mark.parametrize("parts", ["lines", "paragraphs"])
def test_removed_lines_are_written_with_their_reason(tmp_path, parts):
    raw = tmp_path / "raw"
    corpus(raw, 12)
    settings = {"parts": parts, "min_part_chars": 5}
    cleaner = staged(["lines", "dedup", "c4"], lines=LINES, dedup=settings, c4={"min_sentences": 1})
    made = lslm.clean(
        raw, output=tmp_path / "out", dropped=tmp_path / "dropped", cleaner=cleaner,
        partition_bytes=3000, **KEYWORDS,
    )  # fmt: skip
    changes = made.funnel.changes
    kind = f"dedup.{parts.removesuffix('s')}"
    for name, prefix in (("lines", "lines"), ("dedup", "duplicate-parts"), ("c4", "late-lines")):
        rows = rows_of(tmp_path / "dropped", f"{prefix}-*.jsonl")
        found = Counter(row["lslm_reason"] for row in rows)
        named = {reason: change.n_changes for reason, change in changes.items() if "." in reason}
        assert found == {reason: n for reason, n in named.items() if reason.startswith(name)}
        assert found
        assert all(row["id"] and row["lslm_source"] and not row["lslm_kept"] for row in rows)
    removed = rows_of(tmp_path / "dropped", "lines-*.jsonl")
    for row in removed:
        is_phrase = "another" in row["text"].lower()
        assert row["lslm_reason"] == ("lines.phrase" if is_phrase else "lines.too_short")
    texts = {row["id"]: row["text"] for row in rows_of(raw)}
    duplicates = rows_of(tmp_path / "dropped", "duplicate-parts-*.jsonl")
    assert {row["lslm_reason"] for row in duplicates} == {kind}
    assert all(
        set(row["text"].split("\n")) <= set(texts[row["id"]].split("\n")) for row in duplicates
    )


@pytest.mark.parametrize("kind", [None, "lines", "paragraphs"])
def test_documents_to_compare_with_equal_their_index(tmp_path, kind):
    old, new = tmp_path / "old", tmp_path / "new"
    corpus(old, 5)
    corpus(new, 6)
    # what a stage before dedup changes is compared in both forms
    with (old / "a.jsonl").open("a") as file:
        file.write(json.dumps({"id": "crlf", "text": "two lines of\r\none document"}) + "\n")
    with (new / "a.jsonl").open("a") as file:
        for text in ("two lines of\none document", "two lines of\r\none document"):
            file.write(json.dumps({"id": "lf", "text": text}) + "\n")
    cleaner = lslm.Cleaner("none", breaks=True, dedup={"parts": kind})
    first = lslm.clean(old, output=tmp_path / "first", cleaner=cleaner, save_index=True, **KEYWORDS)
    found = {}
    for name, against in (
        ("index", tmp_path / "first"),
        ("raw", old),
        ("pattern", f"{old}/*.jsonl"),
        ("cleaned", tmp_path / "first/part-000000.jsonl"),
    ):
        made = lslm.clean(
            new, output=tmp_path / name, cleaner=cleaner, dedup_against=against,
            save_index=True, partition_bytes=2000, **KEYWORDS,
        )  # fmt: skip
        found[name] = (read_texts(tmp_path / name), made.funnel)
        assert (made.against is None) == (name == "index")
        if name == "raw":
            assert made.against == first.reading
    assert found["index"][1].dropped["dedup.older"].n_documents > 1
    assert "two lines of\none document" not in found["index"][0]
    assert found["raw"] == found["index"] == found["pattern"]
    if kind is None:  # cleaned documents without some parts are others
        assert found["cleaned"][0] == found["raw"][0]
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "a.jsonl").write_text("")
    for against, error in ((empty, "no document to read"), (tmp_path / "missing", "missing")):
        with pytest.raises((ValueError, OSError), match=error):
            lslm.clean(
                new, output=tmp_path / "none", cleaner=cleaner, dedup_against=against, **KEYWORDS
            )
    with pytest.raises(ValueError, match="is part of the input"):
        lslm.clean(new, output=old / "out", cleaner=cleaner, dedup_against=old, **KEYWORDS)
    broken = tmp_path / "broken.index"
    broken.write_text("{}")
    with pytest.raises(lslm.FormatError, match="not an index"):
        lslm.clean(new, output=tmp_path / "none", cleaner=cleaner, dedup_against=broken, **KEYWORDS)


def test_histograms_are_of_all_documents(tmp_path):
    texts = ["word " * n for n in range(1, 3001)]
    raw = tmp_path / "raw.jsonl"
    raw.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    words = {"min_words": 30, "min_stop_words": None, "max_mean_word_chars": 20}
    cleaner = lslm.Cleaner("none", length={"min_chars": 100}, gopher_quality=words)
    plain = lslm.clean(raw, output=tmp_path / "plain", cleaner=cleaner, **KEYWORDS)
    made = lslm.clean(raw, output=tmp_path / "out", cleaner=cleaner, signals=True, **KEYWORDS)
    assert files_of(tmp_path / "plain").keys() == files_of(tmp_path / "out").keys()
    assert read_texts(tmp_path / "plain") == read_texts(tmp_path / "out")
    assert made.funnel.as_dict() | {"signals": {}} == plain.funnel.as_dict()
    for name, n_failed in (("length.too_short", 19), ("gopher_quality.too_few_words", 29)):
        signal = made.funnel.signals[name]
        assert (signal.n_documents, signal.n_failed) == (3000, n_failed)
    assert "Values of all 3,000 documents" in clean_report(made.funnel)
