"""Runs of training: what they write, that they resume exactly, that they stop cleanly."""

import contextlib
import copy
import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import lslm
from lslm import MismatchError, checkpoint
from lslm.config import load_config, replace
from lslm.loss import IGNORE
from lslm.model import ModelConfig, Transformer
from lslm.optim import SGD, OptimConfig, build_optimizers
from lslm.planning import estimate
from lslm.scores import EvaluationResult
from lslm.training import train, train_step
from lslm.training.metrics import MetricsFile, drop_rows_after
from small_data import documents, write_small, write_splits

CURVE = Path(__file__).parent.parent / "testdata" / "training" / "losses.json"
SHAPE = [
    "device=cpu",
    "width=32",
    "layers=2",
    "heads=2",
    "kv_heads=1",
    "sequence_length=32",
    "batch_size=8",
]
KNOBS = [
    "dropout=0.1",
    "max_grad_norm=0.5",
    "micro_batch_size=4",
    "threads=1",
    "validation_tokens=512",
]


def config(data, out, *changes):
    return load_config(None, [*SHAPE, *KNOBS, f"data={data}", f"out={out}", *changes])


def rows(run):
    return [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]


def numbers(run):
    """What of metrics.jsonl must be equal in equal runs: everything but the time."""
    timed = ("seconds", "tokens_per_second", "data_seconds", "memory_bytes")
    return [{key: value for key, value in row.items() if key not in timed} for row in rows(run)]


def weights(run):
    folder = checkpoint.find_checkpoint(run)
    return [(folder / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run of 12 steps in one go."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    result = train(config(data, run, "steps=12", "checkpoint_every=4"))
    return run, result


def test_a_run_learns_and_writes_its_files(data, whole):
    run, result = whole
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "tokenizer.json",
    ]
    steps = [row for row in rows(run) if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, 13))
    assert [row["tokens"] for row in steps] == list(range(256, 12 * 256 + 1, 256))
    assert steps[0]["loss"] == pytest.approx(5.549, abs=0.001)  # ln 257: all tokens alike
    assert result.loss == steps[-1]["loss"] < 4.5
    validations = [row for row in rows(run) if "validation_loss" in row]
    assert [row["step"] for row in validations] == [2, 4, 6, 8, 10, 12]
    final = rows(run)[-1]
    assert (final["step"], result.validation.loss) == (12, final["final_validation_loss"])
    assert result.validation.n_tokens == lslm.TokenDataset(f"{data}/validation").n_tokens
    assert (result.step, result.n_tokens, result.run) == (12, 12 * 256, run)
    assert result.tokens_per_second > 0
    resolved = load_config(run / "config.toml")
    assert resolved.optim.newton_schulz_steps == 3
    assert (resolved.model.vocab_size, resolved.train.dtype, resolved.train.steps) == (
        257,
        "float32",
        12,
    )
    state = checkpoint.read_state(checkpoint.find_checkpoint(run))
    assert (state["step"], state["tokens"]) == (12, 12 * 256)
    source = Path(data) / "train" / "tokenizer.json"
    from lslm import Tokenizer

    assert state["tokenizer"] == Tokenizer.load(str(source)).fingerprint


@pytest.mark.parametrize("stop", [1, 5, 11])
def test_a_run_stopped_and_resumed_is_the_same_run(data, whole, tmp_path, stop):
    """Also twice, also with another checkpoint cadence, and with dropout."""
    first = train(config(data, tmp_path / "run", "steps=12", f"stop_after={stop}"))
    assert first.step == stop
    if stop == 5:
        middle = train(config(data, tmp_path / "run", "steps=12", "stop_after=7"), resume=True)
        assert middle.step == 7
    plain = load_config(None, [f"out={tmp_path / 'run'}", "stop_after=12"])
    assert train(plain, resume=True).loss == whole[1].loss
    assert [row for row in numbers(tmp_path / "run") if "loss" in row] == [
        row for row in numbers(whole[0]) if "loss" in row
    ]
    assert weights(tmp_path / "run") == weights(whole[0])
    again = train(plain, resume=True)
    assert (again.step, again.loss) == (12, whole[1].loss)


