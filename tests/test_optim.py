"""Optimizers step for step against torch's; schedules as functions of the step."""

import copy
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lslm import optim
from lslm.model import ModelConfig, Transformer
from lslm.optim import (
    SGD,
    AdamW,
    Muon,
    OptimConfig,
    ScheduleConfig,
    build_optimizers,
    default_newton_schulz_steps,
    learning_rate_factor,
    newton_schulz,
)
from lslm.parallel import Ranks

SHAPES = [(6, 6), (6, 6), (4, 9), (9, 4), (5,), ()]


def follow(make, dtype, shapes=SHAPES, steps=12):
    """The parameters after each of ``steps`` updates with drawn gradients; one is missing at times."""
    generator = torch.Generator().manual_seed(3)
    params = [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]
    optimizer, history = make(params), []
    for step in range(steps):
        for index, p in enumerate(params):
            gradient = torch.randn(p.shape, generator=generator, dtype=dtype)
            p.grad = None if (step + index) % 5 == 0 else gradient
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (step + 1)
        optimizer.step()
        history.append([p.detach().clone() for p in params])
    return history


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_equals_torch(momentum):
    mine = follow(lambda p: SGD(p, momentum=momentum), torch.float64)
    peer = follow(lambda p: torch.optim.SGD(p, lr=0.1, momentum=momentum), torch.float64)
    torch.testing.assert_close(mine, peer)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adamw_equals_torch(fused, decay):
    mine = follow(
        lambda p: AdamW(p, betas=(0.8, 0.95), weight_decay=decay, fused=fused), torch.float64
    )
    peer = follow(
        lambda p: torch.optim.AdamW(p, betas=(0.8, 0.95), weight_decay=decay, foreach=False),
        torch.float64,
    )
    torch.testing.assert_close(mine, peer)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch below 2.9 has no Muon")
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_muon_equals_torch(decay):
    shapes = [(6, 6), (6, 6), (4, 9), (9, 4), (9, 4)]
    mine = follow(
        lambda p: Muon(p, weight_decay=decay, dtype=torch.bfloat16), torch.float32, shapes
    )
    peer = follow(lambda p: torch.optim.Muon(p, weight_decay=decay), torch.float32, shapes)
    torch.testing.assert_close(mine, peer, atol=1e-3, rtol=1e-3)
    wide = follow(lambda p: Muon(p, weight_decay=decay), torch.float32, shapes)
    for exact, rounded in zip(
        wide[0], peer[0], strict=True
    ):  # later steps only add up the roundings
        torch.testing.assert_close(exact, rounded, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("shape", [(3, 8, 5), (2, 4, 16), (1, 30, 6)])
def test_newton_schulz_sets_singular_values_to_one_and_keeps_the_vectors(shape):
    """Also where the products of the small side replace those of the matrix."""
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    a, b, c = 3.4445, -4.7750, 2.0315
    s = s / s.norm(dim=-1, keepdim=True)
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    assert ((s > 0.6) & (s < 1.25)).all()
    result = newton_schulz(matrices)
    torch.testing.assert_close(result, u @ (s[..., None] * vh))
    torch.testing.assert_close(newton_schulz(matrices.mT), result.mT)
    for size in ((1, 3, 4), (1, 3, 9)):
        assert torch.equal(newton_schulz(torch.zeros(size)), torch.zeros(size))
    narrow = newton_schulz(matrices.float())
    torch.testing.assert_close(narrow, result.float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("device", "steps"), [("cpu", 3), ("cuda:1", 5), ("mps", 5)])
def test_newton_schulz_steps_depend_on_the_device(device, steps):
    assert default_newton_schulz_steps(device) == steps


@pytest.mark.parametrize("world_size", [2, 3])
def test_muon_shares_its_work_between_processes(world_size, monkeypatch):
    """Threads in their place: each computes some matrices, and all end as one that works alone."""
    shapes = [(4, 4), (4, 4), (4, 4), (3, 8), (8, 3), (8, 3)]
    barrier, slots, sizes = threading.Barrier(world_size), {}, []

    class Thread(Ranks):
        def gather(self, values):
            slots[self.rank] = values
            barrier.wait(timeout=10)
            gathered = torch.cat([slots[rank] for rank in range(world_size)])
            barrier.wait(timeout=10)
            return gathered

    def counted(matrices, steps):
        sizes.append(len(matrices))
        return newton_schulz(matrices, steps)

    def run(ranks):
        return follow(lambda p: Muon(p, dtype=torch.float64, ranks=ranks), torch.float64, shapes)

    alone = run(None)
    monkeypatch.setattr(optim, "newton_schulz", counted)
    with ThreadPoolExecutor(world_size) as pool:
        together = list(pool.map(run, [Thread(rank, world_size) for rank in range(world_size)]))
    torch.testing.assert_close(together[0], alone)
    for other in together[1:]:
        assert all(map(torch.equal, other[-1], together[0][-1]))
    # a matrix without a gradient is left out, as in one step of five
    assert sum(sizes) == sum((step + k) % 5 != 0 for step in range(12) for k in range(6))


def test_muon_refuses_vectors():
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.zeros(3, requires_grad=True)])


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_is_in_one_group(name, tied):
    model = Transformer(ModelConfig.gpt2(vocab_size=20, width=16, layers=2, heads=2, tied=tied))
    optimizers = build_optimizers(model, OptimConfig(name=name, weight_decay=0.1))
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())
    for group in groups:
        assert (group["weight_decay"] == 0) == (group["params"][0].dim() < 2)
    if name == "muon":
        assert {id(p) for p in optimizers[0].param_groups[0]["params"]} == {
            id(p) for p in model.blocks.parameters() if p.dim() == 2
        }


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
def test_state_survives_saving(name):
    """A copy made from the state dict after three steps goes on exactly as the original."""
    model = Transformer(ModelConfig(vocab_size=20, sequence_length=8, width=16, layers=1, heads=2))
    tokens = torch.arange(18).view(2, 9)

    def go(model, optimizers):
        for _ in range(3):
            model(tokens[:, :-1], tokens[:, 1:]).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()

    optimizers = build_optimizers(model, OptimConfig(name=name))
    go(model, optimizers)
    twin = copy.deepcopy(model)
    others = build_optimizers(twin, OptimConfig(name=name))
    for optimizer, other in zip(optimizers, others, strict=True):
        other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    go(model, optimizers)
    go(twin, others)
    for one, two in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)


