"""A run goes on without the data that some steps read."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import lslm
from lslm.cli import app
from small_data import write_splits

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """The settings of a run of 12 steps with checkpoints after 5, 10 and 12, which was trained."""
    from lslm.config import load_config
    from lslm.training import train

    folder = tmp_path_factory.mktemp("runs")
    config = {
        "model.layers": 1, "model.width": 16, "model.heads": 2, "model.sequence_length": 16,
        "train.batch_size": 3, "train.steps": 12, "data.path": write_splits(folder / "data"),
        "out": str(folder / "run"), "checkpoint_every": 5, "train.keep_last": 9,
        "validate_every": 12,
    }  # fmt: skip
    settings = [f"{name}={value}" for name, value in config.items()]
    train(load_config("tiny", settings))
    return folder / "run", settings


def test_steps_are_left_out_from_the_checkpoint_before_them(settings, caplog):
    from lslm.provenance import read_step

    run, given = settings
    loader = lslm.TokenLoader(
        run.parent / "data" / "train", batch_size=3, sequence_length=16, output="numpy"
    )
    expected = [loader.batch_at(step) for step in [*range(6), *range(9, 15)]]
    arguments = ["train", "tiny", *given, "--resume", "--skip-steps", "7:9"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert {"replaced-step-000010", "replaced-step-000012", "step-000005"} <= names
    assert "from step 5 on without the data that steps 7 to 9 read" in caplog.text
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 13))
    tokenizer = lslm.Tokenizer.load(run)
    for step in range(1, 13):
        found = read_step(run, step)
        texts = [tokenizer.decode(row) for row in expected[step - 1].inputs]
        assert [row.text for row in found.rows] == texts
    # the checkpoint that was restored has it too: a run that was killed goes on without the data
    state = json.loads((run / "checkpoints" / "step-000005" / "state.json").read_text())
    loader.load_state_dict(state["loader"])
    assert np.array_equal(loader.batch_at(6).inputs, expected[6].inputs)
    # given again, it changes nothing
    before = (run / "metrics.jsonl").read_bytes()
    caplog.clear()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "steps 7 to 9 were left out before" in caplog.text
    assert (run / "metrics.jsonl").read_bytes() == before
    assert {path.name for path in (run / "checkpoints").iterdir()} == names


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("3:4", "the oldest checkpoint is of step 5"),
        ("9:7", "give the first and the last step"),
        ("0:2", "give the first and the last step"),
        ("a:b", "such as 1230:1240"),
        ("-1", "such as 1230:1240"),
    ],
)
def test_steps_that_cannot_be_left_out_are_named(settings, steps, message):
    _, given = settings
    result = CliRunner().invoke(app, ["train", "tiny", *given, "--resume", f"--skip-steps={steps}"])
    assert result.exit_code != 0
    assert message in f"{result.output} {result.exception}"


def test_a_new_run_can_leave_out_steps(tmp_path, settings):
    from lslm.config import load_config
    from lslm.provenance import read_step
    from lslm.training import train

    _, given = settings
    config = load_config("tiny", [*given, f"out={tmp_path / 'run'}", "train.steps=4"])
    train(config, skip_steps=(1, 2))
    other = read_step(settings[0], 3)
    assert [row.text for row in read_step(tmp_path / "run", 1).rows] == [
        row.text for row in other.rows
    ]
