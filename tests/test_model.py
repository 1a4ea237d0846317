"""The model against a second implementation in float64, written from the formulas alone."""

import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lslm import by_hand
from lslm.loss import IGNORE, linear_cross_entropy
from lslm.model import Cache, ModelConfig, Transformer, attention, cross_entropy

SMALL = {"vocab_size": 13, "sequence_length": 6, "width": 8, "layers": 2, "heads": 2}
SHAPES = {
    "default": ModelConfig(**SMALL),
    "grouped, swiglu": ModelConfig(**SMALL | {"heads": 4}, kv_heads=2, activation="swiglu"),
    "no qk_norm, tied": ModelConfig(**SMALL, qk_norm=False, tied=True, hidden=12),
    "gpt2": ModelConfig.gpt2(**SMALL),
    "wide heads, learned qk_norm, llama3": ModelConfig(
        **SMALL, head_size=6, kv_heads=1, norm_eps=0.01, qk_norm_weight=True, rope_base=100.0,
        rope_scaling="llama3", rope_factor=3.0, rope_original_length=12, rope_low=0.5, rope_high=1.5,
    ),
    "biases of q, k and v, linear": ModelConfig(
        **SMALL, head_size=2, qk_norm=False, qkv_bias=True, rope_scaling="linear", rope_factor=2.0
    ),
    "narrow gpt2": ModelConfig.gpt2(**SMALL, head_size=3, norm_eps=0.1),
    "token shift, half of a head rotated": ModelConfig(**SMALL, token_shift=True, rope_fraction=0.5),
    "bigrams": ModelConfig(**SMALL, bigram_rows=11),
}  # fmt: skip


def drawn(config, seed=0):
    """A float64 model with no parameter at zero, so that every gradient says something."""
    model = Transformer(config).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=0.3)
    return model


