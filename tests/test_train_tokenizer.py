"""`lslm.train_tokenizer` against Hugging Face's trainer, made in the test itself."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import random
import types

import lslm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = pathlib.Path(__file__).parent.parent
TEXTS = [
    *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "testdata/train").glob("*.py"))),
    *(pathlib.Path(module.__file__ or "").read_text(encoding="utf-8") for module in (json, types)),
    "我们的世界，你们的世界。世界和平！ 12345 мир миру мир 😀😀😁 naïve café naïf\r\n\r\n",
    "",
]
PATTERNS = ["gpt2", "cl100k_base", "o200k_base", "qwen2.5"]


def reference() -> types.ModuleType:
    """The script that made the stored results."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("zstandard")
    spec = importlib.util.spec_from_file_location("make", ROOT / "testdata/train/make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model(text: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and the merges in a tokenizer.json."""
    content = json.loads(text)["model"]
    merges = [
        tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in content["merges"]
    ]
    return content["vocab"], merges


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    "options",
    [
        {"vocab_size": 1000},
        {"vocab_size": 100_000},
        {"vocab_size": 1000, "min_frequency": 20},
        {"vocab_size": 600, "max_token_length": 4},
        {"vocab_size": 400, "special_tokens": ["<|endoftext|>", "<|pad|>"]},
    ],
    ids=" ".join,
)
def test_merges_are_those_of_hugging_face(pattern: str, options: dict[str, object]) -> None:
    expected = reference().train(iter(TEXTS), pattern, **options)
    ours = lslm.train_tokenizer(
        texts=TEXTS,
        pattern=pattern,
        **{"min_frequency": 0, "special_tokens": [], "special_first": True, **options},
    )
    vocabulary, merges = model(expected.to_str())
    own_vocabulary, own_merges = model(ours.to_json())
    assert own_merges == merges
    specials = set(options.get("special_tokens", []))
    ordinary = {token: vocabulary[token] for token in vocabulary if token not in specials}
    assert {token: own_vocabulary[token] for token in ordinary} == ordinary
    for token in specials:
        assert ours.special_tokens[token] == expected.token_to_id(token)
    for text in TEXTS:
        assert ours.encode(text, special="all").tolist() == expected.encode(text).ids


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.text(alphabet="ab \n'é我", max_size=60), max_size=8),
    merges=st.integers(0, 60),
    pattern=st.sampled_from(PATTERNS),
)
def test_merges_of_any_texts(texts: list[str], merges: int, pattern: str) -> None:
    expected = reference().train(iter(texts), pattern, 256 + merges)
    ours = lslm.train_tokenizer(
        texts=texts, pattern=pattern, vocab_size=256 + merges, special_tokens=[], min_frequency=0
    )
    assert model(ours.to_json())[1] == model(expected.to_str())[1]


def test_special_tokens_come_last_unless_asked() -> None:
    specials = ["<|endoftext|>", "<|pad|>"]
    last = lslm.train_tokenizer(texts=TEXTS, vocab_size=400, special_tokens=specials)
    assert last.special_tokens == {"<|endoftext|>": 398, "<|pad|>": 399}
    first = lslm.train_tokenizer(
        texts=TEXTS, vocab_size=400, special_tokens=specials, special_first=True
    )
    assert first.special_tokens == {"<|endoftext|>": 0, "<|pad|>": 1}
    assert last.vocab_size == first.vocab_size == 400


def test_the_file_loads_in_hugging_face_with_equal_ids(tmp_path: pathlib.Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    ours = lslm.train_tokenizer(texts=TEXTS, vocab_size=700)
    ours.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in TEXTS:
        assert ours.encode(text, special="all").tolist() == theirs.encode(text).ids
    assert theirs.token_to_id("<|endoftext|>") == ours.special_tokens["<|endoftext|>"]


def test_nothing_but_the_documents_matters(tmp_path: pathlib.Path) -> None:
    documents = TEXTS * 5
    expected = lslm.train_tokenizer(texts=iter(documents), vocab_size=500, threads=1).fingerprint
    random.Random(0).shuffle(documents)
    assert lslm.train_tokenizer(texts=documents, vocab_size=500, threads=3).fingerprint == expected
    for count in (1, 4):
        folder = tmp_path / str(count)
        folder.mkdir()
        for number in range(count):
            rows = (json.dumps({"text": text}) + "\n" for text in documents[number::count])
            (folder / f"{number}.jsonl").write_text("".join(rows), encoding="utf-8")
        for threads in (1, 2):
            learned = lslm.train_tokenizer([str(folder)], vocab_size=500, threads=threads)
            assert learned.fingerprint == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 256}, "need 257"),
        ({"vocab_size": 300, "special_tokens": ["<s>", "<s>"]}, "twice"),
        ({"vocab_size": 300, "special_tokens": [""]}, "empty"),
        ({"vocab_size": 300, "pattern": "("}, r"\("),
    ],
)
def test_contradictions_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lslm.train_tokenizer(texts=TEXTS, **options)
