"""What a run needs is found before it begins: rows that fit into memory, and its time."""

import logging
import time

import pytest
import torch

from lslm import planning
from lslm.config import load_config
from lslm.model import ModelConfig, Transformer
from lslm.planning import estimate
from lslm.training import memory, probe, train
from lslm.training.memory import fitting_rows, is_out_of_memory

SHAPE = ["device=cpu", "width=32", "layers=1", "heads=2", "sequence_length=32", "batch_size=8"]
SHAPE += ["train.threads=1", "validation_tokens=512", "checkpoint_every=1000"]


@pytest.fixture
def small_memory(monkeypatch):
    """A device on which 3 rows fit, and no more."""
    tried, forward = [], Transformer.forward

    def limited(self, inputs, *arguments, **options):
        tried.append(len(inputs))
        if len(inputs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, inputs, *arguments, **options)

    monkeypatch.setattr(Transformer, "forward", limited)
    return tried


def test_rows_are_halved_until_they_fit_and_the_weights_stay(small_memory, caplog):
    model = Transformer(ModelConfig(vocab_size=20, sequence_length=8, width=16, layers=1, heads=2))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with caplog.at_level(logging.WARNING, "lslm"):
        assert fitting_rows(model, 24, "cpu", "float32") == 3
    assert small_memory == [24, 12, 6, 3]
    assert "24 rows of a micro-batch do not fit into memory: trying 12" in caplog.text
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())
    assert fitting_rows(model, 2, "cpu", "float32") == 2


def test_what_does_not_fit_with_one_row_is_an_error(monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = Transformer(ModelConfig(vocab_size=20, sequence_length=8, width=16, layers=1, heads=2))
    monkeypatch.setattr(Transformer, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        fitting_rows(model, 4, "cpu", "float32")

    def broken(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(memory, "_try_rows", broken)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        fitting_rows(model, 4, "cpu", "float32")


def test_errors_of_memory_are_known_by_class_or_text():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
    )
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_time_is_that_of_steps_and_validations(data, monkeypatch):
    """On a clock that only forward and backward passes and updates move."""
    now = [0.0]
    takes = {"forward": 1.0, "backward": 2.0, "update": 0.5}

    def timed(_device, work):
        value = work()
        kind = "forward" if isinstance(value, torch.Tensor) else "backward"
        kind = "update" if getattr(work, "__name__", "") == "<lambda>" and value is None else kind
        now[0] += takes[kind]
        return value, takes[kind]

    monkeypatch.setattr(probe, "_timed", timed)
    settings = [*SHAPE, f"data={data}", "steps=40", "validate_every=10"]
    plan = estimate(load_config(None, settings))
    assert plan.tokens_per_second == pytest.approx(8 * 32 / 3.5)
    held_out = planning.TokenDataset(f"{data}/validation").n_tokens
    validations = (4 * 512 + held_out) * 1.0 / (8 * 32)
    assert plan.seconds == pytest.approx(40 * 3.5 + validations)
    monkeypatch.setattr(planning, "MAX_TOKENS", 64)  # two of the eight rows are timed
    assert estimate(load_config(None, settings)).tokens_per_second == pytest.approx(256 / 12.5)


@pytest.mark.slow
def test_the_estimate_is_within_a_fifth_of_the_truth(data, tmp_path, monkeypatch):
    """By CPU time of one thread, the closest of three, since other work disturbs it."""
    monkeypatch.setattr(probe.time, "monotonic", time.process_time)
    settings = [*SHAPE, f"data={data}", "width=96", "layers=2", "steps=60", "validate_every=1000"]
    settings += ["threads=1"]
    errors = []
    for attempt in range(3):
        plan = estimate(load_config(None, settings))
        start = time.process_time()
        train(load_config(None, [*settings, f"out={tmp_path / str(attempt)}"]), progress=False)
        errors.append(abs(plan.seconds / (time.process_time() - start) - 1))
    assert min(errors) < 0.2, errors
