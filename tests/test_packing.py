"""Packed rows: their plan, their targets, and models that keep documents apart."""

import json
from itertools import islice, pairwise

import numpy as np
import pytest

import lslm
from lslm.data import Mixture, TokenLoader, open_bin, write_dataset
from small_data import write_splits

T = 16
EOS = 1


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Two datasets of documents of 1 to 60 tokens that EOS ends; other tokens are unique."""
    folder = tmp_path_factory.mktemp("packing")
    for index, name in enumerate(("web", "code")):
        rng, first, documents = np.random.default_rng(index), 100 + 8000 * index, []
        for length in rng.geometric(1 / 12, 500).clip(1, 60):
            documents.append([*range(first, first + length - 1), EOS])
            first += length
        write_dataset(folder / name, documents, vocab_size=16_000, eos_id=EOS, shard_bytes=5000)
    return [str(folder / name) for name in ("web", "code")]


def load(data, **options):
    defaults = {"batch_size": 4, "sequence_length": T, "output": "numpy", "packing": "best_fit"}
    return TokenLoader(data, **defaults | options)


def naive_rows(lengths, capacity):
    """Return the documents of each row: best-fit decreasing, looking at every row each time."""
    rows = []  # [room, when it came to have it, documents]
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    for time, document in enumerate(order):
        fits = [row for row in rows if row[0] >= lengths[document]]
        row = min(fits, key=lambda row: (row[0], -row[1]), default=None)
        if row is None:
            row = [capacity, time, []]
            rows.append(row)
        row[0], row[1] = row[0] - lengths[document], time
        row[2].append(document)
    return sorted(sorted(row[2]) for row in rows)


def test_rows_are_those_of_best_fit_decreasing(tmp_path):
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, T + 2, 300).tolist()
    documents = [[1 + i] * n for i, n in enumerate(lengths)]
    write_dataset(tmp_path / "data", documents, vocab_size=400)
    loader = load(tmp_path / "data", shuffle=False, epochs=1, batch_size=1)
    found = []
    for batch in loader:
        row = {*batch.inputs[0].tolist(), int(batch.targets[0, -1])} - {0, -100}
        found.append(sorted(token - 1 for token in row))
    expected = naive_rows(lengths, T + 1)
    assert found == expected
    n_padding = len(expected) * (T + 1) - sum(lengths)
    assert loader.packed == {"n_rows": len(expected), "n_padding": n_padding, "n_cut": 0}
    assert loader.left_out == {"n_tokens": 0, "n_samples": 0}


@pytest.mark.parametrize("packing", ["concat", "best_fit", "document"])
@pytest.mark.parametrize("mask_borders", [False, True])
def test_targets_are_next_tokens_or_not_counted(paths, packing, mask_borders):
    loader = load(paths[0], packing=packing, mask_borders=mask_borders)
    dataset, n_ignored = loader.datasets[0], 0
    for batch in islice(loader, 60):
        ids = batch.document_ids
        for row in range(4):
            for at in range(T):
                token, target = batch.inputs[row, at], batch.targets[row, at]
                if ids[row, at] < 0:
                    assert (token, target) == (EOS, -100)
                    continue
                document = dataset.document(ids[row, at]).tolist()
                if token != EOS:  # inside its document
                    assert target == document[document.index(token) + 1]
                elif at + 1 < T and ids[row, at + 1] < 0:
                    assert target == -100
                elif at + 1 < T:
                    border = -100 if mask_borders else batch.inputs[row, at + 1]
                    assert target == border
                n_ignored += target == -100
        cuts = batch.cu_seqlens.tolist()
        assert cuts[0] == 0
        assert cuts[-1] == 4 * T
        flat, places = ids.ravel(), batch.positions.ravel()
        for a, b in pairwise(cuts):
            assert set(flat[a:b].tolist()) == {flat[a]}
            assert places[a:b].tolist() == list(range(b - a))
    assert (n_ignored > 0) == (mask_borders or packing == "document")


def test_torch_and_a_device_have_the_same_targets(paths):
    torch = pytest.importorskip("torch")
    from lslm.feed import as_signed, widen

    for packing in ("concat", "best_fit"):
        options = {"packing": packing, "mask_borders": True}
        loader, tensors = load(paths[0], **options), load(paths[0], output="torch", **options)
        core = lslm.data.LoaderCore(
            loader.datasets, None, None, sequence_length=T, max_sequence_length=None, seed=0,
            shuffle=True, verify=False, batch_size=4, rank=0, world_size=1, global_batch_size=None,
            epochs=None, prefetch=0, rows=True, access="auto", **options,
        )  # fmt: skip
        for batch, tensor in islice(zip(loader, tensors, strict=True), 20):
            rows, none, ignored, samples = core.next()
            assert none is None
            assert samples == loader.n_samples
            inputs, targets = widen(*as_signed(rows), ignored)
            for one, two in ((inputs, targets), tensor):
                assert torch.equal(one, torch.from_numpy(batch.inputs))
                assert torch.equal(two, torch.from_numpy(batch.targets))


@pytest.mark.parametrize("packing", ["best_fit", "document"])
def test_a_packed_mixture_resumes_on_other_ranks(paths, packing):
    mixture = Mixture(paths, weights=[3, 1], names=["web", "code"])
    whole = load(mixture, packing=packing, batch_size=6)
    expected = [batch.inputs.copy() for batch in islice(whole, 40)]
    first = [load(mixture, packing=packing, batch_size=3, rank=r, world_size=2) for r in (0, 1)]
    for step in range(17):
        rows = np.concatenate([next(loader).inputs for loader in first])
        assert np.array_equal(rows, expected[step])
    state = json.loads(json.dumps(first[1].state_dict()))
    assert state["segments"][0]["packing"] == packing
    ranks = [load(mixture, packing=packing, batch_size=2, rank=r, world_size=3) for r in range(3)]
    for loader in ranks:
        loader.load_state_dict(state)
    for step in range(17, 40):
        rows = np.concatenate([next(loader).inputs for loader in ranks])
        assert np.array_equal(rows, expected[step])
        assert np.array_equal(ranks[0].batch_at(step).inputs, expected[step][:2])
    with pytest.raises(lslm.MismatchError, match=r"packing.*new segment"):
        load(mixture, packing="concat").load_state_dict(state)
    with pytest.raises(lslm.MismatchError, match=r"mask_borders.*new segment"):
        load(mixture, packing=packing, mask_borders=True).load_state_dict(state)


def test_steps_can_be_left_out(paths):
    expected = [batch.inputs.copy() for batch in islice(load(paths[0]), 40)]
    loader = load(paths[0])
    before = list(islice(loader, 5))
    with pytest.raises(ValueError, match="was read"):
        loader.skip(4, 6)
    with pytest.raises(ValueError, match="steps 7 to 6"):
        loader.skip(7, 6)
    loader.skip(10, 19)
    rest = [batch.inputs.copy() for batch in islice(loader, 25)]
    found = [batch.inputs for batch in before] + rest
    assert all(map(np.array_equal, found, expected[:10] + expected[20:]))
    resumed = load(paths[0])
    resumed.load_state_dict(before[2].state | {"segments": loader.state_dict()["segments"]})
    assert all(map(np.array_equal, (b.inputs for b in resumed), found[3:]))
    assert [(s["from"], s["skipped"]) for s in resumed.schedule] == [(0, 0), (40, 40)]


def test_what_a_change_leaves_unread_is_counted_and_said(paths, caplog):
    short = load(paths[0], packing="concat", sequence_length=4, max_sequence_length=T, batch_size=1)
    state = [batch.state for batch in islice(short, 7)][-1]
    longer = load(paths[0], packing="concat")
    longer.load_state_dict(state, on_change="new segment")
    assert [segment["unread"] for segment in longer.schedule] == [0, 4]
    assert "the change at sample 7 leaves 4 targets unread" in caplog.text
    packed = load(paths[0])
    n = load(paths[0], packing="concat").samples_per_epoch
    packed.load_state_dict(state, on_change="new segment")
    assert packed.schedule[1]["unread"] == 4 + (n - 2) * T


def test_documents_are_needed_and_settings_checked(paths, tmp_path):
    np.arange(500, dtype=np.uint16).tofile(tmp_path / "a.bin")
    with pytest.raises(ValueError, match="eos_id="):
        load(open_bin(tmp_path / "a.bin"))
    assert load(open_bin(tmp_path / "a.bin", eos_id=7)).packed["n_cut"] == 1
    with pytest.raises(ValueError, match=r"packing = \"worst\""):
        load(paths[0], packing="worst")


SHAPES = {
    "rotary": {},
    "grouped, shifted, bigrams": {"kv_heads": 1, "token_shift": True, "bigram_rows": 20},
    "learned": {"positions": "learned", "norm": "layer", "activation": "gelu", "bias": True},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_documents_are_as_if_they_were_alone(paths, shape):
    torch = pytest.importorskip("torch")
    from lslm.model import ModelConfig, Transformer

    loader = load(paths[0], output="torch", batch_size=8, mask_borders=True)
    config = ModelConfig(
        vocab_size=16_000, layers=2, width=32, heads=2, sequence_length=T, **SHAPES[shape]
    )
    model = Transformer(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    batch = next(loader)
    ids, flat = batch.document_ids, batch.inputs.view(-1)
    logits = model(batch.inputs, document_ids=ids).flatten(0, 1)
    nats, n_parts = torch.zeros((), dtype=torch.float64), 0
    for first, stop in pairwise(batch.cu_seqlens.tolist()):
        alone = model(flat[None, first:stop])[0]
        assert torch.allclose(logits[first:stop], alone, atol=1e-9)
        targets = batch.targets.view(-1)[None, first:stop]
        nats += model(flat[None, first:stop], targets, reduction="sum")
        n_parts += 1
    loss = model(batch.inputs, batch.targets, reduction="sum", document_ids=ids)
    assert n_parts > 12
    assert torch.allclose(loss, nats)
    mixed = model(batch.inputs).flatten(0, 1)
    assert not torch.allclose(logits, mixed, atol=1e-3)
    with pytest.raises(ValueError, match="beside a cache"):
        model(batch.inputs, document_ids=ids, cache=lslm.model.Cache(T))


def test_a_mask_is_that_of_the_formula():
    torch = pytest.importorskip("torch")
    from lslm.model import attention

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, h, 5, 4, dtype=torch.float64) for h in (4, 2, 2))
    visible = torch.rand(2, 1, 5, 5) < 0.5
    visible |= torch.eye(5, dtype=torch.bool)
    fused, written = (attention(q, k, v, visible=visible, fused=fused) for fused in (True, False))
    assert torch.allclose(fused, written)


def test_a_run_trains_on_packed_documents_and_resumes(tmp_path):
    pytest.importorskip("torch")
    from lslm.config import load_config
    from lslm.provenance import read_step
    from lslm.training import train

    data = write_splits(tmp_path / "data")
    config = {
        "model.layers": 1, "model.width": 16, "model.heads": 2, "model.sequence_length": 16,
        "train.batch_size": 3, "train.steps": 6, "data.path": data, "checkpoint_every": 3,
        "validate_every": 6, "data.packing": "best_fit", "mask_borders": "true",
        "document_mask": "true",
    }  # fmt: skip
    settings = [f"{name}={value}" for name, value in config.items()]
    whole = train(load_config("tiny", [*settings, f"out={tmp_path / 'whole'}"]))
    out = f"out={tmp_path / 'parts'}"
    train(load_config("tiny", [*settings, out, "stop_after=3"]))
    parts = train(load_config("tiny", [*settings, out]), resume=True)
    assert parts.loss == whole.loss
    loader = TokenLoader(
        f"{data}/train", batch_size=3, sequence_length=16, packing="best_fit", mask_borders=True,
        output="numpy",
    )  # fmt: skip
    batches = list(islice(loader, 6))
    assert whole.n_tokens == parts.n_tokens == sum((b.targets != -100).sum() for b in batches)
    for step, batch in enumerate(batches, 1):
        found = read_step(tmp_path / "parts", step)
        for row, ids in zip(found.rows, batch.document_ids, strict=True):
            assert [d.document for d in row.documents] == list(dict.fromkeys(ids[ids >= 0]))
            lengths = [len(loader.datasets[0].document(d.document)) for d in row.documents]
            assert all(d.is_whole or n > 17 for d, n in zip(row.documents, lengths, strict=True))
