"""Evaluation: every target once, whatever the batches; totals that mean what they say."""

import collections
import itertools
import lzma
import math
import pickle
from pathlib import Path

import pytest
import torch

import lslm
from lslm import MismatchError, TokenDataset, Tokenizer
from lslm.checkpoint import open_run
from lslm.config import load_config
from lslm.evaluation import (
    EvaluationResult,
    bits_per_byte,
    evaluate,
    perplexity,
    score,
    uniform_baseline,
    unigram_baseline,
    xz_bits_per_byte,
)
from lslm.evaluation_data import DatasetDocuments, Vocabulary
from lslm.generation import complete, generate
from lslm.model import ModelConfig, Transformer
from lslm.next_token import Sampling
from lslm.protocol import parse_protocol
from lslm.training import train
from small_data import EOS, documents, write_small


@pytest.fixture(scope="module")
def validation(data):
    return TokenDataset(str(Path(data) / "validation"))


@pytest.fixture(scope="module")
def tokenizer(data):
    return Tokenizer.load(str(Path(data) / "train" / "tokenizer.json"))


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    shape = [
        "device=cpu",
        "width=32",
        "layers=2",
        "heads=2",
        "sequence_length=48",
        "batch_size=8",
        "threads=1",
    ]
    train(
        load_config(None, [*shape, f"data={data}", f"out={out}", "steps=80", "validate_every=40"])
    )
    return str(out)


def scored(model, dataset, tokenizer, protocol="disjoint", **options):
    """Return the scores of ``model`` on a dataset."""
    vocabulary = Vocabulary.of(tokenizer)
    chosen = parse_protocol(protocol, model.config.sequence_length)
    data = [DatasetDocuments(dataset, vocabulary, "data")]
    return score(model, data, vocabulary, chosen, **options)


