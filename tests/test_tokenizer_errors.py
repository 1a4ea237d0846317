"""Tokenizer files that cannot be used: what is not supported is named, and none crashes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

import lslm
from hf_tokenizers import train


@pytest.fixture(scope="module")
def reference():
    return train(pre_tokenizers.ByteLevel(add_prefix_space=False))


UNSUPPORTED = {
    "Unigram": {"model": {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 0}},
    "WordPiece": {"model": {"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a"}},
    "WordLevel": {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}},
    "byte_fallback": {"model.byte_fallback": True},  # but the vocabulary has no token ▁
    "WordPiece  ": {"model": {"vocab": {"a": 0}, "continuing_subword_prefix": "##"}},
    "WordLevel  ": {"model": {"vocab": {"a": 0}, "unk_token": "a"}},
    "Unigram  ": {"model": {"vocab": [["a", -1.0]], "unk_id": 0}},
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
def test_the_error_names_a_part_that_is_not_supported(reference, tmp_path, name):
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


def test_a_broken_file_is_a_format_error(reference, tmp_path):
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
    "unk unknown": ("model.unk_token", "missing"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_contradictory_file_is_a_format_error(reference, name):
    key, value = HOSTILE[name]
    data = json.loads(reference.to_str())
    where = data
    *parents, last = key.split(".")
    for parent in parents:
        where = where[parent]
    where[last] = value
    with pytest.raises(lslm.FormatError):
        lslm.Tokenizer.from_json(json.dumps(data))


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_files_never_crash(reference, data):
    text = bytearray(reference.to_str().encode())
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(text) - 1))
        if data.draw(st.booleans()):
            text[index] = data.draw(st.integers(0, 255))
        else:
            del text[index : index + data.draw(st.integers(1, 20))]
    try:
        tok = lslm.Tokenizer.from_json(text.decode("utf-8", "replace"))
    except (lslm.FormatError, ValueError):
        return
    assert tok.vocab_size > 0


def test_deeply_nested_json_is_a_format_error():
    for deep in (
        "[" * 100_000,
        '{"model":' * 100_000,
        '{"normalizer":' + '{"type":"Sequence","normalizers":[' * 5000,
    ):
        with pytest.raises(lslm.FormatError):
            lslm.Tokenizer.from_json(deep)
