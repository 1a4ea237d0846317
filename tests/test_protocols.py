"""Protocols: against a naive second implementation in float64, and against published recipes."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from lslm import TokenDataset, Tokenizer
from lslm.evaluation import evaluate, score
from lslm.evaluation_data import DatasetDocuments, Vocabulary
from lslm.protocol import PRESETS, Protocol, parse_protocol
from lslm.windows import WindowPlanner
from naive_evaluation import NumpyModel, random_model, total, windows
from small_data import EOS, byte_tokenizer, documents, write_small

NAMES = ["disjoint", "stride:7", "stride:1", "document", "document:5", "lm-eval", "hf-stride",
         "hf-stride:3", "hf-stride:16", "llama.cpp"]  # fmt: skip
T = 16


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    byte_tokenizer(path)
    return Vocabulary.of(Tokenizer.load(path))


def planned(protocol, sequences):
    """Return the windows of our planner as (inputs, targets, scored)."""
    planner, found = WindowPlanner(protocol, prefix=EOS), []
    for ids in sequences:
        found += planner.push(np.array(ids, np.uint32))
        if protocol.boundaries == "separate":
            found += planner.finish()
    return found + list(planner.finish())


def sequences(name, texts):
    """Return the ids of ``texts``, with the end of each where the protocol scores it."""
    end = [EOS] if parse_protocol(name, T).eos == "scored" else []
    return [[*text.encode(), *end] for text in texts]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [[], [1], [15], [16], [17], [3, 40, 1], [5] * 9, [70, 2, 33]])
def test_windows_are_those_of_the_published_recipe(name, sizes):
    texts = ["".join(chr(97 + i % 26) for i in range(size)) for size in sizes]
    found = [
        (w.inputs.tolist(), w.targets.tolist(), [i >= w.first for i in range(len(w.targets))])
        for w in planned(parse_protocol(name, T), sequences(name, texts))
    ]
    expected = [
        (inputs, targets, scored)
        for inputs, targets, scored in windows(name, [list(t.encode()) for t in texts], T, EOS)
        if any(scored)
    ]
    assert [w[0] for w in found] == [w[0] for w in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[2] == other[2]
        scored = [t for t, s in zip(one[1], one[2], strict=True) if s]
        assert scored == [t for t, s in zip(other[1], other[2], strict=True) if s]


@pytest.mark.parametrize("name", NAMES)
def test_positions_say_where_a_window_begins_to_score(name):
    ids = sequences(name, ["abcdefghijklmnopqrstuvwxyz" * 3, "1234567"])
    flat = [token for one in ids for token in one]
    for window in planned(parse_protocol(name, T), ids):
        scored = window.targets[window.first :].tolist()
        assert flat[window.position : window.position + len(scored)] == scored


@pytest.mark.parametrize(
    "name", ["disjoint", "stride:8", "document", "lm-eval", "hf-stride", "llama.cpp"]
)
@pytest.mark.parametrize("n", [2, pytest.param(900, marks=pytest.mark.slow)])
def test_totals_equal_a_float64_forward_pass_in_numpy(tmp_path, vocabulary, name, n):
    texts = documents(n, seed=2)
    dataset = TokenDataset(write_small(tmp_path / "data", texts))
    model = random_model(layers=2 if n == 2 else 1)
    data = [DatasetDocuments(dataset, vocabulary, "data")]
    result = score(model, data, vocabulary, parse_protocol(name, T))
    nats, n_tokens = total(NumpyModel(model), name, [list(t.encode()) for t in texts], T, EOS)
    assert result.n_tokens == n_tokens
    assert n == 2 or n_tokens > (50_000 if name == "llama.cpp" else 100_000)
    assert result.nats == pytest.approx(nats, rel=1e-7 if n == 2 else 1e-8)


@pytest.mark.parametrize("T", [4, 16, 24])
def test_a_begin_token_stands_first_in_each_window_of_llama_cpp(tmp_path, vocabulary, T):
    begin, texts = 1, documents(3, seed=2)
    own = dataclasses.replace(vocabulary, bos=begin)
    dataset = TokenDataset(write_small(tmp_path / "data", texts))
    model, ids = random_model(T=T), [list(text.encode()) for text in texts]
    planner = WindowPlanner(parse_protocol("llama.cpp", T), prefix=EOS, bos=begin)
    found = list(planner.push(np.array([token for one in ids for token in one], np.uint32)))
    expected = list(windows("llama.cpp", ids, T, EOS, begin))
    assert [one.inputs.tolist() for one in found] == [inputs for inputs, _, _ in expected]
    assert {one.inputs[0] for one in found} == {begin}
    protocol = parse_protocol("llama.cpp", T)
    result = score(model, [DatasetDocuments(dataset, own, "data")], own, protocol)
    nats, n_tokens = total(NumpyModel(model), "llama.cpp", ids, T, EOS, begin)
    assert (result.n_tokens, result.nats) == (n_tokens, pytest.approx(nats, rel=1e-7))
    without = score(model, [DatasetDocuments(dataset, vocabulary, "data")], vocabulary, protocol)
    assert without.nats != pytest.approx(nats, rel=1e-4)


def test_the_strided_recipe_weights_windows_by_their_tokens_less_one():
    """The recipe's mean of window means, and ours, which weights every token alike."""
    name, texts = "hf-stride:8", ["the cat sees the dog. " * 9]
    model = NumpyModel(random_model())
    weighted, n_weighted, nats, n = 0.0, 0, 0.0, 0
    for first, (inputs, targets, scored) in enumerate(
        windows(name, [list(texts[0].encode())], T, EOS)
    ):
        log_p = model.log_probabilities(np.array([inputs]))[0]
        values = [-log_p[i, t] for i, (t, s) in enumerate(zip(targets, scored, strict=True)) if s]
        counted = len(values) - (0 if first == 0 else 1)  # "batch_size" is subtracted each time
        weighted += float(np.mean(values)) * counted
        n_weighted += counted
        nats, n = nats + sum(values), n + len(values)
    assert math.exp(weighted / n_weighted) == pytest.approx(math.exp(nats / n), rel=0.02)
    assert weighted / n_weighted != pytest.approx(nats / n, rel=1e-6)


