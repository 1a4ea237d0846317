from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import random
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

import lslm

TRAINING_TEXT = [
    "The quick brown fox jumps over the lazy dog; the dog doesn't mind, and the fox won't stop.",
    "def encode(self, text: str) -> list[int]:\n    return [self.ids[c] for c in text]\n\n",
    "Größe und Maß, naïve café, Ωμέγα, русский текст, 我们在学习语言模型。語言模型很有趣。",
    "日本語のテキスト。한국어 텍스트. संस्कृत ๑๒๓ العربية 12345 67 8 1999 2024",
    "    indented\t\ttabs\r\nwindows\r\n\r\n\n\n\nblank lines   trailing   ",
    "aaaaaaaaaaaaaaaaaaaaaaaa bbbb abababababab ------ ====== !!!! ... 🙂🙃👩‍👩‍👧 e\u0301",
] * 5

TEXTS = [
    "",
    " ",
    "a",
    "Hello, world! It's 2024.",
    "  two  blanks   three ",
    "line\nline\r\n\r\n  \n x\n",
    "don't DON'T I'LL 'tis 's'S",
    "我们学习语言模型，123456个。",
    "naïve cafe\u0301 \u1100\u1161\u11a8 ﬁ ½ ²",
    "🙂👩‍👩‍👧 \U0001f1e9\U0001f1ea",
    "\x00\x01\x7f\x80\xa0\u2028\u2029\u3000\ufeff\U0010ffff",
    "x" * 300 + " " * 300 + "\n" * 50 + "-" * 200,
    "<|endoftext|> <|end|>of<|endoftext|>",
]


def train(
    pre_tokenizer,
    *,
    vocab_size=600,
    normalizer=None,
    special_tokens=("<|endoftext|>",),
    alphabet=True,
):
    tokenizer = hf.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def reference():
    return train(pre_tokenizers.ByteLevel(add_prefix_space=False))


@pytest.fixture(scope="module")
def tok(reference):
    return lslm.Tokenizer.from_json(reference.to_str())


def ids_of(reference, text, **options):
    return reference.encode(text, add_special_tokens=False, **options).ids


# encoding


@pytest.mark.parametrize("text", TEXTS)
def test_encode_equals_hugging_face(tok, reference, text):
    assert tok.encode(text, special="all").tolist() == ids_of(reference, text)
    assert tok.decode(tok.encode(text)) == text
    assert tok.count(text) == len(tok.encode(text))


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_equals_hugging_face(tok, reference, text):
    assert tok.encode(text, special="all").tolist() == ids_of(reference, text)


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=80))
def test_any_bytes_come_back(tok, data):
    assert tok.decode_bytes(tok.encode(data)) == data


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=40), other=st.binary(max_size=40))
def test_bad_bytes_split_like_the_replacement_character(tok, data, other):
    def pieces(value):
        ids, offsets = tok.encode_with_offsets(value)
        return len(ids), offsets

    text = data.decode("utf-8", "replace")
    if "\ufffd" not in text:
        assert tok.encode(data).tolist() == tok.encode(text).tolist()
    assert tok.decode_bytes(tok.encode(data + other)) == data + other


def test_kinds_of_text(tok):
    text = "naïve 我们"
    expected = tok.encode(text).tolist()
    for value in (text.encode(), bytearray(text.encode()), memoryview(text.encode())):
        assert tok.encode(value).tolist() == expected
    with pytest.raises(TypeError, match="must be str or bytes, not int"):
        tok.encode(3)
    with pytest.raises(TypeError, match="for one use encode"):
        tok.encode_batch("text")


def test_dtypes(tok):
    for dtype in ("uint32", "int32", "int64", np.int64, np.dtype("int32")):
        ids = tok.encode("a text", dtype=dtype)
        assert ids.dtype == np.dtype(dtype)
        assert tok.decode(ids) == "a text"
        assert tok.encode_batch(["a text"], dtype=dtype)[0].dtype == np.dtype(dtype)
    assert tok.encode("a").dtype == np.uint32
    with pytest.raises(ValueError, match="float64"):
        tok.encode("a", dtype="float64")


def test_lone_surrogates(tok):
    # as tiktoken repairs them: pairs are the character, lone ones U+FFFD
    assert tok.decode(tok.encode("a\ud83d\ude42b")) == "a🙂b"
    assert tok.decode(tok.encode("a\ud83db\udc00")) == "a\ufffdb\ufffd"
    with pytest.raises(UnicodeEncodeError):
        tok.encode("a\ud83d", errors="strict")
    with pytest.raises(UnicodeEncodeError):
        tok.encode_batch(["a", "\udc00"], errors="strict")
    with pytest.raises(ValueError, match="errors"):
        tok.encode("a", errors="maybe")


