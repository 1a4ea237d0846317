"""A run of some minutes ends on time, cooled down, whatever the machine does, and the time left that
a run shows is true: on a clock that only steps, validations and checkpoints move."""

import json
import logging
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import torch

import lslm
from lslm import checkpoint
from lslm.config import load_config
from lslm.exceptions import Interrupted
from lslm.training import budget, loop, pace, run, saving, start, train

SHAPE = ["device=cpu", "width=16", "layers=1", "heads=1", "sequence_length=16", "batch_size=2"]
SHAPE += ["train.threads=1", "validation_tokens=256", "minutes=1"]


class Inline:
    """An executor without a thread."""

    def __init__(self, *_):
        pass

    def submit(self, work, *arguments):
        work(*arguments)
        done = Future()
        done.set_result(None)
        return done

    def shutdown(self):
        pass


class Machine:
    """A clock, and what each thing that a run does takes on it, as functions of the time."""

    def __init__(self, monkeypatch, *, step, validation=4, save=2):
        """``step`` is the time of a step by the clock; the others are as long as so many steps."""
        self.now, self.lr, self.n_scored, self.n_saves = 0.0, [], [], 0
        for module in (budget, loop, run, start):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        # what a checkpoint takes in its thread would not be repeatable: it is written in the loop
        monkeypatch.setattr(saving, "ThreadPoolExecutor", Inline)
        monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: 0.0))
        launch, score = loop._launch, run.TrainingRun._score
        save_now = saving.write_checkpoint

        def timed_step(training, batch, limits):
            self.lr.append(training.optimizers[0].param_groups[0]["lr"])
            result = launch(training, batch, limits)
            self.now += step(self.now)
            return result

        def timed_score(training, n_tokens, reporter=None):
            result = score(training, n_tokens)
            if n_tokens is None:  # everything: as long a token as on the sample
                n_tokens = training.n_scored * result.n_tokens / self.n_sampled
            else:
                self.n_sampled = result.n_tokens
                self.n_scored.append(n_tokens)
            self.now += validation * step(self.now) * n_tokens / training.n_scored
            return result

        def timed_save(*arguments):
            self.n_saves += 1
            self.now += save * step(self.now)
            return save_now(*arguments)

        monkeypatch.setattr(loop, "_launch", timed_step)
        monkeypatch.setattr(run.TrainingRun, "_score", timed_score)
        monkeypatch.setattr(saving, "write_checkpoint", timed_save)


def train_here(data, out, *changes, resume=False):
    torch.set_num_threads(1)
    config = load_config(None, [*SHAPE, f"data={data}", f"out={out}", *changes])
    return train(config, resume=resume, progress=False)


PACES = {
    "even": lambda _: 0.25,
    "slower": lambda now: 0.25 if now < 20 else 2.5,
    "much slower at the end": lambda now: 0.25 if now < 50 else 2.0,
    "faster": lambda now: 1.0 if now < 30 else 0.1,
    "waves": lambda now: 0.2 if now % 10 < 5 else 0.8,
    "slow": lambda _: 4.0,
}


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_the_run_ends_on_time_and_cooled_down(data, tmp_path, monkeypatch, pace, schedule):
    machine = Machine(monkeypatch, step=PACES[pace])
    result = train_here(data, tmp_path / "run", f"schedule={schedule}")
    assert 54 <= machine.now <= 66
    assert result.validation is not None
    assert machine.lr[-1] <= (0.3 if pace.startswith("slow") else 0.12) * max(machine.lr)
    peak = machine.lr.index(max(machine.lr))
    # the rate only falls after the peak, whatever the pace does
    falling = zip(machine.lr[peak:], machine.lr[peak + 1 :], strict=False)
    assert all(after <= before * 1.001 for before, after in falling)
    kept = load_config(tmp_path / "run" / "config.toml").train
    assert kept.steps == result.step == len(machine.lr)
    assert checkpoint.find_checkpoint(tmp_path / "run").name == f"step-{result.step:06d}"


def test_validations_and_checkpoints_are_paid_from_the_budget(data, tmp_path, monkeypatch, caplog):
    machine = Machine(monkeypatch, step=lambda _: 0.5, validation=20, save=6)
    with caplog.at_level(logging.WARNING, "lslm"):
        result = train_here(data, tmp_path / "run")
    assert 54 <= machine.now <= 66
    assert result.step > 60
    # one costs 10 s: the first in whole, since that was not known; the last what a tenth pays
    assert machine.n_scored == [256, 144]
    assert machine.n_saves <= 4
    assert result.validation.n_tokens < 200
    assert "validating on a sample of 144 instead of 256 tokens" in caplog.text