SCRIPT = """
import sys
from lslm.config import load_config
from lslm.training import train
try:
    train(load_config(None, sys.argv[1:]), resume=True, progress=False)
except KeyboardInterrupt as error:
    print(error)
    sys.exit(130)
"""


def start(*arguments, command=(sys.executable, "-c", SCRIPT)):
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for_rows(run, n, process):
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if (Path(run) / "metrics.jsonl").read_text().count("\n") >= n:
                return
        time.sleep(0.005)
    raise AssertionError(process.communicate())


@pytest.mark.slow
def test_kill_at_any_moment_loses_nothing_committed(data, tmp_path):
    arguments = [
        *SHAPE,
        *KNOBS,
        f"data={data}",
        "steps=60",
        "validate_every=50",
        "checkpoint_every=3",
    ]
    expected = train(load_config(None, [*arguments, f"out={tmp_path / 'whole'}"]))
    run = tmp_path / "run"
    for n in (5, 20, 41):
        process = start(*arguments, f"out={run}")
        wait_for_rows(run, n, process)
        process.kill()
        process.communicate()
        found = [
            checkpoint.read_state(folder)["step"] for folder in checkpoint.list_checkpoints(run)
        ]
        done = max((row["step"] for row in map(json.loads, whole_lines(run))), default=0)
        assert not found or done - 3 <= max(found) <= done + 1
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1, "lo')  # a row cut short
    result = train(load_config(None, [*arguments, f"out={run}"]), resume=True)
    assert result.loss == expected.loss
    assert numbers(run) == numbers(tmp_path / "whole")
    assert weights(run) == weights(tmp_path / "whole")


def whole_lines(run):
    text = (run / "metrics.jsonl").read_text()
    return text[: text.rfind("\n") + 1].splitlines()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_exits(data, tmp_path, number):
    arguments = [
        *SHAPE,
        *KNOBS,
        f"data={data}",
        f"out={tmp_path / 'run'}",
        "steps=100000",
        "log_every=1",
    ]
    process = start(*arguments)
    wait_for_rows(tmp_path / "run", 3, process)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    last = rows(tmp_path / "run")[-1]["step"]
    assert f"saved at step {last} in {tmp_path / 'run'}: resume with " in output
    assert checkpoint.read_state(checkpoint.find_checkpoint(tmp_path / "run"))["step"] == last
    assert not (tmp_path / "run" / ".lock").exists()


@pytest.mark.slow
def test_two_processes_train_the_same_model(data, tmp_path):
    """Also when a run of one process is resumed by two; and they evaluate alike."""
    arguments = [*SHAPE, f"data={data}", "steps=8", "threads=1", "validation_tokens=0"]
    alone = train(load_config(None, [*arguments, f"out={tmp_path / 'one'}"]))
    train(load_config(None, [*arguments, f"out={tmp_path / 'both'}", "stop_after=3"]))
    (tmp_path / "script.py").write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for out, changes in (("two", []), ("both", ["stop_after=8", "micro_batch_size=2"])):
        process = start(
            *arguments,
            f"out={tmp_path / out}",
            *changes,
            command=[*torchrun, str(tmp_path / "script.py")],
        )
        output = process.communicate(timeout=120)
        assert process.returncode == 0, output
        for mine, theirs in zip(numbers(tmp_path / "one"), numbers(tmp_path / out), strict=True):
            assert theirs == pytest.approx(mine, rel=1e-4)
    state = checkpoint.read_state(checkpoint.find_checkpoint(tmp_path / "two"))
    assert state["validation"]["tokens"] == alone.validation.n_tokens
    assert state["validation"]["bytes"] == alone.validation.n_bytes
    mine, theirs = (
        checkpoint.read_state(checkpoint.find_checkpoint(tmp_path / out)) for out in ("one", "two")
    )
    assert mine["loader"] == theirs["loader"]


