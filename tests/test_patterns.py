"""The published patterns by name, and the general engine that serves all others."""

from __future__ import annotations

import json
import random

import pytest
import tiktoken_ext.openai_public
import tokenizers as hf
from tiktoken import Encoding

import fuzz_texts
import lslm
from conftest import DATA, read_bytes
from small_data import byte_tokenizer

TEXTS = [
    "<|endofprompt|><|reserved_200018|>Hello <|endoftext|><|start|>system<|message|>a<|end|> <|fim_prefix|>x<|return|>"
]


@pytest.fixture(scope="module")
def texts():
    generator = random.Random(4)
    real = fuzz_texts.real_texts(50_000)
    return TEXTS + [fuzz_texts.text(generator, real) for _ in range(150)]


def published(testdata):
    return json.loads((testdata / "split" / "published.json").read_text("utf-8"))


def with_steps(path, steps):
    """A tokenizer.json of bytes that cuts by ``steps``; numbers of ids are lengths of pieces."""
    byte_tokenizer(path)
    file = json.loads(path.read_text())
    parts = [
        {"type": "Digits", "individual_digits": True}
        if step == "digits"
        else {"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated", "invert": False}
        for step in steps
    ]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    parts.append(level | {"use_regex": False})
    file["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": parts}
    # all pairs of bytes that texts have: a pair across a cut is not merged
    vocab = file["model"]["vocab"]
    letters = [name for name, i in sorted(vocab.items(), key=lambda entry: entry[1]) if i < 256]
    for left in letters:
        for right in letters:
            vocab[left + right] = len(vocab) + 1
            file["model"]["merges"].append([left, right])
    return json.dumps(file)


@pytest.mark.parametrize("name", ["gpt2", "cl100k_base", "cl100k_base_tiktoken", "o200k_base",
                                  "qwen2", "qwen3.5", "kimi_k2", "deepseek_v3", "tekken", "starcoder"])  # fmt: skip
def test_the_general_engine_gives_what_the_scanners_give(tmp_path, testdata, texts, name):
    steps = published(testdata)[name]
    path = tmp_path / "bytes.json"
    tok = lslm.Tokenizer.from_json(with_steps(path, steps))
    assert tok.pattern == name
    # a group around the expression keeps its matches, but it is no longer recognised
    wrapped = [step if step == "digits" else f"(?:{step})" for step in steps]
    general = lslm.Tokenizer.from_json(with_steps(path, wrapped))
    assert general.pattern not in (name, tok.pattern)
    ids, offsets = tok.encode_batch(texts)
    others, places = general.encode_batch(texts)
    assert ids.tolist() == others.tolist()
    assert offsets.tolist() == places.tolist()
    noise = [random.Random(i).randbytes(300) for i in range(30)]
    assert tok.encode_batch(noise)[0].tolist() == general.encode_batch(noise)[0].tolist()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The files of real ranks; when they are not there, one of small ranks for each."""
    folder = tmp_path_factory.mktemp("ranks")

    def path(name):
        file = folder / f"{name}.tiktoken"
        if not file.exists():
            real = DATA / "tokenizers" / f"{name}.tiktoken.zst"
            if real.is_file():
                file.write_bytes(read_bytes(real))
            else:
                texts = fuzz_texts.real_texts(50_000)
                lslm.train_tokenizer(texts=texts, vocab_size=2000, pattern="gpt2").save(file)
        return file

    return path


@pytest.mark.parametrize("name", ["gpt2", "r50k_base", "p50k_base", "p50k_edit", "cl100k_base",
                                  "o200k_base", "o200k_harmony"])  # fmt: skip
def test_encodings_as_tiktoken_defines_them(ranks, monkeypatch, tmp_path, texts, name):
    """Pattern and special tokens are tiktoken's own definition; the ranks are ours to give."""
    from tiktoken.load import load_tiktoken_bpe

    kind = next((k for k in ("cl100k_base", "o200k_base") if k[:4] == name[:4]), "gpt2")
    path = ranks(kind)
    given = load_tiktoken_bpe(str(path))
    if name.startswith("p50k"):
        # r50k with runs of spaces after its <|endoftext|>
        words = [b" " * n for n in range(2, 26)]
        given |= {word: 50257 + i for i, word in enumerate(words) if word not in given}
        path = tmp_path / "p50k.tiktoken"
        from base64 import b64encode

        path.write_text("".join(f"{b64encode(t).decode()} {i}\n" for t, i in given.items()))
    public = tiktoken_ext.openai_public
    for loader in ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks"):
        monkeypatch.setattr(public, loader, lambda *_, **__: dict(given))
    definition = getattr(public, name)()
    definition.pop("explicit_n_vocab", None)
    special = definition["special_tokens"]
    reference = Encoding(**definition)
    own = {"cl100k_base": "cl100k_base_tiktoken"}.get(name, name)
    for pattern in (own, definition["pat_str"]):
        tok = lslm.Tokenizer.from_tiktoken(path, pattern=pattern, special_tokens=special)
        assert tok.special_tokens == special
        assert tok.vocab_size == reference.n_vocab
        for text in texts:
            assert tok.encode(text).tolist() == reference.encode_ordinary(text)
            expected = reference.encode(text, allowed_special="all")
            assert tok.encode(text, special="all").tolist() == expected
            # harmony has two names for one id; tiktoken decodes it as either, by chance
            names_left = text.replace("<|reserved_200018|>", "<|endofprompt|>")
            assert tok.decode(expected) == (names_left if "harmony" in name else text)
        for special_name, number in special.items():
            assert tok.encode(special_name, special={special_name}).tolist() == [number]
    again = lslm.Tokenizer.from_json(tok.to_json())
    assert again == tok
    other = hf.Tokenizer.from_str(tok.to_json())
    for text in texts[:20]:
        if name == "o200k_harmony":
            # tiktoken finds one of the two names of an id
            text = text.replace("<|reserved_200018|>", "")  # noqa: PLW2901
        expected = tok.encode(text, special="all").tolist()
        assert again.encode(text, special="all").tolist() == expected
        assert other.encode(text, add_special_tokens=False).ids == expected


def test_every_name_is_a_pattern(ranks, texts):
    names = "gpt2 r50k_base p50k_base p50k_edit gpt_neox olmo byte_level cl100k_base llama3 olmo2 "
    names += "o200k_base o200k_harmony qwen2 qwen2.5 qwen3 qwen3.5 kimi_k2 deepseek_v3 tekken mistral starcoder none"
    for name in names.split():
        tok = lslm.Tokenizer.from_tiktoken(ranks("gpt2"), pattern=name)
        assert tok.pattern == name
        assert tok.decode(tok.encode(texts[1])) == texts[1]
        again = lslm.Tokenizer.from_json(tok.to_json())
        assert (
            again.encode_batch(texts[:20])[0].tolist() == tok.encode_batch(texts[:20])[0].tolist()
        )
        assert again == tok
