"""The score table: every row against the model, the sums against the result, damage refused."""

import json
import math

import numpy as np
import pytest
import torch

import lslm
from lslm import FormatError, Tokenizer
from lslm.checkpoint import Run
from lslm.config import load_config
from lslm.data import TokenizedDocument, write_dataset
from lslm.evaluation import evaluate
from lslm.protocol import parse_protocol
from lslm.score_table import ScoreWriter
from lslm.scores import DocumentScores
from naive_evaluation import random_model
from small_data import EOS, byte_tokenizer, documents


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A dataset of documents from two sources, with ids."""
    folder = tmp_path_factory.mktemp("data")
    byte_tokenizer(folder / "tokenizer.json")
    items = [
        TokenizedDocument([*text.encode(), EOS], len(text.encode()), f"{'ab'[n % 2]}.txt", f"d{n}")
        for n, text in enumerate(documents(12, seed=4))
    ]
    write_dataset(folder / "set", items, tokenizer=folder / "tokenizer.json", eos_id=EOS)
    return folder / "set"


@pytest.fixture(scope="module")
def run(data):
    return Run(data, 1, load_config(), random_model().eval(), Tokenizer.load(data))


PROTOCOLS = ["disjoint", "stride:5", "document", "lm-eval", "hf-stride", "llama.cpp"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_row_is_what_the_model_says(run, data, tmp_path, protocol):
    """Against one forward pass for each token, with the context that its row names."""
    result = evaluate(run, data=data, protocol=protocol, save_scores=tmp_path / "s", batch_size=3)
    table = lslm.open_scores(tmp_path / "s")
    dataset = lslm.TokenDataset(data)
    rows, order = table.tokens(), table.documents["index"]
    assert len(rows) == len(table) == result.n_tokens
    prefix = parse_protocol(protocol, 16).prefix == "document-end"
    removed = parse_protocol(protocol, 16).eos == "removed"
    ids = [dataset[i][: len(dataset[i]) - removed] for i in range(len(dataset))]
    joined = np.concatenate(ids)
    starts = np.cumsum([0, *map(len, ids)])
    separate = parse_protocol(protocol, 16).boundaries == "separate"
    for row in range(0, len(rows), 7):
        document, position = int(order[rows.document[row]]), int(rows.position[row])
        assert ids[document][position] == rows.id[row]
        stream = ids[document] if separate else joined
        at = position + (0 if separate else int(starts[document]))
        before = [EOS, *stream[:at]] if prefix else stream[:at]
        context = [int(token) for token in before[-int(rows.context[row]) :]]
        assert len(context) == rows.context[row]
        log_p = run.model(torch.tensor([context]))[0, -1].double().log_softmax(-1)
        assert rows.nats[row] == pytest.approx(-log_p[int(rows.id[row])].item(), rel=1e-5)
        assert rows.entropy[row] == pytest.approx(-(log_p.exp() * log_p).sum().item(), rel=1e-5)
        assert rows.rank[row] == (log_p > log_p[int(rows.id[row])]).sum()
        assert rows.top[row] == pytest.approx(-log_p.max().item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_result_is_the_sum_of_the_table(run, data, tmp_path, protocol):
    result = evaluate(
        run, data=data, protocol=protocol, save_scores=tmp_path / "s", per_document=tmp_path / "d"
    )
    table = lslm.open_scores(tmp_path / "s")
    assert math.fsum(table.columns["nats"].astype(float)) == pytest.approx(result.nats, rel=1e-12)
    assert table.protocol.fingerprint == result.protocol["fingerprint"]
    assert table.fingerprints == result.fingerprints
    lines = [json.loads(line) for line in (tmp_path / "d").read_text().splitlines()]
    assert [scores.as_dict() for scores in table.document_scores()] == lines
    for name in ("nats", "n_tokens", "n_bytes", "n_chars", "n_words"):
        assert sum(line[name] for line in lines) == pytest.approx(getattr(result, name), rel=1e-12)
    assert {line["source"] for line in lines} == set(result.by_source) == {"a.txt", "b.txt"}
    assert sum(s.nats for s in result.by_source.values()) == pytest.approx(result.nats, rel=1e-12)
    assert lines[0]["id"] == "d0"
    for row in range(0, table.n_documents, 5):
        own = table.document_tokens(row)
        assert set(own.document.tolist()) == {row}
        assert own.nats.sum(dtype=float) == pytest.approx(lines[row]["nats"], rel=1e-12)
    assert table.verify() > 0


def test_chunks_and_frames_hold_the_same_rows(run, data, tmp_path):
    evaluate(run, data=data, protocol="llama.cpp", save_scores=tmp_path / "s")
    table = lslm.open_scores(tmp_path / "s")
    whole = table.tokens().as_dict()
    parts = [chunk.as_dict() for chunk in table.chunks(37)]
    for name, column in whole.items():
        assert np.array_equal(np.concatenate([part[name] for part in parts]), column)
        assert np.array_equal(table.to_arrow()[name].to_numpy(), column)
    assert len(table.tokens(5, 5)) == 0
    with pytest.raises(ValueError, match="rows 0 to"):
        table.tokens(0, len(table) + 1)


def test_npy_columns_are_read_by_numpy_alone(run, data, tmp_path):
    evaluate(run, data=data, save_scores=tmp_path / "s")
    table = lslm.open_scores(tmp_path / "s")
    for name in ("id", "nats", "rank", "entropy", "top"):
        assert np.array_equal(np.load(tmp_path / "s/tokens" / f"{name}.npy"), table.columns[name])


def test_a_folder_that_is_there_is_not_written_into(run, data, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="name a new folder"):
        evaluate(run, data=data, save_scores=tmp_path / "s")
    assert (tmp_path / "s" / "mine.txt").read_text() == "kept"


def test_an_unfinished_table_is_removed(tmp_path):
    def stopped():
        with ScoreWriter(tmp_path / "s", vocab_size=300) as writer:
            writer.add_tokens(id=np.arange(3), nats=np.ones(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not (tmp_path / "s").exists()


def write_table(folder):
    with ScoreWriter(folder, vocab_size=70_000) as writer:
        ids = np.array([69_999, 1, 2])
        ones = np.ones(3)
        writer.add_tokens(id=ids, nats=ones, rank=ids, entropy=ones, top=ones)
        writer.add_spans(row=[0], document=[0], position=[4], context=[1])
        counts = {"n_tokens": 3, "n_bytes": 5, "n_chars": 4, "n_words": 1, "nats": 3.0}
        names = {"dataset": "web", "index": 7, "source": "ü.txt", "id": "№ 1"}
        writer.add_document(DocumentScores(**names, **counts))
        writer.finish(protocol=parse_protocol("disjoint", 8), fingerprints={"model": "ab"})


def test_wide_ids_and_names_come_back(tmp_path):
    write_table(tmp_path / "s")
    table = lslm.open_scores(tmp_path / "s")
    assert table.tokens().id.tolist() == [69_999, 1, 2]
    assert table.tokens(1).position.tolist() == [5, 6]
    (scores,) = table.document_scores()
    assert (scores.dataset, scores.index, scores.source, scores.id) == ("web", 7, "ü.txt", "№ 1")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "scores.json").unlink(), "not a score table"),
        (lambda f: (f / "scores.json").write_text("{"), "not the manifest"),
        (lambda f: rewrite(f, '"version": 1', '"version": 2'), "reads lslm-scores 1"),
        (lambda f: rewrite(f, '"tokens/rank"', '"tokens/rang"'), "no column tokens/rank"),
        (lambda f: cut(f / "tokens/nats.npy"), "nats.npy: its size differs"),
        (lambda f: flip(f / "tokens/id.npy", 30), "id.npy: its header differs"),
        (lambda f: (f / "spans/row.npy").unlink(), "row.npy"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path, damage, message):
    write_table(tmp_path / "s")
    damage(tmp_path / "s")
    with pytest.raises((FormatError, FileNotFoundError), match=message):
        lslm.open_scores(tmp_path / "s")


def test_verify_finds_a_changed_value(tmp_path):
    write_table(tmp_path / "s")
    flip(tmp_path / "s/tokens/nats.npy", 130)
    with pytest.raises(FormatError, match=r"nats\.npy: damaged"):
        lslm.open_scores(tmp_path / "s").verify()


def test_a_table_is_verified_and_inspected_by_its_folder(run, data, tmp_path):
    result = evaluate(run, data=data, save_scores=tmp_path / "s")
    assert lslm.verify(tmp_path / "s") == [str(tmp_path / "s")]
    (found,) = lslm.inspect(tmp_path / "s")
    assert found.kind == "scores"
    assert found.facts["n_tokens"] == result.n_tokens
    assert found.facts["nats"] == pytest.approx(result.nats, rel=1e-12)
    flip(tmp_path / "s/tokens/top.npy", 200)
    with pytest.raises(FormatError, match=r"tokens/top\.npy: damaged"):
        lslm.verify(tmp_path / "s")
    with pytest.raises(ValueError, match="is a score table, not data"):
        evaluate(run, data=tmp_path / "s")


def rewrite(folder, old, new):
    text = (folder / "scores.json").read_text()
    assert old in text
    (folder / "scores.json").write_text(text.replace(old, new))


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path, byte):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1
    path.write_bytes(data)
