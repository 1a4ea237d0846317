"""Nothing is scored, resumed, moved or stopped without saying so."""

import base64
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lslm
from lslm import checkpoint
from lslm.config import load_config
from lslm.evaluation import score, token_lengths
from lslm.model import ModelConfig, Transformer
from lslm.scores import EvaluationResult
from lslm.training import TrainResult, train
from small_data import write_small, write_splits

SHAPE = {"device": "cpu", "width": 32, "layers": 1, "heads": 2, "sequence_length": 32}
SHAPE |= {"batch_size": 4, "train__threads": 1, "validation_tokens": 256}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


def lslm_run(*arguments, cwd, code=0):
    """Run the command line; return what it printed, errors last."""
    command = [sys.executable, "-m", "lslm", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


# -- nothing to score ------------------------------------------------------------------------------


def test_scoring_nothing_is_an_error_that_names_the_dataset(data, tmp_path):
    run = tmp_path / "run"
    train(data=data, out=run, steps=1, **SHAPE)
    empty = write_small(tmp_path / "empty", [])
    with pytest.raises(ValueError, match=r"empty has 0 tokens, and none of them can be scored"):
        lslm.evaluate(run, data=empty)


def test_training_on_or_validating_with_an_empty_part_is_refused(data, tmp_path):
    empty = write_small(tmp_path / "empty", [])
    with pytest.raises(ValueError, match=r"empty has 0 tokens to train on"):
        train(data=empty, out=tmp_path / "run", steps=1, **SHAPE)
    with pytest.raises(ValueError, match=r"empty has 0 tokens to validate on: .* data=.*train"):
        train(data=data, validation=empty, out=tmp_path / "run", steps=1, **SHAPE)
    assert not (tmp_path / "run").exists()


def test_results_as_plain_data_have_no_number_that_json_lacks():
    endless = EvaluationResult(nats=1600.0, n_tokens=2, n_bytes=0)
    assert endless.summary()["perplexity"] == "inf"
    assert endless.as_dict()["perplexity"] is None
    reached = TrainResult(
        run=Path("run"), step=0, loss=math.nan, validation=endless, n_tokens=0, seconds=0.0
    )
    for result in (endless, reached):
        assert json.loads(json.dumps(result.as_dict(), allow_nan=False)) == result.as_dict()
    assert math.isnan(TrainResult.from_dict(reached.as_dict()).loss)


# -- padded ids ------------------------------------------------------------------------------------


def padded_model(vocab_size):
    """A random model that finds the ids from 257 on by far the most likely."""
    shape = ModelConfig(vocab_size=vocab_size, sequence_length=16, width=16, layers=1, heads=2)
    model = Transformer(shape, seed=1)
    with torch.no_grad():
        model.head.weight.copy_(torch.randn(vocab_size, 16) * 0.3)
        model.head.weight[257:] *= 50
    return model.eval()


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_padded_ids_are_never_generated(data, temperature):
    tokenizer = lslm.Tokenizer.load(str(Path(data) / "train" / "tokenizer.json"))
    run = checkpoint.Run(Path("run"), 1, load_config(), padded_model(320), tokenizer)
    bare = checkpoint.Run(Path("run"), 1, load_config(), padded_model(320), tokenizer)
    bare.model.head.weight = torch.nn.Parameter(run.model.head.weight[:257])
    options = {"max_tokens": 50, "temperature": temperature, "stop_at_eos": False}
    assert lslm.generate(run, **options) == lslm.generate(bare, **options) != ""


def test_ids_that_no_token_has_are_never_generated(tmp_path):
    ranks = tmp_path / "gap.tiktoken"
    lines = [
        f"{base64.b64encode(bytes([b])).decode()} {b if b < 200 else b + 40}" for b in range(256)
    ]
    ranks.write_text("\n".join(lines) + "\n")
    tokenizer = lslm.Tokenizer.from_tiktoken(
        str(ranks), pattern="gpt2", special_tokens={"<|endoftext|>": 400}
    )
    model = padded_model(512)
    with torch.no_grad():
        model.head.weight[200:240] *= 50
    run = checkpoint.Run(Path("run"), 1, load_config(), model, tokenizer)
    assert lslm.generate(run, prompt="a", max_tokens=50, temperature=1.0)


def test_padded_ids_have_no_share_in_scores(data):
    dataset = lslm.TokenDataset(str(Path(data) / "validation"))
    lengths = token_lengths(lslm.Tokenizer.load(str(Path(data) / "train" / "tokenizer.json")))
    model = padded_model(320)
    padded = score(model, dataset, lengths, n_tokens=200)
    model.head.weight = torch.nn.Parameter(model.head.weight[:257])
    assert padded.nats == pytest.approx(score(model, dataset, lengths, n_tokens=200).nats)
