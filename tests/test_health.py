"""Runs that are sick say so; a step that is not sound never counts, by each policy; faults are injected."""

import json
import logging
import math

import pytest
import torch

from lslm import checkpoint
from lslm.config import load_config
from lslm.data import TokenLoader
from lslm.model import ModelConfig, Transformer
from lslm.optim import SGD, AdamW, Muon, build_optimizers, learning_rate_factor
from lslm.training import health, loop, train, train_step
from lslm.training.health import Health, WeightSample

SHAPE = ["device=cpu", "width=16", "layers=1", "heads=2", "sequence_length=16", "batch_size=4"]
SHAPE += ["train.threads=1", "validation_tokens=128", "validate_every=1000"]


def config(data, out, *changes):
    return load_config(None, [*SHAPE, f"data={data}", f"out={out}", *changes])


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def weights(run):
    return (checkpoint.find_checkpoint(run) / "model.safetensors").read_bytes()


@pytest.fixture
def faults(monkeypatch):
    """Multiply the loss of some batches, numbered from 1 in the order of the data."""
    launch, factors = loop._launch, {}

    def faulty(run, batch, limits):
        factor = factors.get(run.loader.n_samples // run.config.train.batch_size, 1.0)
        handle = run.model.register_forward_hook(lambda _, __, loss: loss * factor)
        values = launch(run, batch, limits)
        handle.remove()
        return values

    monkeypatch.setattr(loop, "_launch", faulty)
    return factors


def by_hand(data, out, made, *changes):
    """Train on the batches ``made``, by their numbers; None is a step without an update."""
    settings = config(data, out, *changes, "vocab_size=257", "newton_schulz_steps=3")
    model = Transformer(settings.model, settings.train.seed)
    optimizers = build_optimizers(model, settings.optim)
    loader = TokenLoader(
        f"{data}/train", batch_size=4, sequence_length=16, seed=settings.train.seed
    )
    batches = [next(loader) for _ in range(max(filter(None, made)))]
    for step, number in enumerate(made):
        factor = learning_rate_factor(settings.schedule, step, len(made))
        loop.set_learning_rates(optimizers, factor)
        if number is not None:
            train_step(model, optimizers, *batches[number - 1])
    return model.state_dict()


def assert_weights(run, expected):
    model = checkpoint.open_run(run, "last").model.state_dict()
    assert model.keys() == expected.keys()
    assert all(torch.equal(model[name], expected[name]) for name in model)


# -- policies --------------------------------------------------------------------------------------


def test_stop_ends_the_run_before_the_update_and_keeps_the_last_checkpoint(data, tmp_path, faults):
    run = tmp_path / "run"
    faults[7] = math.nan
    with pytest.raises(FloatingPointError, match=r"step 7 of .*run: loss nan.*before the update"):
        train(config(data, run, "steps=12", "checkpoint_every=2"))
    assert checkpoint.find_checkpoint(run).name == "step-000006"
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 4, 5, 6]
    faults.clear()
    result = train(config(data, run, "steps=12"), resume=True)
    assert (result.step, result.n_skipped, result.n_rewinds) == (12, 0, 0)
    assert_weights(run, by_hand(data, run, range(1, 13)))


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf])
def test_skip_leaves_the_update_out_and_counts_it(data, tmp_path, faults, caplog, factor):
    run = tmp_path / "run"
    faults |= {4: factor, 9: factor}
    result = train(config(data, run, "steps=12", "on_bad_step=skip", "checkpoint_every=5"))
    assert (result.step, result.n_skipped) == (12, 2)
    assert math.isfinite(result.loss)
    assert result.summary()["skipped"] == "2"
    assert "step 4 of" in caplog.text
    assert "skipped this update" in caplog.text
    assert [row["step"] for row in rows(run) if row.get("skipped")] == [4, 9]
    made = [None if step in {4, 9} else step for step in range(1, 13)]
    assert_weights(run, by_hand(data, run, made))


def test_skipping_for_ever_is_not_training(data, tmp_path, faults):
    faults |= dict.fromkeys(range(5, 40), math.nan)
    with pytest.raises(FloatingPointError, match=r"step 15 .* 10 steps in a row were skipped"):
        train(config(data, tmp_path / "run", "steps=40", "on_bad_step=skip"))


