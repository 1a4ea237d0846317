"""lslm.Tokenizer: encoding, decoding, offsets, and one object in threads and processes."""

from __future__ import annotations

import copy
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
from tokenizers import AddedToken, pre_tokenizers

import lslm
from hf_tokenizers import TEXTS, ids_of, train


@pytest.fixture(scope="module")
def reference():
    return train(pre_tokenizers.ByteLevel(add_prefix_space=False))


@pytest.fixture(scope="module")
def tok(reference):
    return lslm.Tokenizer.from_json(reference.to_str())


# encoding


@pytest.mark.parametrize("text", TEXTS)
def test_encode_equals_hugging_face(tok, reference, text):
    assert tok.encode(text, special="all").tolist() == ids_of(reference, text)
    assert tok.decode(tok.encode(text)) == text
    assert tok.count(text) == len(tok.encode(text))


@settings(max_examples=300)
@given(text=st.text(max_size=60))
def test_any_text_equals_hugging_face(tok, reference, text):
    assert tok.encode(text, special="all").tolist() == ids_of(reference, text)


@settings(max_examples=500)
@given(data=st.binary(max_size=80))
def test_decoding_the_ids_of_any_bytes_returns_them(tok, data):
    assert tok.decode_bytes(tok.encode(data)) == data


@settings(max_examples=200)
@given(data=st.binary(max_size=40), other=st.binary(max_size=40))
def test_bad_bytes_split_like_the_replacement_character(tok, data, other):
    def pieces(value):
        ids, offsets = tok.encode_with_offsets(value)
        return len(ids), offsets

    text = data.decode("utf-8", "replace")
    if "\ufffd" not in text:
        assert tok.encode(data).tolist() == tok.encode(text).tolist()
    assert tok.decode_bytes(tok.encode(data + other)) == data + other


def test_text_is_a_str_or_bytes_like(tok):
    text = "naïve 我们"
    expected = tok.encode(text).tolist()
    for value in (text.encode(), bytearray(text.encode()), memoryview(text.encode())):
        assert tok.encode(value).tolist() == expected
    with pytest.raises(TypeError, match="must be str or bytes, not int"):
        tok.encode(3)
    with pytest.raises(TypeError, match="a single text: put it in a list"):
        tok.encode_batch("text")


def test_ids_have_the_dtype_that_was_given(tok):
    for dtype in ("uint32", "int32", "int64", np.int64, np.dtype("int32")):
        ids = tok.encode("a text", dtype=dtype)
        assert ids.dtype == np.dtype(dtype)
        assert tok.decode(ids) == "a text"
        assert tok.encode_batch(["a text"], dtype=dtype)[0].dtype == np.dtype(dtype)
    assert tok.encode("a").dtype == np.uint32
    with pytest.raises(ValueError, match="float64"):
        tok.encode("a", dtype="float64")


def test_a_lone_surrogate_is_replaced_or_an_error(tok):
    # as in tiktoken: pairs become the character, lone ones U+FFFD
    assert tok.decode(tok.encode("a\ud83d\ude42b")) == "a🙂b"
    assert tok.decode(tok.encode("a\ud83db\udc00")) == "a\ufffdb\ufffd"
    with pytest.raises(UnicodeEncodeError):
        tok.encode("a\ud83d", errors="strict")
    with pytest.raises(UnicodeEncodeError):
        tok.encode_batch(["a", "\udc00"], errors="strict")
    with pytest.raises(ValueError, match="errors"):
        tok.encode("a", errors="maybe")


def test_a_batch_has_the_ids_of_each_text(tok):
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


def test_any_number_of_threads_gives_the_same_ids(tok):
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


def test_a_text_of_a_megabyte_encodes_and_decodes(tok):
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
def test_counting_keeps_no_ids_in_memory(tok, tmp_path):
    # ids would take four bytes each; one call uses a few megabytes
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    subprocess.run([sys.executable, "-c", PEAK, str(path)], check=True, timeout=120)


# special tokens


def test_special_says_which_special_tokens_become_ids(tok):
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


def test_an_added_token_that_looks_like_markup_is_special():
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


def test_eos_id_is_none_unless_exactly_one_token_is_usual():
    def eos(*names):
        return lslm.Tokenizer.from_json(
            train(pre_tokenizers.ByteLevel(), special_tokens=names).to_str()
        ).eos_id

    assert eos("<pad>", "</s>") == 1
    assert eos("<pad>") is None
    assert eos("</s>", "<|endoftext|>") is None


# decoding


def test_ids_are_any_integer_sequence_of_one_dimension(tok):
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


def test_an_unknown_id_is_a_key_error(tok):
    for bad in (tok.vocab_size, -1, 2**31, 2**40):
        with pytest.raises(KeyError, match=str(bad)):
            tok.decode([1, bad])
        with pytest.raises(KeyError, match=str(bad)):
            tok.token_bytes(bad)
    with pytest.raises(KeyError):
        tok.decode_batch([tok.vocab_size], [0, 1])


