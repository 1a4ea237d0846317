"""Checkpoints are written beside the training; a disk that fails costs a warning, not the run."""

import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from lslm import FormatError, checkpoint
from lslm.config import load_config
from lslm.exceptions import Interrupted
from lslm.training import loop, saving, train
from lslm.training import run as runs

SHAPE = ["device=cpu", "width=16", "layers=1", "heads=2", "sequence_length=16", "batch_size=4"]
SHAPE += ["train.threads=1", "validation_tokens=128", "dropout=0.1"]


def config(data, out, *changes):
    return load_config(None, [*SHAPE, f"data={data}", f"out={out}", *changes])


def rows(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    timed = ("seconds", "tokens_per_second", "data_seconds", "memory_bytes")
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def weights(run):
    folder = checkpoint.find_checkpoint(run)
    return [(folder / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")]


def steps(run):
    return [checkpoint.read_state(folder)["step"] for folder in checkpoint.list_checkpoints(run)]


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(config(data, run, "steps=12", "validate_every=4", "checkpoint_every=2"))
    return run


def test_training_goes_on_while_a_checkpoint_is_written(data, whole, tmp_path, monkeypatch):
    """The file is that of the step at which it began, not of the steps made meanwhile."""
    may_write, launched, write = threading.Event(), [], saving.write_checkpoint
    launch = loop._launch

    def slow(*arguments):
        if not launched[10:]:
            assert may_write.wait(60)
        return write(*arguments)

    def counted(*arguments):
        launched.append(1)
        if len(launched) == 10:
            may_write.set()
        return launch(*arguments)

    monkeypatch.setattr(saving, "write_checkpoint", slow)
    monkeypatch.setattr(loop, "_launch", counted)
    run = tmp_path / "run"
    train(config(data, run, "steps=12", "validate_every=4", "checkpoint_every=6", "keep_last=9"))
    assert steps(run) == [6, 12]  # that of step 6 was written from step 10 on
    monkeypatch.undo()
    train(config(data, tmp_path / "six", "steps=12", "stop_after=6", "validate_every=4"))
    six = tmp_path / "six" / "checkpoints" / "step-000006"
    for name in ("model.safetensors", "optimizer.safetensors"):
        there = (run / "checkpoints" / "step-000006" / name).read_bytes()
        assert there == (six / name).read_bytes()
    assert weights(run) == weights(whole)


def test_a_checkpoint_is_written_before_its_validation_and_amended(data, tmp_path, monkeypatch):
    run, score, seen = tmp_path / "run", runs.TrainingRun._score, []

    def scored(training, n_tokens, reporter=None):
        end = time.monotonic() + 60
        while not checkpoint.list_checkpoints(run) and time.monotonic() < end:
            time.sleep(0.001)  # the thread writes meanwhile
        folder = checkpoint.find_checkpoint(run)
        state = checkpoint.read_state(folder)
        seen.append((state["step"], state["validation"], state["validation_due"]))
        return score(training, n_tokens, reporter)

    monkeypatch.setattr(runs.TrainingRun, "_score", scored)
    train(config(data, run, "steps=2", "validate_every=2", "checkpoint_every=2"))
    assert seen[0] == (2, None, True)
    state = checkpoint.read_state(checkpoint.find_checkpoint(run))
    assert state["validation"]["loss"] > 0 < state["final_validation"]["tokens"]
    assert state["validation_due"] is False


def test_a_validation_that_was_cut_off_is_made_on_resuming(data, whole, tmp_path, monkeypatch):
    run = tmp_path / "run"
    settings = ["steps=12", "validate_every=4", "checkpoint_every=2"]

    def fail(*_):
        raise RuntimeError("no memory for a validation")

    with monkeypatch.context() as context:
        context.setattr(runs.TrainingRun, "_score", fail)
        with pytest.raises(RuntimeError, match="no memory"):
            train(config(data, run, *settings))
    assert steps(run) == [2, 4]
    assert checkpoint.read_state(checkpoint.find_checkpoint(run))["validation_due"]
    train(config(data, run), resume=True)
    assert rows(run) == rows(whole)
    assert weights(run) == weights(whole)


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that fails for the next ``n`` checkpoints, after half of the first file."""
    left, write = {"n": 0}, saving.write_checkpoint

    def failing(run, step, entries, state):
        if left["n"]:
            left["n"] -= 1
            folder = run / "checkpoints" / f"step-{step:06d}"
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        return write(run, step, entries, state)

    monkeypatch.setattr(saving, "write_checkpoint", failing)
    return left


def test_a_full_disk_is_a_warning_and_saving_is_tried_again(
    data, whole, tmp_path, monkeypatch, full_disk, caplog
):
    run, launch = tmp_path / "run", loop._launch
    monkeypatch.setattr(saving, "RETRY_SECONDS", 0.0)

    def at_step(training, *arguments):
        if len(checkpoint.list_checkpoints(run)) == 1:  # after the first good one
            full_disk["n"] = full_disk.pop("later", 0) or full_disk["n"]
        return launch(training, *arguments)

    full_disk["later"] = 2
    monkeypatch.setattr(loop, "_launch", at_step)
    with caplog.at_level(logging.WARNING, "lslm"):
        result = train(config(data, run, "steps=12", "validate_every=4", "checkpoint_every=4"))
    assert result.step == 12
    assert caplog.text.count("could not be saved: [Errno 28] No space left") == 2
    # the second one, if it was written faster than a step was made
    assert re.search("training continues, the last checkpoint is step-00000[48]", caplog.text)
    assert weights(run) == weights(whole)
    assert steps(run)[-1] == 12
    assert len(steps(run)) >= 2


def test_the_last_checkpoint_is_tried_several_times_then_it_is_an_error(
    data, tmp_path, monkeypatch, full_disk
):
    monkeypatch.setattr(saving, "LAST_PAUSES", (0.0, 0.0))
    full_disk["n"] = 2
    train(config(data, tmp_path / "late", "steps=3", "checkpoint_every=3"))
    assert steps(tmp_path / "late") == [3]
    state = checkpoint.read_state(checkpoint.find_checkpoint(tmp_path / "late"))
    assert state["validation"]["loss"] > 0  # made while nothing was saved yet
    full_disk["n"] = 3
    with pytest.raises(OSError, match="No space left"):
        train(config(data, tmp_path / "never", "steps=3", "checkpoint_every=3"))


def test_without_memory_for_a_copy_it_is_written_in_the_loop(data, whole, tmp_path, monkeypatch):
    def none(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(saving._HostCopy, "take", none)
    run = tmp_path / "run"
    train(config(data, run, "steps=12", "validate_every=4", "checkpoint_every=2"))
    assert weights(run) == weights(whole)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    data, whole, tmp_path, caplog, file, damage
):
    run = tmp_path / "run"
    settings = ["steps=12", "validate_every=4", "checkpoint_every=2"]
    train(config(data, run, *settings, "stop_after=8"))
    path = run / "checkpoints" / "step-000008" / file
    content = path.read_bytes()
    at = content.index(b"step") if file == "state.json" else len(content) // 2
    flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    path.write_bytes({"flip": flipped, "truncate": content[:-9], "empty": b""}[damage])
    train(config(data, run), resume=True)
    assert "resuming from step 6; the damaged checkpoint is kept as damaged-step-000008" in (
        caplog.text
    )
    assert rows(run) == rows(whole)
    assert weights(run) == weights(whole)
    assert steps(run)[-2:] == [10, 12]
    assert (run / "checkpoints" / "damaged-step-000008").is_dir()


def test_without_a_whole_checkpoint_the_error_names_the_newest(data, tmp_path):
    run = tmp_path / "run"
    train(config(data, run, "steps=4", "stop_after=2", "checkpoint_every=1"))
    for folder in checkpoint.list_checkpoints(run):
        (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(FormatError, match=r"step-000002.model.safetensors: damaged"):
        train(config(data, run), resume=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_before_it_validates(data, whole, tmp_path, monkeypatch, number):
    run, launch, launched = tmp_path / "run", loop._launch, []

    def hung_up(*arguments):
        launched.append(1)
        if len(launched) == 4:
            signal.raise_signal(number)
        return launch(*arguments)

    settings = ["steps=12", "validate_every=4", "checkpoint_every=2"]
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        monkeypatch.setattr(loop, "_launch", hung_up)
        with pytest.raises(Interrupted, match="at step 4"):
            train(config(data, run, *settings))
    finally:
        monkeypatch.undo()
        signal.signal(signal.SIGHUP, before)
    assert not any("validation_loss" in row for row in rows(run))
    train(config(data, run), resume=True)
    assert rows(run) == rows(whole)


CAMPAIGN = """
import os, random, signal, sys, time
import torch
from lslm.config import load_config
from lslm.training import train

torch.set_num_threads(1)
folder, n_kills, *settings = sys.argv[1:]
rng, kills, number = random.Random(7), 0, 1
run = f"{folder}/run-1"
# what is imported on first use is then in every child
train(load_config(None, [*settings, f"out={folder}-warm", "stop_after=2"]), progress=False)


def n_bytes():
    try:
        return os.path.getsize(f"{run}/metrics.jsonl")
    except FileNotFoundError:
        return 0


while True:
    child = os.fork()
    if not child:
        try:
            train(load_config(None, [*settings, f"out={run}"]), resume=True, progress=False)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if kills < int(n_kills):
        grown, start = n_bytes() + rng.choice([0, 400, 900, 1600, 2400]), time.monotonic()
        while n_bytes() < grown and time.monotonic() < start + 120:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.012))
        os.kill(child, signal.SIGKILL)
        kills += 1
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        if os.WEXITSTATUS(status) or kills >= int(n_kills):
            print(kills)
            sys.exit(os.WEXITSTATUS(status))
        number += 1  # it ended before the next kill
        run = f"{folder}/run-{number}"
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sixty_kills_at_any_moment_change_no_bit(data, tmp_path):
    settings = [*SHAPE, f"data={data}", "steps=400", "validate_every=20", "checkpoint_every=3"]
    train(load_config(None, [*settings, f"out={tmp_path / 'whole'}"]))
    command = [sys.executable, "-c", CAMPAIGN, str(tmp_path / "killed"), "60", *settings]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=850,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 60
    for run in (tmp_path / "killed").iterdir():
        assert rows(run) == rows(tmp_path / "whole")
        assert weights(run) == weights(tmp_path / "whole")