def test_one_step_is_made_however_little_time_there_is(data, tmp_path, monkeypatch):
    Machine(monkeypatch, step=lambda _: 500.0)
    assert train_here(data, tmp_path / "run").step == 1


def test_a_stopped_run_resumes_exactly_with_the_time_that_is_left(data, tmp_path, monkeypatch):
    def free(context):
        pace = lambda now: 0.5 if now % 7 < 3 else 0.25  # noqa: E731
        return Machine(context, step=pace, validation=0, save=0)

    with monkeypatch.context() as context:
        whole = free(context)
        expected = train_here(data, tmp_path / "whole")
    with monkeypatch.context() as context:
        first = free(context)
        stopped = train_here(data, tmp_path / "run", "stop_after=40")
        assert stopped.step == 40
        assert load_config(tmp_path / "run" / "config.toml").train.steps == 0
    with monkeypatch.context() as context:
        second = free(context)
        second.now = first.now  # the pace is a function of the time
        result = train(out=tmp_path / "run", resume=True, progress=False)
    assert (result.step, result.loss) == (expected.step, expected.loss)
    assert first.lr + second.lr == whole.lr
    with pytest.raises(Exception, match=r"is a run of \d+ steps, which train.minutes = 3"):
        train(out=tmp_path / "run", resume=True, minutes=3, progress=False)


def test_more_minutes_may_be_given_while_they_are_not_over(data, tmp_path, monkeypatch):
    machine = Machine(monkeypatch, step=lambda _: 0.5)
    train_here(data, tmp_path / "run", "stop_after=40")
    train(out=tmp_path / "run", resume=True, minutes=2, progress=False)
    assert 108 <= machine.now <= 132


def test_a_signal_saves_the_time_that_was_used(data, tmp_path, monkeypatch):
    machine = Machine(monkeypatch, step=lambda _: 0.5)
    is_set = loop.StopSignal.is_set if hasattr(loop, "StopSignal") else None
    assert is_set is None  # only a type there: the signal is made in lslm.training
    from lslm.training import StopSignal

    monkeypatch.setattr(StopSignal, "is_set", lambda _, __: machine.now > 20)
    with pytest.raises(Interrupted, match="saved at step"):
        train_here(data, tmp_path / "run")
    state = checkpoint.read_state(checkpoint.find_checkpoint(tmp_path / "run"))
    assert 20 < state["budget"]["used"] < 22
    assert json.loads(json.dumps(state["budget"])) == state["budget"]


@pytest.mark.parametrize("stop", [0, 19])
def test_the_time_left_counts_validations_and_checkpoints(data, tmp_path, monkeypatch, stop):
    """Also that of scoring everything at the end, which a run that is stopped leaves out."""
    machine = Machine(monkeypatch, step=lambda _: 0.5, validation=20, save=6)
    left, shown = pace.Pace.seconds_left, []

    def noted(self, training, step):
        seconds = left(self, training, step)
        shown.append((step, machine.now, seconds))
        return seconds

    monkeypatch.setattr(pace.Pace, "seconds_left", noted)
    settings = [*SHAPE, f"data={data}", f"out={tmp_path / 'run'}", "steps=24", f"stop_after={stop}"]
    settings += ["validate_every=5", "checkpoint_every=4"]
    train(load_config(None, settings), progress=lambda *_: None)
    token, n_all = 0.5 / 3 / 32, lslm.TokenDataset(f"{data}/validation").n_tokens
    first = 18 * 0.5 + 4 * 256 * token if stop else 23 * 0.5 + (5 * 256 + n_all) * token
    assert shown[0][2] == pytest.approx(first)
    known = [(now, seconds) for step, now, seconds in shown if step > 5]
    assert len(known) > 14
    assert [now + seconds for now, seconds in known] == pytest.approx([machine.now] * len(known))


def test_the_time_left_of_a_run_of_minutes_is_what_is_left_of_them(data, tmp_path, monkeypatch):
    machine = Machine(monkeypatch, step=lambda _: 0.5)
    left, shown = pace.Pace.seconds_left, []
    monkeypatch.setattr(
        pace.Pace,
        "seconds_left",
        lambda *arguments: shown.append((machine.now, left(*arguments))) or shown[-1][1],
    )
    settings = [*SHAPE, f"data={data}", f"out={tmp_path / 'run'}", "minutes=0.25"]
    train(load_config(None, settings), progress=lambda *_: None)
    assert all(now + seconds == pytest.approx(15, abs=2.1) for now, seconds in shown)