def test_errors_says_what_bytes_that_are_not_utf8_become(tok):
    ids = tok.encode(b"a\xe4\xb8b\xff")
    assert tok.decode(ids) == b"a\xe4\xb8b\xff".decode(errors="replace")
    assert tok.decode(ids, errors="ignore") == "ab"
    with pytest.raises(UnicodeDecodeError):
        tok.decode(ids, errors="strict")
    with pytest.raises(LookupError):
        tok.decode(ids, errors="nothing")


def test_offsets_must_ascend_to_the_number_of_ids(tok):
    ids, offsets = tok.encode_batch(["one", "two"])
    assert tok.decode_batch(ids.tolist(), offsets.tolist()) == ["one", "two"]
    for bad in ([0], [0, len(ids) + 1], [1, len(ids)], [0, 3, 1, len(ids)], []):
        with pytest.raises(ValueError, match="offsets"):
            tok.decode_batch(ids, bad)


@settings(max_examples=200)
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


def test_a_failed_push_leaves_the_decoder_unchanged(tok):
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
def test_offsets_are_those_of_the_bytes_of_each_token(tok, text):
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
        # each token covers at least the characters that the reference gives it
        for (start, end), (first, last) in zip(spans, expected.offsets, strict=True):
            assert start <= first
            assert end >= last
        assert covered[0][0] == text[0]
        assert spans[-1][1] == len(text)


@settings(max_examples=200)
@given(text=st.text(max_size=40), n=st.integers(0, 30))
def test_truncate_returns_a_start_of_at_most_n_ids(tok, text, n):
    cut = tok.truncate(text, n)
    assert text.startswith(cut)
    assert tok.count(cut) <= n
    if tok.count(text) <= n:
        assert cut == text
    data = text.encode()
    assert data.startswith(tok.truncate(data, n))
    assert isinstance(tok.truncate(data, n), bytes)


def test_truncate_returns_the_longest_start(tok):
    text = "The quick brown fox"
    ids = tok.encode(text)
    assert tok.truncate(text, len(ids) - 1) == tok.decode(ids[:-1])
    assert tok.truncate(text, 0) == ""


def test_token_bytes_and_token_id_are_inverse(tok, reference):
    vocab = reference.get_vocab()
    for name, i in vocab.items():
        data = tok.token_bytes(i)
        assert tok.token_id(data) == i, name
    assert tok.token_id(b"not a token at all") is None
    assert tok.token_id("<|endoftext|>") == vocab["<|endoftext|>"]
    assert tok.vocab_size == len(tok) == reference.get_vocab_size()


# the object


def test_pickle_and_copies_are_equal(tok):
    again = pickle.loads(pickle.dumps(tok))
    assert again == tok
    assert hash(again) == hash(tok)
    assert again.encode("some text").tolist() == tok.encode("some text").tolist()
    assert copy.copy(tok) is tok
    assert copy.deepcopy({"a": tok})["a"] is tok
    assert tok != "something else"
    other = lslm.Tokenizer.from_json(train(pre_tokenizers.ByteLevel(), vocab_size=400).to_str())
    assert other != tok


def test_repr_and_properties_show_the_vocabulary(tok):
    assert repr(tok) == f'Tokenizer(vocab_size={tok.vocab_size}, pattern="gpt2", special_tokens=1)'
    assert tok.pattern == "gpt2"
    assert re.fullmatch("[0-9a-f]{64}", tok.fingerprint)
    assert tok.notes == ()


def test_many_threads_share_one_tokenizer(tok):
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
def test_a_fork_encodes_while_other_threads_do(tok, tmp_path):
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", AFTER_FORK, str(path)]
    subprocess.run(command, check=True, timeout=120)


def _encode_elsewhere(tok, text):
    return tok.encode(text).tolist()


def test_a_spawned_process_encodes_the_same_ids(tok):
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
def test_ctrl_c_stops_encoding(tok, tmp_path, form):
    path = tmp_path / "tokenizer.json"
    tok.save(path)
    subprocess.run([sys.executable, "-c", INTERRUPTED, str(path), form], check=True, timeout=120)


# text that is slow in other libraries


@pytest.mark.parametrize("unit", ["a", "-", " ", "\n", "é", "中", "\u0301", "7", "ab", "🙂"])
def test_a_long_run_of_one_character_takes_linear_time(tok, reference, unit):
    text = unit * 3000
    assert tok.encode(text).tolist() == ids_of(reference, text)
    start = time.perf_counter()
    tok.encode(unit * 100_000)
    short = time.perf_counter() - start
    start = time.perf_counter()
    tok.encode(unit * 800_000)
    assert time.perf_counter() - start < 8 * 5 * short + 0.5
