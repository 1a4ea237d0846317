"""Tokenizer.from_tiktoken: the ids of tiktoken, and its files as they were."""

from __future__ import annotations

import base64

import pytest
import tokenizers as hf
from tokenizers import pre_tokenizers

import lslm
from hf_tokenizers import TEXTS, ids_of, train


def rank_file(path, words):
    tokens = [bytes([i]) for i in range(256)] + [word.encode() for word in words]
    path.write_text(
        "".join(f"{base64.b64encode(token).decode()} {i}\n" for i, token in enumerate(tokens))
    )
    return {token: i for i, token in enumerate(tokens)}


def test_ids_equal_tiktoken(tmp_path):
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
        # tokenizer.json keeps the gaps between the ids
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


def test_a_broken_rank_file_is_an_error_with_its_byte(tmp_path):
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


def test_only_ranks_are_saved_as_ranks(tmp_path):
    normalised = train(
        pre_tokenizers.ByteLevel(add_prefix_space=False), normalizer=hf.normalizers.NFC()
    )
    tok = lslm.Tokenizer.from_json(normalised.to_str())
    with pytest.raises(ValueError, match=r"save it as tokenizer\.json"):
        tok.save(tmp_path / "x.tiktoken")
    assert not list(tmp_path.iterdir())