def test_encode_batch(tok):
    texts = TEXTS * 30
    ids, offsets = tok.encode_batch(texts)
    assert ids.dtype == np.uint32
    assert offsets.dtype == np.int64
    assert offsets[0] == 0
    assert len(offsets) == len(texts) + 1
    assert offsets[-1] == len(ids)
    for text, start, end in zip(texts, offsets, offsets[1:], strict=False):
        assert ids[start:end].tolist() == tok.encode(text).tolist()
    assert tok.decode_batch(ids, offsets) == texts
    for values in ([], iter([]), ()):
        ids, offsets = tok.encode_batch(values)
        assert (len(ids), offsets.tolist()) == (0, [0])


def test_threads_change_nothing(tok):
    generator = random.Random(7)
    texts = ["".join(generator.choices(TEXTS, k=generator.randrange(6))) for _ in range(4000)]
    expected, offsets = tok.encode_batch(texts, threads=1)
    for threads in (2, 3, 8, None):
        ids, other = tok.encode_batch(texts, threads=threads)
        assert np.array_equal(ids, expected)
        assert np.array_equal(offsets, other)
        assert tok.decode_batch(ids, offsets, threads=threads) == texts
    for threads in (0, 10**6):
        with pytest.raises(ValueError, match="threads"):
            tok.encode_batch(texts, threads=threads)


def test_long_texts(tok):
    text = "It was the best of times. " * 60_000
    ids = tok.encode(text)
    assert tok.decode(ids) == text
    assert tok.count(text) == len(ids)
    part = tok.encode("It was the best of times. It was")
    assert ids[: len(part) - 1].tolist() == part[:-1].tolist()


def test_count_is_the_number_of_ids(tok):
    text = "It was the best of times, it was the worst of times. " * 100_000
    assert tok.count(text) == len(tok.encode(text))
    for policy in ("none", "all"):
        for part in ["", "<|endoftext|>", text[:200_000] + "<|endoftext|>" + text[:70_000]]:
            assert tok.count(part, special=policy) == len(tok.encode(part, special=policy))
    with pytest.raises(ValueError, match="special token"):
        tok.count("a<|endoftext|>", special="raise")


