"""Tokenizer.from_tiktoken: the ids of tiktoken, and its files as they were."""

from __future__ import annotations

import base64
import json
from itertools import islice, product

import pytest
import tokenizers as hf
from tokenizers import pre_tokenizers

import lslm
from conftest import read_bytes
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
    with pytest.raises(ValueError, match="from_tiktoken"):
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


# -- rank files by name ----------------------------------------------------------------------------


def published(shared_data, folder, name):
    """Return the rank file of a published encoding under its own name."""
    path = folder / f"{name}.tiktoken"
    path.write_bytes(read_bytes(shared_data / "tokenizers" / f"{name}.tiktoken.zst"))
    return path


@pytest.mark.parametrize("name", ["gpt2", "cl100k_base", "o200k_base"])
def test_a_published_rank_file_is_known_by_its_name(name, shared_data, tmp_path):
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    path = published(shared_data, tmp_path, name)
    tok = lslm.Tokenizer.load(path)
    meta = json.loads((shared_data / "tokenizers" / f"{name}.meta.json").read_text())
    assert tok.special_tokens == meta["special"]
    other = tiktoken.Encoding(
        name,
        pat_str=meta["pat"],
        mergeable_ranks=load_tiktoken_bpe(str(path)),
        special_tokens=meta["special"],
    )
    for text in TEXTS:
        stripped = text.rstrip()  # the spellings of cl100k_base differ in white space at the end
        assert tok.encode(stripped).tolist() == other.encode_ordinary(stripped)


@pytest.mark.parametrize(
    ("name", "n_ranks"),
    [
        ("gpt2", 50256),
        ("r50k_base", 50256),
        ("p50k_base", 50280),
        ("cl100k_base", 100256),
        ("o200k_base", 199998),
    ],
)
def test_pattern_and_special_tokens_of_a_name_are_those_of_tiktoken(
    name, n_ranks, tmp_path, monkeypatch
):
    """The ranks are made up, as many as the encoding has; all else comes from tiktoken's table."""
    import tiktoken
    from tiktoken_ext import openai_public

    monkeypatch.setattr(openai_public, "load_tiktoken_bpe", lambda *_, **__: {})
    monkeypatch.setattr(openai_public, "data_gym_to_mergeable_bpe_ranks", lambda **_: {})
    arguments = getattr(openai_public, name)()
    special = arguments["special_tokens"]
    free = [i for i in range(n_ranks + 1) if i not in special.values()][:n_ranks]
    tokens = [bytes(t) for n in (1, 2, 3) for t in islice(product(range(256), repeat=n), n_ranks)]
    ranks = dict(zip(tokens, free, strict=False))
    assert len(ranks) == n_ranks
    assert arguments.get("explicit_n_vocab", n_ranks + 1) == n_ranks + 1
    path = tmp_path / f"{name}.tiktoken"
    lines = (f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items())
    path.write_text("".join(lines))

    other = tiktoken.Encoding(**(arguments | {"mergeable_ranks": ranks}))
    tok = lslm.Tokenizer.load(path)
    assert tok.special_tokens == special
    for text in [*TEXTS, "WE'RE 12345 x  \n  ", "d'un ABCdef\r\n\t "]:
        assert tok.encode(text).tolist() == other.encode_ordinary(text)


def test_a_rank_file_under_a_name_that_is_not_its_own_is_refused(tmp_path):
    rank_file(tmp_path / "gpt2.tiktoken", ["th"])
    with pytest.raises(ValueError, match=r"has 257 ranks and gpt2 has 50256.*give the pattern"):
        lslm.Tokenizer.load(tmp_path / "gpt2.tiktoken")
    with pytest.raises(FileNotFoundError):
        lslm.Tokenizer.load(tmp_path / "none.tiktoken")
