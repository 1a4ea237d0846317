"""What a run tells: rows for a caller's function and for other tools, and what its bits depend on."""

import json
import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from lslm import checkpoint
from lslm.config import load_config
from lslm.loss import linear_cross_entropy
from lslm.training import environment, train

SHAPE = ["device=cpu", "width=16", "layers=1", "heads=2", "sequence_length=16", "batch_size=4"]
SHAPE += ["train.threads=1", "validation_tokens=128"]


def config(data, out, *changes):
    return load_config(None, [*SHAPE, f"data={data}", f"out={out}", *changes])


def test_a_function_gets_every_row_of_the_metrics(data, tmp_path):
    rows = []
    train(config(data, tmp_path, "steps=4", "validate_every=2"), on_metrics=rows.append)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert rows == [json.loads(line) for line in lines]
    told = {"loss", "gradient_norm", "lr", "tokens", "tokens_per_second", "data_seconds"}
    assert told < rows[0].keys()
    assert rows[0]["memory_bytes"] > 50e6  # torch alone needs more


def test_the_share_of_the_peak_is_tokens_times_flops_by_peak(data, tmp_path, monkeypatch):
    monkeypatch.setattr("lslm.training.loop.peak_flops", lambda *_: 1e12)
    rows = []
    train(config(data, tmp_path, "steps=2"), on_metrics=rows.append)
    flops = checkpoint.open_run(tmp_path).model.flops_per_token()
    share = rows[0]["tokens_per_second"] * flops / 1e12
    assert rows[0]["peak_share"] == pytest.approx(share)


def test_a_peak_is_known_by_the_name_of_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB HBM3")
    assert environment.peak_flops("cuda:0", "bfloat16") == 989e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 PCIe")
    assert environment.peak_flops("cuda:0", "bfloat16") == 756e12
    assert environment.peak_flops("cuda:0", "float32") is None
    assert environment.peak_flops("cpu", "bfloat16") is None


@pytest.fixture
def tools(monkeypatch):
    """TensorBoard and wandb that keep what they get."""
    board, wandb, kept = ModuleType("torch.utils.tensorboard"), ModuleType("wandb"), []

    class SummaryWriter:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, name, value, step):
            kept.append((self.folder.name, name, value, step))

        def flush(self):
            pass

    def init(**options):
        kept.append(options)
        return SimpleNamespace(log=lambda row, step: kept.append(("wandb", row, step)))

    board.SummaryWriter, wandb.init = SummaryWriter, init
    for name, module in (("torch.utils.tensorboard", board), ("wandb", wandb)):
        monkeypatch.setitem(sys.modules, name, module)
    found = lambda name: None if name == "absent" else object()  # noqa: E731
    monkeypatch.setattr("lslm.training.loggers.importlib.util.find_spec", found)
    return kept


def test_tensorboard_and_wandb_get_the_figures(data, tmp_path, tools):
    run = tmp_path / "run"
    train(config(data, run, "steps=2", "loggers=tensorboard, wandb"))
    options = next(item for item in tools if isinstance(item, dict))
    assert (options["project"], options["name"]) == ("lslm", "run")
    assert options["config"]["model.width"] == 16
    losses = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in (row for row in losses if "loss" in row):
        assert ("tensorboard", "loss", row["loss"], row["step"]) in tools
    logged = [item for item in tools if isinstance(item, tuple) and item[0] == "wandb"]
    assert [step for _, row, step in logged if "loss" in row] == [1, 2]


def test_a_tool_that_is_not_installed_is_named_before_the_run_begins(data, tmp_path, monkeypatch):
    monkeypatch.setattr("lslm.training.loggers.importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"train\.loggers: wandb is not installed: pip install"):
        train(config(data, tmp_path / "run", "steps=2", "loggers=wandb"))
    with pytest.raises(ValueError, match="'mlflow' is unknown: choose tensorboard or wandb"):
        train(config(data, tmp_path / "run", "steps=2", "loggers=mlflow"))
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_says_from_where_it_is_not_bit_exact(data, tmp_path, caplog, monkeypatch):
    train(config(data, tmp_path, "steps=6", "stop_after=2"))
    with caplog.at_level(logging.WARNING, "lslm"):
        train(config(data, tmp_path, "stop_after=4"), resume=True)
        assert not caplog.text
        monkeypatch.setattr(torch, "__version__", "9.9.9")
        train(config(data, tmp_path, "stop_after=6", "micro_batch_size=2"), resume=True)
    assert "not bit-exact from step 4 on: micro_batch_size 0 → 2, torch " in caplog.text
    state = checkpoint.read_state(checkpoint.find_checkpoint(tmp_path))
    assert state["environment"]["torch"] == "9.9.9"


def test_a_factor_of_a_bfloat16_gradient_is_not_rounded():
    """1 / 1200 in bfloat16 is 0.2 % short, and so was every gradient below the head."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1200, 32, generator=generator)
    weight = torch.randn(50, 32, generator=generator)
    targets = torch.randint(50, (1200,), generator=generator)
    gradients = []
    for dtype in (torch.bfloat16, torch.float32):
        rows = hidden.to(torch.bfloat16).to(dtype).requires_grad_()
        loss = linear_cross_entropy(rows, weight.to(torch.bfloat16).to(dtype), targets, "sum")
        (loss * torch.tensor(1 / 1200)).backward()
        gradients.append(rows.grad.float())
    narrow, exact = gradients
    assert (narrow * exact).sum() / exact.square().sum() == pytest.approx(1, abs=3e-4)