PEAK = """
import resource, sys
import lslm
tok = lslm.Tokenizer.load(sys.argv[1])
text = b"It was the best of times, it was the worst of times. " * 300_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
n = tok.count(text)
unit = 1 if sys.platform == "darwin" else 1024
added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit
assert added < n, (added, n)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs the module resource")
def test_count_keeps_no_ids(tok, tmp_path):
    # ids have four bytes each; the working memory of one call is a few megabytes
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    subprocess.run([sys.executable, "-c", PEAK, str(path)], check=True, timeout=120)


# special tokens


def test_special_policies(tok):
    text = "a<|endoftext|>b"
    eos = tok.eos_id
    assert eos == tok.special_tokens["<|endoftext|>"]
    assert eos not in tok.encode(text)
    assert tok.decode(tok.encode(text)) == text
    assert tok.encode(text, special="all").tolist() == [
        *tok.encode("a"),
        eos,
        *tok.encode("b"),
    ]
    assert (
        tok.encode(text, special={"<|endoftext|>"}).tolist()
        == tok.encode(text, special="all").tolist()
    )
    assert tok.encode(text, special=set()).tolist() == tok.encode(text).tolist()
    with pytest.raises(ValueError, match=r"<\|endoftext\|>"):
        tok.encode(text, special="raise")
    assert tok.encode("a", special="raise").tolist() == tok.encode("a").tolist()
    with pytest.raises(ValueError, match="choose"):
        tok.encode(text, special="some")
    with pytest.raises(KeyError, match=r"did you mean .*<\|endoftext\|>"):
        tok.encode(text, special={"<|endofetxt|>"})
    with pytest.raises(ValueError, match=r"<\|endoftext\|>"):
        tok.encode_batch(["x", text], special="raise")
    with pytest.raises(TypeError):
        tok.encode(text, special=3)


def test_markup_is_control_even_if_the_file_forgot_to_say_so():
    reference = train(pre_tokenizers.ByteLevel(add_prefix_space=False))
    reference.add_tokens(
        [AddedToken("<|fim|>", normalized=False), AddedToken("zzz", normalized=False)]
    )
    tok = lslm.Tokenizer.from_json(reference.to_str())
    fim, zzz = tok.token_id("<|fim|>"), tok.token_id("zzz")
    assert set(tok.special_tokens) == {"<|endoftext|>", "<|fim|>"}
    assert fim not in tok.encode("a<|fim|>b")
    assert zzz in tok.encode("azzzb")  # plain vocabulary of the file, as in the reference
    assert tok.encode("a<|fim|>zzz", special="all").tolist() == ids_of(reference, "a<|fim|>zzz")


def test_eos_is_unambiguous_or_none():
    def eos(*names):
        return lslm.Tokenizer.from_json(
            train(pre_tokenizers.ByteLevel(), special_tokens=names).to_str()
        ).eos_id

    assert eos("<pad>", "</s>") == 1
    assert eos("<pad>") is None
    assert eos("</s>", "<|endoftext|>") is None


# decoding


def test_decode_kinds_of_ids(tok):
    ids = tok.encode("some text")
    for value in (
        ids.tolist(),
        tuple(ids),
        ids.astype("int64"),
        ids.astype("uint16"),
        ids.astype("int32")[::1],
    ):
        assert tok.decode(value) == "some text"
    assert tok.decode(np.repeat(ids, 2)[::2]) == "some text"
    assert tok.decode([]) == ""
    assert tok.decode_bytes([]) == b""
    for bad in ([[1, 2]], 3, 1.5, ["a"], [1.0]):
        with pytest.raises(TypeError, match="ids"):
            tok.decode(bad)


def test_unknown_ids(tok):
    for bad in (tok.vocab_size, -1, 2**31, 2**40):
        with pytest.raises(KeyError, match=str(bad)):
            tok.decode([1, bad])
        with pytest.raises(KeyError, match=str(bad)):
            tok.token_bytes(bad)
    with pytest.raises(KeyError):
        tok.decode_batch([tok.vocab_size], [0, 1])


def test_decode_errors(tok):
    ids = tok.encode(b"a\xe4\xb8b\xff")
    assert tok.decode(ids) == b"a\xe4\xb8b\xff".decode(errors="replace")
    assert tok.decode(ids, errors="ignore") == "ab"
    with pytest.raises(UnicodeDecodeError):
        tok.decode(ids, errors="strict")
    with pytest.raises(LookupError):
        tok.decode(ids, errors="nothing")


def test_decode_batch_offsets(tok):
    ids, offsets = tok.encode_batch(["one", "two"])
    assert tok.decode_batch(ids.tolist(), offsets.tolist()) == ["one", "two"]
    for bad in ([0], [0, len(ids) + 1], [1, len(ids)], [0, 3, 1, len(ids)], []):
        with pytest.raises(ValueError, match="offsets"):
            tok.decode_batch(ids, bad)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=30), data=st.binary(max_size=10))
def test_streaming_never_splits_a_character(tok, text, data):
    ids = tok.encode(text)
    decoder = tok.decoder()
    parts = [decoder.push(int(i)) for i in ids]
    assert "".join(parts) == text
    assert "\ufffd" not in "".join(parts).replace("\ufffd" if "\ufffd" in text else "\x00", "")
    assert decoder.finish() == ""
    decoder = tok.decoder()
    ids = tok.encode(data)
    whole = decoder.push(ids) + decoder.finish()
    assert whole == data.decode("utf-8", "replace")


def test_streaming_keeps_its_state(tok):
    ids = tok.encode("é".encode()[:1])
    decoder = tok.decoder()
    assert decoder.push(ids) == ""
    with pytest.raises(KeyError):
        decoder.push([0, tok.vocab_size])
    assert decoder.push(tok.encode("é".encode()[1:])) == "é"
    assert decoder.push(ids) == ""
    assert decoder.finish() == "\ufffd"
    assert decoder.finish() == ""


# parts of texts


@pytest.mark.parametrize("text", TEXTS)
def test_offsets(tok, text):
    ids, spans = tok.encode_with_offsets(text, special="all")
    assert ids.tolist() == tok.encode(text, special="all").tolist()
    assert spans.shape == (len(ids), 2)
    assert spans.dtype == np.int64
    data = text.encode()
    for i, (start, end) in zip(ids, spans, strict=True):
        assert data[start:end] == tok.token_bytes(int(i))
    ids, spans = tok.encode_with_offsets(text, unit="char", special="all")
    for i, (start, end) in zip(ids, spans, strict=True):
        assert tok.token_bytes(int(i)) in text[start:end].encode()
        assert end > start
    with pytest.raises(ValueError, match="unit"):
        tok.encode_with_offsets(text, unit="word")


def test_offsets_equal_hugging_face_where_the_normaliser_changes_the_text():
    normalizer = hf.normalizers.NFC()
    reference = train(
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False), normalizer=normalizer
    )
    tok = lslm.Tokenizer.from_json(reference.to_str())
    for text in ["cafe\u0301 au lait", "\u1100\u1161\u11a8x", "a\u0323\u0301b e\u0301e\u0301"]:
        expected = reference.encode(text, add_special_tokens=False)
        ids, spans = tok.encode_with_offsets(text, unit="char")
        assert ids.tolist() == expected.ids
        covered = [text[start:end] for start, end in spans]
        # each token covers at least what the reference says
        for (start, end), (first, last) in zip(spans, expected.offsets, strict=True):
            assert start <= first
            assert end >= last
        assert covered[0][0] == text[0]
        assert spans[-1][1] == len(text)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=40), n=st.integers(0, 30))
def test_truncate(tok, text, n):
    cut = tok.truncate(text, n)
    assert text.startswith(cut)
    assert tok.count(cut) <= n
    if tok.count(text) <= n:
        assert cut == text
    data = text.encode()
    assert data.startswith(tok.truncate(data, n))
    assert isinstance(tok.truncate(data, n), bytes)


def test_truncate_keeps_what_it_can(tok):
    text = "The quick brown fox"
    ids = tok.encode(text)
    assert tok.truncate(text, len(ids) - 1) == tok.decode(ids[:-1])
    assert tok.truncate(text, 0) == ""


def test_single_tokens(tok, reference):
    vocab = reference.get_vocab()
    for name, i in vocab.items():
        data = tok.token_bytes(i)
        assert tok.token_id(data) == i, name
    assert tok.token_id(b"not a token at all") is None
    assert tok.token_id("<|endoftext|>") == vocab["<|endoftext|>"]
    assert tok.vocab_size == len(tok) == reference.get_vocab_size()


# the object


def test_pickle_and_copies(tok):
    again = pickle.loads(pickle.dumps(tok))
    assert again == tok
    assert hash(again) == hash(tok)
    assert again.encode("some text").tolist() == tok.encode("some text").tolist()
    assert copy.copy(tok) is tok
    assert copy.deepcopy({"a": tok})["a"] is tok
    assert tok != "something else"
    other = lslm.Tokenizer.from_json(train(pre_tokenizers.ByteLevel(), vocab_size=400).to_str())
    assert other != tok


def test_repr_and_properties(tok):
    assert repr(tok) == f'Tokenizer(vocab_size={tok.vocab_size}, pattern="gpt2", special_tokens=1)'
    assert tok.pattern == "gpt2"
    assert re.fullmatch("[0-9a-f]{64}", tok.fingerprint)
    assert tok.notes == ()


def test_many_threads_share_one(tok):
    expected = [tok.encode(text).tolist() for text in TEXTS]
    failures = []

    def work():
        for _ in range(30):
            for text, ids in zip(TEXTS, expected, strict=True):
                if tok.encode(text).tolist() != ids:
                    failures.append(text)
            tok.encode_batch(TEXTS * 40, threads=2)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


AFTER_FORK = """
import os, sys, threading
import lslm
tok = lslm.Tokenizer.load(sys.argv[1])
texts = ["The quick brown fox %d" % i for i in range(20000)]
ids, offsets = tok.encode_batch(texts, threads=2)
stop = False
def busy():
    while not stop:
        tok.encode("while others fork")
