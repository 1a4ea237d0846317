"""Generation: the cache changes nothing, the seed decides, the filters keep what they say."""

import collections
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lslm.generation import generate_ids, sample
from lslm.model import ModelConfig, Transformer


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def random_model(**changes):
    config = ModelConfig(
        **{"vocab_size": 40, "sequence_length": 12, "width": 16, "layers": 2, "heads": 4} | changes
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.5)
    return model


@pytest.mark.parametrize(
    "changes",
    [{}, {"kv_heads": 2}, {"positions": "learned", "norm": "layer"}, {"sequence_length": 1}],
    ids=str,
)
@pytest.mark.parametrize("prompt", [[3], list(range(11)), list(range(30))], ids=len)
def test_the_cache_changes_no_token(changes, prompt):
    """Also past the model's length, where the context is cut."""
    model = random_model(**changes)
    cached = list(generate_ids(model, prompt, max_tokens=40))
    assert cached == list(generate_ids(model, prompt, max_tokens=40, cached=False))
    assert len(set(cached)) > 1


def test_generation_follows_the_largest_logit_of_the_whole_context():
    model = random_model()
    ids = [5, 6]
    for token in generate_ids(model, ids, max_tokens=8):
        assert token == model(torch.tensor([ids]))[0, -1].argmax()
        ids.append(token)
    assert model.training


def test_empty_ids_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        next(generate_ids(random_model(), [], max_tokens=1))


def draw(n, logits, **options):
    generator = torch.Generator().manual_seed(0)
    return collections.Counter(sample(logits, generator=generator, **options) for _ in range(n))


def test_samples_follow_the_probabilities():
    odds = torch.tensor([0.1, 0.5, 0.15, 0.25])
    counts = draw(4000, odds.log())
    for token, p in enumerate(odds.tolist()):
        assert abs(counts[token] / 4000 - p) < 4 * math.sqrt(p * (1 - p) / 4000)
    sharp = odds**2 / (odds**2).sum()
    assert abs(draw(4000, odds.log(), temperature=0.5)[1] / 4000 - sharp[1].item()) < 0.04


def test_filters_keep_the_most_likely():
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log()
    assert set(draw(200, logits, top_k=2)) == {1, 3}
    assert set(draw(200, logits, top_p=0.5)) == {1}
    assert set(draw(200, logits, top_p=0.51)) == {1, 3}
    assert set(draw(200, logits, top_p=0.0001)) == {1}
    assert set(draw(200, logits, top_k=3, top_p=0.9)) == {1, 2, 3}
    assert set(draw(20, logits, temperature=0)) == {1}


@settings(deadline=None)
@given(
    logits=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20),
    temperature=st.floats(0, 100),
    top_k=st.none() | st.integers(1, 30),
    top_p=st.floats(0.001, 1),
)
def test_any_logits_give_a_token_that_passes_the_filters(logits, temperature, top_k, top_p):
    token = sample(torch.tensor(logits), temperature=temperature, top_k=top_k, top_p=top_p)
    ranked = sorted(torch.tensor(logits).tolist(), reverse=True)
    assert torch.tensor(logits)[token].item() >= ranked[min(top_k or len(logits), len(logits)) - 1]


@pytest.mark.parametrize(
    "options", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        sample(torch.zeros(3), **options)
