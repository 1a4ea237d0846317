"""Nothing is scored, resumed, moved or stopped without saying so."""

import base64
import contextlib
import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import lslm
from lslm import checkpoint
from lslm.__main__ import main
from lslm.config import config_keys, load_config
from lslm.evaluation import score
from lslm.evaluation_data import DatasetDocuments, Vocabulary
from lslm.exceptions import Interrupted
from lslm.model import ModelConfig, Transformer
from lslm.protocol import parse_protocol
from lslm.scores import EvaluationResult
from lslm.training import TrainResult, train
from lslm.training.start import KEY_OWNERS
from small_data import write_small, write_splits

SHAPE = {"device": "cpu", "width": 32, "layers": 1, "heads": 2, "sequence_length": 32}
SHAPE |= {"batch_size": 4, "train__threads": 1, "validation_tokens": 256}


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
    with pytest.raises(
        ValueError, match=r"empty has 0 tokens, and protocol disjoint can score none of them"
    ):
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
    tokenizer = lslm.Tokenizer.load(str(Path(data) / "train" / "tokenizer.json"))
    vocabulary, model = Vocabulary.of(tokenizer), padded_model(320)
    documents = [DatasetDocuments(dataset, vocabulary, "data")]
    protocol = parse_protocol("disjoint", 16)
    padded = score(model, documents, vocabulary, protocol)
    model.head.weight = torch.nn.Parameter(model.head.weight[:257])
    assert padded.nats == pytest.approx(score(model, documents, vocabulary, protocol).nats)


# -- resuming --------------------------------------------------------------------------------------