threading.Thread(target=busy, daemon=True).start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        again, other = tok.encode_batch(texts, threads=2)
        same = (again == ids).all() and tok.encode("The quick") is not None
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
stop = True
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_after_use(tok, tmp_path):
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", AFTER_FORK, str(path)]
    subprocess.run(command, check=True, timeout=120)


def _encode_elsewhere(tok, text):
    return tok.encode(text).tolist()


def test_spawn(tok):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_encode_elsewhere, (tok, "some text")) == tok.encode("some text").tolist()


INTERRUPTED = """
import signal, sys, time
import lslm
tok = lslm.Tokenizer.load(sys.argv[1])
text = "word " * 60_000_000
def interrupt(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.3)
start = time.monotonic()
try:
    tok.encode(text) if sys.argv[2] == "one" else tok.encode_batch([text[:1000]] * 300_000)
except KeyboardInterrupt:
    sys.exit(0 if time.monotonic() - start < 10 else 3)
sys.exit(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGALRM")
@pytest.mark.parametrize("form", ["one", "batch"])
def test_an_interrupt_stops_the_work(tok, tmp_path, form):
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    subprocess.run([sys.executable, "-c", INTERRUPTED, str(path), form], check=True, timeout=120)


# files


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(hf.Regex(pattern), behavior, invert)


BYTES_ONLY = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

PRE_TOKENIZERS = {
    "plain": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "prefix": pre_tokenizers.ByteLevel(add_prefix_space=True),
    "no regex": BYTES_ONLY,
    "prefix, no regex": pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
    "digits": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    ),
    "single digits": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=True),
        ]
    ),
    "literal": pre_tokenizers.Sequence([pre_tokenizers.Split("o", "merged_with_next"), BYTES_ONLY]),
    "literal dot": pre_tokenizers.Sequence([pre_tokenizers.Split(".", "removed"), BYTES_ONLY]),
    "two splits": pre_tokenizers.Sequence(
        [split(r"\d"), split(r"\s+", "merged_with_previous"), BYTES_ONLY]
    ),
    "cl100k, prefix": pre_tokenizers.Sequence(
        [
            split(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    ),
} | {
    f"{behavior}, {'inverted' if invert else 'straight'}": pre_tokenizers.Sequence(
        [split(r"\s+|[ae]", behavior, invert), BYTES_ONLY]
    )
    for behavior in (
        "isolated",
        "removed",
        "merged_with_previous",
        "merged_with_next",
        "contiguous",
    )
    for invert in (False, True)
}


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_pre_tokenizers_equal_hugging_face(name):
    reference = train(PRE_TOKENIZERS[name])
    tok = lslm.Tokenizer.from_json(reference.to_str())
    again = lslm.Tokenizer.from_json(tok.to_json())
    for text in TEXTS + TRAINING_TEXT:
        expected = ids_of(reference, text)
        assert tok.encode(text, special="all").tolist() == expected, text
        ids, _ = tok.encode_with_offsets(text, special="all")
        assert ids.tolist() == expected, text
        assert again.encode(text, special="all").tolist() == expected, text
    assert again.fingerprint == tok.fingerprint


NORMALIZERS = {
    "NFC": hf.normalizers.NFC(),
    "NFD": hf.normalizers.NFD(),
    "NFKC": hf.normalizers.NFKC(),
    "NFKD": hf.normalizers.NFKD(),
    "replace": hf.normalizers.Replace(" ", "_"),
    "replace regex": hf.normalizers.Replace(hf.Regex(r"\s+"), " "),
    "prepend": hf.normalizers.Prepend("_"),
    "sequence": hf.normalizers.Sequence(
        [hf.normalizers.NFKC(), hf.normalizers.Prepend(">"), hf.normalizers.Replace("a", "bc")]
    ),
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalizers_equal_hugging_face(name):
    reference = train(
        pre_tokenizers.ByteLevel(add_prefix_space=False), normalizer=NORMALIZERS[name]
    )
    reference.add_tokens(
        [
            AddedToken("naïve", normalized=True),
            AddedToken("a b", normalized=True),
            AddedToken("Raw e\u0301", normalized=False),
        ]
    )
    tok = lslm.Tokenizer.from_json(reference.to_str())
    for text in [*TEXTS, *TRAINING_TEXT, "nai\u0308ve a b Raw e\u0301 Raw é a  b"]:
        expected = ids_of(reference, text)
        assert tok.encode(text, special="all").tolist() == expected, text
        ids, spans = tok.encode_with_offsets(text, special="all")
        assert ids.tolist() == expected, text
        assert (spans >= 0).all()
        assert (spans <= len(text.encode())).all()
    assert pickle.loads(pickle.dumps(tok)) == tok


FLAGS = [
    {"single_word": True},
    {"lstrip": True},
    {"rstrip": True},
    {"lstrip": True, "rstrip": True, "normalized": False},
    {"single_word": True, "lstrip": True},
    {"special": True},
]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
def test_added_tokens_equal_hugging_face(flags):
    reference = train(pre_tokenizers.ByteLevel(add_prefix_space=False))
    reference.add_tokens(
        [AddedToken(name, **flags) for name in ("fox", "foxy", "ox j", "##", "ée", "  ")]
    )
    tok = lslm.Tokenizer.from_json(reference.to_str())
    texts = [
        "fox",
        "a fox jumps",
        "foxy foxes",
        "the foxjox j",
        "  fox  \t fox ",
        "éfoxé_fox_ fox-",
        "####",
        "fox\u3000\u2028fox",
        "x  y   z    fox",
        "foxé",
        "áfox",
        "fox1",
        "éeée",
        "ée fox ée",
    ]
    for text in [*texts, *TEXTS]:
        assert tok.encode(text, special="all").tolist() == ids_of(reference, text), text
    again = lslm.Tokenizer.from_json(tok.to_json())
    assert again.fingerprint == tok.fingerprint
    assert (
        hf.Tokenizer.from_str(tok.to_json()).encode(texts[1]).ids == reference.encode(texts[1]).ids
    )


def test_an_added_token_must_not_share_its_id(reference):
    # there the name "é" is already taken: it spells the byte 0xE9
    other = hf.Tokenizer.from_str(reference.to_str())
    other.add_tokens(["é"])
    with pytest.raises(lslm.FormatError, match='"é" has the id'):
        lslm.Tokenizer.from_json(other.to_str())


def test_merges_as_strings_and_as_pairs(reference, tok):
    data = json.loads(reference.to_str())
    pairs = data["model"]["merges"]
    data["model"]["merges"] = [" ".join(pair) for pair in pairs]
    strings = json.dumps(data)
    data["model"]["merges"] = [
        list(pair) if isinstance(pair, list) else pair.split(" ") for pair in pairs
    ]
    assert lslm.Tokenizer.from_json(strings) == lslm.Tokenizer.from_json(json.dumps(data)) == tok
    del data["model"]["type"]  # as the first GPT-2 files
    assert lslm.Tokenizer.from_json(json.dumps(data)) == tok


def test_ignore_merges_equals_hugging_face(reference):
    data = json.loads(reference.to_str())
    merges = data["model"]["merges"]
    # some tokens can then not be made by merging
    data["model"]["merges"] = [merge for i, merge in enumerate(merges) if i % 7]
    for ignore in (False, True):
        data["model"]["ignore_merges"] = ignore
        text = json.dumps(data)
        other = hf.Tokenizer.from_str(text)
        tok = lslm.Tokenizer.from_json(text)
        for value in TEXTS + TRAINING_TEXT:
            assert tok.encode(value, special="all").tolist() == ids_of(other, value)
        assert lslm.Tokenizer.from_json(tok.to_json()).fingerprint == tok.fingerprint


@pytest.mark.parametrize("fuse", [False, True])
def test_missing_bytes(fuse):
    reference = train(
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        alphabet=False,
        special_tokens=["<unk>"],
        vocab_size=300,
    )
    text = reference.to_str()
    tok = lslm.Tokenizer.from_json(text)
    assert tok.encode("The fox").tolist() == ids_of(reference, "The fox")
    with pytest.raises(ValueError, match="no token for the byte 0x"):
        tok.encode("\x07")
    data = json.loads(text)
    data["model"]["unk_token"] = "<unk>"
    data["model"]["fuse_unk"] = fuse
    reference = hf.Tokenizer.from_str(json.dumps(data))
    tok = lslm.Tokenizer.from_json(json.dumps(data))
    for value in ("The \x07 fox", "\x07\x07\x07 \x07a\x07\x07b", "ꙮꙮ fox"):
        assert tok.encode(value).tolist() == ids_of(reference, value)
    assert lslm.Tokenizer.from_json(tok.to_json()) == tok


UNSUPPORTED = {
    "Unigram": {"model": {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 0}},
    "WordPiece": {"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a"}},
    "WordLevel": {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}},
    "byte_fallback": {"model.byte_fallback": True},
    "dropout": {"model.dropout": 0.1},
    "continuing_subword_prefix": {"model.continuing_subword_prefix": "##"},
    "end_of_word_suffix": {"model.end_of_word_suffix": "</w>"},
    "BertNormalizer": {"normalizer": {"type": "BertNormalizer", "lowercase": True}},
    "Lowercase": {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}
    },
    "Metaspace": {"pre_tokenizer": {"type": "Metaspace", "replacement": "_"}},
    "Whitespace": {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}]}
    },
    "WordPiece ": {"decoder": {"type": "WordPiece", "prefix": "##"}},
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_named(reference, tmp_path, name):
    data = json.loads(reference.to_str())
    for key, value in UNSUPPORTED[name].items():
        where = data
        *parents, last = key.split(".")
        for parent in parents:
            where = where[parent]
        where[last] = value
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(data))
    with pytest.raises(lslm.FormatError, match=name.strip()) as raised:
        lslm.Tokenizer.load(path)
    assert raised.value.path == str(path)


def test_broken_files(reference, tmp_path):
    path = tmp_path / "tokenizer.json"
    with pytest.raises(FileNotFoundError) as missing:
        lslm.Tokenizer.load(path)
    assert missing.value.filename == str(path)
    with pytest.raises(FileNotFoundError):
        lslm.Tokenizer.load(tmp_path)
    text = reference.to_str()
    for content in (
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"model": 3}',
        '{"model": {}}',
        "\x00",
        text[: len(text) // 2],
        text[:-3],
    ):
        path.write_text(content)
        with pytest.raises(lslm.FormatError):
            lslm.Tokenizer.load(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(lslm.FormatError, match="UTF-8") as raised:
        lslm.Tokenizer.load(path)
    assert raised.value.offset == 0


HOSTILE = {
    "id too large": ("model.vocab.zz", 2**32 - 1),
    "id beyond 32 bits": ("model.vocab.zz", 2**40),
    "id negative": ("model.vocab.zz", -1),
    "id twice": ("model.vocab.zz", 5),
    "id is text": ("model.vocab.zz", "5"),
    "merge of strangers": ("model.merges", ["zz qq"]),
    "merge of one": ("model.merges", ["zz"]),
    "merge of three": ("model.merges", [["a", "b", "c"]]),
    "merge of nothing": ("model.merges", [["", "a"]]),
    "vocab is a list": ("model.vocab", ["a"]),
    "merges is a map": ("model.merges", {"a": 1}),
    "added twice": ("added_tokens", [{"id": 700, "content": "x"}, {"id": 701, "content": "x"}]),
    "added at another id": ("added_tokens", [{"id": 5, "content": "<|endoftext|>"}]),
    "added without name": ("added_tokens", [{"id": 700, "content": ""}]),
    "pattern broken": (
        "pre_tokenizer",
        {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"},
    ),
    "sequence endless": ("pre_tokenizer", {"type": "Sequence"}),
    "unk unknown": ("model.unk_token", "nobody"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(reference, name):
    key, value = HOSTILE[name]
    data = json.loads(reference.to_str())
    where = data
    *parents, last = key.split(".")
    for parent in parents:
        where = where[parent]
    where[last] = value
    with pytest.raises(lslm.FormatError):
        lslm.Tokenizer.from_json(json.dumps(data))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_never_crash(reference, data):
    text = bytearray(reference.to_str().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        if data.draw(st.booleans()):
            text[place] = data.draw(st.integers(0, 255))
        else:
            del text[place : place + data.draw(st.integers(1, 20))]
    try:
        tok = lslm.Tokenizer.from_json(text.decode("utf-8", "replace"))
    except (lslm.FormatError, ValueError):
        return
    assert tok.vocab_size > 0


def test_deeply_nested_json():
    for deep in (
        "[" * 100_000,
        '{"model":' * 100_000,
        '{"normalizer":' + '{"type":"Sequence","normalizers":[' * 5000,
    ):
        with pytest.raises(lslm.FormatError):
            lslm.Tokenizer.from_json(deep)


def test_vocab_and_merges(reference, tok, tmp_path):
    reference.model.save(str(tmp_path))
    for path in (tmp_path, tmp_path / "vocab.json", tmp_path / "merges.txt"):
        pair = lslm.Tokenizer.load(path)
        assert pair == tok
        assert pair.eos_id == tok.eos_id
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\nnonsense\n")
    with pytest.raises(lslm.FormatError, match="nonsense") as raised:
        lslm.Tokenizer.load(tmp_path)
    assert raised.value.offset == 18
    reference.save(str(tmp_path / "tokenizer.json"))
    assert lslm.Tokenizer.load(tmp_path) == tok


def test_saved_files_load_everywhere(reference, tok, tmp_path):
    path = tmp_path / "sub" / "tokenizer.json"
    tok.save(path)
    other = hf.Tokenizer.from_file(str(path))
    for text in TEXTS:
        assert ids_of(other, text) == tok.encode(text, special="all").tolist()
        assert other.decode(ids_of(other, text), skip_special_tokens=False) == text
    again = lslm.Tokenizer.load(path)
    assert again == tok
    assert again.to_json() == tok.to_json()
    assert list(path.parent.iterdir()) == [path]


def test_notes_tell_what_is_not_applied(reference):
    data = json.loads(reference.to_str())
    data["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [],
        "pair": [],
        "special_tokens": {},
    }
    data["truncation"] = {
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
        "direction": "Right",
    }
    tok = lslm.Tokenizer.from_json(json.dumps(data))
    assert "TemplateProcessing" in tok.notes[0]
    assert "truncation" in tok.notes[1]
    assert tok.count("The quick brown fox jumps over") > 4


def test_templates_are_applied_on_request(reference):
    from tokenizers.processors import (
        BertProcessing,
        ByteLevel,
        RobertaProcessing,
        Sequence,
        TemplateProcessing,
    )

    vocab = reference.get_vocab()
    a, b, c = vocab["a"], vocab["b"], vocab["<|endoftext|>"]
    single = TemplateProcessing(
        single="<|endoftext|> a $A b <|endoftext|>",
        special_tokens=[("<|endoftext|>", c), ("a", a), ("b", b)],
    )
    one_sided = TemplateProcessing(single="a $A", special_tokens=[("a", a)])
    processors = {
        "TemplateProcessing": single,
        "one side": one_sided,
        "Sequence": Sequence([ByteLevel(trim_offsets=False), single]),
        "RobertaProcessing": RobertaProcessing(("b", b), ("a", a)),
        "BertProcessing": BertProcessing(("b", b), ("a", a)),
        "ByteLevel": ByteLevel(),
    }
    for name, processor in processors.items():
        other = hf.Tokenizer.from_str(reference.to_str())
        other.post_processor = processor
        tok = lslm.Tokenizer.from_json(other.to_str())
        assert any(processor.__class__.__name__ in note for note in tok.notes) == (
            name != "ByteLevel"
        )
        for text in TEXTS:
            plain = tok.encode(text, special="all").tolist()
            assert plain == ids_of(other, text)
            assert tok.encode(text, special="all", template=True).tolist() == other.encode(text).ids
        ids, offsets = tok.encode_batch(TEXTS, special="all", template=True)
        assert len(offsets) == len(TEXTS) + 1
        for i, text in enumerate(TEXTS):
            assert ids[offsets[i] : offsets[i + 1]].tolist() == other.encode(text).ids
    # a file without one
    tok = lslm.Tokenizer.from_json(reference.to_str())
    assert tok.encode("a b", template=True).tolist() == tok.encode("a b").tolist()
    data = json.loads(reference.to_str())
    for broken, message in [
        ({"type": "Surprise"}, "Surprise"),
        (json.loads(Sequence([single, one_sided]).__getstate__()), "more than one"),
        ({"type": "TemplateProcessing", "single": []}, "TemplateProcessing.*broken"),
        ({"type": "RobertaProcessing", "cls": ["a", -1], "sep": ["a", 1]}, "broken"),
    ]:
        data["post_processor"] = broken
        tok = lslm.Tokenizer.from_json(json.dumps(data))
        assert broken["type"] in tok.notes[0]
        with pytest.raises(ValueError, match=message):
            tok.encode("a", template=True)
    data["post_processor"] = {"type": "RobertaProcessing", "cls": ["x", 10**6], "sep": ["a", 1]}
    with pytest.raises(KeyError, match="1000000"):
        lslm.Tokenizer.from_json(json.dumps(data)).encode_batch(["a"], template=True)


# tiktoken's files


def rank_file(path, words):
    import base64

    tokens = [bytes([i]) for i in range(256)] + [word.encode() for word in words]
    path.write_text(
        "".join(f"{base64.b64encode(token).decode()} {i}\n" for i, token in enumerate(tokens))
    )
    return {token: i for i, token in enumerate(tokens)}


def test_from_tiktoken(tmp_path):
    import tiktoken

    path = tmp_path / "small.tiktoken"
    specials = {"<|endoftext|>": 300, "<|x|>": 310}
    for words in (["th", "the", " the", "in", "ing"], ["abc", "bc", "the", "xyz", "yz"]):
        ranks = rank_file(path, words)
        tok = lslm.Tokenizer.from_tiktoken(path, pattern="gpt2", special_tokens=specials)
        other = tiktoken.Encoding(
            "small",
            pat_str=r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            mergeable_ranks=ranks,
            special_tokens=specials,
        )
        assert tok.special_tokens == specials
        assert tok.vocab_size == other.n_vocab == 311
        assert tok.eos_id == 300
        with pytest.raises(KeyError, match="not used"):
            tok.decode([305])
        for text in [*TEXTS, "the thing abc xyz xabcx bcabc<|x|>"]:
            assert tok.encode(text).tolist() == other.encode_ordinary(text)
            assert tok.encode(text, special="all").tolist() == other.encode(
                text, allowed_special="all"
            )
        # and through the other format, which keeps the gaps between the ids
        text = "the thing abc xyz bcabc<|x|><|endoftext|>"
        again = lslm.Tokenizer.from_json(tok.to_json())
        assert again == tok
        assert again.vocab_size == tok.vocab_size
        assert (
            again.encode(text, special="all").tolist() == tok.encode(text, special="all").tolist()
        )
        assert (
            ids_of(hf.Tokenizer.from_str(tok.to_json()), text)
            == tok.encode(text, special="all").tolist()
        )
        again.save(tmp_path / "again.tiktoken")
        assert (tmp_path / "again.tiktoken").read_bytes() == path.read_bytes()


def test_from_tiktoken_errors(tmp_path):
    path = tmp_path / "small.tiktoken"
    rank_file(path, ["th"])
    with pytest.raises(ValueError, match='did you mean "cl100k_base"'):
        lslm.Tokenizer.from_tiktoken(path, pattern="cl100k_bas")
    with pytest.raises(ValueError, match="256"):
        lslm.Tokenizer.from_tiktoken(path, pattern="gpt2", special_tokens={"<x>": 256})
    with pytest.raises(ValueError, match="not a valid regular expression"):
        lslm.Tokenizer.from_tiktoken(path, pattern="(")
    with pytest.raises(lslm.FormatError, match="from_tiktoken"):
        lslm.Tokenizer.load(path)
    with pytest.raises(FileNotFoundError):
        lslm.Tokenizer.from_tiktoken(tmp_path / "no.tiktoken", pattern="gpt2")
    path.write_text("IQ== 0\nIg== one\n")
    with pytest.raises(lslm.FormatError, match="byte 7") as raised:
        lslm.Tokenizer.from_tiktoken(path, pattern="gpt2")
    assert raised.value.offset == 7
    path.write_text("IQ== 0\nIQ== 1\n")
    with pytest.raises(lslm.FormatError, match="both stand for"):
        lslm.Tokenizer.from_tiktoken(path, pattern="gpt2")


def test_only_ranks_are_saved_as_ranks(tok, tmp_path):
    normalised = train(
        pre_tokenizers.ByteLevel(add_prefix_space=False), normalizer=hf.normalizers.NFC()
    )
    tok = lslm.Tokenizer.from_json(normalised.to_str())
    with pytest.raises(ValueError, match=r"save it as tokenizer\.json"):
        tok.save(tmp_path / "x.tiktoken")
    assert not list(tmp_path.iterdir())


def test_from_pretrained_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "lslm\[hub\]"'):
        lslm.Tokenizer.from_pretrained("Qwen/Qwen3-8B")


def test_from_pretrained_uses_the_hub(monkeypatch, reference, tok, tmp_path):
    import types

    reference.save(str(tmp_path / "tokenizer.json"))
    asked = []

    def hf_hub_download(name, file, *, revision):
        asked.append((name, file, revision))
        if name == "no/body":
            raise OSError("offline")
        return str(tmp_path / file)

    monkeypatch.setitem(
        sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=hf_hub_download)
    )
    assert lslm.Tokenizer.from_pretrained("some/model", revision="main") == tok
    assert asked == [("some/model", "tokenizer.json", "main")]
    with pytest.raises(OSError, match=r"no/body.*offline"):
        lslm.Tokenizer.from_pretrained("no/body")


# text that breaks others


@pytest.mark.parametrize("unit", ["a", "-", " ", "\n", "é", "中", "\u0301", "7", "ab", "🙂"])
def test_long_runs_take_linear_time(tok, reference, unit):
    text = unit * 3000
    assert tok.encode(text).tolist() == ids_of(reference, text)
    start = time.perf_counter()
    tok.encode(unit * 100_000)
    short = time.perf_counter() - start
    start = time.perf_counter()
    tok.encode(unit * 800_000)
    assert time.perf_counter() - start < 8 * 5 * short + 0.5