def test_rewind_continues_from_the_checkpoint_after_the_batch(data, tmp_path, faults, caplog):
    run = tmp_path / "run"
    faults[7] = math.nan
    settings = ["steps=14", "on_bad_step=rewind", "checkpoint_every=4"]
    result = train(config(data, run, *settings))
    assert (result.step, result.n_rewinds, result.n_tokens) == (14, 1, 14 * 64)
    assert "back to step 4" in caplog.text
    said = [row for row in rows(run) if "rewound_from" in row]
    assert [(row["step"], row["rewound_from"]) for row in said] == [(4, 7)]
    assert "loss nan" in said[0]["reason"]
    assert [row["step"] for row in rows(run) if "loss" in row] == list(range(1, 15))
    expected = by_hand(data, run, [1, 2, 3, 4, *range(8, 18)])
    assert_weights(run, expected)
    # a run that is killed after going back does not meet the batch again
    stopped = tmp_path / "stopped"
    train(config(data, stopped, *settings, "stop_after=5"))  # saved at 5, whose batch is the fifth
    train(config(data, tmp_path / "again", *settings, "stop_after=4"))
    folder = checkpoint.find_checkpoint(tmp_path / "again")
    state = checkpoint.read_state(folder)
    state["loader"]["samples"] = 7 * 4
    checkpoint.amend_checkpoint(tmp_path / "again", 4, {"loader": state["loader"]})
    faults.clear()
    train(config(data, tmp_path / "again"), resume=True)
    assert_weights(tmp_path / "again", expected)


def test_rewind_begins_again_before_the_first_checkpoint(data, tmp_path, faults):
    run = tmp_path / "run"
    faults[2] = math.inf
    result = train(config(data, run, "steps=6", "on_bad_step=rewind", "checkpoint_every=5"))
    assert (result.step, result.n_rewinds) == (6, 1)
    assert_weights(run, by_hand(data, run, range(3, 9)))


def test_going_back_for_ever_is_not_training(data, tmp_path, faults):
    faults |= dict.fromkeys(range(6, 60), math.nan)
    with pytest.raises(FloatingPointError, match=r"the run went back to step 4 3 times before"):
        train(
            config(data, tmp_path / "run", "steps=40", "on_bad_step=rewind", "checkpoint_every=4")
        )


@pytest.mark.parametrize("policy", ["stop", "skip", "rewind"])
def test_a_spike_is_warned_of_and_acted_on(data, tmp_path, faults, caplog, policy):
    run = tmp_path / "run"
    faults |= {20: math.nan} if policy == "skip" else {}  # never enters the window
    faults[45] = 40.0
    result = train(config(data, run, "steps=50", f"on_bad_step={policy}", "checkpoint_every=40"))
    assert "step 45 of" in caplog.text
    assert "is a spike: the steps before it allow" in caplog.text
    assert result.step == 50
    assert result.n_skipped == (2 if policy == "skip" else 0)
    assert result.n_rewinds == (policy == "rewind")
    made = {
        "stop": None,  # its update was made, of a gradient 40 times as large
        "skip": [None if step in {20, 45} else step for step in range(1, 51)],
        "rewind": [*range(1, 41), *range(46, 56)],
    }[policy]
    if made is not None:
        assert_weights(run, by_hand(data, run, made))


def test_decisions_do_not_depend_on_where_a_run_was_stopped(data, tmp_path, faults):
    faults[45] = 40.0
    settings = ["steps=50", "on_bad_step=skip"]
    train(config(data, tmp_path / "whole", *settings, "checkpoint_every=50"))
    for stop in (33, 44, 45, 50):
        out = config(data, tmp_path / "parts", *settings, f"stop_after={stop}")
        result = train(out, resume=True)
    assert result.n_skipped == 1
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


# -- signs of a run that learns nothing ------------------------------------------------------------


