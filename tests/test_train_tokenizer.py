"""lslm.train_tokenizer: the merges of Hugging Face's trainer, which runs in the tests."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import random
import signal
import statistics
import string
import subprocess
import sys
import time
import types
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lslm

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = pathlib.Path(__file__).parent.parent
TEXTS = [
    *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "testdata/train").glob("*.py"))),
    *(pathlib.Path(module.__file__ or "").read_text(encoding="utf-8") for module in (json, types)),
    "我们的世界，你们的世界。世界和平！ 12345 мир миру мир 😀😀😁 naïve café naïf\r\n\r\n",
    "",
]
PATTERNS = ["gpt2", "cl100k_base", "o200k_base", "qwen2.5"]


def reference() -> types.ModuleType:
    """Return the script that made the stored results, as a module."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("zstandard")
    spec = importlib.util.spec_from_file_location("make", ROOT / "testdata/train/make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model(text: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary and the merges in a tokenizer.json."""
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
        **{"min_frequency": 0, "special_tokens": [], "special_tokens_first": True, **options},
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


@pytest.mark.parametrize(
    "pattern",
    [
        "gpt2",
        "r50k_base",
        "p50k_base",
        "p50k_edit",
        "cl100k_base",
        "cl100k_base_tiktoken",
        "o200k_base",
        "o200k_harmony",
        "llama3",
        "qwen2",
        "qwen2.5",
        "qwen3",
        "deepseek_v3",
        "tekken",
        "mistral",
        "gpt_neox",
        "olmo",
        "olmo2",
        "starcoder",
        "byte_level",
        "none",
    ],
)
def test_merges_of_code_with_every_published_pattern_are_those_of_hugging_face(
    pattern: str, tmp_path: pathlib.Path
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    modules = ("argparse", "ast", "datetime", "decimal", "doctest", "inspect", "typing", "turtle")
    library = pathlib.Path(json.__file__ or "").parent.parent
    texts = [
        (library / f"{name}.py").read_text(encoding="utf-8")
        for name in modules
        if (library / f"{name}.py").exists()
    ] + TEXTS
    if pattern == "none":  # a text is one pre-token, and the reference is quadratic in its length
        texts = [text[:20_000] for text in texts]
    ours = lslm.train_tokenizer(
        texts=texts, vocab_size=3000, pattern=pattern, special_tokens=[], min_frequency=0
    )
    ours.save(tmp_path / "tokenizer.json")
    # the reference runs the pattern's expressions in its own engine
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE())
    file = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs.pre_tokenizer = file.pre_tokenizer
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=3000,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator(texts, trainer)
    assert model(ours.to_json())[1] == model(theirs.to_str())[1]


@settings(max_examples=30)
@given(
    texts=st.lists(st.text(alphabet="ab \n'é我", max_size=60), max_size=8),
    merges=st.integers(0, 60),
    pattern=st.sampled_from(PATTERNS),
)
def test_merges_of_any_texts_are_those_of_hugging_face(
    texts: list[str], merges: int, pattern: str
) -> None:
    expected = reference().train(iter(texts), pattern, 256 + merges)
    ours = lslm.train_tokenizer(
        texts=texts, pattern=pattern, vocab_size=256 + merges, special_tokens=[], min_frequency=0
    )
    assert model(ours.to_json())[1] == model(expected.to_str())[1]


def test_special_tokens_have_the_last_ids_or_the_first() -> None:
    specials = ["<|endoftext|>", "<|pad|>"]
    last = lslm.train_tokenizer(texts=TEXTS, vocab_size=400, special_tokens=specials)
    assert last.special_tokens == {"<|endoftext|>": 398, "<|pad|>": 399}
    first = lslm.train_tokenizer(
        texts=TEXTS, vocab_size=400, special_tokens=specials, special_tokens_first=True
    )
    assert first.special_tokens == {"<|endoftext|>": 0, "<|pad|>": 1}
    assert last.vocab_size == first.vocab_size == 400
    expected = reference().train(iter(TEXTS), "o200k_base", 400, special_tokens=specials)
    for ours in (first, last):
        assert model(ours.to_json())[1] == model(expected.to_str())[1]
    for token, i in model(expected.to_str())[0].items():
        assert model(first.to_json())[0].get(token, i) == i


def test_the_file_loads_in_hugging_face_with_equal_ids(tmp_path: pathlib.Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    ours = lslm.train_tokenizer(texts=TEXTS, vocab_size=700)
    ours.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in TEXTS:
        assert ours.encode(text, special="all").tolist() == theirs.encode(text).ids
    assert theirs.token_to_id("<|endoftext|>") == ours.special_tokens["<|endoftext|>"]


def test_order_files_and_threads_change_nothing(tmp_path: pathlib.Path) -> None:
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


def write(path: pathlib.Path, texts: Iterable[str]) -> str:
    """Write `texts` as JSON lines."""
    rows = (json.dumps({"text": text}) + "\n" for text in texts)
    path.write_text("".join(rows), encoding="utf-8")
    return str(path)


def test_a_sample_is_uniform(tmp_path: pathlib.Path) -> None:
    # each document has a letter of its own, so the learned pairs show which were drawn
    letters = string.ascii_letters[:50]
    inputs = write(tmp_path / "letters.jsonl", (f"{letter}{letter}\n" * 100 for letter in letters))
    times = dict.fromkeys(letters, 0)
    for seed in range(200):
        tok = lslm.train_tokenizer(
            inputs, vocab_size=400, sample_bytes=3000, seed=seed, special_tokens=[], threads=2
        )
        drawn = [letter for letter in letters if tok.count(letter * 2) == 1]
        assert len(drawn) == 10
        for letter in drawn:
            times[letter] += 1
    # 40 expected for each, standard deviation 5.7; the sum of squares over the variance has mean 49
    assert all(14 <= count <= 66 for count in times.values()), times
    deviation = sum((count - 40) ** 2 for count in times.values()) / (200 * 0.2 * 0.8)
    assert 20 < deviation < 90


def test_a_memory_limit_changes_nothing_or_is_refused(tmp_path: pathlib.Path) -> None:
    rng = random.Random(0)
    texts = [
        " ".join(f"{rng.randrange(10**6):x}{rng.choice('xyz')}" for _ in range(2000))
        for _ in range(40)
    ]
    inputs = write(tmp_path / "words.jsonl", texts)
    options = {"vocab_size": 600, "pattern": "gpt2", "threads": 2}
    expected = lslm.train_tokenizer(inputs, **options).fingerprint
    assert lslm.train_tokenizer(inputs, memory=10**9, **options).fingerprint == expected
    # the pre-tokens alone take more than this
    assert lslm.train_tokenizer(inputs, memory=12 * 10**6, **options).fingerprint == expected
    with pytest.raises(ValueError, match=r"memory = 1000000: .* about \d+ MB"):
        lslm.train_tokenizer(inputs, memory=10**6, **options)


def test_validation_documents_are_those_of_tokenize(tmp_path: pathlib.Path) -> None:
    texts = [f"document {number} " * (1 + number % 5) for number in range(400)]
    inputs = write(tmp_path / "texts.jsonl", texts)
    share = {"validation_fraction": 0.25, "seed": 3}
    everything = lslm.train_tokenizer(inputs, vocab_size=400)
    made = lslm.tokenize(inputs, output=tmp_path / "data", tokenizer=everything, **share)
    held_out = {
        everything.decode(lslm.TokenDataset(tmp_path / "data/validation").document(i)[:-1])
        for i in range(made.validation.n_documents)
    }
    rest = [text for text in texts if text not in held_out]
    assert 40 < len(held_out) < 160
    expected = lslm.train_tokenizer(texts=rest, vocab_size=400)
    assert lslm.train_tokenizer(inputs, vocab_size=400, **share).fingerprint == expected.fingerprint
    measured = lslm.measure_tokenizer(inputs, tokenizer=expected, **share)
    assert measured.validation.n_bytes == sum(map(len, held_out))
    assert measured.validation.n_documents == len(held_out)
    used = {int(i) for text in held_out for i in expected.encode(text)}
    special = set(expected.special_tokens.values())
    assert set(measured.unused) == set(range(expected.vocab_size)) - used - special


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_report_has_the_sums_over_pre_tokens(tmp_path: pathlib.Path, pattern: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tok = lslm.train_tokenizer(texts=TEXTS, vocab_size=600, pattern=pattern)
    tok.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    folder = tmp_path / "texts"
    folder.mkdir()
    for i in range(2):
        write(folder / f"{i}.jsonl", TEXTS[i::2])
    for threads in (1, 2):
        measured = lslm.measure_tokenizer([str(folder)], tokenizer=tok, threads=threads)
        uses = dict.fromkeys(range(tok.vocab_size), 0)
        sums = dict.fromkeys(("n_documents", "n_bytes", "n_words", "n_whole_words", "n_tokens"), 0)
        assert [pathlib.Path(row.file).name for row in measured.files] == [
            "0.jsonl",
            "1.jsonl",
        ]
        for row, texts in zip(measured.files, (TEXTS[0::2], TEXTS[1::2]), strict=True):
            words = [
                word for text in texts for word, _ in theirs.pre_tokenizer.pre_tokenize_str(text)
            ]
            lengths = [len(theirs.model.tokenize(word)) for word in words]
            expected = {
                "n_documents": len(texts),
                "n_bytes": sum(len(text.encode()) for text in texts),
                "n_words": len(words),
                "n_whole_words": lengths.count(1),
                "n_tokens": sum(lengths),
            }
            assert {name: getattr(row, name) for name in expected} == expected
            assert row.bytes_per_token == expected["n_bytes"] / expected["n_tokens"]
            assert row.tokens_per_word == expected["n_tokens"] / expected["n_words"]
            assert row.whole_word_share == expected["n_whole_words"] / expected["n_words"]
            for name, value in expected.items():
                sums[name] += value
            for text in texts:
                for i in tok.encode(text):
                    uses[int(i)] += 1
        assert {name: getattr(measured.total, name) for name in sums} == sums
        assert measured.validation is None
        special = set(tok.special_tokens.values())
        assert list(measured.unused) == [i for i in uses if not uses[i] and i not in special]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab_size": 256}, "need 257"),
        ({"vocab_size": 300, "special_tokens": ["<s>", "<s>"]}, "twice"),
        ({"vocab_size": 300, "special_tokens": [""]}, "empty"),
        ({"vocab_size": 300, "pattern": "("}, r"\("),
        ({"vocab_size": 300, "validation_fraction": 1.0}, "validation_fraction = 1"),
    ],
)
def test_the_error_names_a_contradiction(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lslm.train_tokenizer(texts=TEXTS, **options)


TRAIN = """
import signal, sys, threading, time, lslm
signal.signal(signal.SIGINT, signal.default_int_handler)
def report(stage, done, total, unit):
    print(stage, flush=True)
try:
    lslm.train_tokenizer([sys.argv[1]], vocab_size=60_000, pattern="gpt2", threads=2, progress=report)
except KeyboardInterrupt:
    print("stopped", time.monotonic(), flush=True)
else:
    print("finished", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a child")
def test_ctrl_c_stops_counting_and_merging(tmp_path: pathlib.Path) -> None:
    # many distinct pre-tokens: both phases take seconds, and each round has many pairs to sort
    rng = random.Random(0)
    syllables = [f"{rng.choice('bdfgklmnprst')}{rng.choice('aeiou')}{n}" for n in "abcdefghij" * 9]
    inputs = write(
        tmp_path / "words.jsonl",
        (" ".join("".join(rng.choices(syllables, k=5)) for _ in range(1000)) for _ in range(700)),
    )
    waits: dict[str, list[float]] = {"count words": [], "learn merges": []}
    for number in range(12):
        stage = list(waits)[number % 2]
        command = [sys.executable, "-c", TRAIN, inputs]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip() == stage:
                    break
            time.sleep(rng.random() * (0.02 if stage == "count words" else 0.6))
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read().split("\n")
        for line in rest:
            if line.startswith("stopped"):
                waits[stage].append(float(line.split()[1]) - sent)
    for stage, times in waits.items():
        assert times, f"no run was interrupted in {stage!r}"
        assert statistics.median(times) < 0.2, (stage, times)
        assert max(times) < 1, (stage, times)