def logged(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [row["step"] for row in map(json.loads, lines) if "loss" in row]


def saved(run):
    folders = checkpoint.list_checkpoints(run)
    return [checkpoint.read_state(folder)["step"] for folder in folders]


@pytest.fixture
def halted(data, tmp_path):
    """A run of 9 steps that was stopped after 4, with settings that are not the defaults."""
    train(
        data=data,
        out=tmp_path / "run",
        steps=9,
        stop_after=4,
        seed=5,
        log_every=2,
        keep_last=4,
        keep_best=False,
        checkpoint_every=1,
        **SHAPE,
    )
    assert saved(tmp_path / "run") == [1, 2, 3, 4]
    return tmp_path / "run"


def test_a_bare_resume_continues_to_the_end(halted):
    assert train(out=halted, resume=True).step == 9
    assert logged(halted) == [2, 4, 6, 8, 9]
    assert saved(halted) == [6, 7, 8, 9]


def test_settings_given_with_their_default_take_effect(halted):
    config = load_config(None, [f"out={halted}", "stop_after=6", "keep_last=2", "log_every=1"])
    assert train(config, resume=True).step == 6
    assert train(out=halted, resume=True, stop_after=0, device="auto").step == 9
    assert logged(halted) == [2, 4, 5, 6, 7, 8, 9]
    assert saved(halted) == [8, 9]
    kept = load_config(halted / "config.toml").train
    assert (kept.keep_last, kept.log_every, kept.stop_after) == (2, 1, 0)
    assert kept.device == "auto"


def test_a_default_of_another_run_is_refused_like_any_value(halted):
    with pytest.raises(lslm.MismatchError, match=r"started with train.seed = 5, not 0"):
        train(out=halted, resume=True, seed=0)
    with pytest.raises(
        lslm.MismatchError, match=r"is a run of 9 steps, which train.minutes = 3.0 does not"
    ):
        train(out=halted, resume=True, minutes=3)


def test_settings_of_a_file_are_given_and_others_are_the_runs(halted, tmp_path):
    """The width of the run is in no file, and is not taken for a change to the default."""
    (tmp_path / "log.toml").write_text("[train]\nlog_every = 1\nstop_after = 5\n")
    assert train(tmp_path / "log.toml", out=halted, resume=True).step == 5
    assert logged(halted) == [2, 4, 5]


def test_the_page_on_runs_has_the_table_of_the_code():
    page = (Path(__file__).parent.parent / "docs/training.md").read_text(encoding="utf-8")
    listed = [re.findall(r"`([a-z]+\.[a-z_]+)`", line) for line in page.splitlines() if "|" in line]
    owners = dict.fromkeys(listed[2], "call") | dict.fromkeys(listed[3], "both")
    assert owners == KEY_OWNERS
    assert KEY_OWNERS.keys() < {*config_keys()}


# -- data that moved -------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path):
    """A project folder with data and a run that was stopped, made with relative paths."""
    home = tmp_path / "project"
    write_splits(home / "data")
    with contextlib.chdir(home):
        train(data="data", out="runs/a", steps=4, stop_after=2, checkpoint_every=1, **SHAPE)
    return home


def test_a_run_finds_its_data_from_another_directory(project, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with contextlib.chdir(tmp_path / "elsewhere"):
        assert lslm.evaluate("../project/runs/a").n_tokens > 0
        assert train(out="../project/runs/a", resume=True).validation is not None


def test_a_run_finds_its_data_after_both_were_moved(project, tmp_path):
    project.rename(tmp_path / "renamed")
    run = tmp_path / "renamed" / "runs" / "a"
    assert lslm.evaluate(run).n_tokens > 0
    result = train(out=run, resume=True)
    assert (result.step, result.validation is None) == (4, False)
    assert load_config(run / "config.toml").data.path == str(tmp_path / "renamed" / "data")


def test_data_that_is_missing_is_named_with_what_to_give(project):
    run = project / "runs" / "a"
    (project / "data").rename(project / "moved")
    for call in (lambda: lslm.evaluate(run), lambda: train(out=run, resume=True)):
        with pytest.raises(
            FileNotFoundError, match=r"data of .*runs/a not found: give data="
        ) as caught:
            call()
        assert caught.value.filename == str(project / "data")
    assert lslm.evaluate(run, data=project / "moved").n_tokens > 0
    assert train(out=run, data=project / "moved", resume=True).step == 4


def test_a_missing_validation_set_is_named_and_not_left_out(project):
    run = project / "runs" / "a"
    (project / "data" / "validation").rename(project / "held-out")
    with pytest.raises(FileNotFoundError) as caught:
        lslm.evaluate(run)
    assert caught.value.filename == str(project / "data" / "validation")
    with pytest.raises(lslm.MismatchError, match=r"with a validation set, and .*data has no"):
        train(out=run, resume=True)
    assert train(out=run, validation=project / "held-out", resume=True).validation is not None
    assert lslm.evaluate(run).n_tokens > 0


def test_a_run_without_validation_data_says_so(data, tmp_path):
    train(data=Path(data) / "train", out=tmp_path / "run", steps=1, **SHAPE)
    with pytest.raises(ValueError, match="was trained without validation data: give data="):
        lslm.evaluate(tmp_path / "run")


# -- stopping --------------------------------------------------------------------------------------


@pytest.fixture
def _same_handlers():
    """Restore the handlers of signals that the command line sets."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def command_line(monkeypatch, *arguments):
    """Run ``main`` in this process; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["lslm", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.usefixtures("_same_handlers")
@pytest.mark.parametrize("number", SIGNALS)
def test_training_that_a_signal_stops_says_where_it_saved(
    data, tmp_path, monkeypatch, capsys, number
):
    run, calls = tmp_path / "a run", []

    def stop_at_second_step(stage, done, total, unit):
        calls.append(done)
        if len(calls) == 2:
            signal.raise_signal(number)

    def interrupted_train(config, **options):
        return train(config, progress=stop_at_second_step, **options)

    monkeypatch.setattr(lslm, "train", interrupted_train)
    shape = [f"{key.replace('__', '.')}={value}" for key, value in SHAPE.items()]
    code = command_line(monkeypatch, "train", f"data={data}", f"out={run}", "steps=100000", *shape)
    (step,) = saved(run)
    assert code == SIGNALS[number]
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"saved at step {step} in {run}: resume with `lslm train --resume out='{run}'`"
    assert train(out=run, steps=step + 1, resume=True).step == step + 1


@pytest.mark.usefixtures("_same_handlers")
@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (Interrupted("stopped", signal.SIGTERM), 143, "stopped"),
        (FloatingPointError("step 3 of run: loss nan"), 1, "error: step 3 of run: loss nan"),
        (OverflowError("int too large"), 1, "error: int too large"),
    ],
)
def test_what_ends_a_verb_is_one_line_and_its_exit_code(monkeypatch, capsys, error, code, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(lslm, "evaluate", fail)
    assert command_line(monkeypatch, "eval", "run") == code
    assert capsys.readouterr().err == said + "\n"


@pytest.mark.usefixtures("_same_handlers")
def test_a_sighup_that_nohup_ignores_stays_ignored(data, tmp_path):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def hang_up(*_):
        signal.raise_signal(signal.SIGHUP)

    assert train(data=data, out=tmp_path / "run", steps=2, progress=hang_up, **SHAPE).step == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_a_signal_stops_has_its_exit_code(data, tmp_path, number):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("this process ignores SIGHUP, and so do those it starts")
    shape = [f"{key.replace('__', '.')}={value}" for key, value in SHAPE.items()]
    run, command = tmp_path / "run", [sys.executable, "-m", "lslm", "train", *shape]
    command += [f"data={data}", f"out={run}", "steps=1000000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (run / "metrics.jsonl").is_file():
            time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == SIGNALS[number], errors
    (step,) = saved(run)
    assert errors.endswith(
        f"saved at step {step} in {run}: resume with `lslm train --resume out={run}`\n"
    )
