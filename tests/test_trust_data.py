"""What must never be silent in data: damaged ids, absurd sizes, repeated rows, missing texts."""

import pickle
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import lslm
from lslm.data import Mixture, TokenLoader, write_dataset
from lslm.evaluation import evaluate, score, token_nats
from lslm.generation import generate, generate_ids
from lslm.model import ModelConfig, Transformer
from small_data import write_splits


def damage(folder, vocab_size, position, id):
    """Write a dataset of ``vocab_size`` ids, then set the one at ``position`` to ``id``."""
    write_dataset(folder, [np.arange(4000) % vocab_size], vocab_size=vocab_size)
    shard = next(folder.glob("*.lslm"))
    data = bytearray(shard.read_bytes())
    width = 2 if vocab_size <= 2**16 else 4
    data[4096 + width * position : 4096 + width * (position + 1)] = id.to_bytes(width, "little")
    shard.write_bytes(data)
    return 4096 + width * position


@pytest.mark.parametrize(("vocab_size", "id"), [(300, 300), (300, 65_535), (70_000, 2**32 - 1)])
@pytest.mark.parametrize("access", ["map", "call"])
def test_a_loader_refuses_an_id_beyond_the_vocabulary(tmp_path, vocab_size, id, access):
    offset = damage(tmp_path / "set", vocab_size, 1234, id)
    for output in ("torch", "numpy"):
        options = {"batch_size": 4, "sequence_length": 100, "access": access, "output": output}
        loader = TokenLoader(tmp_path / "set", shuffle=False, **options)
        good = list(islice(loader, 3))
        assert len(good) == 3
        message = rf"part-000000-000.lslm, byte {offset}: token 1234 of the dataset has id {id}, the vocabulary has {vocab_size}:"
        with pytest.raises(lslm.FormatError, match=message) as error:
            next(loader)
        assert error.value.offset == offset
    dataset = lslm.TokenDataset(tmp_path / "set")
    assert len(dataset.tokens(0, 1234)) == 1234
    for read in (lambda: dataset.tokens(0, 1235), lambda: dataset[0], dataset.tokens):
        with pytest.raises(lslm.FormatError, match="token 1234 of the dataset has id"):
            read()


def test_evaluation_refuses_an_id_beyond_the_vocabulary(tmp_path):
    damage(tmp_path / "set", 300, 1234, 999)
    model = Transformer(
        ModelConfig(vocab_size=300, sequence_length=64, width=16, layers=1, heads=2)
    )
    dataset = lslm.TokenDataset(tmp_path / "set")
    lengths = np.ones(300, np.int64)
    assert score(model, dataset, lengths, n_tokens=1000).n_tokens
    with pytest.raises(lslm.FormatError, match="token 1234 of the dataset has id 999"):
        score(model, dataset, lengths)


HUGE = 10**12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": HUGE}, f"batch_size = {HUGE}: with sequence_length = 8 that is"),
        ({"batch_size": 2**64}, "batch_size = 18446744073709551616: must be at most"),
        ({"batch_size": -1}, "batch_size = -1: must be at least 1"),
        ({"sequence_length": 2**70}, "sequence_length = .*: must be at most"),
        ({"sequence_length": -8}, "sequence_length = -8: must be at least 1"),
        ({"prefetch": HUGE}, f"prefetch = {HUGE}: must be at most 1024"),
        ({"world_size": 2**63 - 1}, "world_size = .* does not fit in 64 bits"),
        ({"global_batch_size": 2**80}, "global_batch_size = .*: must be at most"),
        ({"epochs": 2**64}, "epochs = .*: must be at most"),
    ],
)
def test_a_loader_refuses_absurd_sizes_by_name(tmp_path, options, message):
    write_dataset(tmp_path / "set", [np.arange(5000)], vocab_size=5000)
    with pytest.raises(ValueError, match=message):
        TokenLoader(tmp_path / "set", **{"batch_size": 4, "sequence_length": 8, **options})


@pytest.mark.parametrize("value", [1e12, 2.0, "4"])
def test_a_count_that_is_not_whole_is_refused_by_name(tmp_path, value):
    write_dataset(tmp_path / "set", [np.arange(5000)], vocab_size=5000)
    with pytest.raises(TypeError, match=r"batch_size = .*: must be a whole number"):
        TokenLoader(tmp_path / "set", batch_size=value, sequence_length=8)


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("name", ["n_tokens", "sequence_length", "stride", "batch_size"])
def test_evaluation_refuses_counts_below_one_before_it_opens_the_run(name, value):
    with pytest.raises(ValueError, match=f"{name} = {value}: must be at least 1"):
        evaluate("no/such/run", **{name: value})


