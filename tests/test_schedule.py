"""The state of a loader is a schedule, and a batch carries it together with its documents."""

import json
import pickle
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lslm
from lslm.data import Batch, Mixture, TokenLoader, write_dataset

T = 16


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Three datasets of different tokens, in documents of 1 to 60 tokens."""
    folder = tmp_path_factory.mktemp("data")
    for index, name in enumerate(("web", "code", "books")):
        rng = np.random.default_rng(index)
        tokens = np.arange(10_000 * index, 10_000 * index + 6000 + 1000 * index)
        ends = np.cumsum(rng.integers(1, 60, 500))
        documents = np.split(tokens, ends[ends < len(tokens)])
        write_dataset(folder / name, documents, vocab_size=30_000, shard_bytes=5000)
    return [str(folder / name) for name in ("web", "code", "books")]


def load(data, **options):
    return TokenLoader(data, **{"batch_size": 4, "sequence_length": T, "output": "numpy"} | options)


def rows(loader, steps):
    return [batch.inputs.copy() for batch in islice(loader, steps)]


def test_a_loop_that_fetches_ahead_resumes_from_the_state_of_its_batch(paths):
    expected = rows(load(paths[0]), 30)
    for output in ("numpy", "torch"):
        if output == "torch":
            pytest.importorskip("torch")
        loader = load(paths[0], output=output)
        ahead, trained = next(loader), []
        for step in range(20):  # nanoGPT's loop: the next batch is fetched before this one is used
            batch, ahead = ahead, next(loader)
            trained.append(np.asarray(batch.inputs).copy())
            saved = json.loads(json.dumps(batch.state))
            assert saved["samples"] == 4 * (step + 1)
            assert loader.state_dict()["samples"] == 4 * (step + 2)
        resumed = load(paths[0])
        resumed.load_state_dict(saved)
        found = trained + rows(resumed, 10)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    # what a caller does to a state stays with the caller
    batch.state["segments"][0]["from"] = 99
    assert batch.state["segments"][0]["from"] == loader.state_dict()["segments"][0]["from"] == 0


def test_a_batch_unpacks_as_two_and_survives_a_copy(paths):
    loader = load(paths[0])
    batch = next(loader)
    inputs, targets = batch
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    other = pickle.loads(pickle.dumps(batch))
    assert isinstance(other, Batch)
    assert other.state == batch.state
    assert np.array_equal(other.inputs, inputs)
    with pytest.raises(AttributeError, match="no documents"):
        other.document_ids
    with pytest.raises(AttributeError, match="no state"):
        Batch(inputs, targets).state


def naive_documents(loader, batch, first):
    """Return ids, positions and boundaries of a batch, token by token."""
    ids, positions, boundaries = [], [], []
    for row in range(len(batch.inputs)):
        source, _, start = loader.locate(first + row)
        dataset = loader.datasets[source]
        spans = [dataset.document_span(i) for i in range(len(dataset))]
        last = None
        for at in range(start, start + T):
            document = next(i for i, (a, b) in enumerate(spans) if a <= at < b)
            if document != last:
                boundaries.append(len(ids))
                position = 0
            ids.append(document)
            positions.append(position)
            position, last = position + 1, document
    return ids, positions, [*boundaries, len(ids)]


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_batches_know_their_documents(paths, output):
    if output == "torch":
        pytest.importorskip("torch")
    mixture = Mixture(paths[:2], names=["web", "code"])
    ranks = [load(mixture, rank=rank, world_size=2, output=output) for rank in range(2)]
    for step in range(6):
        for rank, loader in enumerate(ranks):
            batch = next(loader)
            ids, positions, cuts = naive_documents(loader, batch, 8 * step + 4 * rank)
            assert batch.document_ids.tolist() == np.reshape(ids, (4, T)).tolist()
            assert batch.positions.tolist() == np.reshape(positions, (4, T)).tolist()
            assert batch.cu_seqlens.tolist() == cuts
            assert str(batch.cu_seqlens.dtype).endswith("int32")
            assert batch.max_seqlen == max(b - a for a, b in pairwise(cuts))
            padded = batch.padded_cu_seqlens(4 * T + 1).tolist()
            assert padded == cuts + [4 * T] * (4 * T + 1 - len(cuts))
            with pytest.raises(ValueError, match="parts of documents"):
                batch.padded_cu_seqlens(len(cuts) - 1)
            for row, (source, start) in enumerate(zip(batch.sources, batch.starts, strict=True)):
                tokens = loader.datasets[source].tokens(start, start + T)
                assert tokens.tolist() == batch.inputs[row].tolist()


def test_batch_at_is_the_batch_of_that_step(paths):
    loader = load(Mixture(paths, names=["web", "code", "books"]), seed=5)
    expected = [(batch.inputs.copy(), batch.state) for batch in islice(loader, 40)]
    state = loader.state_dict()
    for step in (39, 0, 17):
        batch = loader.batch_at(step)
        assert np.array_equal(batch.inputs, expected[step][0])
        assert batch.state == expected[step][1]
    assert loader.state_dict() == state
    with pytest.raises(ValueError, match="step = -1"):
        loader.batch_at(-1)


def test_the_steps_of_a_document_are_those_that_have_its_tokens(paths):
    first = load(Mixture(paths[:2], weights=[3, 1], names=["web", "code"]))
    rows(first, 190)
    loader = load(Mixture(paths, names=["web", "code", "books"]))
    loader.load_state_dict(first.state_dict(), on_change="new segment")
    steps = [np.append(batch.inputs, batch.targets) for batch in map(loader.batch_at, range(190))]
    steps += [np.append(batch.inputs, batch.targets) for batch in islice(loader, 210)]
    for dataset in range(3):
        for document in (0, 1, 50, 90):
            tokens = loader.datasets[dataset].document(document)
            expected = [step for step, seen in enumerate(steps) if np.isin(tokens, seen).any()]
            assert loader.steps_of(document, dataset) == expected
            until = [step for step in expected if step < 195]
            assert loader.steps_of(document, dataset, steps=195) == until
    assert sum(len(loader.steps_of(document)) for document in range(90)) > 200


def test_weights_times_two_or_another_order_are_the_same_mixture(paths):
    one = load(Mixture(paths, weights=[1, 2, 3]))
    expected = rows(one, 50)
    two = load(Mixture([paths[2], paths[0], paths[1]], weights=[6, 2, 4]))
    assert two.fingerprint == one.fingerprint
    assert all(np.array_equal(a, b) for a, b in zip(rows(two, 50), expected, strict=True))
    two.load_state_dict(one.state_dict())
    assert two.state_dict() == one.state_dict()
    # without names a dataset is called by its content, and a name gives another order
    other = load(Mixture(paths, weights=[1, 2, 3], names=["web", "code", "books"]))
    assert not np.array_equal(rows(other, 1)[0], expected[0])


def test_a_change_is_refused_unless_it_is_named_and_then_in_the_state(paths):
    first = load(Mixture(paths[:2], weights=[3, 1], names=["web", "code"]))
    before = rows(first, 25)
    state = first.state_dict()
    changed = Mixture(paths, weights=[1, 1, 2], names=["web", "code", "books"])
    second = load(changed)
    with pytest.raises(lslm.MismatchError, match=r"data.*new segment"):
        second.load_state_dict(state)
    with pytest.raises(ValueError, match="on_change = 'yes'"):
        second.load_state_dict(state, on_change="yes")
    second.load_state_dict(state, on_change="new segment")
    after = rows(second, 25)
    segments = second.schedule
    assert [segment["from"] for segment in segments] == [0, 100]
    assert segments[0]["weights"] == {"web": 0.75, "code": 0.25}
    assert segments[1]["weights"] == {"web": 0.25, "code": 0.25, "books": 0.5}
    # both segments are in the state: every batch can be had again
    third = load(changed)
    third.load_state_dict(json.loads(json.dumps(second.state_dict())))
    for step, expected in enumerate(before + after):
        assert np.array_equal(third.batch_at(step).inputs, expected)
    served = third.served()
    tokens = np.concatenate([batch.ravel() for batch in before + after])
    for index, name in enumerate(("web", "code", "books")):
        assert served[name] * T == (tokens // 10_000 == index).sum()
    # nothing is read twice
    assert len({third.locate(sample) for sample in range(200)}) == 200
    # one that is no longer given cannot be read again, and the loader says so
    fourth = load(Mixture([paths[2]], names=["books"]))
    fourth.load_state_dict(second.state_dict(), on_change="new segment")
    next(fourth)
    with pytest.raises(ValueError, match="which this loader was not given"):
        fourth.batch_at(0)


def test_a_run_may_begin_with_shorter_rows(paths):
    long = load(paths[0], batch_size=2)
    expected = np.concatenate(rows(long, 40))
    short = load(paths[0], batch_size=8, sequence_length=T // 4, max_sequence_length=T)
    units = np.concatenate([batch.reshape(2, T) for batch in rows(short, 10)])
    with pytest.raises(lslm.MismatchError, match="longest sequence_length"):
        load(paths[0]).load_state_dict(load(paths[0], sequence_length=4).state_dict())
    long.load_state_dict(short.state_dict(), on_change="new segment")
    assert [segment["sequence_length"] for segment in long.schedule] == [T // 4, T]
    found = np.concatenate([units, *rows(long, 30)])
    assert np.array_equal(found, expected)
    with pytest.raises(ValueError, match="a multiple"):
        load(paths[0], max_sequence_length=T + 1)


@given(
    value=st.one_of(
        st.none(), st.booleans(), st.text(max_size=3), st.floats(), st.just([]), st.just(2**64),
        st.integers(max_value=-1),
    ),
    name=st.sampled_from(["samples", "round", "seed", "global_batch_size", "sequence_length"]),
)  # fmt: skip
def test_a_state_of_other_types_or_ranges_is_refused_by_name(paths, value, name):
    loader = load(paths[0])
    with pytest.raises(ValueError, match="the state of a loader"):
        loader.load_state_dict(loader.state_dict() | {name: value})
    assert loader.n_samples == 0


def test_states_of_version_1_resume(paths):
    loader = load(paths[0], seed=3)
    expected = rows(loader, 10)
    old = {
        "version": 1,
        "fingerprint": lslm.TokenDataset(paths[0]).fingerprint,
        "seed": 3,
        "shuffle": True,
        "sequence_length": T,
        "global_batch_size": 4,
        "samples": 12,
        "round": 0,
    }
    loader.load_state_dict(old)
    assert np.array_equal(rows(loader, 1)[0], expected[3])
    mixture = load(Mixture(paths), seed=3)
    with pytest.raises(lslm.MismatchError, match="data"):
        mixture.load_state_dict(old | {"fingerprint": "ab" * 32})
