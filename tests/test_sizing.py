"""A configuration from one number: the formulas by hand, the nearest shape by trying all."""

import math

import pytest

from lslm import TokenDataset, load_config
from lslm.model import Transformer
from lslm.sizing import for_depth, for_parameters


def built(config, vocab_size):
    """Return the parameters and the FLOPs per token of the model as it would be built."""
    import dataclasses

    import torch

    with torch.device("meta"):
        model = Transformer(dataclasses.replace(config.model, vocab_size=vocab_size))
    return model.n_parameters(), model.flops_per_token()


def test_depth_decides_shape_batch_and_steps():
    """Two layers and 512 ids, worked out on paper."""
    config = for_depth(load_config("tiny", ["vocab_size=512"]), 2)
    assert (config.model.layers, config.model.width, config.model.heads) == (2, 128, 2)
    matrices = 2 * 12 * 128**2 + 512 * 128  # of the layers, and the head
    tokens = 20 * (matrices + 2 * 2 * 128 + 128)  # with the norms
    flops = tokens * (6 * matrices + 12 * 2 * 128 * 128)
    rows = 0.292 * flops**0.3271 / 128
    assert config.train.batch_size == 2 ** round(math.log2(rows)) == 64
    assert config.train.steps == round(tokens / (64 * 128))
    assert config.train.minutes == 0  # of the file


def test_what_is_given_stays_and_the_shape_cannot_be():
    settings = ["vocab_size=512", "minutes=3", "batch_size=8"]
    config = for_depth(load_config("tiny", settings), 3, load_config(None, settings).given)
    assert (config.train.minutes, config.train.steps, config.train.batch_size) == (3, 0, 8)
    with pytest.raises(ValueError, match=r"model\.width follows from depth or parameters"):
        for_depth(config, 3, frozenset({"model.width"}))


@pytest.mark.parametrize(
    ("preset", "changes", "vocab_size", "wanted"),
    [
        ("tiny", [], 4096, 3_000_000),
        ("small", [], 16_384, 26_000_000),
        ("tiny", ["tied=true", "sequence_length=1024"], 50_257, 124_000_000),
        ("tiny", [], 50_257, 124_000_000),
        ("tiny", ["hidden=384"], 300, 400_000),
    ],
)
def test_parameters_choose_the_nearest_shape(preset, changes, vocab_size, wanted):
    changes = [*changes, f"vocab_size={vocab_size}"]
    config = for_parameters(load_config(preset, changes), wanted)
    found, _ = built(config, vocab_size)
    assert abs(math.log(found / wanted)) < 0.2
    layers, heads = config.model.layers, config.model.heads
    assert config.model.width == 64 * heads
    assert layers / 2 <= heads <= max(3, 2 * layers)
    best = abs(math.log(found / wanted)) + 0.2 * abs(math.log(heads / layers))
    for other in range(1, 17):
        square = for_depth(load_config(preset, changes), other)
        assert abs(math.log(built(square, vocab_size)[0] / wanted)) >= best - 1e-9
    if preset == "small":
        assert heads == 3 * config.model.kv_heads
        assert for_depth(load_config(preset, changes), 1).model.heads == 3


def test_gpt2_has_124_million():
    config = for_depth(load_config("gpt2-124m"), 12)
    assert built(config, 50_257)[0] == 124_439_808


def test_few_data_are_read_four_times_at_most(data):
    config = for_depth(load_config("tiny", [f"data={data}"]), 2)
    there = TokenDataset(f"{data}/train").n_tokens
    per_step = config.train.batch_size * config.model.sequence_length
    assert config.train.steps == round(4 * there / per_step)


def test_too_few_parameters_and_no_vocabulary_are_refused():
    with pytest.raises(ValueError, match="the smallest model of 4,096 ids has"):
        for_parameters(load_config("tiny", ["vocab_size=4096"]), 10_000)
    with pytest.raises(ValueError, match=r"model\.vocab_size = 0 and data\.path is empty"):
        for_depth(load_config("tiny"), 2)
    with pytest.raises(ValueError, match="depth = 0"):
        for_depth(load_config("tiny", ["vocab_size=512"]), 0)