def test_evaluation_refuses_sizes_that_it_would_not_use(tmp_path):
    path = write_splits(tmp_path)
    model = Transformer(
        ModelConfig(vocab_size=257, sequence_length=24, width=16, layers=1, heads=2)
    )
    dataset = lslm.TokenDataset(f"{path}/validation")
    with pytest.raises(ValueError, match="sequence_length = 25: must be from 1 to the model's, 24"):
        next(token_nats(model, dataset, 100, sequence_length=25))
    with pytest.raises(ValueError, match=f"batch_size = {HUGE}: with sequence_length = 24"):
        next(token_nats(model, dataset, 100, batch_size=HUGE))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens = 0: must be at least 1"),
        ({"max_tokens": -5}, "max_tokens = -5: must be at least 1"),
        ({"seed": -1}, "seed = -1: must be at least 0"),
        ({"seed": 2**64}, "seed = .*: must be at most"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"temperature": float("inf")}, "temperature = inf"),
        ({"top_k": 0}, "top_k = 0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
    ],
)
def test_generation_refuses_settings_before_it_opens_the_run(options, message):
    with pytest.raises(ValueError, match=message):
        generate("no/such/run", **options)
    if "max_tokens" in options:
        with pytest.raises(ValueError, match=message):
            next(generate_ids(None, [1], **options))


# torch's DataLoader


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder as tokenize writes it: train and validation."""
    return write_splits(tmp_path_factory.mktemp("parts"))


def test_a_dataloader_yields_the_batches_of_a_loader(parts):
    options = {"batch_size": 4, "sequence_length": 16, "epochs": 1}
    loader = TokenLoader(parts, **options)
    assert isinstance(loader, IterableDataset)
    through = DataLoader(loader, batch_size=None)
    assert len(through) == len(loader)
    expected = TokenLoader(parts, **options)
    found = list(through)
    assert len(found) == len(loader)
    for batch, other in zip(found, expected, strict=True):
        assert torch.equal(batch.inputs, other.inputs)
        assert torch.equal(batch.targets, other.targets)
    second = list(through)  # the next pass, in another order
    assert len(second) == len(found)
    assert not torch.equal(second[0].inputs, found[0].inputs)


def test_the_state_of_a_loader_follows_its_dataloader(parts):
    loader = TokenLoader(parts, batch_size=4, sequence_length=16)
    list(islice(DataLoader(loader, batch_size=None), 5))
    resumed = TokenLoader(parts, batch_size=4, sequence_length=16)
    resumed.load_state_dict(loader.state_dict())
    assert loader.n_samples == 20
    batch, other = next(iter(DataLoader(loader, batch_size=None))), next(resumed)
    assert torch.equal(batch.inputs, other.inputs)


def test_a_dataloader_makes_tensors_of_a_loader_of_arrays(parts):
    loader = TokenLoader(parts, batch_size=4, sequence_length=16, output="numpy")
    batch = next(iter(DataLoader(loader, batch_size=None)))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.inputs.shape == (4, 16)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_the_workers_of_a_dataloader_are_refused(parts, context):
    loader = TokenLoader(parts, batch_size=4, sequence_length=16)
    through = DataLoader(
        loader, batch_size=None, num_workers=2, multiprocessing_context=context, timeout=60
    )
    with pytest.raises(RuntimeError, match="use num_workers=0"):
        next(iter(through))


def test_the_data_module_is_imported_without_torch(parts):
    script = (
        "import sys\n"
        "import lslm.data\n"
        "loader = lslm.data.TokenLoader(sys.argv[1], batch_size=2, sequence_length=8,"
        " output='numpy')\n"
        "next(loader)\n"
        "assert 'torch' not in sys.modules\n"
        "from torch.utils.data import DataLoader\n"
        "loader = lslm.data.TokenLoader(sys.argv[1], batch_size=2, sequence_length=8)\n"
        "assert next(iter(DataLoader(loader, batch_size=None))).inputs.shape == (2, 8)\n"
    )
    subprocess.run([sys.executable, "-c", script, parts], check=True)


def test_a_loader_finds_the_training_part_of_a_folder(parts):
    loader = TokenLoader(parts, batch_size=2, sequence_length=8)
    assert loader.fingerprint == lslm.TokenDataset(f"{parts}/train").fingerprint
    assert [str(dataset.path) for dataset in Mixture([parts]).datasets] == [f"{parts}/train"]
    copied = pickle.loads(pickle.dumps(loader))
    assert torch.equal(next(copied).inputs, next(loader).inputs)


def test_a_dataset_of_a_folder_of_parts_names_them(parts):
    message = rf"holds datasets.*open {parts}/train or {parts}/validation"
    with pytest.raises(lslm.FormatError, match=message):
        lslm.TokenDataset(parts)
