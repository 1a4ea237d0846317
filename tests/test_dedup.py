"""The stage ``dedup``: documents, lines and paragraphs against a naive second implementation."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time

import pytest

import lslm

LINES = ["First line of a text", "AND another, longer line", "中文的一行文字在这里", "x", "", " "]
VARIANTS = [str.upper, lambda s: s + "!", lambda s: f"({s})", lambda s: s.replace(" ", "  ")]
KINDS = [None, "lines", "paragraphs"]


def normal_form(text):
    """Return the letters, marks and numbers of ``text`` in lower case; itself without any."""
    return "".join(c.lower() for c in text if c.isalnum()) or text


def pieces_of(text, kind):
    """Return the pieces of ``text`` as [content, whole]; one that is no part has no content."""
    pieces, was_blank = [], True
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        is_blank = not line.strip()
        if kind == "lines":
            pieces.append(["" if is_blank else line, line])
        elif is_blank and pieces:
            pieces[-1][1] += line
        elif is_blank or was_blank:
            pieces.append(["" if is_blank else line, line])
        else:
            pieces[-1] = [part + line for part in pieces[-1]]
        was_blank = is_blank
    return [(content.removesuffix("\n"), whole) for content, whole in pieces]


def naive(texts, *, kind=None, normalise=False, min_chars=20, seen=(set(), set())):
    """Return what is left of each text, None for a dropped one, and the keys that were seen."""
    key = normal_form if normalise else str
    documents, parts = (set(keys) for keys in seen)
    left = []
    for text in texts:
        if key(text) in documents:
            left.append(None)
            continue
        documents.add(key(text))
        kept, is_removed = [], False
        for content, whole in pieces_of(text, kind) if kind else [("", text)]:
            is_part = content and len(content) >= min_chars
            is_removed = bool(is_part and key(content) in parts)
            if is_part:
                parts.add(key(content))
            if not is_removed:
                kept.append(whole)
        result = "".join(kept)
        if is_removed:
            result = result.rstrip("\n")
        left.append(result if result.strip() or result == text else None)
    return left, (documents, parts)


def corpus(folder, seed, n=300):
    """Write documents with many equal lines into two files; return their texts in order."""
    rng, texts = random.Random(seed), []
    for _ in range(n):
        lines = [rng.choice(LINES) for _ in range(rng.randint(1, 6))]
        if rng.random() < 0.5:
            lines.append(f"a line that is in this text alone: {rng.randint(0, n)}")
        rng.shuffle(lines)
        text = "\n".join(lines)
        texts.append(rng.choice(VARIANTS)(text) if rng.random() < 0.3 else text)
    texts = [text for text in texts if text.strip()]
    folder.mkdir()
    for name, rows in (("a", texts[: n // 3]), ("b", texts[n // 3 :])):
        lines = [json.dumps({"id": f"{name}{at}", "text": text}) for at, text in enumerate(rows)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return texts


def read_texts(folder, pattern="part-*.jsonl"):
    paths = sorted(folder.glob(pattern))
    return [json.loads(line)["text"] for path in paths for line in path.read_text().splitlines()]


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def clean(raw, output, settings, **keywords):
    cleaner = lslm.Cleaner("none", dedup=settings)
    keywords = {"format": "jsonl", "progress": False, "partition_bytes": 2000} | keywords
    return lslm.clean(raw, output=output, cleaner=cleaner, **keywords)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_naive_implementation_for_any_threads(tmp_path, kind, normalise):
    for seed in range(4):
        min_chars = (1, 20)[seed % 2]
        texts = corpus(tmp_path / f"raw{seed}", seed)
        settings = {"parts": kind, "normalise": normalise, "min_part_chars": min_chars}
        expected, (documents, parts) = naive(
            texts, kind=kind, normalise=normalise, min_chars=min_chars
        )
        kept = [text for text in expected if text is not None]
        files = []
        for threads, partition_bytes in ((1, 2000), (2, 2000), (3, 2000), (2, 10**9)):
            out = tmp_path / f"out{seed}-{threads}-{partition_bytes}"
            made = clean(
                tmp_path / f"raw{seed}", out, settings,
                threads=threads, partition_bytes=partition_bytes, save_index=True,
            )  # fmt: skip
            assert read_texts(out) == kept
            assert made.n_documents == len(kept) == made.funnel.n_documents_kept
            assert made.n_bytes == sum(len(text.encode()) for text in kept)
            assert made.funnel.n_bytes_kept == made.n_bytes
            dropped = sum(row.n_documents for row in made.funnel.dropped.values())
            assert dropped == len(texts) - len(kept)
            found = made.funnel.dedup["document"]
            assert (found.n_compared, found.n_removed) == (len(texts), len(texts) - len(documents))
            groups = {int(size): count for size, count in found.groups.items()}
            assert sum((size - 1) * count for size, count in groups.items()) == found.n_removed
            if kind is not None:
                part = made.funnel.dedup[kind.removesuffix("s")]
                assert part.n_compared - part.n_removed == len(parts)
            if partition_bytes == 2000:
                files.append(files_of(out))
        assert files[0] == files[1] == files[2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_counts_as_seen(tmp_path, kind):
    settings = {"parts": kind, "normalise": True}
    old = corpus(tmp_path / "old", 5)
    new = corpus(tmp_path / "new", 6)
    _, seen = naive(old, kind=kind, normalise=True)
    expected, seen = naive(new, kind=kind, normalise=True, seen=seen)
    clean(tmp_path / "old", tmp_path / "first", settings, save_index=True)
    made = clean(
        tmp_path / "new", tmp_path / "second", settings,
        dedup_against=tmp_path / "first", save_index=True,
    )  # fmt: skip
    assert read_texts(tmp_path / "second") == [text for text in expected if text is not None]
    assert made.funnel.dedup["document"].n_older > 0
    # the second index has what either has seen, so nothing new is left in both sets together
    index = tmp_path / "second/_dedup.index"
    for name, at in (("old", "third"), ("new", "fourth")):
        again = clean(tmp_path / name, tmp_path / at, settings, dedup_against=index)
        assert again.n_documents == 0
    other = {"parts": kind, "normalise": False}
    with pytest.raises(ValueError, match=r"made with dedup\.normalise = true"):
        clean(tmp_path / "new", tmp_path / "fifth", other, dedup_against=index)
    with pytest.raises(ValueError, match="needs the cleaning stage dedup"):
        lslm.clean(tmp_path / "new", output=tmp_path / "fifth", dedup_against=index)
    with pytest.raises(ValueError, match="the folder has no text"):
        clean(tmp_path / "new", tmp_path / "fifth", settings, dedup_against=tmp_path / "third")
    index.write_bytes(index.read_bytes()[:-1])
    with pytest.raises(lslm.FormatError, match="may be cut off"):
        clean(tmp_path / "new", tmp_path / "fifth", settings, dedup_against=index)


@pytest.mark.parametrize("kind", KINDS)
def test_tokenize_removes_what_clean_removes(tmp_path, kind):
    raw = tmp_path / "raw"
    corpus(raw, 7)
    tok = lslm.train_tokenizer(texts=["a b c"], vocab_size=258, special_tokens=["<|end|>"])
    settings = {"parts": kind, "min_part_chars": 5}
    cleaner = lslm.Cleaner("default", dedup=settings)
    made = []
    for threads in (1, 3):
        out = tmp_path / f"data{threads}"
        result = lslm.tokenize(
            raw, output=out, tokenizer=tok, cleaner=cleaner, save_index=True, threads=threads,
            validation_fraction=0.2, hold_out="documents", eos_token="<|end|>",
            partition_bytes=2000, progress=False,
        )  # fmt: skip
        made.append({part: files_of(out / part) for part in ("train", "validation")})
    assert made[0] == made[1]
    assert not (out / ".progress").exists()
    cleaned = lslm.clean(
        raw, output=tmp_path / "clean", cleaner=cleaner, save_index=True, format="jsonl",
        partition_bytes=2000, progress=False,
    )  # fmt: skip
    assert result.funnel.as_dict() == cleaned.funnel.as_dict()
    texts = []
    for part in ("train", "validation"):
        dataset = lslm.TokenDataset(out / part)
        texts += [tok.decode(dataset[at][:-1]) for at in range(len(dataset))]
    assert sorted(texts) == sorted(read_texts(tmp_path / "clean"))
    index = (out / "_dedup.index").read_bytes()
    assert index == (tmp_path / "clean/_dedup.index").read_bytes()
    with pytest.raises(ValueError, match="sees the text of each once"):
        lslm.train_tokenizer(raw, vocab_size=300, cleaner=cleaner, progress=False)
    plain = lslm.tokenize(
        raw, output=tmp_path / "plain", tokenizer=tok, dedup="exact", eos_token="<|end|>",
        validation_fraction=0, progress=False,
    )  # fmt: skip
    assert plain.funnel.dropped["dedup.document"].n_documents > 0


def test_ill_formed_bytes_count_as_they_came_where_documents_are_compared(tmp_path):
    """They wait in a staged file, which is UTF-8; a text that is edited has its own bytes."""
    raw = [b"good \xff\xfe bad \xe6\x9d", b"plain", b"good \xff\xfe bad \xe6\x9d"]
    edited = [b"the first line\\n\xff\\nplain text of a line", b"the first line\\nmore \xfe"]
    tok = lslm.train_tokenizer(texts=["a b c"], vocab_size=258, special_tokens=["<|end|>"])
    for name, texts, parts in (("whole", raw, None), ("lines", edited, "lines")):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(b"".join(b'{"text": "' + text + b'"}\n' for text in texts))
        cleaner = lslm.Cleaner("none", dedup={"parts": parts, "min_part_chars": 5})
        lslm.tokenize(
            lslm.Corpus(path, encoding="utf-8"), output=tmp_path / f"data-{name}",
            tokenizer=tok, cleaner=cleaner,
            validation_fraction=0, eos_token="<|end|>", progress=False,
        )  # fmt: skip
    whole = lslm.TokenDataset(tmp_path / "data-whole/train")
    assert [whole.document_bytes(at) for at in range(2)] == [len(text) for text in raw[:2]]
    lines = lslm.TokenDataset(tmp_path / "data-lines/train")
    whole_bytes = len(edited[0].replace(b"\\n", b"\n"))
    assert [lines.document_bytes(at) for at in range(2)] == [
        whole_bytes,
        len("more \ufffd".encode()),
    ]


def test_every_document_stays_with_annotate_and_goes_with_dropped(tmp_path):
    raw = tmp_path / "raw"
    twice, once = "Dup\r\nlicate text", "Dup\nlicate text"
    texts = [twice, "short", twice, "alone and long", "short", once]
    raw.mkdir()
    rows = [json.dumps({"id": at, "text": text, "n": at}) for at, text in enumerate(texts)]
    (raw / "a.jsonl").write_text("\n".join(rows) + "\n")
    cleaner = lslm.Cleaner("none", breaks=True, length={"min_chars": 8}, dedup=True)
    keywords = {"cleaner": cleaner, "format": "jsonl", "progress": False}
    made = lslm.clean(raw, output=tmp_path / "notes", annotate=True, **keywords)
    assert made.n_documents == len(texts)
    lines = (tmp_path / "notes/part-000000.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [row["n"] for row in found] == [*range(6)]
    assert [row["lslm_kept"] for row in found] == [True, False, False, True, False, False]
    reasons = [row["lslm_reason"] for row in found]
    assert reasons == [
        None, "length.too_short", "dedup.document", None, "length.too_short", "dedup.document",
    ]  # fmt: skip
    # the text of a kept document is the cleaned one, others are as they were read
    assert [row["text"] for row in found] == ["Dup\nlicate text", *texts[1:]]
    assert [(row["lslm_value"], row["lslm_limit"]) for row in found[2::3]] == [(3, 1), (3, 1)]
    assert all(row["lslm_source"] == str(raw / "a.jsonl") for row in found)
    assert all(row["lslm_signals"]["length.too_short"] == len(row["text"]) for row in found[1:2])
    lslm.clean(raw, output=tmp_path / "out", dropped=tmp_path / "dropped", **keywords)
    dropped = [
        json.loads(line)
        for path in sorted((tmp_path / "dropped").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert sorted(row["n"] for row in dropped) == [1, 2, 4, 5]
    assert all(row["text"] == texts[row["n"]] for row in dropped)
    assert all(row["lslm_source"] == str(raw / "a.jsonl") for row in dropped)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["clean", "tokenize"])
def test_a_killed_job_continues_to_the_same_bytes(tmp_path, verb):
    raw = tmp_path / "raw"
    corpus(raw, 8, n=30_000)
    tokenizer = tmp_path / "tok.json"
    lslm.train_tokenizer(texts=["a b c"], vocab_size=258).save(tokenizer)
    keywords = {"output": "@", "partition_bytes": 20_000, "threads": 2, "progress": False}
    if verb == "tokenize":
        keywords |= {"tokenizer": str(tokenizer)}
    code = (
        f"import lslm, sys; keywords = {keywords!r}; keywords['output'] = sys.argv[1];"
        "cleaner = lslm.Cleaner('default', dedup={'parts': 'lines'});"
        f"lslm.{verb}({str(raw)!r}, cleaner=cleaner, save_index=True, **keywords)"
    )

    def run(output, seconds=None):
        process = subprocess.Popen([sys.executable, "-c", code, str(output)])
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        return process.returncode

    def files(folder):
        found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
        # what is hidden is the journal of a job that was killed after its work was done
        return {name: p.read_bytes() for name, p in found.items() if not name.startswith(".")}

    begin = time.monotonic()
    assert run(tmp_path / "whole") == 0
    whole = time.monotonic() - begin
    # each call gets further than the one before; killed at ten points of the whole time at most
    ended = [run(tmp_path / "killed", whole * (0.3 + 0.07 * n)) for n in range(2)]
    while ended[-1] == -signal.SIGKILL and len(ended) < 12:
        ended.append(run(tmp_path / "killed", whole * (0.15 + 0.05 * len(ended))))
    # 1: the call before was killed after its work was done, and this one is refused
    assert -signal.SIGKILL in ended
    assert ended[-1] in {0, 1}
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
