"""The loader: exact for every rank, from every step, in every process."""

import copy
import json
import os
import pickle
import subprocess
import sys
import threading
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lslm
from lslm.data import Batch, Mixture, TokenLoader, write_dataset

torch = pytest.importorskip("torch")

T = 16


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A dataset whose token at position i is i, over many shards."""
    folder = tmp_path_factory.mktemp("data") / "counting"
    cuts = np.split(np.arange(20_000), np.arange(70, 20_000, 137))
    write_dataset(folder, cuts, vocab_size=20_000, shard_bytes=5000)
    return folder


def load(path, **options):
    return TokenLoader(path, **{"batch_size": 4, "sequence_length": T, "output": "numpy"} | options)


def rows(loader, steps):
    return np.concatenate([batch.inputs.copy() for batch in islice(loader, steps)])


def test_batches_are_tensors_of_int64(path):
    loader = load(path, output="torch")
    batch = next(iter(loader))
    assert isinstance(batch, Batch)
    for tensor in batch:
        assert tensor.dtype == torch.int64
        assert tensor.shape == (4, T)
        assert tensor.is_contiguous()
    assert torch.equal(batch.targets, batch.inputs + 1)
    inputs, targets = next(iter(load(path)))
    assert inputs.dtype == targets.dtype == np.int64
    assert np.array_equal(inputs, batch.inputs.numpy())


def test_kept_batches_are_not_overwritten(path):
    for output in ("torch", "numpy"):
        kept = list(islice(load(path, output=output), 60))
        again = load(path, output=output)
        for batch, other in zip(kept, again, strict=False):
            assert (batch.inputs == other.inputs).all()
            assert (batch.targets == other.inputs + 1).all()
    # a view is enough to keep the memory
    view = next(iter(load(path, output="torch"))).targets[1, 3:5]
    expected = view.clone()
    for _ in islice(load(path), 50):
        pass
    assert torch.equal(view, expected)


def test_buffers_are_reused(path):
    # small batches are filled in groups of up to 64
    for batch_size, n_batches, limit in ((2**14 // T, 60, 10), (4, 2000, 10 + 4 * 64)):
        loader = load(path, prefetch=2, batch_size=batch_size)
        places = {batch.inputs.ctypes.data for batch in islice(loader, n_batches)}
        assert len(places) <= limit


def test_batches_may_be_changed_in_place(path):
    loader = load(path, output="torch")
    expected = rows(load(path), 20)
    for index, batch in enumerate(islice(loader, 20)):
        assert np.array_equal(batch.inputs.numpy(), expected[4 * index : 4 * index + 4])
        batch.inputs.fill_(-1)
        batch.targets.fill_(-1)


def test_an_epoch_has_every_target_once(path):
    loader = load(path, batch_size=1, epochs=1)
    assert len(loader) == loader.samples_per_epoch
    seen = np.concatenate([batch.targets.ravel() for batch in loader])
    assert len(set(seen.tolist())) == len(seen) == loader.samples_per_epoch * T
    assert len(seen) + 1 + loader.left_out["n_tokens"] == 20_000
    # the order is another one in the next epoch, and so are the windows
    other = np.concatenate([batch.targets.ravel() for batch in loader])
    assert len(other) == len(seen)
    assert not np.array_equal(seen, other)
    assert seen.min() % T != other.min() % T


def test_without_shuffle_samples_are_in_file_order(path):
    loader = load(path, shuffle=False, epochs=1, batch_size=7)
    flat = np.concatenate([batch.inputs.ravel() for batch in loader])
    assert flat.tolist() == list(range(len(flat)))
    assert loader.samples_per_epoch == 19_999 // T
    assert loader.left_out == {"n_tokens": 19_999 % T, "n_samples": (19_999 // T) % 7}


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_ranks_share_the_global_batches(path, world_size):
    expected = rows(load(path, batch_size=24), 30)
    options = {"batch_size": 24 // world_size, "world_size": world_size}
    ranks = [load(path, rank=rank, **options) for rank in range(world_size)]
    steps = zip(*(islice(rank, 30) for rank in ranks), strict=True)
    found = np.concatenate([batch.inputs for step in steps for batch in step])
    assert np.array_equal(found, expected)
    assert len({json.dumps(rank.state_dict()) for rank in ranks}) == 1


@settings(max_examples=30)
@given(data=st.data(), seed=st.integers(0, 2**64 - 1), shuffle=st.booleans(), mixed=st.booleans())
def test_resume_at_any_step_on_any_number_of_ranks(path, data, seed, shuffle, mixed):
    source = Mixture([path, path], weights=[3, 1], names=["a", "b"]) if mixed else path
    options = {
        "seed": seed,
        "shuffle": shuffle,
        "access": data.draw(st.sampled_from(["map", "call"])),
    }
    state, found = None, []
    for _ in range(data.draw(st.integers(1, 4))):
        world_size, batch_size = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 5))
        ranks = [
            load(source, rank=rank, world_size=world_size, batch_size=batch_size, **options)
            for rank in range(world_size)
        ]
        if state is not None:
            for rank in ranks:
                rank.load_state_dict(state)
        for _ in range(data.draw(st.integers(0, 5))):
            found += [next(rank).inputs.copy() for rank in ranks]
        state = json.loads(
            json.dumps(ranks[data.draw(st.integers(0, world_size - 1))].state_dict())
        )
    if found:
        found = np.concatenate(found)
        assert state["samples"] == len(found)
        expected = rows(load(source, batch_size=1, prefetch=0, **options), len(found))
        assert np.array_equal(found, expected)


def test_the_state_is_that_after_the_last_batch_yielded(path):
    loader = load(path, prefetch=5)
    assert loader.state_dict()["samples"] == 0
    expected = rows(load(path), 9)
    for step in range(8):
        next(loader)
        state = loader.state_dict()
        assert state["samples"] == loader.n_samples == 4 * (step + 1)
        assert len(json.dumps(state)) < 500
        other = load(path, prefetch=0)
        other.load_state_dict(state)
        assert np.array_equal(next(other).inputs, expected[4 * step + 4 : 4 * step + 8])
    # back to an earlier position, with batches filled ahead of the later one
    loader.load_state_dict(state | {"samples": 12})
    assert np.array_equal(next(loader).inputs, expected[12:16])


def test_states_of_other_data_are_refused(path, tmp_path):
    other = write_dataset(tmp_path / "other", [np.arange(20_000) % 99], vocab_size=20_000)
    state = load(path).state_dict()
    for wrong in (
        load(other),
        load(Mixture([path, other])),
        load(path, seed=1),
        load(path, shuffle=False),
        load(path, sequence_length=8),
    ):
        with pytest.raises(lslm.MismatchError, match="do not belong together"):
            wrong.load_state_dict(state)
    loader = load(path)
    with pytest.raises(lslm.MismatchError, match="version 3"):
        loader.load_state_dict(state | {"version": 3})
    # weights are part of what decides the order
    weighted = load(Mixture({path: 1, other: 2}))
    with pytest.raises(lslm.MismatchError, match="weights"):
        weighted.load_state_dict(load(Mixture({path: 1, other: 3})).state_dict())


def test_iterating_again_continues_with_the_next_epochs(path):
    loader = load(path, epochs=2, batch_size=100)
    assert len(loader) == 2 * loader.samples_per_epoch // 100
    first = rows(loader, None)
    assert len(first) == 100 * len(loader)
    assert list(islice(loader, 1)) != []
    loader.load_state_dict(loader.state_dict() | {"samples": 2400, "round": 0})
    state = loader.state_dict()
    assert len(list(loader)) == len(loader) - 24
    at_end = loader.state_dict()
    resumed = load(path, epochs=2, batch_size=100)
    resumed.load_state_dict(at_end)
    assert list(resumed) == []
    assert len(list(resumed)) == len(loader)
    resumed.load_state_dict(state)
    assert resumed.n_samples == 2400
    assert len(list(islice(resumed, 1000))) == len(loader) - 24
    with pytest.raises(StopIteration):
        next(resumed)
    with pytest.raises(TypeError, match="endless"):
        len(load(path))
    # for an evaluation: the same batches each time
    evaluation = load(path, epochs=1, shuffle=False, batch_size=50)
    assert np.array_equal(rows(evaluation, None), rows(evaluation, None))


def test_global_batches_of_several_steps(path):
    loader = load(path, epochs=1, batch_size=5, global_batch_size=40, rank=1, world_size=2)
    assert loader.global_batch_size == 40
    assert len(loader) == loader.samples_per_epoch // 40 * 4
    assert sum(1 for _ in loader) == len(loader)
    assert loader.left_out["n_samples"] == loader.samples_per_epoch % 40


def test_mixtures_keep_their_proportions(path, tmp_path):
    other = write_dataset(tmp_path / "other", [np.full(5000, 7)], vocab_size=20_000)
    loader = load(Mixture([path, other], weights=[3, 1]), batch_size=256)
    for _ in range(3):
        block = rows(loader, 4)
        assert (block[:, 0] == 7).sum() in (256, 257)  # the other dataset has one 7 too
    assert loader.samples_per_epoch is None
    sources = [loader.locate(sample)[0] for sample in range(1024)]
    assert sources.count(1) == 256
    by_tokens = load(Mixture([path, other]))
    sources = [by_tokens.locate(sample)[0] for sample in range(5 * 1024)]
    assert sources.count(1) == 1024
    with pytest.raises(ValueError, match="a mixture has no pass"):
        load(Mixture([path, other]), epochs=1)
    for weights in ([1], [1, 0], [1, -1], [1, float("nan")]):
        with pytest.raises(ValueError, match="weight"):
            load(Mixture([path, other], weights=weights))
    with pytest.raises(ValueError, match="1 names for 2 datasets"):
        Mixture([path, other], names=["a"])
    for names in (["a", ""], ["a", "a" * 65], ["a", "b\n"], ["a", "a"]):
        with pytest.raises(ValueError, match="name"):
            load(Mixture([path, other], names=names))
    with pytest.raises(ValueError, match="give each its own name"):
        load(Mixture([path, path]))
    with pytest.raises(ValueError, match="at least one"):
        load(Mixture([]))
    narrow = write_dataset(tmp_path / "narrow", [np.full(5000, 7)], vocab_size=8)
    with pytest.raises(lslm.MismatchError, match="tokenizers"):
        load(Mixture([path, narrow]))


def test_ranks_come_from_the_environment_or_from_arguments(path, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    loader = load(path)
    assert (loader.rank, loader.world_size, loader.global_batch_size) == (2, 3, 12)
    assert "rank=2, world_size=3, global_batch_size=12" in repr(loader)
    loader = load(path, rank=0, world_size=1)
    assert (loader.rank, loader.world_size) == (0, 1)
    monkeypatch.setenv("RANK", "zero")
    with pytest.raises(ValueError, match="RANK = 'zero'"):
        load(path)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(ValueError, match="rank = 3"):
        load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0"),
        ({"sequence_length": 0}, "sequence_length = 0"),
        ({"sequence_length": 20_000}, "a sample needs 20001 tokens"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**64}, "seed = "),
        ({"rank": 1}, "rank = 1"),
        ({"world_size": 0}, "world_size = 0"),
        ({"global_batch_size": 6}, "must be a multiple of batch_size × world_size"),
        ({"epochs": 0}, "epochs = 0"),
        ({"epochs": 1, "batch_size": 5000}, "have only 1249 samples"),
        ({"prefetch": -1}, "prefetch = -1"),
        ({"access": "magic"}, "access = "),
        ({"output": "jax"}, "choose 'torch' or 'numpy'"),
        ({"device": "cpu"}, "need output='torch'"),
    ],
)
def test_bad_arguments_are_named(path, options, message):
    with pytest.raises(ValueError, match=message):
        load(path, **options)


def test_pickle_and_deepcopy_keep_the_position(path):
    loader = load(path, rank=1, world_size=2)
    expected = rows(load(path, rank=1, world_size=2), 10)
    rows(loader, 6)
    for other in (pickle.loads(pickle.dumps(loader)), copy.deepcopy(loader), loader):
        assert np.array_equal(rows(other, 4), expected[24:])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_loader_continues(path):
    loader = load(path)
    expected = rows(load(path), 20)
    kept = [next(loader) for _ in range(6)]
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            kept.clear()
            found = rows(loader, 14)
            os.write(write, b"ok" if np.array_equal(found, expected[24:]) else b"no")
            status = 0
        finally:
            os._exit(status)
    assert np.array_equal(rows(loader, 14), expected[24:])
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 2) == b"ok"
    os.close(read)
    os.close(write)


def test_one_loader_serves_many_threads(path):
    loader = load(path, batch_size=1, prefetch=3)
    found, lock = [], threading.Lock()

    def work():
        for _ in range(100):
            row = next(loader).inputs[0].tolist()
            with lock:
                found.append(row)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(rows(load(path, batch_size=1), 400).tolist())


def test_checksums_are_checked_on_request(path, tmp_path):
    write_dataset(tmp_path / "set", [np.arange(5000)], vocab_size=5000)
    shard = next((tmp_path / "set").glob("*.lslm"))
    data = bytearray(shard.read_bytes())
    data[5001] ^= 1
    shard.write_bytes(data)
    next(load(tmp_path / "set"))
    loader = load(tmp_path / "set", verify=True)
    with pytest.raises(lslm.FormatError, match="damaged") as error:
        next(loader)
    assert error.value.offset == 4096
    rows(load(path, verify=True), 400)


def test_the_copy_to_a_device_keeps_every_id(tmp_path):
    from lslm.feed import as_signed, widen

    for vocab_size in (65_536, 2**32 - 1):
        tokens = np.array([0, 1, 32_767, 32_768, vocab_size - 1, 5], np.uint32)
        ds = write_dataset(tmp_path / str(vocab_size), [tokens], vocab_size=vocab_size)
        core = lslm._lslm.LoaderCore(
            [ds], None, None, sequence_length=5, max_sequence_length=None, packing="concat",
            mask_borders=False, seed=0, shuffle=False, verify=False, batch_size=1,
            rank=0, world_size=1, global_batch_size=None, epochs=None, prefetch=1, rows=True,
            access="map",
        )  # fmt: skip
        stored, *rest = core.next()
        assert rest == [None, None, 1]
        assert stored.dtype == ds.dtype
        inputs, targets = widen(*as_signed(stored))
        assert inputs.tolist() == [tokens[:-1].tolist()]
        assert targets.tolist() == [tokens[1:].tolist()]
        assert inputs.is_contiguous()
        assert targets.is_contiguous()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA")
@pytest.mark.parametrize("pin_memory", [None, False])
def test_batches_on_a_device_equal_those_on_the_cpu(path, pin_memory):
    loader = load(path, output="torch", device="cuda", pin_memory=pin_memory)
    expected = load(path, output="torch")
    kept = []
    for step, (batch, other) in enumerate(zip(islice(loader, 50), expected, strict=False)):
        kept.append(batch)
        assert loader.n_samples == 4 * (step + 1)
        assert torch.equal(batch.inputs.cpu(), other.inputs)
    other = load(path, output="torch")
    for batch, expected in zip(kept, other, strict=False):
        assert torch.equal(batch.targets.cpu(), expected.targets)


def test_device_cpu_is_the_cpu(path):
    batch = next(load(path, output="torch", device="cpu"))
    assert batch.inputs.device.type == "cpu"


@pytest.mark.parametrize("access", ["map", "call"])
def test_memory_stays_flat(tmp_path, access):
    """Two hundred million tokens from 80 MB of files, in a process that does nothing else."""
    rng = np.random.default_rng(0)
    documents = (rng.integers(0, 50_000, 100_000, dtype=np.uint16) for _ in range(400))
    write_dataset(tmp_path / "set", documents, vocab_size=50_000, shard_bytes=1 << 24)
    script = (
        "import sys, resource\n"
        "from lslm.data import TokenLoader\n"
        "loader = TokenLoader(sys.argv[1], batch_size=64, sequence_length=2048, output='numpy',"
        " access=sys.argv[2])\n"
        "begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for step, batch in enumerate(loader):\n"
        "    if step == 320:\n"
        "        early = peak()\n"
        "    if step == 1600:\n"
        "        break\n"
        "print(begin, early, peak())\n"
    )
    if sys.platform != "linux":
        pytest.skip("resident memory as Linux counts it")
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "set"), access],
        check=True,
        capture_output=True,
    )
    begin, early, late = map(int, result.stdout.split())
    assert late - early < 10_000, f"{early} KiB, later {late} KiB"
    if access == "call":
        assert late - begin < 40_000, f"{begin} KiB, later {late} KiB"
