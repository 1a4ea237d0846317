"""Token files of nanoGPT and llm.c are datasets as they are."""

import json
import pickle

import numpy as np
import pytest
from typer.testing import CliRunner

import lslm
from lslm.cli import app
from lslm.data import TokenLoader, open_bin
from lslm.inspection import kind_of

EOS = 50256


def write_llm_c(path, tokens, *, wide=False):
    """Write ``tokens`` as llm.c does, from its description: 256 numbers, then the ids."""
    header = np.zeros(256, "<i4")
    header[:3] = (20240801, 7, len(tokens)) if wide else (20240520, 1, len(tokens))
    path.write_bytes(header.tobytes() + np.asarray(tokens, "<u4" if wide else "<u2").tobytes())


@pytest.fixture
def tokens():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 50256, 9000)
    ids[rng.integers(0, 9000, 60)] = EOS
    return ids


def test_nanogpt_and_llm_c_files_load_in_place(tmp_path, tokens):
    np.asarray(tokens, np.uint16).tofile(tmp_path / "train.bin")  # nanoGPT's prepare.py
    (tmp_path / "shards").mkdir()
    write_llm_c(tmp_path / "shards" / "train_000001.bin", tokens[:4000])
    write_llm_c(tmp_path / "shards" / "train_000002.bin", tokens[4000:])
    write_llm_c(tmp_path / "llama.bin", tokens + 70_000, wide=True)
    one = open_bin(tmp_path / "train.bin", eos_id=EOS)
    two = open_bin(tmp_path / "shards", eos_id=EOS)
    wide = open_bin(tmp_path / "llama.bin")
    assert one.tokens().tolist() == two.tokens().tolist() == tokens.tolist()
    assert wide.tokens().tolist() == (tokens + 70_000).tolist()
    assert (one.vocab_size, wide.vocab_size) == (50_257, 128_256)
    ends = np.flatnonzero(tokens == EOS) + 1
    documents = [part for part in np.split(tokens, ends) if len(part)]
    assert [document.tolist() for document in one] == [part.tolist() for part in documents]
    assert len(wide) == 0
    assert len(two) == len(documents) + (tokens[3999] != EOS)
    options = {"batch_size": 4, "sequence_length": 32, "output": "numpy", "seed": 3}
    loaders = [TokenLoader(data, **options) for data in (one, two)]
    for _ in range(100):
        a, b = (next(loader) for loader in loaders)
        assert np.array_equal(a.inputs, b.inputs)
        assert np.array_equal(a.targets[:, :-1], a.inputs[:, 1:])
    assert a.document_ids.shape == (4, 32)
    copy = pickle.loads(pickle.dumps(loaders[1]))
    assert np.array_equal(next(copy).inputs, next(loaders[0]).inputs)
    for access in ("map", "call"):
        batch = next(TokenLoader(one, access=access, **options))
        assert np.array_equal(batch.inputs, next(TokenLoader(two, **options)).inputs)


def test_what_cannot_be_had_is_refused(tmp_path, tokens):
    write_llm_c(tmp_path / "a.bin", tokens)
    whole = (tmp_path / "a.bin").read_bytes()
    (tmp_path / "a.bin").write_bytes(whole[:-7])
    with pytest.raises(lslm.FormatError, match="its header says") as error:
        open_bin(tmp_path / "a.bin")
    assert error.value.offset == len(whole) - 7
    (tmp_path / "a.bin").write_bytes(whole)
    with pytest.raises(ValueError, match="no checksums"):
        open_bin(tmp_path / "a.bin").verify(progress=False)
    with pytest.raises(ValueError, match="leave verify out"):
        next(
            TokenLoader(open_bin(tmp_path / "a.bin"), batch_size=1, sequence_length=8, verify=True)
        )
    with pytest.raises(ValueError, match="vocab_size = 70000"):
        open_bin(tmp_path / "a.bin", vocab_size=70_000)
    small = open_bin(tmp_path / "a.bin", vocab_size=1000)
    with pytest.raises(lslm.FormatError, match="the vocabulary has 1000"):
        small.tokens()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty"):
        open_bin(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        open_bin(tmp_path / "none.bin")


def test_inspect_names_the_format(tmp_path, tokens):
    write_llm_c(tmp_path / "a.bin", tokens)
    np.asarray(tokens, np.uint16).tofile(tmp_path / "b.bin")
    for name, kind, by in (
        ("a.bin", "llm.c", "header"),
        ("b.bin", "nanoGPT", "name and ids"),
    ):
        (found,) = lslm.inspect(tmp_path / name)
        assert found.kind == "tokens"
        assert found.facts["format"] == kind
        assert found.facts["recognised_by"] == by
        assert found.facts["n_tokens"] == len(tokens)
        assert found.facts["largest_id"] == tokens.max()
        result = CliRunner().invoke(app, ["inspect", str(tmp_path / name), "--json"])
        assert json.loads(result.output)["format"] == kind


def other_bin_files():
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.02, 40_000).astype("<f4").tobytes()
    return {
        "weights of torch": b"PK\x03\x04" + bytes(60),
        "weights of llama.cpp": b"GGUF" + bytes(60),
        "numbers of 32 bits": weights,
        "anything": rng.bytes(80_000),
        "an odd number of bytes": bytes(9001),
        "text": b"a text of some words\n" * 4000,
        "Chinese text": "\u4eba\u4eba\u751f\u800c\u81ea\u7531".encode() * 4000,
        "nothing": b"",
    }


@pytest.mark.parametrize("what", other_bin_files())
def test_another_file_called_bin_is_not_taken_for_tokens(tmp_path, what):
    (tmp_path / "a.bin").write_bytes(other_bin_files()[what])
    assert kind_of(tmp_path / "a.bin") == "documents"
    if "text" in what:
        assert lslm.inspect(tmp_path / "a.bin")[0].facts["n_documents"] == 1
    elif what != "nothing":
        with pytest.raises(lslm.FormatError, match=r"binary data|zip archive"):
            lslm.inspect(tmp_path / "a.bin")


def test_tokens_of_characters_and_of_large_vocabularies_are_tokens(tmp_path):
    rng = np.random.default_rng(0)
    rng.integers(0, 65, 20_000).astype("<u2").tofile(tmp_path / "char.bin")  # nanoGPT's char model
    ids = np.minimum(rng.zipf(1.5, 20_000), 65_535).astype("<u2")
    ids[rng.random(20_000) < 0.01] = 60_000
    ids.tofile(tmp_path / "large.bin")
    assert kind_of(tmp_path / "char.bin") == kind_of(tmp_path / "large.bin") == "tokens"