def naive_loss(config, weights, inputs, targets):  # noqa: C901  (every kind of model, by loops)
    """Return the mean loss by loops over sequences, positions and heads, in numpy float64."""

    def norm(x, name):
        if config.norm == "rms":
            eps = config.norm_eps or 1e-6
            return x / math.sqrt((x @ x) / len(x) + eps) * weights[f"{name}.weight"]
        centred = x - x.mean()
        scaled = centred / math.sqrt((centred @ centred) / len(x) + (config.norm_eps or 1e-5))
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x, name):
        return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", 0.0)

    def unit(x, name):
        if not config.qk_norm:
            return x
        eps = config.norm_eps or np.finfo(np.float64).eps
        return x / math.sqrt((x @ x) / len(x) + eps) * weights.get(f"{name}_norm.weight", 1.0)

    def angle(pair, pairs):
        per_position = config.rope_base ** (-pair / pairs)
        if config.rope_scaling == "none":
            return per_position
        slow = per_position / config.rope_factor
        if config.rope_scaling == "linear":
            return slow
        turns = config.rope_original_length / (2 * math.pi / per_position)
        if turns < config.rope_low:
            return slow
        if turns > config.rope_high:
            return per_position
        share = (turns - config.rope_low) / (config.rope_high - config.rope_low)
        return (1 - share) * slow + share * per_position

    def shifted(zs, layer, part):
        if not config.token_shift:
            return zs
        weight = weights[f"blocks.{layer}.shifts.{part}.weight"]
        return [z + weight * before for z, before in zip(zs, [np.zeros_like(zs[0]), *zs])]  # noqa: B905

    def turn(x, position):
        if config.positions != "rope":
            return x
        pairs = len(x) // 2
        turned = round(config.rope_fraction * pairs)
        per_position = [angle(pair, turned) if pair < turned else 0.0 for pair in range(pairs)]
        angles = position * np.array(per_position)
        z = (x[:pairs] + 1j * x[pairs:]) * np.exp(1j * angles)
        return np.concatenate([z.real, z.imag])

    def hidden(x, name):
        up = linear(x, f"{name}.up")
        if config.activation == "swiglu":
            gate = linear(x, f"{name}.gate")
            up = gate / (1 + np.exp(-gate)) * up
        elif config.activation == "relu2":
            up = np.maximum(up, 0) ** 2
        else:
            up = 0.5 * up * (1 + np.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
        return linear(up, f"{name}.down")

    size = config.head_size or config.width // config.heads
    groups = config.heads // (config.kv_heads or config.heads)
    head = weights["embedding.weight" if config.tied else "head.weight"]
    losses = []
    for row, target_row in zip(inputs, targets, strict=True):
        xs = [weights["embedding.weight"][token] for token in row]
        if config.bigram_rows:
            table = weights["bigrams.table.weight"]
            pairs = [int(b) * config.vocab_size + int(i) for b, i in zip([0, *row], row)]  # noqa: B905
            rows = [pair * 2654435769 % 2**32 * len(table) // 2**32 for pair in pairs]
            assert len(set(rows)) > 1
            xs = [x + table[k] for x, k in zip(xs, rows, strict=True)]
        if config.positions == "learned":
            xs = [x + weights["positions.weight"][i] for i, x in enumerate(xs)]
        for layer in range(config.layers):
            name = f"blocks.{layer}"
            zs = shifted([norm(x, f"{name}.attention_norm") for x in xs], layer, 0)
            q, k, v = (
                [linear(z, f"{name}.attention.{part}") for z in zs]
                for part in ("query", "key", "value")
            )
            new = []
            for i, x in enumerate(xs):
                mixed = []
                for h in range(config.heads):
                    mine = slice(h * size, (h + 1) * size)
                    shared = slice(h // groups * size, (h // groups + 1) * size)
                    query = turn(unit(q[i][mine], f"{name}.attention.query"), i)
                    keys = [unit(k[j][shared], f"{name}.attention.key") for j in range(i + 1)]
                    scores = np.array([query @ turn(key, j) for j, key in enumerate(keys)])
                    odds = np.exp(scores / math.sqrt(size))
                    mixed.append(sum(p * v[j][shared] for j, p in enumerate(odds / odds.sum())))
                new.append(x + linear(np.concatenate(mixed), f"{name}.attention.output"))
            zs = shifted([norm(x, f"{name}.feed_forward_norm") for x in new], layer, 1)
            xs = [x + hidden(z, f"{name}.feed_forward") for x, z in zip(new, zs, strict=True)]
        for x, target in zip(xs, target_row, strict=True):
            logits = head @ norm(x, "norm")
            losses.append(math.log(np.exp(logits).sum()) - logits[target])
    return sum(losses) / len(losses)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_loss_and_gradients_equal_the_naive_implementation(config):
    model = drawn(config)
    rng = np.random.default_rng(1)
    inputs, targets = rng.integers(0, config.vocab_size, (2, 2, config.sequence_length))
    loss = model(torch.tensor(inputs), torch.tensor(targets))
    loss.backward()
    weights = {name: p.detach().numpy().copy() for name, p in model.named_parameters()}
    assert loss.item() == pytest.approx(naive_loss(config, weights, inputs, targets), abs=1e-9)
    for name, parameter in model.named_parameters():
        used = parameter.grad.flatten().nonzero().flatten().numpy()
        for index in rng.choice(used, 3):
            flat, step, losses = weights[name].reshape(-1), 1e-5, []
            kept = flat[index]
            for moved in (kept + step, kept - step):
                flat[index] = moved
                losses.append(naive_loss(config, weights, inputs, targets))
            flat[index] = kept
            slope = (losses[0] - losses[1]) / (2 * step)
            assert parameter.grad.flatten()[index].item() == pytest.approx(slope, abs=2e-7), name


def test_linear_cross_entropy_equals_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (3, 7), generator=generator)
    targets[0, 2] = targets[2, 6] = IGNORE
    for reduction in ("mean", "sum"):
        whole = cross_entropy(hidden @ weight.T, targets, reduction)
        expected = torch.autograd.grad(whole, (hidden, weight))
        for rows in (1, 4, 21, 100):
            loss = linear_cross_entropy(hidden, weight, targets, reduction, rows)
            torch.testing.assert_close(loss, whole)
            torch.testing.assert_close(
                torch.autograd.grad(3 * loss, (hidden, weight)), tuple(3 * g for g in expected)
            )
    each = cross_entropy(hidden @ weight.T, targets, "none").detach()
    torch.testing.assert_close(linear_cross_entropy(hidden, weight, targets, "none", 4), each)
    assert each[0, 2] == each[2, 6] == 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_equals_torch(reduction):
    logits, targets = torch.randn(4, 9, 17) * 5, torch.randint(17, (4, 9))
    targets[1, 1] = IGNORE
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction=reduction, ignore_index=IGNORE
    )
    result = cross_entropy(logits, targets, reduction)
    torch.testing.assert_close(result.flatten() if reduction == "none" else result, expected)
    assert cross_entropy(logits.bfloat16(), targets).dtype == torch.float32


@pytest.mark.parametrize("eps", [None, 0.01])
@pytest.mark.parametrize("has_weight", [False, True])
def test_gradients_by_hand_equal_torch(has_weight, eps):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 5, 4, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, generator=generator, dtype=torch.float64) if has_weight else None
    weights = [weight.requires_grad_()] if has_weight else []
    grad = torch.randn(3, 4, 5, 6, generator=generator, dtype=torch.float64)
    results = []
    for norm, square in (
        (by_hand.rms_norm, by_hand.squared_relu),
        (lambda x, w, e: torch.nn.functional.rms_norm(x, (6,), w, e), lambda x: x.relu() ** 2),
    ):
        x = values.clone().requires_grad_()
        y = square(norm(x.transpose(1, 2), weight, eps))  # as queries are: not contiguous
        results.append((y, *torch.autograd.grad(y, [x, *weights], grad)))
    assert results[0][0].grad_fn.name().startswith("_SquaredReLU")
    torch.testing.assert_close(results[0], results[1])