def test_the_loss_curve_is_the_stored_one(data, tmp_path):
    """Changes of the code that are not meant to change training do not; made by running this file."""
    stored = json.loads(CURVE.read_text())
    result = train(
        load_config(None, [*stored["arguments"], f"data={data}", f"out={tmp_path / 'run'}"])
    )
    losses = [row["loss"] for row in rows(tmp_path / "run") if "loss" in row]
    assert losses == pytest.approx(stored["losses"], abs=0.02)
    assert losses[:5] == pytest.approx(stored["losses"][:5], abs=1e-4)
    assert result.validation.bits_per_byte == pytest.approx(stored["bits_per_byte"], abs=0.02)


def test_a_step_of_sgd_subtracts_the_gradient():
    model = Transformer(ModelConfig(vocab_size=20, sequence_length=8, width=16, layers=1, heads=2))
    tokens = torch.randint(20, (4, 9), generator=torch.Generator().manual_seed(0))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    loss = model(tokens[:, :-1], tokens[:, 1:])
    gradients = dict(zip(before, torch.autograd.grad(loss, list(model.parameters())), strict=True))
    found, norm = train_step(
        model, [SGD(model.parameters(), lr=0.5)], tokens[:, :-1], tokens[:, 1:]
    )
    assert found == pytest.approx(loss.item())
    assert norm == pytest.approx(sum(g.square().sum() for g in gradients.values()).sqrt().item())
    for name, p in model.named_parameters():
        torch.testing.assert_close(p, before[name] - 0.5 * gradients[name])
        assert p.grad is None


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_micro_batches_change_nothing_even_with_uneven_targets(rows):
    config = ModelConfig(vocab_size=20, sequence_length=8, width=16, layers=1, heads=2)
    tokens = torch.randint(20, (5, 9), generator=torch.Generator().manual_seed(0))
    inputs, targets = tokens[:, :-1], tokens[:, 1:].clone()
    targets[0, 1:] = targets[3, :7] = IGNORE
    results = []
    for size in (0, rows):
        model = Transformer(config).double()
        optimizer = SGD(model.parameters(), lr=0.5)
        results.append(
            [
                train_step(model, [optimizer], inputs, targets, micro_batch_size=size),
                model.state_dict(),
            ]
        )
    torch.testing.assert_close(results[0], results[1])


def test_clipping_bounds_the_gradient():
    model = Transformer(ModelConfig(vocab_size=20, sequence_length=8, width=16, layers=1, heads=2))
    before = [p.detach().clone() for p in model.parameters()]
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    _, norm = train_step(
        model, [SGD(model.parameters(), lr=1.0)], tokens[:, 1:], tokens[:, 1:], max_grad_norm=0.01
    )
    moved = sum(
        (p - q).square().sum() for p, q in zip(model.parameters(), before, strict=True)
    ).sqrt()
    assert norm > 0.01
    assert moved.item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_or_gradient_that_is_not_finite_updates_nothing(where):
    model = Transformer(ModelConfig(vocab_size=20, sequence_length=8, width=16, layers=1, heads=2))
    optimizers = build_optimizers(model, OptimConfig())
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    if where == "loss":
        with torch.no_grad():
            model.norm.weight[0] = torch.inf
    else:
        model.norm.weight.register_hook(lambda gradient: gradient * torch.nan)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(FloatingPointError, match="nan"):
        train_step(model, optimizers, tokens[:, 1:], tokens[:, 1:])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_run_that_diverges_raises_and_keeps_its_checkpoints(data, tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"step \d+ of .*: loss (nan|inf), .* lower optim.lr than 1e\+38"
    ):
        train(
            config(
                data,
                tmp_path,
                "steps=9",
                "optim=sgd",
                "lr=1e38",
                "warmup_fraction=0",
                "checkpoint_every=1",
            )
        )
    assert checkpoint.list_checkpoints(tmp_path)
    assert "NaN" not in (tmp_path / "metrics.jsonl").read_text()


