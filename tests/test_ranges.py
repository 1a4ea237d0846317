"""Numbers out of range: each public function refuses them by name and value, before work begins."""

import ast
import inspect
import math
import re

import numpy as np
import pytest

import lslm
from lslm.limits import check_number
from small_data import write_splits
from test_help import NODES

pytest.importorskip("torch")
from lslm.demo import demo
from lslm.next_token import Sampling
from lslm.tuning import range_test

BAD = {"int": (-1, 10**23, math.nan, 1.5, "3"), "float": (-1.0, math.nan, math.inf)}
"""Values that no argument of the type may have. -1 is below every range, 10**23 above."""

NOT_NUMBERS = {("evaluate", "checkpoint"), ("generate", "checkpoint"), ("complete", "checkpoint")}
NOT_NUMBERS |= {
    ("compare", "checkpoint"),
    ("analyze", "checkpoint"),
    ("export_model", "checkpoint"),
}
"""A name or a step: what is there is listed in its error."""

OTHER_ERRORS = {("truncate", "n"): "-1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file of documents and a dataset of two parts."""
    folder = tmp_path_factory.mktemp("ranges")
    (folder / "a.jsonl").write_text('{"text": "one two three"}\n' * 30)
    write_splits(folder / "data")
    return folder


def calls(folder):
    """Each function that takes a number, called with all that it needs besides."""
    raw, data, new = folder / "a.jsonl", folder / "data", folder / "new"
    tok = lslm.Tokenizer.load(folder / "data/bytes.json")
    run = "no/such/run"
    return {
        "clean": lambda **k: lslm.clean(raw, output=new, **k),
        "preview_clean": lambda **k: lslm.preview_clean(raw, **k),
        "train_tokenizer": lambda **k: lslm.train_tokenizer(raw, **{"vocab_size": 260, **k}),
        "measure_tokenizer": lambda **k: lslm.measure_tokenizer(raw, tokenizer=tok, **k),
        "tokenize": lambda **k: lslm.tokenize(raw, output=new, tokenizer=tok, **k),
        "Corpus": lambda **k: lslm.Corpus(raw, **k),
        "Corpus.n_partitions": lambda **k: lslm.Corpus(raw).n_partitions(**k),
        "finish": lambda **k: lslm.finish(new, **k),
        "Document": lambda **k: lslm.Document("a", **k),
        "Cleaner.clean_batch": lambda **k: lslm.Cleaner().clean_batch(["a"], **k),
        "Tokenizer.encode_batch": lambda **k: tok.encode_batch(["a"], **k),
        "Tokenizer.decode_batch": lambda **k: tok.decode_batch([1], [0, 1], **k),
        "Tokenizer.truncate": lambda **k: tok.truncate("a", **k),
        "TokenDataset.tokens": lambda **k: lslm.TokenDataset(data / "train").tokens(**k),
        "TokenDataset.verify": lambda **k: lslm.TokenDataset(data / "train").verify(**k),
        "TokenLoader": lambda **k: lslm.TokenLoader(
            data, **{"batch_size": 2, "sequence_length": 8, **k}
        ),
        "write_dataset": lambda **k: lslm.write_dataset(new, [[1]], **{"vocab_size": 9, **k}),
        "Sampling": Sampling,
        "evaluate": lambda **k: lslm.evaluate(run, **k),
        "compare": lambda **k: lslm.compare(run, run, **k),
        "generate": lambda **k: lslm.generate(run, **k),
        "complete": lambda **k: lslm.complete(run, ["a"], **k),
        "analyze": lambda **k: lslm.analyze(run, output=new, **k),
        "export_model": lambda **k: lslm.export_model(run, output=new, **k),
        "inspect": lambda **k: lslm.inspect(raw, **k),
        "demo": lambda **k: demo(raw, output=new, **k),
        "tune": lambda **k: lslm.tune("tiny", data=data, output=new, budget="1k", **k),
        "scaling": lambda **k: lslm.scaling("tiny", data=data, output=new, **k),
        "range_test": lambda **k: range_test("tiny", data=data, output=new, **k),
    }


PYTHON = {"Sampling": Sampling, "demo": demo, "range_test": range_test}
PYTHON |= {
    name: getattr(lslm, name) for name in lslm.__all__ if inspect.isfunction(getattr(lslm, name))
}
PYTHON |= {"TokenLoader": lslm.TokenLoader}


INTERNAL = ("DatasetWriter", "LoaderCore", "FolderLock", "TokenDataset.open_bin")
"""What only lslm itself calls, by functions that check."""


def annotations():
    """Name, parameter and annotation of all functions, compiled ones from the stub."""
    for name, function in PYTHON.items():
        for parameter in inspect.signature(function).parameters.values():
            yield name, parameter.name, str(parameter.annotation)
    for name, node in NODES.items():
        if name.startswith(INTERNAL):
            continue  # of lslm alone
        functions = [node] if isinstance(node, ast.FunctionDef) else node.body
        for function in functions:
            is_new = isinstance(function, ast.FunctionDef) and function.name == "__new__"
            if function is node or is_new:
                for argument in [*function.args.args, *function.args.kwonlyargs]:
                    if argument.annotation is not None:
                        yield name, argument.arg, ast.unparse(argument.annotation)


def numbers():
    """Function, parameter and type of every argument that is one number."""
    for name, parameter, annotation in annotations():
        found = re.fullmatch(r"(int|float)( \| None)?", annotation)
        if found:
            yield name, parameter, found[1]


INDEXES = {"document", "document_span", "document_bytes", "source", "document_id", "token_bytes"}
"""Methods whose number is an index or an id: their errors are IndexError and KeyError."""
CASES = [case for case in numbers() if case[0].rpartition(".")[2] not in INDEXES]


def test_every_function_that_takes_a_number_is_among_these(folder):
    assert {name for name, _, _ in CASES} == calls(folder).keys()
    assert len(CASES) > 70


@pytest.mark.parametrize(("name", "parameter", "kind"), CASES)
def test_a_number_out_of_range_is_refused_by_name_and_value(folder, name, parameter, kind):
    call = calls(folder)[name]
    for value in BAD[kind]:
        with pytest.raises((TypeError, ValueError)) as error:
            call(**{parameter: value})
        message = str(error.value).lower()
        given = {repr(value), str(value), f"{value:g}" if isinstance(value, float) else ""}
        start = message.partition(f"{parameter.lower()} = ")[2]
        assert start.startswith(tuple(given - {""})), f"{value!r}: {message}"
        assert not (folder / "new").exists()


def test_an_id_or_index_that_is_none_is_named(folder):
    tok = lslm.Tokenizer.load(folder / "data/bytes.json")
    dataset = lslm.TokenDataset(folder / "data/train")
    for value in (-1, 257, 2**32, 2**63, 10**22, -(10**22)):
        for call in (
            lambda value=value: tok.token_bytes(value),
            lambda value=value: tok.decode([1, value]),
            lambda value=value: tok.decoder().push(value),
            lambda value=value: tok.decoder().push([value]),
        ):
            with pytest.raises(KeyError, match=f"the id {value} is "):
                call()
    with pytest.raises(KeyError, match=f"the id {2**64 - 1} is not"):
        tok.decode(np.array([1, 2**64 - 1], np.uint64))
    assert tok.decode(np.array([65, 66], np.uint64)) == "AB"
    for value in (len(dataset), 2**63, -(10**22)):
        for call in (dataset.document, dataset.source, dataset.__getitem__):
            with pytest.raises(IndexError, match=f"document {value}: "):
                call(value)


def test_numbers_of_numpy_are_numbers(folder):
    check_number("minutes", np.float32(0.5), 0, 1)
    lslm.clean(folder / "a.jsonl", output=folder / "numpy", threads=np.int64(1))
    assert Sampling(top_k=np.int32(3)).top_k == 3
