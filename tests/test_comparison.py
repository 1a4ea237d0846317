"""Comparing two models: paired errors, divergence, tokenizers that differ, verdicts."""

import math

import numpy as np
import pytest

import lslm
from lslm import MismatchError, Tokenizer
from lslm.checkpoint import Run
from lslm.comparison import Difference, compare, student_quantile
from lslm.config import load_config
from lslm.data import TokenizedDocument, write_dataset
from lslm.evaluation import evaluate
from lslm.scores import DocumentScores, Sums
from naive_evaluation import NumpyModel, random_model, windows
from small_data import EOS, byte_tokenizer, documents

TEXTS = documents(30, seed=7)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    byte_tokenizer(folder / "tokenizer.json")
    items = [
        TokenizedDocument([*text.encode(), EOS], len(text.encode()), f"{'ab'[n % 2]}.txt")
        for n, text in enumerate(TEXTS)
    ]
    write_dataset(folder / "set", items, tokenizer=folder / "tokenizer.json", eos_id=EOS)
    return folder / "set"


def run_of(data, model, name="one"):
    return Run(data.parent / name, 1, load_config(), model.eval(), Tokenizer.load(data))


@pytest.fixture(scope="module")
def runs(data):
    return [run_of(data, random_model(seed=seed), f"seed{seed}") for seed in (0, 1)]


def test_each_model_scores_as_it_does_alone(runs, data):
    result = compare(*runs, data=data, protocol="document", batch_size=4)
    for one, run in zip((result.first, result.second), runs, strict=True):
        alone = evaluate(run, data=data, protocol="document")
        assert one.nats == pytest.approx(alone.nats, rel=1e-9)
        assert one.fingerprints == alone.fingerprints
        assert one.by_source.keys() == alone.by_source.keys()
    bits = result.first.bits_per_byte - result.second.bits_per_byte
    assert result.difference.bits_per_byte == pytest.approx(bits, rel=1e-9)


def test_the_paired_error_is_that_of_differences_by_document(runs, data, tmp_path):
    import json

    found = []
    for number, run in enumerate(runs):
        path = tmp_path / f"{number}.jsonl"
        evaluate(run, data=data, protocol="document", per_document=path)
        found.append([json.loads(line) for line in path.read_text().splitlines()])
    x = np.array([a["nats"] - b["nats"] for a, b in zip(*found, strict=True)]) / math.log(2)
    n = np.array([row["n_bytes"] for row in found[0]])
    ratio = x.sum() / n.sum()
    error = math.sqrt(len(x) / (len(x) - 1) * ((x - ratio * n) ** 2).sum()) / n.sum()
    result = compare(*runs, data=data, protocol="document")
    assert result.difference.error == pytest.approx(error, rel=1e-4)
    assert result.difference.high - ratio == pytest.approx(2.0452 * error, rel=1e-3)
    assert result.difference.n_documents == 30
    assert sum(d.n_documents for d in result.by_source.values()) == 30


def test_divergence_and_agreement_equal_numpy(runs, data):
    result = compare(*runs, data=data, protocol="document", dtype="float64")
    models, kl, same, n = [NumpyModel(run.model) for run in runs], 0.0, 0, 0
    ids = [list(text.encode()) for text in TEXTS]
    for inputs, _, scored in windows("document", ids, 16, EOS):
        p, q = (model.log_probabilities(np.array([inputs]))[0][scored] for model in models)
        kl += float((np.exp(p) * (p - q)).sum())
        same += int((p.argmax(-1) == q.argmax(-1)).sum())
        n += sum(scored)
    assert result.divergence == pytest.approx(kl / n, rel=1e-9)
    assert result.same_top == pytest.approx(same / n)
    assert 0 < result.divergence_error < result.divergence


def test_a_model_does_not_differ_from_itself(runs, data):
    result = compare(runs[0], runs[0], data=data)
    assert result.difference.bits_per_byte == 0
    assert result.divergence == pytest.approx(0, abs=1e-12)
    assert result.same_top == 1
    assert "no difference" in result.verdict


def test_models_of_different_tokenizers_are_compared_by_bytes(runs, data, tmp_path):
    text = tmp_path / "text.jsonl"
    import json

    text.write_text("".join(json.dumps({"text": one}) + "\n" for one in TEXTS))
    tokenizer = lslm.train_tokenizer(texts=TEXTS, vocab_size=300)
    other = Run(tmp_path, 1, load_config(), random_model(vocab_size=300).eval(), tokenizer)
    result = compare(runs[0], other, data=text, protocol="document")
    assert result.first.n_bytes == result.second.n_bytes == sum(len(t.encode()) for t in TEXTS)
    assert result.second.n_tokens < result.first.n_tokens
    bits = result.first.bits_per_byte - result.second.bits_per_byte
    assert result.difference.bits_per_byte == pytest.approx(bits, rel=1e-9)
    assert result.divergence is None
    assert result.difference.n_documents == 30
    sampled = compare(runs[0], other, data=text, n_tokens=1500)
    assert 3 < sampled.difference.n_documents < 30
    with pytest.raises(MismatchError, match="give raw text"):
        compare(runs[0], other, data=data)
    with pytest.raises(ValueError, match="scores other bytes with each tokenizer"):
        compare(runs[0], other, data=text, protocol="llama.cpp")


def test_verdicts_say_noise_when_it_is():
    one = Difference(bits_per_byte=-0.01, error=0.002, low=-0.014, high=-0.006, n_documents=50)
    assert one.verdict("A", "B").startswith("A is better by 0.0100")
    assert not one.is_noise
    two = Difference(bits_per_byte=0.001, error=0.002, low=-0.003, high=0.005, n_documents=50)
    assert two.verdict().startswith("noise: ")
    assert "about 808 documents" in two.verdict()  # 50 · (2.0096 · 0.002 / 0.001)²
    lone = Difference(bits_per_byte=0.1, error=None, low=None, high=None, n_documents=1)
    assert lone.is_noise
    assert "one document only" in lone.verdict()


def test_intervals_hold_the_truth_as_often_as_they_say():
    """1,500 samples of 25 documents whose nats are 2 per token and document noise."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(1500):
        sums = Sums()
        for n, noise in zip(rng.integers(5, 200, 25), rng.normal(0, 0.3, 25), strict=True):
            sums.add(document(int(n), float(n * (2 + noise))))
        margin = student_quantile(24) * sums.values()["loss_error"]
        held += abs(sums.nats / sums.n_tokens - 2) <= margin
    assert 0.91 < held / 1500 < 0.97


def document(n_tokens, nats):
    counts = {"n_tokens": n_tokens, "n_bytes": n_tokens, "n_chars": n_tokens, "n_words": 1}
    return DocumentScores(dataset="", index=0, source="", id=None, nats=nats, **counts)


@pytest.mark.parametrize(
    ("degrees", "value"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (30, 2.0423)]
)
def test_quantiles_are_those_of_tables(degrees, value):
    assert student_quantile(degrees) == pytest.approx(value, rel=4e-3)
