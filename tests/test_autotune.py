"""Threads and type of a CPU are chosen by time, within the time for it, once for a shape."""

import logging
from types import SimpleNamespace

import pytest
import torch

from lslm.config import load_config
from lslm.training import autotune as tuned
from lslm.training import train

SHAPE = ["device=cpu", "width=32", "layers=1", "heads=2", "sequence_length=32", "batch_size=8"]
SHAPE += ["autotune=true", "steps=2", "validation_tokens=512"]
SECONDS = {
    (8, "float32"): 0.5, (4, "float32"): 0.2, (2, "float32"): 0.3, (1, "float32"): 0.6,
    (4, "bfloat16"): 0.19,
}  # fmt: skip


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Eight threads on a clock that only passes move, by SECONDS; and what was timed."""
    state = SimpleNamespace(now=0.0, threads=8, timed=[], seconds=dict(SECONDS))

    class Probe:
        def __init__(self, *_):
            pass

        def passes(self, dtype):
            seconds = state.seconds[state.threads, dtype]
            state.now += seconds
            state.timed.append((state.threads, dtype))
            return 0.25 * seconds, 0.75 * seconds

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tuned, "Probe", Probe)
    monkeypatch.setattr(tuned, "_has_bfloat16", lambda: True)
    monkeypatch.setattr(tuned, "time", SimpleNamespace(monotonic=lambda: state.now))
    monkeypatch.setattr(torch, "get_num_threads", lambda: state.threads)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: setattr(state, "threads", n))
    return state


def chosen(*changes):
    config = tuned.autotune(load_config(None, [*SHAPE, "vocab_size=50", *changes]))
    return config.train.threads, config.train.dtype


def test_the_fastest_threads_are_chosen_within_the_time(machine):
    assert chosen() == (4, "float32")
    assert machine.now < tuned.MAX_SECONDS + max(SECONDS.values())
    assert machine.threads == 8
    # those far behind are tried once
    assert machine.timed.count((1, "float32")) == 1
    assert machine.timed.count((4, "float32")) == tuned.N_ROUNDS
    assert (4, "bfloat16") in machine.timed


@pytest.mark.parametrize(("seconds", "dtype"), [(0.19, "float32"), (0.17, "bfloat16")])
def test_bfloat16_must_be_faster_by_a_tenth(machine, seconds, dtype):
    machine.seconds[4, "bfloat16"] = seconds
    assert chosen() == (4, dtype)


@pytest.mark.parametrize(
    ("flags", "is_tried"), [("fpu avx2", False), ("fpu amx_bf16", True), ("", True)]
)
def test_bfloat16_is_tried_where_the_processor_has_it_or_nobody_knows(monkeypatch, flags, is_tried):
    monkeypatch.setattr(tuned, "_cpuinfo", {"flags": flags}.get)
    assert tuned._has_bfloat16() == is_tried


def test_what_is_given_stays(machine):
    assert chosen("dtype=float32") == (4, "float32")
    assert not any(dtype == "bfloat16" for _, dtype in machine.timed)
    machine.seconds |= {(1, "bfloat16"): 9.0}
    assert chosen("train.threads=1") == (1, "float32")


def test_a_slow_machine_ends_in_time(machine):
    machine.seconds = {key: 10 * seconds for key, seconds in SECONDS.items()}
    assert chosen() == (8, "float32")
    assert machine.now == 10.0  # those that allocate, and one more


def test_a_choice_is_made_once_for_a_shape(machine):
    first = chosen()
    n_timed = len(machine.timed)
    assert chosen() == first
    assert len(machine.timed) == n_timed
    assert chosen("dtype=float32") == first  # as its run is resumed
    assert len(machine.timed) == n_timed
    chosen("width=64")
    assert len(machine.timed) > n_timed


def test_a_cache_that_cannot_be_read_or_written_is_left_out(machine, caplog):
    path = tuned.cache_path()
    path.parent.mkdir(parents=True)
    path.write_text('{"a": {"threads": 0}}')
    assert chosen() == (4, "float32")
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("a file where the folder would be")
    with caplog.at_level(logging.WARNING, "lslm"):
        assert chosen() == (4, "float32")
    assert "not kept for the next run" in caplog.text


def test_a_run_has_the_choice_in_its_configuration(data, tmp_path, monkeypatch):
    """With real passes, which may choose either way."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tuned, "MAX_SECONDS", 0.05)
    run = tmp_path / "run"
    train(load_config(None, [*SHAPE, f"data={data}", f"out={run}", "stop_after=1"]))
    kept = load_config(run / "config.toml").train
    assert (kept.threads, kept.dtype) in {(1, "float32"), (1, "bfloat16")}
    assert tuned.cache_path().is_file()
    monkeypatch.setattr(tuned, "_measured", lambda _: {"threads": 1, "dtype": kept.dtype})
    assert train(load_config(None, [f"out={run}"]), resume=True).step == 2
