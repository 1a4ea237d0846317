"""Samples of documents: fair to every source, whole, the same each time; and training's use."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lslm
from lslm.data import TokenizedDocument, write_dataset
from lslm.evaluation import evaluate
from lslm.sampling import stratified_sample
from lslm.training import train
from small_data import EOS, byte_tokenizer, documents


def test_each_source_has_its_share_of_short_and_long_documents():
    rng = np.random.default_rng(0)
    sources = np.repeat([0, 1, 2], [3000, 900, 100])
    lengths = rng.lognormal(5, 1, 4000).astype(int) + 1
    chosen, used = stratified_sample(sources, lengths, 60_000, seed=1)
    assert used.sum() == pytest.approx(60_000, rel=0.05)
    share = 60_000 / lengths.sum()
    for source in range(3):
        mine, all_of_it = used[sources[chosen] == source], lengths[sources == source]
        assert mine.sum() == pytest.approx(
            share * all_of_it.sum(), rel=0.35 if source == 2 else 0.1
        )
        assert np.median(mine) == pytest.approx(np.median(all_of_it), rel=0.3)
    assert (used == lengths[chosen]).all()  # whole
    again, _ = stratified_sample(sources, lengths, 60_000, seed=1)
    assert (again == chosen).all()
    other, _ = stratified_sample(sources, lengths, 60_000, seed=2)
    assert set(other) != set(chosen)


def test_a_prefix_would_have_missed_a_source():
    """The case that was seen: three sources, one after the other."""
    sources, lengths = np.repeat([0, 1, 2], 100), np.full(300, 700)
    chosen, used = stratified_sample(sources, lengths, 65_536)
    counts = [used[sources[chosen] == source].sum() for source in range(3)]
    assert min(counts) > 0.9 * max(counts) > 0


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5000)), max_size=60),
    st.integers(1, 20_000),
    st.integers(0, 3),
)
def test_samples_hold_what_they_promise(items, n_tokens, seed):
    sources = np.array([source for source, _ in items], np.int64)
    lengths = np.array([length for _, length in items], np.int64)
    chosen, used = stratified_sample(sources, lengths, n_tokens, seed=seed)
    assert len(set(chosen)) == len(chosen) == len(used)
    assert (np.diff(chosen) > 0).all()
    assert (used <= lengths[chosen]).all()
    if lengths.sum() <= n_tokens:
        assert used.sum() == lengths.sum()
    else:
        largest = max(n_tokens // 8, int(used.max(initial=0)))
        assert used.sum() <= 1.25 * n_tokens + 6 * largest


def test_few_long_documents_are_cut_alike():
    chosen, used = stratified_sample([0, 1, 2], [1_000_000, 500, 1_000_000], 10_000)
    assert chosen.tolist() == [0, 1, 2]
    assert used.tolist() == [4750, 500, 4750]


def write_sources(folder, seed=1):
    """Write ``train`` and a validation set of three sources, one after the other, of 30 each."""
    folder.mkdir(parents=True, exist_ok=True)
    byte_tokenizer(folder / "tokenizer.json")
    for part, n, offset in (("train", 100, 0), ("validation", 90, seed)):
        items = [
            TokenizedDocument([*t.encode(), EOS], len(t.encode()), f"{'abc'[i * 3 // n]}.txt")
            for i, t in enumerate(documents(n, seed=offset))
        ]
        write_dataset(folder / part, items, tokenizer=folder / "tokenizer.json", eos_id=EOS)
    return folder


SHAPE = {"width": 16, "layers": 1, "heads": 2, "model__sequence_length": 32, "batch_size": 4}
SHAPE |= {"train__threads": 1, "device": "cpu", "steps": 4, "validate_every": 2}


def metric_rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_training_validates_on_a_fair_sample_and_at_the_end_on_everything(tmp_path):
    data = write_sources(tmp_path / "data")
    result = train(data=data, out=tmp_path / "run", validation_tokens=2000, **SHAPE)
    whole = lslm.TokenDataset(data / "validation")
    assert result.validation.n_tokens == whole.n_tokens
    assert result.validation.sample is None
    assert set(result.validation.by_source) == {"a.txt", "b.txt", "c.txt"}
    everything = evaluate(tmp_path / "run", checkpoint="last")
    assert everything.nats == pytest.approx(result.validation.nats, rel=1e-6)
    rows = metric_rows(tmp_path / "run")
    assert [row["step"] for row in rows if "validation_loss" in row] == [2, 4]
    (final,) = [row for row in rows if "final_validation_loss" in row]
    assert final["final_validation_loss"] == result.validation.loss
    state = lslm.checkpoint.read_state(lslm.checkpoint.find_checkpoint(tmp_path / "run"))
    assert 1000 < state["validation"]["tokens"] < 3000
    assert state["final_validation"]["tokens"] == whole.n_tokens
    resumed = train(out=tmp_path / "run", resume=True)
    assert resumed.validation.nats == result.validation.nats


def test_a_run_of_minutes_says_that_its_figure_is_of_a_sample(tmp_path, caplog):
    data = write_sources(tmp_path / "data")
    shape = {**SHAPE, "steps": 0, "minutes": 0.01, "validation_tokens": 2000}
    with caplog.at_level("INFO", logger="lslm"):
        result = train(data=data, out=tmp_path / "run", **shape)
    assert result.validation.sample is not None
    assert "is of a sample" in caplog.text
    assert f"lslm eval {tmp_path / 'run'} scores all" in caplog.text


def test_several_validation_sets_are_named_in_metrics(tmp_path, monkeypatch):
    data, other = write_sources(tmp_path / "data"), write_sources(tmp_path / "other", seed=5)
    monkeypatch.chdir(tmp_path)
    sets = "web=data/validation,code=other/validation"
    result = train(data=data, out="run", validation=sets, **SHAPE)
    rows = [row for row in metric_rows(tmp_path / "run") if "validation_loss" in row]
    assert set(result.validation.by_dataset) == {"web", "code"}
    for name, scores in result.validation.by_dataset.items():
        assert rows[-1][f"validation_loss.{name}"] == scores.loss
    assert "web: a.txt" in result.validation.by_source
    monkeypatch.chdir(tmp_path.parent)
    again = evaluate(tmp_path / "run", checkpoint="last")
    assert again.by_dataset.keys() == {"web", "code"}
    assert again.nats == pytest.approx(result.validation.nats, rel=1e-6)
    other.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="validation data of"):
        evaluate(tmp_path / "run")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("web=data/validation,web=other", "the name 'web' occurs twice"),
        ("web=data/validation,other", "'other' is not NAME=DATASET"),
        ("web=", "is not NAME=DATASET"),
    ],
)
def test_validation_sets_that_are_not_named_are_refused(tmp_path, sets, message):
    data = write_sources(tmp_path / "data")
    with pytest.raises(ValueError, match=message):
        train(data=data, out=tmp_path / "run", validation=sets, **SHAPE)
