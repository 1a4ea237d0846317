"""Generation: the cache changes nothing, the seed decides, the filters keep what they say."""

import collections
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lslm.decoding import Decoder
from lslm.generation import Text, generate_ids, sample
from lslm.model import ModelConfig, Transformer
from lslm.next_token import Sampling
from lslm.shortlist import Shortlist


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
    [
        {},
        {"kv_heads": 2, "bias": True},
        {"positions": "learned", "norm": "layer", "heads": 2, "activation": "gelu"},
        {"sequence_length": 1},
        {"head_size": 6, "qk_norm_weight": True, "activation": "swiglu", "kv_heads": 1},
        {"rope_scaling": "linear", "rope_factor": 3.0, "qk_norm": False, "tied": True},
    ],
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
    "options",
    [{"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.1}, {"min_p": math.nan}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        sample(torch.zeros(3), **options)


SHAPES = [
    {},
    {"kv_heads": 2, "activation": "swiglu"},
    {"token_shift": True, "rope_fraction": 0.5, "bigram_rows": 50},
]


@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_the_decoder_computes_the_logits_of_the_whole_context(changes):
    model = random_model(**changes).double().eval()
    decoder, ids = Decoder(model, n_ids=37), [5, 1, 9]
    sequence, hidden = decoder.start(ids, 10)
    for token in (3, 8, 8, 1):
        whole = model(torch.tensor([ids]), n_ids=37)[0, -1]
        ((logits, of),) = decoder.logits([hidden], [None])
        assert of is None
        torch.testing.assert_close(logits, whole)
        ids.append(token)
        (hidden,) = decoder.step([sequence], [token])


def test_rows_of_a_batch_are_bit_for_bit_what_they_are_alone():
    model = random_model(vocab_size=700, width=64, heads=4, sequence_length=40).eval()
    decoder, prompts = Decoder(model), [[1], list(range(30)), [7, 7, 600], [5] * 9]
    together = [decoder.start(ids, 40) for ids in prompts]
    for step in range(8):
        tokens = [step, 2 * step, 3, 699]
        hidden = decoder.step([sequence for sequence, _ in together], tokens)
        logits = decoder.logits(hidden, [None, 5, None, 5])
        for k, ids in enumerate(prompts):
            sequence, alone = decoder.start(ids, 40)
            for earlier in range(step + 1):
                (alone,) = decoder.step([sequence], [[earlier, 2 * earlier, 3, 699][k]])
            assert torch.equal(hidden[k], alone)
            assert torch.equal(logits[k][0], decoder.logits([alone], [[None, 5][k % 2]])[0][0])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("k", [1, 7, 60])
def test_the_shortlist_has_the_most_likely_ids(seed, k):
    """Also where rows differ in size by 10^6, are zero, or equal each other."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(1000, 48, generator=generator)
    weight *= 10 ** torch.randn(1000, 1, generator=generator).clamp(-3, 3)
    weight[5], weight[17] = 0, weight[900]
    shortlist = Shortlist(weight)
    for size in (1e-3, 1.0, 50.0):
        x = size * torch.randn(48, generator=generator)
        logits, ids = shortlist.logits(x, k)
        exact = weight.double() @ x.double()
        wanted = exact.topk(k).values
        assert (ids.diff() > 0).all()
        rounding = 1e-5 * (weight.abs() @ x.abs())[ids]
        assert ((logits - exact[ids]).abs() <= rounding).all()
        assert torch.equal(exact[ids].topk(k).values, wanted)
        assert len(ids) < 1000


@pytest.mark.parametrize("sampling", [Sampling(temperature=0), Sampling(top_k=9, top_p=0.9)])
def test_the_shortlist_changes_no_token(sampling, monkeypatch):
    model, found = random_model(vocab_size=700, width=64, sequence_length=64), []
    for pays in (False, True):
        monkeypatch.setattr(Shortlist, "pays", lambda *_, pays=pays: pays)
        found.append(list(generate_ids(model, [3], max_tokens=60, sampling=sampling)))
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


def test_a_damaged_head_is_found_through_the_shortlist():
    weight = torch.randn(1000, 48)
    weight[7, 3] = math.nan
    logits, ids = Shortlist(weight).logits(torch.randn(48), 2)
    with pytest.raises(FloatingPointError):
        Sampling(temperature=0).choose(logits, of=ids)


def naive_odds(logits, *, temperature, top_k, top_p, min_p):
    """Return the probability of each id by sorting everything, in Python's floats."""
    largest = max(logits)
    order = sorted(range(len(logits)), key=lambda i: -logits[i])[: top_k or len(logits)]
    odds = {i: math.exp((logits[i] - largest) / temperature) for i in order}
    total = sum(odds.values())
    odds = {i: p / total for i, p in odds.items() if p >= min_p * max(odds.values())}
    total, before, kept = sum(odds.values()), 0.0, {}
    for i, p in odds.items():
        if before < top_p * total:
            kept[i] = p
        before += p
    return kept


@settings(max_examples=60)
@given(
    seed=st.integers(0, 999),
    n=st.integers(1, 600),
    temperature=st.floats(0.2, 3),
    top_k=st.none() | st.integers(1, 700),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
)
def test_the_filters_keep_what_sorting_everything_keeps(seed, n, temperature, top_k, top_p, min_p):
    logits = torch.randn(n, generator=torch.Generator().manual_seed(seed)) * 3
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    kept = naive_odds(logits.double().tolist(), **options)
    generator = torch.Generator().manual_seed(seed)
    drawn = {sample(logits, generator=generator, **options) for _ in range(30)}
    assert drawn <= set(kept)
    if len(kept) == 1:
        assert drawn == set(kept)


def test_a_uniform_number_decides_the_token():
    """The first id whose cumulative probability is above it: the definition, by a loop."""
    odds = torch.rand(50, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for seed in range(40):
        u = torch.rand(
            (), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        ).item()
        token, total = 0, odds[0].item()
        while total <= u * odds.sum().item():
            token += 1
            total += odds[token].item()
        generator = torch.Generator().manual_seed(seed)
        assert sample(odds.log(), generator=generator) == token


def test_a_repetition_penalty_makes_what_occurred_less_likely():
    logits = torch.tensor([3.0, 2.9, -1.0, -1.1])
    greedy = Sampling(temperature=0, repetition_penalty=1.5)
    assert greedy.choose(logits, occurred=[]) == 0
    assert greedy.choose(logits, occurred=[0, 0]) == 1
    assert greedy.choose(logits[2:], occurred=[0]) == 1
    assert logits.tolist() == pytest.approx([3.0, 2.9, -1.0, -1.1])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_numbers_are_an_error(bad):
    with pytest.raises(FloatingPointError, match="the weights are damaged"):
        sample(torch.tensor([0.0, bad, 1.0]))
    with pytest.raises(FloatingPointError, match="largest logit is -inf"):
        sample(torch.full((3,), -math.inf), temperature=0)


class _Pieces:
    """A decoder whose ids are pieces of text."""

    def __init__(self, pieces):
        self.pieces = pieces

    def decoder(self):
        return self

    def push(self, token):
        return self.pieces[token]

    def finish(self):
        return ""


@given(
    text=st.text("ab\n", max_size=30),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=12),
)
def test_stop_strings_are_found_across_tokens(text, stops, cuts):
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[i:j] for i, j in itertools.pairwise(places)]
    shown = []
    row = Text(
        [],
        _Pieces(pieces),
        max_tokens=len(pieces),
        sampling=Sampling(),
        stops=tuple(stops),
        stream=shown.append,
    )
    for token in range(len(pieces)):
        if row.is_open:
            row.push(token)
    # the text ends at the token with which a stop string is whole, before the first one in it
    seen = "".join(pieces[: row.n_tokens])
    found = [at for at in map(seen.find, stops) if at >= 0]
    assert row.text == (seen[: min(found)] if found else text) == "".join(shown)
    assert (row.ended_by == "stop") == bool(found)
