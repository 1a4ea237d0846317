"""Training that starts from weights: another run's, or a published model's."""

import json
import shutil

import pytest
import torch

import lslm
from lslm import MismatchError
from lslm.checkpoint import open_run
from lslm.config import load_config
from lslm.huggingface import export_model, import_model
from small_data import write_small

SHAPE = {"width": 16, "layers": 1, "heads": 2, "sequence_length": 16, "activation": "swiglu"}
CALL = {"device": "cpu", "batch_size": 4, "train__threads": 1, "validation_tokens": 256}
CALL |= {"progress": False}


@pytest.fixture(scope="module")
def first(tmp_path_factory, data):
    run = tmp_path_factory.mktemp("first") / "run"
    lslm.train(data=data, out=run, steps=30, **SHAPE, **CALL)
    export_model(run, output=run.parent / "hf")
    import_model(run.parent / "hf", output=run.parent / "imported")
    return run


@pytest.mark.parametrize("kind", ["run", "run/checkpoints/step-000030", "hf", "imported"])
def test_training_starts_where_the_other_model_is(tmp_path, data, first, kind):
    """With a learning rate of 0 nothing moves, so the first loss is that of the other model."""
    path = first.parent / kind
    out = tmp_path / "run"
    options = {"lr": 0.0, "vector_lr": 1e-30, "embedding_lr": 1e-30, "head_lr": 1e-30}
    lslm.train(data=data, out=out, init=path, steps=2, optim="sgd", **options, **CALL)
    mine, theirs = open_run(out), open_run(first)
    ids = torch.tensor([[256, 84, 104, 101, 32]])
    torch.testing.assert_close(mine.model(ids), theirs.model(ids), atol=1e-5, rtol=0)
    assert mine.config.model.width == 16
    assert mine.config.train.init_from == str(path)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] < 4  # 5.5 without training
    assert (out / "huggingface").is_dir() == (kind in {"hf", "imported"})


def test_a_run_from_another_resumes_without_it(tmp_path, data, first):
    origin = shutil.copytree(first, tmp_path / "origin")
    common = {"data": data, "init": origin, "steps": 6, "checkpoint_every": 3, **CALL}
    lslm.train(out=tmp_path / "whole", **common)
    lslm.train(out=tmp_path / "parts", stop_after=3, **common)
    shutil.rmtree(origin)
    lslm.train(out=tmp_path / "parts", resume=True, **common)
    whole, parts = open_run(tmp_path / "whole", "last"), open_run(tmp_path / "parts", "last")
    for one, two in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_the_length_may_change_and_dropout_may_be_added(tmp_path, data, first):
    lslm.train(
        data=data, out=tmp_path / "run", init=first, steps=1, sequence_length=32, dropout=0.1, **CALL
    )  # fmt: skip
    shape = load_config(tmp_path / "run/config.toml").model
    assert (shape.sequence_length, shape.dropout, shape.width) == (32, 0.1, 16)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"width": 32}, r"model\.width = 32, and .*run has 16: leave it out"),
        ({"config": "small"}, r"model\..* leave it out"),
        ({"init": "no/such"}, "no/such"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path, data, first, settings, said
):
    call = {"init": first, "steps": 1, **CALL} | settings
    with pytest.raises((MismatchError, FileNotFoundError), match=said):
        lslm.train(call.pop("config", None), data=data, out=tmp_path / "run", **call)
    assert not (tmp_path / "run/config.toml").exists()


def test_another_tokenizer_is_refused(tmp_path, first):
    other = write_small(tmp_path / "other/train", ["some text"] * 50, eos="<end>")
    with pytest.raises(MismatchError, match=r"another tokenizer .* tokenize the text with"):
        lslm.train(data=other, out=tmp_path / "run", init=first, steps=1, **CALL)


def test_an_imported_run_has_nothing_to_resume(data, first):
    with pytest.raises(MismatchError, match=r"was imported .* init_from="):
        lslm.train(data=data, out=first.parent / "imported", resume=True, steps=3, **CALL)


def test_damaged_weights_of_the_origin_are_named(tmp_path, data, first):
    origin = shutil.copytree(first, tmp_path / "origin")
    for path in origin.glob("checkpoints/*/model.safetensors"):
        path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(lslm.FormatError, match="damaged"):
        lslm.train(data=data, out=tmp_path / "run", init=origin, steps=1, **CALL)
