"""The model side on a CUDA device, against the CPU; skipped without one."""

import json

import pytest
import torch

from lslm import evaluate, generate, train
from lslm.config import load_config
from lslm.loss import IGNORE
from lslm.model import ModelConfig, Transformer
from lslm.optim import OptimConfig, build_optimizers
from lslm.training import train_step
from small_data import write_splits

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA"),
    pytest.mark.filterwarnings("default"),  # torch's compiler warns of itself
]
CONFIGS = {
    "default": ModelConfig(vocab_size=300, sequence_length=64, width=128, layers=2, heads=2),
    "swiglu, grouped": ModelConfig(
        vocab_size=300,
        sequence_length=64,
        width=128,
        layers=2,
        heads=4,
        kv_heads=2,
        activation="swiglu",
    ),
    "gpt2": ModelConfig.gpt2(vocab_size=300, sequence_length=64, width=128, layers=2, heads=2),
}


def drawn(config, device, compiled=False):
    """A model whose every matrix is drawn, on ``device``; equal for equal ``config``."""
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.08)
    if compiled:
        model.compile_layers()
    return model.to(device)


def batch(device):
    ids = torch.randint(300, (8, 65), generator=torch.Generator().manual_seed(0))
    targets = ids[:, 1:].clone()
    targets[0, 3] = targets[5, 60] = IGNORE
    return ids[:, :-1].to(device), targets.to(device)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_loss_and_gradient_equal_those_of_the_cpu(name, compiled):
    losses, gradients = [], []
    for device in ("cpu", "cuda"):
        model = drawn(CONFIGS[name], device, compiled and device == "cuda")
        loss = model(*batch(device))
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten().cpu() for p in model.parameters()]))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert torch.norm(gradients[1] - gradients[0]) < 1e-4 * torch.norm(gradients[0])


@pytest.mark.parametrize("compiled", [False, True])
def test_a_bfloat16_loss_and_gradient_are_near_those_of_the_cpu(compiled):
    exact = drawn(CONFIGS["default"], "cpu")
    exact(*batch("cpu")).backward()
    model = drawn(CONFIGS["default"], "cuda", compiled)
    with torch.autocast("cuda", torch.bfloat16):
        loss = model(*batch("cuda"))
    loss.backward()
    assert loss.item() == pytest.approx(exact(*batch("cpu")).item(), rel=3e-3)
    pairs = zip(exact.parameters(), model.parameters(), strict=True)
    for one, other in pairs:
        assert other.grad.dtype == torch.float32
        assert torch.norm(one.grad - other.grad.cpu()) < 0.05 * torch.norm(one.grad)


def test_chunks_of_a_compiled_loss_equal_one_chunk():
    """A last chunk of another size, an ignored row, and a weight whose gradient is needed."""
    from lslm.loss import linear_cross_entropy

    hidden = torch.randn(1000, 64, device="cuda", requires_grad=True)
    weight = torch.randn(777, 64, device="cuda", requires_grad=True)
    targets = torch.randint(777, (1000,), device="cuda")
    targets[17] = IGNORE
    whole = linear_cross_entropy(hidden, weight, targets, "sum", 1000)
    expected = torch.autograd.grad(whole, (hidden, weight))
    loss = linear_cross_entropy(hidden, weight, targets, "sum", 256, compiled=True)
    torch.testing.assert_close(loss, whole)
    gradients = torch.autograd.grad(loss, (hidden, weight))
    torch.testing.assert_close(gradients, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
def test_steps_move_the_weights_as_on_the_cpu(name):
    moved = []
    for device in ("cpu", "cuda"):
        model = drawn(CONFIGS["default"], device)
        before = torch.cat([p.detach().flatten().cpu().clone() for p in model.parameters()])
        config = OptimConfig(name=name, lr=0.01, weight_decay=0.1, newton_schulz_steps=5)
        optimizers = build_optimizers(model, config)
        for _ in range(3):
            train_step(model, optimizers, *batch(device), micro_batch_size=4, max_grad_norm=1.0)
        after = torch.cat([p.detach().flatten().cpu() for p in model.parameters()])
        moved.append(after - before)
    # Adam moves a weight by the sign of its first gradient, which for some is nothing but rounding
    assert torch.nn.functional.cosine_similarity(*moved, 0) > 0.98
    assert torch.norm(moved[1]) == pytest.approx(torch.norm(moved[0]).item(), rel=0.02)


@pytest.mark.parametrize("compiled", ["false", "true"])
def test_a_run_learns_resumes_and_is_measured(tmp_path, compiled):
    data = write_splits(tmp_path / "data")
    shape = [
        "width=64",
        "layers=2",
        "heads=2",
        "sequence_length=64",
        "batch_size=16",
        "dropout=0.1",
    ]
    wanted = [f"data={data}", *shape, "steps=60", "checkpoint_every=30", f"compile={compiled}"]
    whole = train(load_config(None, [*wanted, f"out={tmp_path / 'whole'}"]))
    first = train(load_config(None, [*wanted, f"out={tmp_path / 'half'}", "stop_after=30"]))
    assert first.step == 30
    resumed = train(load_config(None, [f"out={tmp_path / 'half'}", "stop_after=60"]), resume=True)
    assert whole.loss < 2.5  # from ln 257 = 5.5
    assert resumed.step == whole.step == 60
    assert resumed.loss == pytest.approx(whole.loss, rel=0.03)  # sums on a GPU have no fixed order
    on_gpu = evaluate(tmp_path / "whole", device="cuda")
    on_cpu = evaluate(tmp_path / "whole", device="cpu")
    assert on_gpu.n_tokens == on_cpu.n_tokens
    assert on_gpu.bits_per_byte == pytest.approx(on_cpu.bits_per_byte, rel=0.01)
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    validated = [row for row in map(json.loads, lines) if "validation_loss" in row]
    best = min(row["validation_bits_per_byte"] for row in validated)
    assert on_gpu.bits_per_byte == pytest.approx(best, rel=1e-3)
    greedy = [
        generate(tmp_path / "whole", prompt="The ant ", max_tokens=20, temperature=0, device=device)
        for device in ("cuda", "cpu")
    ]
    assert greedy[0].startswith(greedy[1][:5])
