"""Exported folders under llama.cpp's names: its converter's own table of tensors, from gguf.

gguf is not among the packages that tests need: without it these skip.
"""

import json

import pytest
from safetensors.numpy import load_file

from lslm.huggingface import export_model
from test_huggingface import OURS, new_run

gguf = pytest.importorskip("gguf", reason="llama.cpp's names of tensors are in the package gguf")

SHAPES = ["small", "gpt2", "padded llama", "arcee", "qwen2", "qwen3"]
OPTIONAL = {"ROPE_FREQS", "ATTN_ROT_EMBD", "OUTPUT"}
"""Tensors that the table has for an architecture, and that not each of its models has."""


@pytest.mark.parametrize("name", SHAPES)
def test_llama_cpp_has_a_name_for_every_tensor_and_misses_none(tmp_path, name):
    new_run(tmp_path / "run", **OURS[name])
    export_model(tmp_path / "run", output=tmp_path / "hf")
    config = json.loads((tmp_path / "hf/config.json").read_text())
    kind = {text: kind for kind, text in gguf.MODEL_ARCH_NAMES.items()}[config["model_type"]]
    layers = config.get("num_hidden_layers") or config["n_layer"]
    names = gguf.get_tensor_name_map(kind, layers)
    tensors = load_file(tmp_path / "hf/model.safetensors")
    known = {key: names.get_name(key, try_suffixes=(".weight", ".bias")) for key in tensors}
    assert not [key for key, there in known.items() if there is None]
    assert len(set(known.values())) == len(known)
    wanted = {
        gguf.TENSOR_NAMES[tensor].format(bid=layer)
        for tensor in gguf.MODEL_TENSORS[kind]
        if tensor.name not in OPTIONAL and not {"EXP", "INP"} & set(tensor.name.split("_"))
        for layer in range(layers)
    }
    assert wanted <= {there.rpartition(".")[0] for there in known.values()}
