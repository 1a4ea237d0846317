"""Ids equal to the references', on real text and on text made to break tokenizers.

tiktoken is the reference for its own encodings, Hugging Face's tokenizers for its file. By default
the whole of every corpus goes through tiktoken's gpt2, cl100k or o200k, in turn by document, and a
part through Hugging Face, which is slow; LSLM_FULL_PARITY=1 puts everything through everything.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import sys

import numpy as np
import pytest
import tiktoken
import tiktoken.load
import tokenizers as hf

import lslm
from conftest import read_bytes, read_documents

FULL = os.environ.get("LSLM_FULL_PARITY") == "1"
THREADS = os.cpu_count() or 1

CORPORA = [
    "english/enwiki.jsonl.zst",
    "english/enwiki_valid.jsonl.zst",
    "english/novels.txt.zst",
    "english/tinyshakespeare.txt",
    "english/wikitext2_test.txt.zst",
    "english/wikitext2_valid.txt.zst",
    "chinese/zhwiki.jsonl.zst",
    "chinese/modern_prose.txt.zst",
    "multilingual/many_languages.txt.zst",
    "web/c4.jsonl.zst",
]

ENCODINGS = ["gpt2", "cl100k_base", "o200k_base"]


class Tiktoken:
    """One of tiktoken's encodings beside ours, from the same files."""

    def __init__(self, folder, name, tmp):
        content = read_bytes(folder / f"{name}.tiktoken.zst")
        meta = json.loads((folder / f"{name}.meta.json").read_text())
        path = tmp / f"{name}.tiktoken"
        path.write_bytes(content)
        ranks = tiktoken.load.load_tiktoken_bpe(str(path))
        self.reference = tiktoken.Encoding(
            name, pat_str=meta["pat"], mergeable_ranks=ranks, special_tokens=meta["special"]
        )
        self.path = path
        self.special = meta["special"]
        self.tok = lslm.Tokenizer.from_tiktoken(
            path, pattern=meta["pat"], special_tokens=meta["special"]
        )

    def ids(self, texts):
        if len(texts) > 10_000:
            # a pool that is handed single characters only costs time
            return [self.reference.encode_ordinary(text) for text in texts]
        return self.reference.encode_ordinary_batch(texts, num_threads=THREADS)


class HuggingFace:
    """Hugging Face's library beside ours, from the same file."""

    def __init__(self, folder, name, tmp):
        path = tmp / f"{name}.json"
        path.write_bytes(read_bytes(folder / f"{name}.tokenizer.json.zst"))
        self.reference = hf.Tokenizer.from_file(str(path))
        self.path = path
        self.tok = lslm.Tokenizer.load(path)

    def ids(self, texts):
        encodings = self.reference.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


@pytest.fixture(scope="session")
def pairs(shared_data, tmp_path_factory):
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    tmp = tmp_path_factory.mktemp("tokenizers")
    folder = shared_data / "tokenizers"
    made = {name: Tiktoken(folder, name, tmp) for name in ENCODINGS}
    return made | {"qwen2_5": HuggingFace(folder, "qwen2_5", tmp)}


def assert_equal(pair, texts, special="none"):
    """Ids of the batch, of each text by itself where they differ, and the way back."""
    expected = pair.ids(texts)
    ids, offsets = pair.tok.encode_batch(texts, special=special)
    lengths = np.fromiter(map(len, expected), np.int64, len(expected))
    flat = np.fromiter((i for part in expected for i in part), np.uint32, int(lengths.sum()))
    if not (np.array_equal(np.diff(offsets), lengths) and np.array_equal(ids, flat)):
        for text, part in zip(texts, expected, strict=True):
            assert pair.tok.encode(text, special=special).tolist() == part, text[:200]
        pytest.fail("the batch differs from its texts one by one")
    return ids, offsets


def batches(documents, size=4_000_000):
    batch, total = [], 0
    for text in documents:
        batch.append(text)
        total += len(text)
        if total >= size:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("corpus", CORPORA)
def test_corpora_equal_tiktoken(pairs, shared_data, corpus):
    documents = list(read_documents(shared_data / corpus))
    for turn, name in enumerate(ENCODINGS):
        own = documents if FULL else documents[turn :: len(ENCODINGS)]
        for batch in batches(own):
            ids, offsets = assert_equal(pairs[name], batch)
            assert pairs[name].tok.decode_batch(ids, offsets) == batch


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("corpus", CORPORA)
def test_corpora_equal_hugging_face(pairs, shared_data, corpus):
    documents = list(read_documents(shared_data / corpus))
    if not FULL:
        # the same documents every time, from all over the file
        random.Random(corpus).shuffle(documents)
        kept, total = [], 0
        for text in documents:
            total += len(text.encode())
            if total > 1_500_000 and kept:
                break
            kept.append(text)
        documents = kept
    for batch in batches(documents):
        assert_equal(pairs["qwen2_5"], batch, special="all")