@settings(max_examples=30)
@given(
    T=st.integers(1, 6),
    past=st.integers(0, 5),
    kv=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_fused_attention_equals_the_formula(T, past, kv, seed):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(2, 4, T, 6, generator=generator)
    key, value = torch.randn(2, 2, kv, T + past, 6, generator=generator)
    fast, slow = (attention(query, key, value, fused=fast) for fast in (True, False))
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    row = torch.softmax(key[0, 0] @ query[0, 0, -1] / math.sqrt(6), 0) @ value[0, 0]
    torch.testing.assert_close(slow[0, 0, -1], row, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_no_position_sees_a_later_one(config):
    model = drawn(config)
    inputs = torch.arange(6)[None]
    before = model(inputs)
    changed = inputs.clone()
    changed[0, 4] = 9
    after = model(changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_cache_gives_the_same_logits(config):
    model = drawn(config)
    inputs = torch.tensor([[1, 5, 2, 12, 0, 3], [4, 4, 7, 8, 1, 11]])
    whole = model(inputs)
    cache = Cache(config.sequence_length)
    parts = [
        model(part, cache=cache)
        for part in (inputs[:, :1], inputs[:, 1:4], inputs[:, 4:5], inputs[:, 5:])
    ]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    with pytest.raises(ValueError, match="7 positions"):
        model(inputs[:, :1], cache=cache)


def test_the_loss_at_initialisation_is_that_of_a_uniform_model():
    config = ModelConfig(vocab_size=300, sequence_length=16, width=32, layers=2, heads=2)
    tokens = torch.randint(300, (4, 17))
    loss = Transformer(config)(tokens[:, :-1], tokens[:, 1:])
    assert loss.item() == pytest.approx(math.log(300), abs=1e-6)
    gpt2 = Transformer(ModelConfig.gpt2(vocab_size=300, width=32, layers=2, heads=2))
    assert gpt2(tokens[:, :-1], tokens[:, 1:]).item() == pytest.approx(math.log(300), abs=0.05)


def test_initial_weights_depend_on_the_seed_only():
    config = SHAPES["gpt2"]
    torch.manual_seed(1)
    first = Transformer(config, seed=5).state_dict()
    torch.manual_seed(2)
    second, other = (
        Transformer(config, seed=5).state_dict(),
        Transformer(config, seed=6).state_dict(),
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])
    assert not first["blocks.0.attention.query.bias"].any()


def test_parameters_and_flops_equal_the_published_counts():
    with torch.device("meta"):
        assert Transformer(ModelConfig.gpt2()).n_parameters() == 124_439_808
        medium = ModelConfig.gpt2(width=1024, layers=24, heads=16)
        assert Transformer(medium).n_parameters() == 354_823_168
        model = Transformer(ModelConfig(vocab_size=100, sequence_length=32, width=64, layers=3))
    assert model.n_parameters() == 2 * 100 * 64 + 3 * (12 * 64**2 + 2 * 64) + 64
    assert model.flops_per_token() == 6 * (100 * 64 + 3 * 12 * 64**2) + 12 * 3 * 64 * 32


def test_one_batch_can_be_overfitted():
    config = ModelConfig(vocab_size=50, sequence_length=16, width=32, layers=2, heads=2)
    model = Transformer(config)
    tokens = torch.randint(50, (4, 17), generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(60):
        loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 10, "heads": 4}, "width"),
        ({"width": 12, "heads": 4}, "even size"),
        ({"head_size": 3}, "head_size"),
        ({"norm_eps": -1.0}, "norm_eps"),
        ({"rope_base": 0.0}, "rope_base"),
        ({"rope_fraction": 1.5}, "rope_fraction"),
        ({"rope_fraction": 0.5, "positions": "learned"}, "rope_fraction = 0.5 has no effect"),
        ({"rope_factor": 2.0}, "no effect without model.rope_scaling"),
        ({"rope_scaling": "llama3", "rope_factor": 2.0}, "rope_original_length"),
        ({"rope_scaling": "llama3", "rope_original_length": 9, "rope_low": 4.0}, "rope_low"),
        ({"heads": 4, "kv_heads": 3}, "kv_heads"),
        ({"layers": -1}, "layers"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_impossible_shapes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(vocab_size=10, **changes)


def test_a_model_without_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocab_size"):
        Transformer(ModelConfig())


@pytest.mark.slow  # compiles C++ for half a minute, where the compiler's cache is empty
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
@pytest.mark.filterwarnings("default")  # torch's compiler warns of itself
def test_compiled_layers_and_loss_equal_the_eager_ones():
    config = ModelConfig(vocab_size=50, sequence_length=16, width=32, layers=2, heads=4, kv_heads=2)
    tokens = torch.randint(50, (4, 17), generator=torch.Generator().manual_seed(0))
    targets = tokens[:, 1:].clone()
    targets[1, 3] = IGNORE
    results = []
    for compiled in (False, True):
        model = drawn(config).float()
        if compiled:
            model.compile_layers()
        loss = model(tokens[:, :-1], targets)
        loss.backward()
        results.append((loss, torch.cat([p.grad.flatten() for p in model.parameters()])))
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)


def test_bfloat16_is_near_float32_and_its_gradients_stay_float32():
    config = ModelConfig(vocab_size=50, sequence_length=16, width=32, layers=2, heads=4, kv_heads=2)
    model = drawn(config).float()
    tokens = torch.randint(50, (4, 17), generator=torch.Generator().manual_seed(0))
    results = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        results.append((loss, gradient))
    (exact, gradient), (rounded, narrow) = results
    assert exact.dtype == rounded.dtype == narrow.dtype == torch.float32
    assert rounded.item() != exact.item()
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0.02)
    assert torch.nn.functional.cosine_similarity(gradient, narrow, 0) > 0.99
