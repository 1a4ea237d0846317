"""The model type of lm-eval: equal to lm-eval's own ``hf`` on the exported folder.

lm-eval is not among the packages that tests need: without it and transformers they skip.
"""

import importlib
import math

import pytest
import torch

import lslm
from lslm.evaluation import evaluate
from lslm.training import train
from small_data import documents

lm_eval = pytest.importorskip("lm_eval", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = [*documents(6, seed=3), "", "x", "größer – 東京 " * 9]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harness")
    texts = documents(200)
    tokenizer = lslm.train_tokenizer(texts=texts, vocab_size=400)
    (folder / "text.txt").write_text("\n".join(texts), encoding="utf-8")
    lslm.tokenize(
        lslm.Corpus(folder / "text.txt", split="line"),
        output=folder / "data",
        tokenizer=tokenizer,
        validation_fraction=0.1,
    )
    shape = {"width": 32, "layers": 2, "heads": 2, "model__sequence_length": 48, "device": "cpu"}
    train(data=folder / "data", out=folder / "run", steps=40, progress=False, **shape)
    lslm.export_model(folder / "run", output=folder / "hf")
    return folder


def request(kind, *arguments):
    from lm_eval.api.instance import Instance

    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


@pytest.fixture(scope="module")
def models(run):
    from lm_eval.models.huggingface import HFLM

    from lslm.harness import HarnessModel

    theirs = HFLM(pretrained=str(run / "hf"), device="cpu", dtype="float32", batch_size=1)
    return HarnessModel(run=str(run / "run"), device="cpu", batch_size=4), theirs


def test_rolling_log_likelihoods_are_equal(models):
    requests = [request("loglikelihood_rolling", text) for text in TEXTS if text]
    ours, theirs = (model.loglikelihood_rolling(requests, disable_tqdm=True) for model in models)
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert models[0].prefix_token_id == models[1].prefix_token_id
    assert models[0].max_length == models[1].max_length == 48


def test_the_protocol_gives_the_harness_figures(run, models, tmp_path):
    """Word and byte perplexity and bits per byte of the whole, by the harness's definitions."""
    import json
    import re

    texts = [text for text in TEXTS if text]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    result = evaluate(run / "run", data=tmp_path / "t.jsonl", protocol="lm-eval", device="cpu")
    requests = [request("loglikelihood_rolling", text) for text in texts]
    total = sum(models[1].loglikelihood_rolling(requests, disable_tqdm=True))
    words = sum(len(re.split(r"\s+", text)) for text in texts)
    n_bytes = sum(len(text.encode()) for text in texts)
    assert result.nats == pytest.approx(-total, rel=1e-6)
    assert result.word_perplexity == pytest.approx(math.exp(-total / words), rel=1e-6)
    assert result.byte_perplexity == pytest.approx(math.exp(-total / n_bytes), rel=1e-6)
    assert result.bits_per_byte == pytest.approx(-total / n_bytes / math.log(2), rel=1e-6)


def test_log_likelihoods_of_continuations_are_equal(models):
    pairs = [("The cat", " sees the"), ("", "The dog"), ("The ant ", "likes"), (TEXTS[0], " x")]
    requests = [request("loglikelihood", *pair) for pair in pairs]
    ours, theirs = (model.loglikelihood(requests, disable_tqdm=True) for model in models)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[0] == pytest.approx(other[0], rel=1e-5)
        assert mine[1] == other[1]


def test_generated_text_is_equal(models):
    options = {"until": ["."], "max_gen_toks": 20, "do_sample": False}
    requests = [request("generate_until", text, options) for text in ("The cat", "The dog sees")]
    ours, theirs = (model.generate_until(requests, disable_tqdm=True) for model in models)
    assert ours == theirs


def test_texts_of_a_batch_are_those_that_each_is_alone(run, models):
    """Of different lengths, limits and stop strings, more of them than a batch holds."""
    from lslm.harness import HarnessModel

    cases = [
        (text, {"until": until, "max_gen_toks": n, "do_sample": do_sample, "temperature": 0.7})
        for text in ("The cat", "", TEXTS[0], "The dog sees")
        for until, n in ([".", 20], [["s", "\n"], 7], [[], 13])
        for do_sample in (False, True)
    ]
    requests = [request("generate_until", *case) for case in cases]
    alone = HarnessModel(run=str(run / "run"), device="cpu", batch_size=1)
    wanted = [alone.generate_until([one], disable_tqdm=True)[0] for one in requests]
    assert models[0].generate_until(requests, disable_tqdm=True) == wanted
    assert len(set(wanted)) > 5


def test_the_command_gives_the_figures_of_the_exported_folder(run, tmp_path, caplog):
    """A task of its own, as both model types report it; the harness asks for cuda:0 by default."""
    import json

    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    importlib.import_module("lslm.harness")  # registers the model
    rows = [json.dumps({"text": text}) for text in TEXTS if text]
    (tmp_path / "t.jsonl").write_text("\n".join(rows) + "\n")
    task = {"task": "local_text", "dataset_path": "json", "test_split": "test"}
    task |= {"dataset_kwargs": {"data_files": {"test": str(tmp_path / "t.jsonl")}}}
    task |= {"output_type": "loglikelihood_rolling", "doc_to_text": ""}
    metrics = ("word_perplexity", "byte_perplexity", "bits_per_byte")
    task |= {"doc_to_target": "{{text}}", "metric_list": [{"metric": name} for name in metrics]}
    (tmp_path / "task").mkdir()
    (tmp_path / "task/local_text.yaml").write_text(json.dumps(task))
    manager = TaskManager(include_path=str(tmp_path / "task"), include_defaults=False)
    found = [
        simple_evaluate(
            model=model, model_args=arguments, tasks=["local_text"], task_manager=manager,
            device="cuda:0", bootstrap_iters=0,
        )["results"]["local_text"]
        for model, arguments in (
            ("lslm", f"run={run / 'run'}"),
            ("hf", f"pretrained={run / 'hf'},dtype=float32"),
        )
    ]  # fmt: skip
    for name in metrics:
        assert found[0][f"{name},none"] == pytest.approx(found[1][f"{name},none"], rel=1e-6)
    if not torch.cuda.is_available():
        assert any("no CUDA device" in record.message for record in caplog.records)


def test_the_model_is_registered(run):
    from lm_eval.api.registry import get_model

    torch.set_num_threads(1)
    import lslm.harness

    assert get_model("lslm") is lslm.harness.HarnessModel
    made = get_model("lslm").create_from_arg_string(
        f"run={run / 'run'}", {"batch_size": 2, "device": "cpu"}
    )
    assert made.max_length == 48
