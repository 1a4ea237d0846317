"""Checkpoints are whole or absent, hold everything exactly, and notice damage."""

import json

import pytest
import torch

from lslm import FormatError, MismatchError, tensors
from lslm import checkpoint as ck
from lslm.model import ModelConfig, Transformer
from lslm.optim import OptimConfig, build_optimizers

STATE = {"tokens": 1, "loader": {"samples": 3}, "validation": None}


def trained(seed=0, steps=2, **changes):
    config = {"vocab_size": 20, "sequence_length": 8, "width": 16, "layers": 2, "heads": 2}
    model = Transformer(ModelConfig(**config | changes), seed)
    optimizers = build_optimizers(model, OptimConfig())
    tokens = torch.arange(18).view(2, 9)
    for _ in range(steps):
        model(tokens[:, :-1], tokens[:, 1:]).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return model, optimizers


def states(model, optimizers):
    return [
        state[key]
        for p in model.parameters()
        for optimizer in optimizers
        for state in [optimizer.state.get(p, {})]
        for key in sorted(state)
    ]


@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 3_000])
@pytest.mark.parametrize("tied", [False, True])
def test_everything_comes_back_bit_for_bit(tmp_path, monkeypatch, shard_bytes, tied):
    monkeypatch.setattr(tensors, "SHARD_BYTES", shard_bytes)
    model, optimizers = trained(tied=tied)
    folder = ck.save_checkpoint(tmp_path, 7, model, optimizers, STATE)
    other, others = trained(seed=1, steps=0, tied=tied)
    state = ck.load_checkpoint(folder, other, others)
    assert (state["step"], state["loader"]) == (7, {"samples": 3})
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    mine, theirs = states(model, optimizers), states(other, others)
    assert len(mine) == len(theirs) > 0
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    parts = sorted(path.name for path in folder.glob("model*"))
    if shard_bytes == 3_000:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert set(index["weight_map"]) == set(model.state_dict())
        assert set(index["weight_map"].values()) == set(parts) - {"model.safetensors.index.json"}
    else:
        assert parts == ["model.safetensors"]


def test_the_same_state_gives_the_same_bytes(tmp_path):
    one, two = (
        ck.save_checkpoint(tmp_path / "a", 7, *trained(), STATE),
        ck.save_checkpoint(tmp_path / "b", 7, *trained(), STATE),
    )
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_without_state_json_a_checkpoint_does_not_exist(tmp_path):
    first = ck.save_checkpoint(tmp_path, 1, *trained(), STATE)
    second = ck.save_checkpoint(tmp_path, 2, *trained(), STATE)
    (second / "state.json").unlink()
    assert ck.list_checkpoints(tmp_path) == [first]
    assert ck.find_checkpoint(tmp_path) == first
    ck.prune_checkpoints(tmp_path, last=1, best=True, every=0)
    assert not second.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone"])
def test_a_damaged_file_is_named(tmp_path, name, damage):
    model, optimizers = trained()
    folder = ck.save_checkpoint(tmp_path, 1, model, optimizers, STATE)
    path = folder / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-1] + (b"" if damage == "cut" else bytes([content[-1] ^ 1])))
    with pytest.raises(FileNotFoundError if damage == "gone" else FormatError) as caught:
        ck.load_checkpoint(folder, model, optimizers)
    assert str(path) in str(caught.value)
    if name == "optimizer.safetensors":  # a model alone needs no more than its own file
        assert ck.load_checkpoint(folder, trained(seed=1)[0])["step"] == 1


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"version": 1}', '{"version": 9, "step": 1, "files": {}}']
)
def test_a_broken_state_is_named(tmp_path, content):
    folder = ck.save_checkpoint(tmp_path, 1, *trained(), STATE)
    (folder / "state.json").write_text(content)
    with pytest.raises(FormatError, match=r"state\.json"):
        ck.find_checkpoint(tmp_path, "best")


def test_another_shape_is_a_mismatch(tmp_path):
    folder = ck.save_checkpoint(tmp_path, 1, *trained(), STATE)
    with pytest.raises(MismatchError, match=r"another model: .* is \(16, 16\) there, and absent"):
        ck.load_checkpoint(folder, trained(layers=1)[0])
    with pytest.raises(MismatchError, match="another model"):
        ck.load_checkpoint(folder, trained(width=32)[0])


def test_prune_keeps_the_last_the_best_and_the_milestones(tmp_path):
    model, optimizers = trained(steps=0)
    for step, loss in enumerate([3.0, 1.0, 2.0, None, 5.0, 4.0], 999_997):
        validation = None if loss is None else {"loss": loss}
        ck.save_checkpoint(tmp_path, step, model, optimizers, STATE | {"validation": validation})
    assert ck.find_checkpoint(tmp_path).name == "step-1000002"
    assert ck.find_checkpoint(tmp_path, "best").name == "step-999998"
    assert (
        ck.find_checkpoint(tmp_path, 999999).name
        == ck.find_checkpoint(tmp_path, "999999").name
        == "step-999999"
    )
    ck.prune_checkpoints(tmp_path, last=2, best=True, every=1_000_000)
    steps = [ck.read_state(folder)["step"] for folder in ck.list_checkpoints(tmp_path)]
    assert steps == [999_998, 1_000_000, 1_000_001, 1_000_002]
    with pytest.raises(ValueError, match="choose best, last or a step of 999998, 1000000"):
        ck.find_checkpoint(tmp_path, 3)


def test_a_validation_loss_that_is_not_finite_is_never_the_best(tmp_path):
    model, optimizers = trained(steps=0)
    for step, loss in enumerate([2.0, None], 1):
        state = STATE | {"validation": {"loss": loss}}
        ck.save_checkpoint(tmp_path, step, model, optimizers, state)
    assert ck.find_checkpoint(tmp_path, "best").name == "step-000001"


def test_a_missing_run_or_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        ck.find_checkpoint(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no finished checkpoint"):
        ck.find_checkpoint(tmp_path)


def test_a_failed_save_leaves_no_checkpoint(tmp_path, monkeypatch):
    model, optimizers = trained()
    ck.save_checkpoint(tmp_path, 1, model, optimizers, STATE)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensors, "_data", full)
    with pytest.raises(OSError, match=r"No space .*model\.safetensors"):
        ck.save_checkpoint(tmp_path, 2, model, optimizers, STATE)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]


def test_a_run_of_the_first_version_loads(testdata):
    """Written before ``ModelConfig`` had norm_eps, head_size and rope_scaling; stays as it is."""
    run = ck.open_run(testdata / "run/version-1")
    assert (run.step, run.config.model.head_size, run.config.model.norm_eps) == (30, 0, 0.0)
    expected = [
        1.82835627,
        1.65888095,
        0.54909170,
        2.14349699,
        -0.32907769,
        -5.72872782,
        -2.35433197,
    ]
    logits = run.model(torch.tensor([list(b"The ")]))[0, -1, 101:108]
    torch.testing.assert_close(logits, torch.tensor(expected), atol=1e-5, rtol=0)