@pytest.mark.parametrize("name", [*ENCODINGS, "qwen2_5"])
def test_naughty_strings(pairs, shared_data, name):
    texts = json.loads((shared_data / "cases" / "blns.json").read_text())
    assert_equal(pairs[name], texts)
    assert_equal(pairs[name], ["\n".join(texts), " ".join(texts)])


@pytest.mark.parametrize("planes", ["used", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*ENCODINGS, "qwen2_5"])
def test_every_code_point(pairs, name, planes):
    """Each scalar value alone, between letters, after a blank and before a digit.

    The references' tables are Unicode 16 for these patterns, as ours; where a reference's tables
    are others, testdata/unicode/differences.json lists the points. The references are slow, so
    that the planes without characters (4 to 13) and for private use are left to the slow tests.
    """
    pair = pairs[name]
    points = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    used = [c for c in points if c < "\U00034000" or "\U000e0000" <= c < "\U000e1000"]
    if planes == "used":
        points = used
    # with neighbours: many a text, since nothing reaches over the line ends
    texts = [
        "".join(f"a{c}b\n {c}1\n" for c in points[start : start + 500])
        for start in range(0, len(points), 500)
    ]
    assert_equal(pair, texts)
    if name == "qwen2_5" and not FULL:  # one text at a time is slowest there
        points = used
    for start in range(0, len(points), 50_000):
        assert_equal(pair, points[start : start + 50_000])


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_normal_forms_of_every_code_point(tmp_path, form):
    """Alone, and beside marks of all sorts; the reference's tables are those of Unicode 9.0."""
    from small_data import byte_tokenizer

    path = tmp_path / "bytes.json"
    byte_tokenizer(path)
    file = json.loads(path.read_text())
    file["normalizer"] = {"type": form}
    file["pre_tokenizer"]["use_regex"] = False
    tok = lslm.Tokenizer.from_json(json.dumps(file))
    reference = getattr(hf.normalizers, form)()
    # planes 4 to 13 are empty
    points = [*range(0xD800), *range(0xE000, 0x40000), *range(0xE0000, 0xE0200)]
    marks = "\u0334\u093c\u0323\u0345\u0301\u0307\u05b0\u0f71\u114b0\u11930"
    differences = []
    for start in range(0, len(points), 1000):
        part = points[start : start + 1000]
        text = "".join(f"{chr(c)}\n" + "".join(f"{m}{chr(c)}{m}\n" for m in marks) for c in part)
        found = tok.decode(tok.encode(text))
        if found != (expected := reference.normalize_str(text)):
            lines = zip(text.split("\n"), found.split("\n"), expected.split("\n"), strict=True)
            differences += [line for line, one, other in lines if one != other]
    assert not differences, (len(differences), differences[:50])


# one character of each class that patterns know
CLASSES = {
    "lower": "a",
    "upper": "A",
    "title": "\u01c5",
    "modifier letter": "\u02b0",
    "other letter": "\u05d0",
    "han": "\u4e2d",
    "mark": "\u0301",
    "digit": "7",
    "letter number": "\u2167",
    "other number": "\u00bd",
    "blank": " ",
    "tab": "\t",
    "newline": "\n",
    "return": "\r",
    "next line": "\u0085",
    "line separator": "\u2028",
    "ideographic space": "\u3000",
    "punctuation": "!",
    "slash": "/",
    "apostrophe": "'",
    "symbol": "\u20ac",
    "emoji": "\U0001f600",
    "control": "\x07",
    "unassigned": "\U000e0fff",
}
LENGTHS = [
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    13,
    16,
    31,
    32,
    33,
    63,
    64,
    65,
    100,
    128,
    257,
    500,
    1000,
    3001,
    8192,
    20_000,
]


@pytest.mark.parametrize("name", [*ENCODINGS, "qwen2_5"])
def test_runs_of_one_class(pairs, name):
    for character in CLASSES.values():
        assert_equal(pairs[name], [character * n for n in LENGTHS])
        assert_equal(pairs[name], [f"x {character * n} y" for n in LENGTHS[:-4]])


@pytest.mark.parametrize("name", [*ENCODINGS, "qwen2_5"])
def test_mixtures_of_classes(pairs, name):
    generator = random.Random(11)
    pieces = [
        *CLASSES.values(),
        "'s",
        "'LL",
        "'\u017f",
        "\u0130",
        "\u212a",
        "\r\n",
        "the",
        " of",
        "123",
        "\u0000",
    ]
    texts = [
        "".join(generator.choices(pieces, k=generator.randrange(1, 40))) for _ in range(20_000)
    ]
    assert_equal(pairs[name], texts)
    wide = [
        "".join(
            chr(
                generator.choice(
                    (generator.randrange(0xD800), generator.randrange(0xE000, 0x110000))
                )
            )
            for _ in range(30)
        )
        for _ in range(2000)
    ]
    assert_equal(pairs[name], wide)