def test_three_seconds_end_after_three_seconds(data, tmp_path):
    begin = time.monotonic()
    result = train(config(data, tmp_path, "minutes=0.05"))
    assert time.monotonic() - begin < 30
    kept = load_config(tmp_path / "config.toml").train
    assert (kept.steps, kept.minutes) == (result.step, 0.05)
    assert kept.validate_every == math.ceil(result.step / 10)
    assert checkpoint.read_state(checkpoint.find_checkpoint(tmp_path))["budget"]["is_over"]
    again = train(out=tmp_path, resume=True)
    assert (again.step, again.loss) == (result.step, result.loss)


def test_a_run_of_minutes_makes_the_steps_of_a_counted_one(data, tmp_path):
    train(
        config(
            data,
            tmp_path / "timed",
            "minutes=0.2",
            "stop_after=3",
            "schedule=constant",
            "warmup_fraction=0",
        )
    )
    train(
        config(
            data,
            tmp_path / "counted",
            "steps=50",
            "stop_after=3",
            "schedule=constant",
            "warmup_fraction=0",
        )
    )
    timed, counted = (
        [row for row in numbers(tmp_path / name) if "loss" in row] for name in ("timed", "counted")
    )
    assert timed == counted


def test_only_the_checkpoints_to_keep_remain(data, tmp_path):
    train(
        config(
            data, tmp_path, "steps=9", "checkpoint_every=1", "validate_every=100", "keep_every=4"
        )
    )
    steps = [
        checkpoint.read_state(folder)["step"] for folder in checkpoint.list_checkpoints(tmp_path)
    ]
    assert steps == [4, 8, 9]


