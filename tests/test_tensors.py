"""Safetensors files equal the library's byte for byte, and broken ones are refused by name."""

import json

import pytest
import torch
from safetensors.torch import save_file

from lslm import FormatError, tensors
from lslm.tensors import Entry, entries_of, open_tensors, write_shards, write_tensors

VALUES = {
    'b.é"x': torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "a": torch.tensor([1.5, -2.0]).bfloat16(),
    "c": torch.tensor(5),
    "none": torch.zeros(0, 3),
    "turned": torch.arange(12.0).view(4, 3).T,
}


def test_the_file_is_the_one_that_the_library_writes(tmp_path):
    contiguous = {name: value.contiguous() for name, value in VALUES.items()}
    save_file(contiguous, tmp_path / "expected", metadata={"format": "pt"})
    record = write_tensors(tmp_path / "mine", entries_of(VALUES))
    assert (tmp_path / "mine").read_bytes() == (tmp_path / "expected").read_bytes()
    assert record.n_bytes == (tmp_path / "mine").stat().st_size
    read = open_tensors([tmp_path / "mine"])
    assert {name: entry.shape for name, entry in read.items()} == {
        name: tuple(value.shape) for name, value in VALUES.items()
    }
    assert all(torch.equal(read[name].load(), value) for name, value in VALUES.items())


def test_one_tensor_is_in_memory_at_a_time(tmp_path):
    """Each is loaded when it is written, and only then."""
    alive, most = 0, 0

    class Counted(torch.Tensor):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def load():
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return torch.zeros(8).as_subclass(Counted)

    entries = {f"t{i}": Entry((8,), torch.float32, load) for i in range(6)}
    write_shards(tmp_path, "model", entries, shard_bytes=64)
    assert most <= 2  # the one that is written, and the next
    assert len(list(tmp_path.glob("model-*-of-00003.safetensors"))) == 3


def changed(path, **changes):
    """Write the file at ``path`` again with another entry for the tensor "a"."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["a"] |= changes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:20]), "truncated"),
        (lambda path: path.write_bytes(b""), "truncated"),
        (lambda path: path.write_bytes(b"\xff" * 64), "truncated"),
        (lambda path: path.write_bytes((1 << 62).to_bytes(8, "little") + b"{}"), "truncated"),
        (lambda path: changed(path, data_offsets=[0, 1 << 60]), "truncated"),
        (lambda path: changed(path, shape=[1 << 62, 1 << 62]), "truncated"),
        (lambda path: changed(path, dtype="F8_E4M3", shape=[4]), "a has type F8_E4M3: convert"),
    ],
)
def test_damaged_and_hostile_files_are_one_line_with_the_path(tmp_path, damage, said):
    path = tmp_path / "model.safetensors"
    write_tensors(path, entries_of({"a": torch.zeros(2, dtype=torch.bfloat16)}))
    damage(path)
    with pytest.raises(FormatError, match=said) as caught:
        open_tensors([path])
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tensor_in_two_files_is_refused(tmp_path):
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        write_tensors(path, entries_of({"a": torch.zeros(2)}))
    with pytest.raises(FormatError, match="a is also in another file"):
        open_tensors(paths)


def test_an_entry_is_what_it_says(tmp_path):
    with pytest.raises(AssertionError, match="loaded"):
        write_tensors(tmp_path / "x", {"a": Entry((3,), torch.float32, lambda: torch.zeros(2))})
    assert tensors.SHARD_BYTES == 5_000_000_000