def random_model(vocab_size=257, T=24):
    model = Transformer(
        ModelConfig(vocab_size=vocab_size, sequence_length=T, width=16, layers=1, heads=2)
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.double()


def test_perplexity_is_the_exponential_of_the_mean():
    assert perplexity(0.0, 3) == 1
    assert perplexity(10 * math.log(50), 10) == pytest.approx(50)
    assert math.isnan(perplexity(0.0, 0))
    assert perplexity(700, 1) == pytest.approx(math.exp(700))
    assert perplexity(1600, 2) == math.inf  # e^800 is beyond a float
    assert bits_per_byte(8 * math.log(2), 4) == pytest.approx(2)
    result = EvaluationResult(nats=6 * math.log(9), n_tokens=6, n_bytes=4)
    expected = {"nats": result.nats, "n_tokens": 6, "n_bytes": 4, "loss": math.log(9)}
    expected |= {"perplexity": 9, "bits_per_byte": 6 * math.log2(9) / 4}
    found = result.as_dict()
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["word_perplexity"] is None  # words were not counted


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(validation, tokenizer):
    model = Transformer(
        ModelConfig(vocab_size=257, sequence_length=24, width=16, layers=1, heads=2)
    )
    result = scored(model, validation, tokenizer)
    assert result.perplexity == pytest.approx(257, rel=1e-6)
    baseline = uniform_baseline(validation, tokenizer)
    assert baseline.perplexity == pytest.approx(257)
    assert (baseline.n_tokens, baseline.n_bytes) == (result.n_tokens, result.n_bytes)


def test_counts_are_those_of_the_text(validation, tokenizer):
    texts = documents(25, seed=1)
    result = scored(random_model(), validation, tokenizer)
    assert result.n_bytes == sum(len(text.encode()) for text in texts)
    assert result.n_tokens == validation.n_tokens == result.n_bytes + len(texts)


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
@pytest.mark.parametrize("tokens", [None, 1, 1000])
def test_batches_and_their_padding_change_nothing(validation, tokenizer, batch_size, tokens):
    model = random_model()
    one = scored(model, validation, tokenizer, n_tokens=tokens, batch_size=batch_size)
    other = scored(model, validation, tokenizer, n_tokens=tokens, batch_size=3)
    assert (one.n_tokens, one.n_bytes) == (other.n_tokens, other.n_bytes)
    assert one.nats == pytest.approx(other.nats, rel=1e-6)


def test_scoring_leaves_the_model_in_its_mode(validation, tokenizer):
    model = random_model()
    for mode in (True, False):
        model.train(mode)
        scored(model, validation, tokenizer, n_tokens=30)
        assert model.training == mode


def test_no_tokens_are_refused(run):
    with pytest.raises(ValueError, match="n_tokens = 0: must be at least 1"):
        evaluate(run, n_tokens=0)


def test_unigram_baseline_equals_counting(data, validation, tokenizer):
    train_set = TokenDataset(str(Path(data) / "train"))
    counts = collections.Counter(train_set.tokens(0, train_set.n_tokens).tolist())
    seen = validation.tokens(0, validation.n_tokens).tolist()
    total = train_set.n_tokens + 257
    nats = -math.fsum(math.log((counts[token] + 1) / total) for token in seen)
    result = unigram_baseline(train_set, validation, tokenizer)
    assert result.nats == pytest.approx(nats)
    assert result.loss < uniform_baseline(validation, tokenizer).loss


def test_xz_baseline_is_xz_on_the_text(validation, tokenizer):
    text = "".join(documents(25, seed=1)).encode()
    expected = 8 * len(lzma.compress(text, preset=9)) / len(text)
    assert xz_bits_per_byte(validation, tokenizer) == pytest.approx(expected)


def test_a_run_is_evaluated_on_its_own_validation_set(run, data, validation, tokenizer):
    result = evaluate(run)
    assert result.n_tokens == validation.n_tokens
    assert result.bits_per_byte < 0.9 * unigram_baseline(
        TokenDataset(str(Path(data) / "train")), validation, tokenizer
    ).bits_per_byte  # fmt: skip
    for path in (data, Path(data) / "validation"):
        again = evaluate(run, data=path)
        assert again.nats == result.nats
        assert again.fingerprints["model"] == result.fingerprints["model"]
    assert evaluate(run, batch_size=1).nats == pytest.approx(result.nats, rel=1e-6)
    overlapping = evaluate(run, protocol="stride:8")
    assert (overlapping.n_tokens, overlapping.n_bytes) == (result.n_tokens, result.n_bytes)
    assert overlapping.nats != result.nats
    alike = evaluate(run, checkpoint="last", device="cpu")
    assert evaluate(open_run(run, "last")).nats == alike.nats
    assert evaluate(run, checkpoint=80).nats == evaluate(run, checkpoint="last").nats


def test_data_of_another_tokenizer_is_refused(run, tmp_path):
    strange = write_small(tmp_path / "strange", documents(3), eos="<|end|>")
    with pytest.raises(MismatchError, match="another tokenizer"):
        evaluate(run, data=strange)


def test_a_tokenizer_put_into_a_run_is_refused(run, tmp_path):
    import shutil

    from small_data import byte_tokenizer

    shutil.copytree(run, tmp_path / "run")
    byte_tokenizer(tmp_path / "run" / "tokenizer.json", "<|end|>")
    with pytest.raises(MismatchError, match="not the tokenizer"):
        evaluate(tmp_path / "run")


def test_a_run_generates_the_same_text_for_the_same_seed(run):
    opened = open_run(run)
    pieces = []
    text = generate(opened, prompt="The cat", max_tokens=60, seed=1, stream=pieces.append)
    assert "".join(pieces) == text
    assert text == generate(run, prompt="The cat", max_tokens=60, seed=1)
    assert text != generate(opened, prompt="The cat", max_tokens=60, seed=2)
    greedy = [generate(opened, prompt="The", max_tokens=20, temperature=0, seed=s) for s in (1, 2)]
    assert greedy[0] == greedy[1]
    assert generate(opened, prompt="", max_tokens=5, stop_at_eos=False)


def test_prompts_together_give_the_texts_that_each_gives_alone(run):
    opened = open_run(run)
    prompts, seeds = ["The cat", "", "The ant sees the bee, says", "The"], [1, 2, 3, 3]
    for sampling in (Sampling(temperature=0), Sampling(top_k=9, repetition_penalty=1.2)):
        options = {"max_tokens": 300, "sampling": sampling, "stop_at_eos": False}
        together = complete(opened, prompts, seeds=seeds, **options)
        alone = [
            complete(opened, [prompt], seeds=[seed], **options)[0].text
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        assert [completion.text for completion in together] == alone
        assert all(completion.n_tokens == 300 for completion in together)
        assert together[0].tokens_per_second > 0


def test_a_stop_string_ends_the_text_before_it(run):
    opened = open_run(run)
    options = {"prompt": "The", "max_tokens": 200, "temperature": 0}
    text = generate(opened, **options)
    stop = text[10:13]
    shown = []
    cut = generate(opened, stop=stop, stream=shown.append, **options)
    assert cut == text[: text.find(stop)] == "".join(shown)
    assert complete(opened, ["The"], stop=[stop])[0].ended_by in {"stop", "end", "length"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prompts": ["a", "b"], "seeds": [1]}, "2 prompts and 1 seeds"),
        ({"prompts": "ab"}, "2 prompts"),
        ({"prompts": ["a", "b"], "stream": print}, "stream with 2 prompts"),
        ({"prompts": ["a"], "stop": ["x", ""]}, "empty string"),
        ({"prompts": ["a"], "seeds": [-1]}, "seed = -1"),
        ({"prompts": ["a"], "max_tokens": 0}, "max_tokens = 0"),
    ],
)
def test_nonsense_arguments_are_refused(run, options, said):
    with pytest.raises(ValueError, match=said):
        complete(run, **options)


def test_damaged_weights_are_one_line_and_not_text(run):
    opened = open_run(run)
    with torch.no_grad():
        opened.model.norm.weight[0] = math.nan
    with pytest.raises(FloatingPointError, match="the weights are damaged"):
        generate(opened, prompt="The", max_tokens=3)


def test_generation_stops_at_the_end_of_a_document(run, tokenizer):
    opened = open_run(run)
    with torch.no_grad():
        opened.model.head.weight[EOS] = 100 * opened.model.head.weight[EOS].sign()
    texts = [
        generate(opened, prompt="The", max_tokens=50, seed=s, temperature=2.0) for s in range(8)
    ]
    longer = [
        generate(opened, prompt="The", max_tokens=50, seed=s, temperature=2.0, stop_at_eos=False)
        for s in range(8)
    ]
    assert any(len(one) < len(two) for one, two in zip(texts, longer, strict=True))
    assert all(two.startswith(one) for one, two in zip(texts, longer, strict=True))
    assert all("<|endoftext|>" not in one for one in texts)


def text_run(tmp_path, tokenizer, vocab_size=257):
    from lslm.checkpoint import Run

    return Run(tmp_path, 1, load_config(), random_model(vocab_size).eval(), tokenizer)


def write_text(path, texts):
    import json

    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


PROTOCOLS = ["disjoint", "stride:5", "document", "lm-eval", "hf-stride", "llama.cpp"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_text_scores_as_its_dataset_does(run, data, tmp_path, protocol):
    text = write_text(tmp_path / "text.jsonl", documents(25, seed=1))
    one = evaluate(run, data=text, protocol=protocol)
    other = evaluate(run, data=data, protocol=protocol)
    for name in ("nats", "n_tokens", "n_bytes", "n_chars", "n_words", "n_documents", "loss_error"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12), name
    assert one.n_unscored == other.n_unscored


def test_words_and_characters_are_those_of_the_text(run, tmp_path):
    texts = [" two  words\n", "", "größer – 東京 x", "one"]
    text = write_text(tmp_path / "text.jsonl", texts)
    result = evaluate(run, data=text, protocol="document")
    assert result.n_words == sum(len(text.split()) for text in texts)
    assert result.n_chars == sum(map(len, texts))
    assert result.n_bytes == sum(len(text.encode()) for text in texts)
    assert result.word_perplexity == pytest.approx(math.exp(result.nats / result.n_words))
    import re

    harness = evaluate(run, data=text, protocol="lm-eval")
    # lm-eval splits at white space and counts what is between; the empty text has no token
    assert harness.n_words == sum(len(re.split(r"\s+", text)) for text in texts if text)


def test_bytes_are_those_before_the_normaliser(tmp_path):
    """Decomposed text: the tokens are of NFC, which is shorter."""
    import json
    import unicodedata

    from lslm.data import TokenizedDocument, write_dataset
    from small_data import byte_tokenizer

    byte_tokenizer(tmp_path / "tokenizer.json")
    file = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(file | {"normalizer": {"type": "NFC"}}))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    texts = [unicodedata.normalize("NFD", "Größe überall, à bientôt ") * 3, "plain"]
    raw = sum(len(text.encode()) for text in texts)
    ids = [tokenizer.encode(text) for text in texts]
    assert sum(map(len, ids)) < raw
    run = text_run(tmp_path, tokenizer)
    text = write_text(tmp_path / "text.jsonl", texts)
    items = [
        TokenizedDocument([*one, EOS], len(text.encode()))
        for one, text in zip(ids, texts, strict=True)
    ]
    write_dataset(tmp_path / "set", items, tokenizer=tokenizer, eos_id=EOS)
    for data in (text, tmp_path / "set"):
        for protocol in ("disjoint", "stride:5", "document", "lm-eval"):
            assert evaluate(run, data=data, protocol=protocol).n_bytes == raw
        partly = evaluate(run, data=data, protocol="llama.cpp")
        share = partly.n_tokens / sum(map(len, ids))
        assert partly.n_bytes == pytest.approx(raw * share, rel=0.1)


def test_ill_formed_text_is_counted_as_it_came(run, tokenizer, tmp_path):
    """Read as U+FFFD, of three bytes each, but measured against the bytes of the file."""
    raw = b"good \xff\xfe bad \xe6\x9d and \xef\xbf\xbd itself"
    (tmp_path / "text.txt").write_bytes(raw)
    result = evaluate(run, data=tmp_path / "text.txt")
    assert result.n_bytes == len(raw)
    assert result.n_chars == len(raw.decode("utf-8", "replace"))
    (note,) = result.notes
    assert "3 places not in UTF-8, in 1 document: read as U+FFFD, their bytes" in note
    lslm.tokenize(
        tmp_path / "text.txt",
        output=tmp_path / "data",
        tokenizer=tokenizer,
        validation_fraction=0,
    )
    dataset = lslm.TokenDataset(tmp_path / "data/train")
    assert dataset.document_bytes(0) == dataset.n_bytes == len(raw)
    assert evaluate(run, data=tmp_path / "data/train").n_bytes == len(raw)


def test_ill_formed_values_of_json_count_the_bytes_of_the_text_alone(run, tmp_path):
    value = b"a \xff b"
    line = b'{"note": "\xfe\xfe", "text": "' + value + b'", "last": "\xc3"}\n'
    (tmp_path / "text.jsonl").write_bytes(line)
    document = next(iter(lslm.Corpus(tmp_path / "text.jsonl")))
    assert document.n_bytes == len(value)
    assert pickle.loads(pickle.dumps(document)).n_bytes == len(value)
    assert evaluate(run, data=tmp_path / "text.jsonl").n_bytes == len(value)


def test_the_error_is_clustered_by_document(run, data, tmp_path):
    import json

    import numpy as np

    result = evaluate(run, data=data, per_document=tmp_path / "d.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    x, n, b = (np.array([row[k] for row in rows]) for k in ("nats", "n_tokens", "n_bytes"))
    factor = math.sqrt(len(x) / (len(x) - 1))
    loss = factor * np.sqrt(((x - x.sum() / n.sum() * n) ** 2).sum()) / n.sum()
    bits = factor * np.sqrt(((x - x.sum() / b.sum() * b) ** 2).sum()) / b.sum() / math.log(2)
    assert result.loss_error == pytest.approx(loss, rel=1e-6)
    assert result.bits_per_byte_error == pytest.approx(bits, rel=1e-6)
    assert result.perplexity_error == pytest.approx(loss * result.perplexity, rel=1e-6)


def test_a_bigram_model_has_the_value_that_counting_gives(validation, tokenizer):
    """No layers, one-hot embeddings, and log p(next | last) as the head."""
    import numpy as np

    V, rng = 257, np.random.default_rng(1)
    logits = rng.normal(0, 2, (V, V))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    model = Transformer(
        ModelConfig(vocab_size=V, sequence_length=32, width=V + 1, layers=0, heads=1, qk_norm=False)
    ).double()
    with torch.no_grad():
        model.embedding.weight.zero_()[:, :V].fill_diagonal_(1e6)
        model.norm.weight.fill_((V + 1) ** -0.5)  # the norm of a one-hot vector is √C
        model.head.weight.zero_()[:, :V] = torch.from_numpy(log_p.T)
    ids = [EOS, *validation.tokens(0, validation.n_tokens).tolist()]
    expected = -math.fsum(log_p[a, b] for a, b in itertools.pairwise(ids))
    for protocol in ("disjoint", "stride:7"):
        result = scored(model, validation, tokenizer, protocol)
        assert result.nats == pytest.approx(expected, rel=1e-8)
