"""The configuration char learns letters in seconds; its settings saw the training text alone."""

import pytest
import torch

from lslm import train
from lslm.checkpoint import open_run
from lslm.data import TokenizedDocument, write_dataset
from small_data import EOS, byte_tokenizer

NANOGPT = 804_096
"""Parameters of nanoGPT's model for this job on a CPU, whose loss benches/char.py compares."""


@pytest.fixture(scope="module")
def data(shared_data, tmp_path_factory):
    """The first nine tenths of the training text to train on, and its last to score."""
    folder = tmp_path_factory.mktemp("letters")
    text = (shared_data / "english" / "tinyshakespeare.txt").read_bytes()
    text = text[: int(0.9 * len(text))]
    cut = int(0.9 * len(text))
    byte_tokenizer(folder / "bytes.json")
    for name, part in (("train", text[:cut]), ("validation", text[cut:])):
        document = TokenizedDocument([*part, EOS], n_bytes=len(part))
        write_dataset(folder / name, [document], tokenizer=folder / "bytes.json", eos_id=EOS)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_char_learns_letters_in_seconds(data, tmp_path, seed):
    torch.set_num_threads(1)
    options = {"device": "cpu", "train__threads": 1, "validate_every": 1000}
    result = train("char", data=data, out=tmp_path / "run", seed=seed, progress=False, **options)
    assert result.validation.loss < 1.85
    assert open_run(tmp_path / "run").model.n_parameters() <= NANOGPT