def test_another_configuration_dataset_or_tokenizer_is_refused(data, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    with pytest.raises(ValueError, match="already holds a run: resume it"):
        train(config(data, run, "steps=12"))
    with pytest.raises(MismatchError, match=r"was started with model.width = 32, not 64"):
        train(config(data, run, "steps=12", "width=64"), resume=True)
    with pytest.raises(MismatchError, match=r"model.tied = False, not True"):
        train(config(data, run, "steps=12", "tied=true"), resume=True)
    other = write_small(tmp_path / "other", documents(30, seed=9))
    with pytest.raises(MismatchError, match="another dataset"):
        train(config(other, run, "steps=20"), resume=True)
    strange = write_small(tmp_path / "strange", documents(30), eos="<|end|>")
    with pytest.raises(MismatchError, match="another tokenizer"):
        train(config(data, tmp_path / "new", "steps=2", f"validation={strange}"))
    with pytest.raises(MismatchError, match=r"model\.vocab_size = 100, but the tokenizer has 257"):
        train(config(data, tmp_path / "new", "steps=2", "vocab_size=100"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (["out="], ValueError, "train.out is empty: give"),
        (["data="], ValueError, "data.path is empty: give data="),
        (["data=/nowhere/at/all"], FileNotFoundError, "/nowhere/at/all"),
        (["steps=0"], ValueError, "train.steps and train.minutes are both 0: set one"),
        (["device=abacus"], ValueError, "device = 'abacus'"),
        (["sequence_length=1000000"], ValueError, "1000000"),
    ],
)
def test_a_missing_or_wrong_setting_is_named(data, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        train(config(data, tmp_path / "run", "steps=2", *changes))
    assert not (tmp_path / "run" / "config.toml").exists()


def test_train_takes_a_file_a_config_or_nothing_and_settings_on_top(data, tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("[model]\nwidth = 32\nlayers = 1\nheads = 2\nsequence_length = 32\n")
    small = {"model__width": 32, "layers": 1, "heads": 2, "model__sequence_length": 32}
    results = [
        train(path, data=data, out=tmp_path / "a", steps=2, device="cpu"),
        train(load_config(path), data=Path(data), out=str(tmp_path / "b"), steps=2, device="cpu"),
        train(data=data, out=tmp_path / "c", steps=2, device="cpu", **small),
    ]
    assert [result.run for result in results] == [tmp_path / name for name in "abc"]
    assert len({result.loss for result in results}) == 1
    assert len({result.validation.nats for result in results}) == 1
    with pytest.raises(ValueError, match=r"unknown key 'minuets': did you mean train\.minutes\?"):
        train(path, data=data, out=tmp_path / "d", minuets=3)
    assert not (tmp_path / "d").exists()


def test_a_result_is_plain_data_and_shows_its_scores(whole):
    result = whole[1]
    plain = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert (plain["step"], plain["n_tokens"]) == (12, 12 * 256)
    assert plain["validation"]["perplexity"] == result.validation.perplexity
    assert f"validation loss: {result.validation.loss:.4f}" in repr(result)
    assert "tokens/s" in result._repr_html_()


def test_metrics_are_json_without_nan_or_infinity(tmp_path):
    with MetricsFile(tmp_path) as metrics:
        metrics.write(1, {"loss": 2.5})
        metrics.write_validation(1, EvaluationResult(nats=800.0, n_tokens=1, n_bytes=0))
    assert rows(tmp_path) == [
        {"step": 1, "loss": 2.5},
        {
            "step": 1,
            "validation_loss": 800.0,
            "validation_perplexity": None,
            "validation_bits_per_byte": None,
        },
    ]
    drop_rows_after(tmp_path, 0)
    assert rows(tmp_path) == []


def test_progress_is_called_with_step_and_loss(data, tmp_path):
    calls = []
    train(config(data, tmp_path, "steps=3"), progress=lambda *call: calls.append(call))
    assert calls[-1][:3] == ("train", 3, 3)
    assert calls[-1][3].startswith("steps, loss ")


def test_a_run_without_validation_data_has_no_validation(tmp_path):
    alone = write_small(tmp_path / "alone", documents(60))
    result = train(config(alone, tmp_path / "run", "steps=3"))
    assert result.validation is None
    assert checkpoint.find_checkpoint(tmp_path / "run", "best") == checkpoint.find_checkpoint(
        tmp_path / "run", "last"
    )


def test_estimate_counts_what_training_makes(data):
    plan = estimate(config(data, "", "steps=10"))
    shape = dataclasses.replace(config(data, "").model, vocab_size=257)
    assert plan.n_parameters == Transformer(shape).n_parameters()
    assert plan.n_tokens == 10 * 8 * 32
    assert plan.flops == plan.n_tokens * plan.flops_per_token
    assert plan.seconds > plan.n_tokens / plan.tokens_per_second  # validations too
    assert plan.memory_bytes > 12 * plan.n_parameters
    with pytest.raises(ValueError, match=r"model\.vocab_size = 0 and data\.path is empty"):
        estimate(replace(config("", ""), vocab_size=0))
    assert estimate(config("", "", "vocab_size=50", "minutes=2")).seconds == 120


def make_curve(data, out):
    """Write the stored curve anew, after a change that is meant to change training."""
    arguments = [*SHAPE, "steps=30", "threads=1", "validation_tokens=0"]
    result = train(load_config(None, [*arguments, f"data={data}", f"out={out}"]))
    losses = [round(row["loss"], 5) for row in rows(out) if "loss" in row]
    stored = {"arguments": arguments, "losses": losses, "torch": torch.__version__}
    stored["bits_per_byte"] = round(result.validation.bits_per_byte, 5)
    CURVE.parent.mkdir(parents=True, exist_ok=True)
    CURVE.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        make_curve(write_splits(Path(folder) / "data"), Path(folder) / "run")