def test_protocols_are_named_and_hashed():
    assert parse_protocol("stride:16", 16).fingerprint == parse_protocol("disjoint", 16).fingerprint
    known = [parse_protocol(name, 16).fingerprint for name in NAMES]
    assert len(set(known)) == len(NAMES)
    assert parse_protocol("disjoint", 32).fingerprint not in known
    one = parse_protocol("lm-eval", 16)
    assert Protocol.from_dict(one.as_dict()) == one
    assert parse_protocol(one, 99) is one


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sliding", "choose disjoint"),
        ("stride", "choose disjoint"),
        ("stride:x", "whole number"),
        ("disjoint:8", "take none"),
        ("stride:0", "from 1 to the window, 16"),
        ("stride:17", "from 1 to the window, 16"),
    ],
)
def test_names_that_are_none_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        parse_protocol(name, 16)
    assert len(PRESETS) == 6


def test_windows_that_can_hold_no_target_are_refused():
    with pytest.raises(ValueError, match=r"llama\.cpp needs at least 4"):
        parse_protocol("llama.cpp", 3)
    with pytest.raises(ValueError, match="hf-stride needs at least 2"):
        parse_protocol("hf-stride", 1)


def test_lm_eval_gives_the_same_sums(testdata, tmp_path):
    """What lm-eval's ``hf`` says of the stored run's export (testdata/harness/make.py)."""
    stored = json.loads((testdata / "harness/rolling.json").read_text("utf-8"))
    lines = [json.dumps({"text": row["text"]}) + "\n" for row in stored["rows"]]
    (tmp_path / "texts.jsonl").write_text("".join(lines))
    result = evaluate(
        testdata / "run/version-1",
        data=tmp_path / "texts.jsonl",
        protocol="lm-eval",
        device="cpu",
        per_document=tmp_path / "documents.jsonl",
    )
    assert result.protocol["window"] == stored["max_length"]
    found = [json.loads(line) for line in (tmp_path / "documents.jsonl").read_text().splitlines()]
    for mine, row in zip(found, stored["rows"], strict=True):
        assert mine["nats"] == pytest.approx(-row["loglikelihood"], rel=1e-6)
    texts = [row["text"] for row in stored["rows"]]
    total = sum(row["loglikelihood"] for row in stored["rows"])
    words = sum(len(re.split(r"\s+", text)) for text in texts)
    n_bytes = sum(len(text.encode()) for text in texts)
    assert result.word_perplexity == pytest.approx(math.exp(-total / words), rel=1e-6)
    assert result.byte_perplexity == pytest.approx(math.exp(-total / n_bytes), rel=1e-6)
    assert result.bits_per_byte == pytest.approx(-total / n_bytes / math.log(2), rel=1e-6)