def test_a_rate_that_kills_the_run_is_noticed(data, tmp_path, caplog):
    with pytest.raises(
        FloatingPointError, match=r"the gradient is 0 since step \d+, no weight"
    ) as e:
        train(config(data, tmp_path / "run", "steps=200", "lr=1e6"))
    assert str(e.value).count(": ") == 1
    assert "the gradient is exactly 0 since step" in caplog.text
    assert "optim.lr is 1e+06" in caplog.text


def test_a_rate_that_changes_nothing_is_noticed(data, tmp_path, caplog):
    rates = ["optim=sgd", "lr=1e-12"]
    train(config(data, tmp_path / "run", "steps=30", *rates))
    assert "the update changed none of the sampled weights" in caplog.text
    assert "is not below that of a model to which all 257 tokens are equally likely" in caplog.text


def test_a_run_that_learns_is_not_warned_of(data, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "lslm"):
        train(config(data, tmp_path / "run", "steps=150"))
    assert not caplog.text


def watch(**fields):
    return Health(vocab_size=100, **fields)


def test_the_window_has_no_value_that_is_not_finite():
    sound = watch()
    for step in range(1, 60):
        sound.judge(step, 3.0 + 0.01 * (step % 3), 1.0)
    sick = watch()
    for step in range(1, 60):
        if step % 7 == 0:
            assert sick.judge(step, math.nan, math.inf).kind == "not finite"
        else:
            sick.judge(step, 3.0 + 0.01 * (step % 3), 1.0)
    for run in (sound, sick):
        assert run.judge(60, 9.0, 1.0).kind == "spike"
        assert run.judge(61, 3.0, 50.0).kind == "spike"
        assert run.judge(62, 3.01, 1.1).kind == "sound"


def test_a_collapsed_gradient_is_one_warning_until_it_recovers():
    run, said = watch(), []
    for step in range(1, 121):
        norm = 1e-7 if 50 <= step < 80 or step >= 95 else 1.0
        run.judge(step, 3.0, norm)
        said += [(step, text) for text in run.signs(step, 3.0, norm) if "collapsed" in text]
    assert [step for step, _ in said] == [69, 114]


def test_the_record_restores_every_bit():
    run = watch(n_zero=2)
    for step in range(1, 300):
        run.judge(step, 3.0 + math.sin(step) / 3, 1 / (step + 0.1))
    run.warned = {"zero"}
    twin = watch()
    twin.restore(json.loads(json.dumps(run.record())))
    assert twin == run
    assert twin.limits(300) == run.limits(300)
    assert len(run.window) == health.WINDOW + 1


def test_a_sample_sees_one_changed_value_and_none():
    model = Transformer(ModelConfig(vocab_size=20, sequence_length=8, width=16, layers=1, heads=2))
    sample = WeightSample(model.parameters())
    assert sample.changed().item() == 0
    with torch.no_grad():
        model.blocks[0].attention.query.weight[0, 3] += 1e-3
    assert sample.changed().item() == 1
    assert [step for step in range(1, 70) if WeightSample.is_due(step)] == [2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("make", [
    lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    lambda p: AdamW(p, lr=0.1, weight_decay=0.1),
    lambda p: AdamW(p, lr=0.1, weight_decay=0.1, fused=False),
    lambda p: Muon(p, lr=0.1, weight_decay=0.1),
])  # fmt: skip
def test_an_update_that_the_device_leaves_out_changes_nothing(make):
    """As on a GPU, where the host does not know whether a step is kept."""
    generator, shape = torch.Generator().manual_seed(0), (6, 4)
    start = torch.randn(shape, generator=generator)
    gradients = [torch.randn(shape, generator=generator) for _ in range(4)]
    ends = []
    for is_on_device in (False, True):
        p = start.clone().requires_grad_()
        optimizer = make([p])
        for gradient in gradients[:2]:
            p.grad = gradient.clone()
            optimizer.step(torch.tensor(True)) if is_on_device else optimizer.step()
        if is_on_device:
            before = p.detach().clone()
            p.grad = torch.full(shape, math.nan)
            optimizer.step(torch.tensor(False))
            assert torch.equal(p, before)
        for gradient in gradients[2:]:
            p.grad = gradient.clone()
            optimizer.step(torch.tensor(True)) if is_on_device else optimizer.step()
        ends.append(p.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-6, atol=1e-7)