def factors(steps, **fields):
    config = ScheduleConfig(**fields)
    return [learning_rate_factor(config, step, steps) for step in range(steps)]


def test_schedules_have_their_shapes():
    assert factors(5, name="constant", warmup_fraction=0) == [1] * 5
    assert factors(4, name="linear", warmup_fraction=0) == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert factors(8, name="wsd", warmup_fraction=0.25, decay_fraction=0.5) == pytest.approx(
        [1 / 3, 2 / 3, 1, 1, 0.8, 0.6, 0.4, 0.2]
    )
    assert factors(3, name="cosine", warmup_fraction=0) == pytest.approx(
        [(1 + math.cos(math.pi * part)) / 2 for part in (0.25, 0.5, 0.75)]
    )
    assert factors(4, name="linear", warmup_fraction=0, final_lr_fraction=0.5) == pytest.approx(
        [0.9, 0.8, 0.7, 0.6]
    )


@given(
    name=st.sampled_from(["constant", "linear", "cosine", "wsd"]),
    steps=st.integers(1, 200),
    warmup=st.floats(0, 1),
    decay=st.floats(0, 1),
    final=st.floats(0, 1),
)
def test_factors_rise_then_fall_and_stay_positive(name, steps, warmup, decay, final):
    result = factors(
        steps, name=name, warmup_fraction=warmup, decay_fraction=decay, final_lr_fraction=final
    )
    rising = round(warmup * steps)
    assert all(0 < factor <= 1 for factor in result)
    assert result[:rising] == sorted(result[:rising])
    assert result[rising:] == sorted(result[rising:], reverse=True)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (OptimConfig, {"lr": -1.0}),
        (OptimConfig, {"lr": math.nan}),
        (OptimConfig, {"betas": (0.9, 1.0)}),
        (OptimConfig, {"momentum": 1.0}),
        (OptimConfig, {"newton_schulz_steps": -1}),
        (ScheduleConfig, {"warmup_fraction": 1.5}),
    ],
)
def test_values_out_of_range_are_refused(kind, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        kind(**changes)
