"""What a step of a run read can be shown: its rows, their documents and sources."""

import json

import pytest
from typer.testing import CliRunner

import lslm
from lslm.cli import app
from small_data import write_splits

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 12 steps with checkpoints after 5, 10 and 12."""
    from lslm.config import load_config
    from lslm.training import train

    folder = tmp_path_factory.mktemp("runs")
    data = write_splits(folder / "data")
    config = {
        "model.layers": 1, "model.width": 16, "model.heads": 2, "model.sequence_length": 16,
        "train.batch_size": 3, "train.steps": 12, "data.path": data, "out": str(folder / "run"),
        "checkpoint_every": 5, "train.keep_last": 9, "validate_every": 12,
    }  # fmt: skip
    train(load_config("tiny", [f"{name}={value}" for name, value in config.items()]))
    return folder / "run"


def test_a_step_is_shown_with_its_documents(run):
    from lslm.provenance import read_step

    data = lslm.TokenDataset(run.parent / "data" / "train")
    loader = lslm.TokenLoader(data, batch_size=3, sequence_length=16, output="numpy")
    tokenizer = lslm.Tokenizer.load(run)
    for step in range(1, 13):
        batch, found = next(loader), read_step(run, step)
        assert found.n_samples == 3 * (step - 1)
        for row, inputs in zip(found.rows, batch.inputs, strict=True):
            assert row.text == tokenizer.decode(inputs.tolist())
            assert sum(document.n_tokens for document in row.documents) == 16
            for one in row.documents:
                first, stop = data.document_span(one.document)
                assert one.is_whole == (row.position <= first and stop <= row.position + 17)
    with pytest.raises(ValueError, match="has 12 steps"):
        read_step(run, 13)
    with pytest.raises(ValueError, match="count from 1"):
        read_step(run, 0)


def test_the_command_line_shows_a_step(run):
    result = CliRunner().invoke(app, ["inspect", str(run), "--step", "7"])
    assert result.exit_code == 0, result.output
    assert "--- row 2" in result.output
    assert "document " in result.output
    result = CliRunner().invoke(app, ["inspect", str(run), "--step", "7", "--json"])
    assert json.loads(result.output)["step"] == 7
    result = CliRunner().invoke(app, ["inspect", str(run.parent / "data"), "--step", "7"])
    assert result.exit_code != 0
