"""Tokenizer files of Hugging Face: read with equal ids, written and read again."""

from __future__ import annotations

import base64
import itertools
import json
import pickle
import sys

import pytest
import tiktoken
import tokenizers as hf
from tokenizers import AddedToken, pre_tokenizers

import lslm
from hf_tokenizers import CHARACTERS, TEXTS, TRAINING_TEXT, ids_of, train, train_characters


@pytest.fixture(scope="module")
def reference():
    return train(pre_tokenizers.ByteLevel(add_prefix_space=False))


@pytest.fixture(scope="module")
def tok(reference):
    return lslm.Tokenizer.from_json(reference.to_str())


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(hf.Regex(pattern), behavior, invert)


CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
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
            split(CL100K),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    ),
    "dolma 2": pre_tokenizers.Sequence([split(CL100K, "removed", invert=True), BYTES_ONLY]),
    # digits and groups of three are found in the bytes as files spell them, inside characters too
    "falcon": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("contiguous"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            pre_tokenizers.Digits(individual_digits=False),
            split("[0-9][0-9][0-9]"),
        ]
    ),
    "punctuation": pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), BYTES_ONLY]),
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


def test_chinese_is_split_where_whole_tokens_come_first():
    """As in Llama 3: `ignore_merges`, and tokens that no merges make."""
    reference = train(PRE_TOKENIZERS["dolma 2"], vocab_size=900)
    file = json.loads(reference.to_str())
    file["model"]["ignore_merges"] = True
    for rest in range(3):
        merges = file["model"]["merges"]
        fewer = [merge for i, merge in enumerate(merges) if i % 3 != rest]
        text = json.dumps(file | {"model": file["model"] | {"merges": fewer}})
        reference = hf.Tokenizer.from_str(text)
        tok = lslm.Tokenizer.from_json(text)
        pieces = [word for line in TRAINING_TEXT for word in line.split()]
        texts = TEXTS + TRAINING_TEXT + pieces + ["".join(p) for p in itertools.pairwise(pieces)]
        for text in texts * 2:
            assert tok.encode(text, special="all").tolist() == ids_of(reference, text), text


@pytest.mark.parametrize("name", CHARACTERS)
def test_vocabularies_of_characters_equal_hugging_face(name):
    """As in Llama 2, Mistral 7B, Phi-3 and Gemma: `byte_fallback`, and ▁ for a space."""
    reference = train_characters(**CHARACTERS[name])
    tok = lslm.Tokenizer.from_json(reference.to_str())
    again = lslm.Tokenizer.from_json(tok.to_json())
    written = hf.Tokenizer.from_str(tok.to_json())
    assert tok.vocab_size == reference.get_vocab_size()
    more = ["a ▁b▁", " ▁", "<s> a<s>b </s>", "中" * 200, "a b " * 200, "\n", "文\n学 学\n"]
    for text in TEXTS + TRAINING_TEXT + more:
        expected = ids_of(reference, text)
        assert tok.encode(text, special="all").tolist() == expected, text
        ids, offsets = tok.encode_with_offsets(text, special="all")
        assert ids.tolist() == expected, text
        assert len(offsets) == len(expected)
        assert tok.count(text, special="all") == len(expected)
        assert again.encode(text, special="all").tolist() == expected, text
        assert ids_of(written, text) == expected, text
        assert tok.decode(expected) == reference.decode(expected, skip_special_tokens=False), text
        decoder = tok.decoder()
        streamed = "".join(decoder.push([i]) for i in expected) + decoder.finish()
        assert streamed == tok.decode(expected), text
    for token in range(tok.vocab_size):
        expected = reference.decode([token], skip_special_tokens=False)
        assert tok.decode([token]) == expected, token
    assert again.fingerprint == tok.fingerprint
    with pytest.raises(ValueError, match="characters"):
        tok.save("ranks.tiktoken")


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
    # in this vocabulary "é" is already the spelling of the byte 0xE9
    other = hf.Tokenizer.from_str(reference.to_str())
    other.add_tokens(["é"])
    with pytest.raises(lslm.FormatError, match='"é" has the id'):
        lslm.Tokenizer.from_json(other.to_str())


def test_merges_are_strings_or_pairs(reference, tok):
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
    # without these merges, some tokens cannot be produced
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
def test_a_byte_without_a_token_is_unk_or_an_error(fuse):
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


def test_vocab_json_and_merges_txt_load_as_one_tokenizer(reference, tok, tmp_path):
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


def test_a_saved_file_loads_here_and_in_hugging_face(reference, tok, tmp_path):
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


def test_notes_name_what_encoding_does_not_apply(reference):
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


def test_template_adds_the_ids_of_the_post_processor(reference):
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
    # a file without a post-processor
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


def test_from_pretrained_without_the_hub_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'pip install "lslm\[hub\]"'):
        lslm.Tokenizer.from_pretrained("Qwen/Qwen3-8B")


def test_from_pretrained_downloads_through_the_hub(monkeypatch, reference, tok, tmp_path):
    import types

    reference.save(str(tmp_path / "tokenizer.json"))
    requests = []

    def hf_hub_download(name, file, *, revision):
        requests.append((name, file, revision))
        if name == "no/body":
            raise OSError("offline")
        return str(tmp_path / file)

    monkeypatch.setitem(
        sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=hf_hub_download)
    )
    assert lslm.Tokenizer.from_pretrained("some/model", revision="main") == tok
    assert requests == [("some/model", "tokenizer.json", "main")]
    with pytest.raises(OSError, match=r"no/body.*offline"):
        lslm.Tokenizer.from_pretrained("no/body")


def test_a_tekken_json_has_the_ranks_after_the_special_tokens(tmp_path):
    learned = lslm.train_tokenizer(
        texts=TRAINING_TEXT, vocab_size=500, pattern="tekken", special_tokens=[]
    )
    ranks = {learned.token_bytes(i): i for i in range(500)}
    vocab = [
        {"rank": i, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for token, i in ranks.items()
    ]
    file = {
        "config": {
            "pattern": TEKKEN,
            "num_vocab_tokens": 500,
            "default_vocab_size": 460,
            "default_num_special_tokens": 10,
            "version": "v3",
        },
        "vocab": vocab,
        "special_tokens": [{"rank": 1, "token_str": "<s>", "is_control": True}],
    }
    path = tmp_path / "tekken.json"
    path.write_text(json.dumps(file))
    reference = tiktoken.Encoding(
        "tekken",
        pat_str=TEKKEN,
        mergeable_ranks={token: i for token, i in ranks.items() if i < 450},
        special_tokens={},
    )
    for place in (path, tmp_path):
        tok = lslm.Tokenizer.load(place)
        assert tok.pattern == "tekken"
        assert tok.vocab_size == 460
        assert tok.special_tokens["<s>"] == 1
        assert tok.special_tokens["<SPECIAL_9>"] == 9
        for text in TEXTS + TRAINING_TEXT:
            expected = [i + 10 for i in reference.encode_ordinary(text)]
            assert tok.encode(text, special="none").tolist() == expected
            assert tok.decode(expected) == text
    path.write_text(json.dumps(file | {"special_tokens": []}))
    with pytest.raises(lslm.FormatError, match="special tokens"):
        lslm.Tokenizer.load(path)
