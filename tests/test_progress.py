"""Progress: lines without a terminal, logging, a bar on narrow terminals and in notebooks."""

import io
import logging
import sys
import types

import pytest
from rich.console import Console

import lslm
from lslm import progress
from lslm.__main__ import main

TEXT = "One line of text that is long enough to stay.\n" * 400


class FakeClock:
    """Seconds that pass only when the test says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def lines_of(caplog, updates, *, completed=True, **known):
    """Return the lines logged for updates of (seconds, stage, done, total, unit)."""
    clock = FakeClock()
    reporter = progress._Lines(clock)
    with caplog.at_level(logging.INFO, "lslm"):
        for seconds, *update in updates:
            clock.now = 100.0 + seconds
            reporter.update(*update, **known)
        reporter.close(completed)
    return [record.getMessage() for record in caplog.records]


def test_a_line_after_2_seconds_then_every_10_and_at_the_end(caplog):
    updates = [(t / 10, "tokenize", t * 100_000, 48_000_000, "bytes") for t in range(250)]
    assert lines_of(caplog, updates) == [
        "tokenize 4%: 2.0 of 48.0 MB, 1.0 MB/s, ETA 0:46",
        "tokenize 25%: 12.0 of 48.0 MB, 1.0 MB/s, ETA 0:36",
        "tokenize 46%: 22.0 of 48.0 MB, 1.0 MB/s, ETA 0:26",
        "tokenize: 24.9 MB in 0:25, 1.0 MB/s",
    ]
    assert {record.name for record in caplog.records} == {"lslm.progress"}


def test_short_stages_have_no_line_and_a_failed_one_no_end(caplog):
    short = [(0, "count", 0, 9, "merges"), (1.9, "count", 9, 9, "merges")]
    failed = [(3, "learn", 0, None, "merges"), (5.5, "learn", 5000, None, "merges")]
    assert lines_of(caplog, short + failed, completed=False) == [
        "learn: 5,000 merges, 2,000 merges/s"
    ]


def test_training_that_a_validation_interrupts_counts_its_whole_time(caplog):
    updates = [(0, "train", 0, 30, "steps"), (9, "train", 20, 30, "steps")]
    updates += [(9.1, "evaluate", 0, 8, "tokens"), (12, "evaluate", 8, 8, "tokens")]
    updates += [(12.1, "train", 20, 30, "steps"), (20, "train", 30, 30, "steps")]
    updates += [(20.1, "evaluate", 0, 8, "tokens"), (23, "evaluate", 8, 8, "tokens")]
    lines = lines_of(caplog, updates)
    assert "train: 30 steps in 0:20, 1.5 steps/s" in lines
    assert lines[-1] == "evaluate: 8 tokens in 0:03, 2.8 tokens/s"  # another validation


def test_resumed_steps_do_not_count_as_speed(caplog):
    text = "steps, loss 3.210, 3,000 tokens/s"
    updates = [(0, "train", 1000, 2000, text), (4, "train", 1004, 2000, text)]
    assert lines_of(caplog, updates) == [
        f"train 50%: 1,004 of 2,000 {text}, ETA 16:36",
        "train: 1,004 steps in 0:04, 1.0 steps/s",
    ]


def test_the_time_left_is_what_the_caller_knows_of_it(caplog):
    updates = [(0, "train", 1, 100, "steps"), (10, "train", 50, 100, "steps")]
    lines = lines_of(caplog, updates, completed=False, seconds_left=95.4)
    assert lines == ["train 50%: 50 of 100 steps, 4.9 steps/s, ETA 1:35"]


def test_less_than_one_step_a_second_is_seconds_a_step(caplog):
    updates = [(0, "train", 1, 100, "steps, saving"), (30, "train", 3, 100, "steps, saving")]
    assert lines_of(caplog, updates)[0] == (
        "train 3%: 3 of 100 steps, saving, 15.0 s/step, ETA 24:15"
    )


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_the_bar_fits_the_terminal(columns):
    file, clock = io.StringIO(), FakeClock()
    console = Console(file=file, width=columns, force_terminal=True, color_system=None)
    bar = progress._Bar(console, clock)
    for step in (1, 500):
        clock.now += 100
        bar.update("train", step, 1000, "steps, loss 3.210, 12,000 tokens/s")
    frame = console.render_lines(bar._progress.get_renderable(), pad=False)
    bar.close(True)
    shown = ["".join(segment.text for segment in line).rstrip() for line in frame]
    assert len(shown) == 1
    assert len(shown[0]) <= columns
    assert shown[0].startswith("train ━")
    assert "50%" in shown[0]
    assert shown[0].endswith("ETA 1:40")
    assert ("tokens/s" in shown[0]) == (columns >= 80)


def test_a_stage_of_unknown_length_ends_at_100_percent():
    file, clock = io.StringIO(), FakeClock()
    console = Console(file=file, width=60, force_terminal=True, color_system=None)
    bar = progress._Bar(console, clock)
    bar.update("search", 0, None, "hashes")
    clock.now += 3
    bar.update("search", 5, None, "hashes")
    bar.update("write", 0, 1, "files")
    bar.update("write", 1, 1, "files")
    bar.close(True)
    frame = console.render_lines(bar._progress.get_renderable(), pad=False)
    shown = ["".join(segment.text for segment in line).replace("━", "") for line in frame]
    assert [" ".join(line.split()) for line in shown] == [
        "search 100% in 0:03",
        "write 100% in 0:00",
    ]


def test_a_call_inside_another_has_its_amounts():
    assert progress.amount_of(3, 2000, "steps, loss 3.1") == "3 of 2,000 steps, loss 3.1"
    assert progress.amount_of(1, 1, "steps, loss 3.1") == "1 of 1 step, loss 3.1"
    assert progress.amount_of(2000, None, "steps") == "2,000 steps"


def test_a_notebook_shows_a_bar_without_ipywidgets(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            shown.append(data["text/plain"])

    def display(data, raw, display_id):
        shown.append(data["text/plain"])
        return Handle()

    kernel = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: kernel)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    assert isinstance(progress.resolve(None), progress._NotebookBar)
    clock = FakeClock()
    bar = progress._NotebookBar(clock)
    for seconds in (0, 0.1, 2):
        clock.now = 100 + seconds
        bar.update("clean", int(seconds * 1e6), 4_000_000, "bytes")
    bar.close(True)
    assert shown == [
        "╌" * 20 + "  clean 0%: 0.0 of 4.0 MB",
        "━" * 10 + "╌" * 10 + "  clean 50%: 2.0 of 4.0 MB, 1.0 MB/s, ETA 0:02",
        "━" * 20 + "  clean: 2.0 MB in 0:02, 1.0 MB/s",
    ]


def test_a_library_call_prints_nothing_and_logs_where_logging_is_on(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(progress, "FIRST_LINE_SECONDS", 0.0)
    (tmp_path / "a.txt").write_text(TEXT)
    lslm.clean([tmp_path / "a.txt"], output=tmp_path / "out", cleaner="none")
    assert capfd.readouterr() == ("", "")
    assert progress.resolve(None) is None

    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("lslm")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        lslm.clean([tmp_path / "a.txt"], output=tmp_path / "again", cleaner="none")
        assert progress.resolve(False) is None
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert records[-1].getMessage().startswith("clean: 0.0 MB in 0:00")


def test_a_function_and_the_log_get_the_same_progress(monkeypatch, caplog):
    calls = []
    with caplog.at_level(logging.INFO, "lslm"):
        reporter = progress.resolve(lambda *call: calls.append(call))
        monkeypatch.setattr(reporter._reporters[1], "_first", 0.0)
        reporter.update("clean", 1, 2, "documents")
        reporter.close(True)
    assert calls[-1] == ("clean", 1, 2, "documents")
    assert caplog.messages[0] == "clean 50%: 1 of 2 documents"


def command(monkeypatch, capsys, *arguments):
    """Run the command line with a line for every update; return standard output and error."""
    monkeypatch.setattr(progress, "FIRST_LINE_SECONDS", 0.0)
    monkeypatch.setattr(sys, "argv", ["lslm", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert not exit_.value.code
    return capsys.readouterr()


def test_the_command_line_prints_lines_to_standard_error(tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text(TEXT)
    (tmp_path / "in/picture.png").write_bytes(b"\x89PNG")
    clean = ["clean", tmp_path / "in", "--profile", "none", "--json", "-o"]
    out, err = command(monkeypatch, capsys, *clean, tmp_path / "1")
    assert out.startswith("{")
    assert "clean: 0.0 MB in 0:00" in err
    out, err = command(monkeypatch, capsys, *clean, tmp_path / "2", "--quiet")
    assert out.startswith("{")
    assert err == ""
    _, err = command(monkeypatch, capsys, *clean[:-2], "-v", "-o", tmp_path / "3")
    assert f"skipped: {tmp_path / 'in/picture.png'}" in err
    assert not logging.getLogger("lslm").handlers


def test_training_says_when_it_validates_and_saves(tmp_path, caplog):
    pytest.importorskip("torch")
    from small_data import documents, write_small

    data = write_small(tmp_path / "data", documents(60))
    validation = write_small(tmp_path / "validation", documents(20))
    config = lslm.load_config(None, [
        f"data={data}", f"data.validation={validation}", f"out={tmp_path / 'run'}", "steps=2",
        "model.layers=1", "model.width=32", "model.heads=2", "model.sequence_length=16",
        "train.batch_size=2", "validate_every=1", "checkpoint_every=2",
    ])  # fmt: skip
    units = []
    with caplog.at_level(logging.INFO, "lslm"):
        lslm.train(config, progress=lambda *call: units.append(call[3]))
    lines = [r.getMessage() for r in caplog.records if r.name == "lslm.training"]
    first, *others = [line.partition(" loss")[0] for line in lines]
    assert first == "step 1: validation"
    # a checkpoint is written beside the validation
    assert sorted(others) == [f"step 2: saved in {tmp_path / 'run'}", "step 2: validation"]
    assert units[-1].endswith("tokens/s")


def test_every_verb_has_quiet_and_verbose():
    from typer.main import get_command

    from lslm.cli import app

    for verb in get_command(app).commands.values():
        options = {name for parameter in verb.params for name in parameter.opts}
        assert {"-q", "-v", "--quiet", "--verbose"} <= options, verb.name