def test_errors_of_peers_are_not_ours(pairs, testdata):
    """Inputs on which released tokenizers have been seen to differ from the references, with the
    references' answers; the script beside the cases made them and says what the fields are."""
    spec = importlib.util.spec_from_file_location(
        "peer_errors", testdata / "tokenizer" / "peer_errors.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    cases = json.loads((testdata / "tokenizer" / "peer_errors.json").read_text("utf-8"))["cases"]
    assert len(cases) > 20
    for case in cases:
        for name in (*ENCODINGS, "qwen2_5"):
            tok = pairs[name].tok
            if "hex" in case:
                data = bytes.fromhex(case["hex"])
                assert tok.decode_bytes(tok.encode(data)) == data, case["seen"]
                continue
            text = script.text_of(case)
            assert script.answer(tok.encode(text)) == case["ids"][name], (name, case["seen"])
            assert script.answer(pairs[name].ids([text])[0]) == case["ids"][name], case["seen"]


@pytest.mark.parametrize("name", [*ENCODINGS, "qwen2_5"])
def test_ill_formed_text_comes_back(pairs, shared_data, name):
    if name == "qwen2_5":
        pytest.skip("its normaliser changes text")
    tok = pairs[name].tok
    data = (shared_data / "cases" / "utf8_stress_kuhn.txt").read_bytes()
    assert tok.decode_bytes(tok.encode(data)) == data
    for line in data.split(b"\n"):
        assert tok.decode_bytes(tok.encode(line)) == line
    generator = random.Random(3)
    for _ in range(300):
        noise = generator.randbytes(generator.randrange(200))
        assert tok.decode_bytes(tok.encode(noise)) == noise


@pytest.mark.parametrize("name", [*ENCODINGS, "qwen2_5"])
def test_special_tokens(pairs, name):
    pair = pairs[name]
    names = list(pair.tok.special_tokens)
    generator = random.Random(1)
    texts = [
        "".join(generator.choices([*names, "text ", "<|", "|>", "\n", "<|endof"], k=6))
        for _ in range(500)
    ]
    for text in texts:
        ids = pair.tok.encode(text, special="all").tolist()
        if name == "qwen2_5":
            assert ids == pair.reference.encode(text, add_special_tokens=False).ids
        else:
            assert ids == pair.reference.encode(text, allowed_special="all")
            assert pair.tok.encode(text).tolist() == pair.reference.encode_ordinary(text)
        assert pair.tok.decode(ids) == text
        assert pair.tok.decode(pair.tok.encode(text)) == text
    assert pair.tok.eos_id == pair.tok.special_tokens["<|endoftext|>"]


@pytest.mark.parametrize("name", [*ENCODINGS, "qwen2_5"])
def test_files_written_give_the_same_tokenizer(pairs, shared_data, tmp_path, name):
    pair = pairs[name]
    path = tmp_path / "tokenizer.json"
    pair.tok.save(path)
    again = lslm.Tokenizer.load(path)
    assert again.fingerprint == pair.tok.fingerprint
    other = hf.Tokenizer.from_file(str(path))
    texts = json.loads((shared_data / "cases" / "blns.json").read_text())
    texts += list(read_documents(shared_data / "multilingual/many_languages.txt.zst"))[:100]
    ids, offsets = pair.tok.encode_batch(texts, special="all")
    expected = other.encode_batch(texts, add_special_tokens=False)
    for i, encoding in enumerate(expected):
        assert ids[offsets[i] : offsets[i + 1]].tolist() == encoding.ids
    assert other.get_vocab_size() <= again.vocab_size
    for special, number in pair.tok.special_tokens.items():
        assert other.token_to_id(special) == number
    if name != "qwen2_5":
        again.save(tmp_path / "again.tiktoken")
        assert (tmp_path / "again.tiktoken").read_bytes().split() == pair.path.read_bytes().split()


@pytest.mark.parametrize("name", [*ENCODINGS, "qwen2_5"])
def test_every_token_encodes_to_itself_or_is_listed(pairs, testdata, name):
    """All tokens by themselves, with the reference's answer where the pattern cuts them."""
    pair = pairs[name]
    tok = pair.tok
    listed = json.loads((testdata / "tokenizer" / "unreachable.json").read_text("utf-8"))[name]
    texts, unreachable, count = [], [], 0
    for i in range(tok.vocab_size):
        try:
            token = tok.token_bytes(i)
        except KeyError:
            continue
        count += 1
        assert tok.token_id(token) == i
        ids = tok.encode(token, special="all")
        if ids.tolist() != [i]:
            unreachable.append(i)
        assert name == "qwen2_5" or tok.decode_bytes(ids) == token
        with contextlib.suppress(UnicodeDecodeError):
            texts.append(token.decode())
    assert count == listed["tokens"]
    assert unreachable == listed["unreachable"]
    for start in range(0, len(texts), 20_000):
        part = texts[start : start + 20_000]
        assert_equal(pair, part, special="all" if name == "qwen2_5" else "none")
