"""Published weights in, runs out: logits equal transformers' both ways, and faults are named.

The peer is transformers itself, on models of random weights that are built here.
"""

import json

import pytest
import torch

import lslm
from lslm import FormatError, MismatchError
from lslm.architecture import ModelConfig
from lslm.checkpoint import open_run
from lslm.huggingface import export_model, exports_as, import_model
from small_data import EOS, byte_tokenizer

transformers = pytest.importorskip("transformers", reason="logits are compared with transformers")

IDS = torch.tensor([[256, 84, 104, 101, 32, 99, 97, 116, 46, 10, 3, 200]])
SIZES = {"vocab_size": 260, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
SIZES |= {"bos_token_id": EOS, "eos_token_id": EOS, "pad_token_id": None}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e4, "factor": 4.0, "low_freq_factor": 1.0}
LLAMA3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 16}
PEERS = {
    "gpt2": (
        "GPT2",
        {"vocab_size": 260, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
        | {"bos_token_id": EOS, "eos_token_id": EOS, "layer_norm_epsilon": 1e-4},
    ),
    "gpt2, untied": (
        "GPT2",
        {"vocab_size": 260, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_inner": 40}
        | {"bos_token_id": EOS, "eos_token_id": EOS, "tie_word_embeddings": False},
    ),
    "llama 2": ("Llama", SIZES | {"num_key_value_heads": 4, "rms_norm_eps": 1e-5}),
    "llama 3": ("Llama", SIZES | {"rope_parameters": LLAMA3, "head_dim": 16}),
    "llama, tied, biases, linear": (
        "Llama",
        SIZES
        | {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}
        | {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    ),
    "mistral": ("Mistral", SIZES | {"sliding_window": None}),
    "qwen2.5": ("Qwen2", SIZES | {"rope_theta": 1e6, "tie_word_embeddings": True}),
    "qwen3, 0.6B's shape": (
        "Qwen3",
        SIZES | {"head_dim": 24, "num_attention_heads": 4, "tie_word_embeddings": True},
    ),
    "arcee": ("Arcee", SIZES | {"rope_theta": 3e4}),
}
OURS = {
    "default": {"width": 32, "layers": 2, "heads": 2, "hidden": 48},
    "small": {"width": 32, "layers": 2, "heads": 4, "kv_heads": 2, "activation": "swiglu"},
    "gpt2": vars(ModelConfig.gpt2(width=32, layers=2, heads=2, vocab_size=260)),
    "padded llama": {"width": 32, "layers": 1, "heads": 2, "vocab_size": 320, "qk_norm": False}
    | {"activation": "swiglu", "tied": True, "norm_eps": 1e-5},
    "arcee": {"width": 32, "layers": 1, "heads": 2, "qk_norm": False, "bias": True},
    "qwen2": {"width": 32, "layers": 1, "heads": 2, "qk_norm": False, "qkv_bias": True}
    | {"activation": "swiglu"},
    "qwen3": {"width": 32, "layers": 1, "heads": 2, "head_size": 24, "qk_norm_weight": True}
    | {"activation": "swiglu", "norm_eps": 1e-5, "rope_base": 1e6},
    "weightless qk_norm with its ε": {"width": 32, "layers": 1, "heads": 2, "norm_eps": 1e-5},
}


def shaken(model, seed=0):
    """Move every parameter away from its initial 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)
    return model.eval()


def peer(name):
    kind, keys = PEERS[name]
    config = getattr(transformers, f"{kind}Config")(**keys)
    torch.manual_seed(0)
    return shaken(transformers.AutoModelForCausalLM.from_config(config))


def publish(folder, name="llama 3", **options):
    """Write the folder that transformers writes for a model and its tokenizer."""
    model = peer(name)
    model.save_pretrained(folder, **options)
    byte_tokenizer(folder / "tokenizer.json")
    return model


def new_run(folder, **shape):
    """A run of a model that no training has moved, but with weights that are not 0."""
    from lslm.checkpoint import save_checkpoint
    from lslm.config import Config, to_toml
    from lslm.model import Transformer

    config = ModelConfig(**{"vocab_size": 257, "sequence_length": 64} | shape)
    model = shaken(Transformer(config), seed=1)
    folder.mkdir()
    (folder / "config.toml").write_text(to_toml(Config(model=config)))
    byte_tokenizer(folder / "tokenizer.json")
    tokenizer = lslm.Tokenizer.load(folder / "tokenizer.json")
    state = {"tokenizer": tokenizer.fingerprint, "validation": None}
    save_checkpoint(folder, 3, model, [], state)
    return model


@pytest.mark.parametrize("name", PEERS)
def test_imported_logits_equal_transformers(tmp_path, name):
    model = publish(tmp_path / "hf", name)
    result = import_model(tmp_path / "hf", output=tmp_path / "run")
    assert result.architecture == type(model).__name__
    for opened in (open_run(tmp_path / "run"), open_run(tmp_path / "hf")):
        torch.testing.assert_close(opened.model(IDS), model(IDS).logits, atol=1e-5, rtol=0)
        assert opened.start_ids == [EOS]
        assert opened.stop_ids == {EOS}
    if name.startswith("gpt2"):  # the others compute norms and angles in float32 whatever comes
        double = opened.model.double()(IDS)
        torch.testing.assert_close(double, model.double()(IDS).logits, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", OURS)
def test_exported_logits_equal_ours(tmp_path, name):
    model = new_run(tmp_path / "run", **OURS[name])
    result = export_model(tmp_path / "run", output=tmp_path / "hf")
    assert exports_as(model.config).startswith(result.architecture)
    loaded, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "hf", output_loading_info=True
    )
    assert not any(report.values()), report
    torch.testing.assert_close(loaded(IDS).logits, model(IDS), atol=1e-5, rtol=0)
    again = import_model(tmp_path / "hf", output=tmp_path / "again")
    assert again.architecture == result.architecture
    torch.testing.assert_close(
        open_run(tmp_path / "again").model(IDS), model(IDS), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("name", ["gpt2, untied", "llama 3", "qwen3, 0.6B's shape"])
def test_a_round_trip_changes_no_bit(tmp_path, name):
    model = publish(tmp_path / "hf", name)
    import_model(tmp_path / "hf", output=tmp_path / "run")
    export_model(tmp_path / "run", output=tmp_path / "back")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    theirs, back = model.state_dict(), loaded.state_dict()
    assert theirs.keys() == back.keys()
    assert all(torch.equal(theirs[key], back[key]) for key in theirs)


def test_shards_and_bfloat16_keep_every_bit(tmp_path):
    model = peer("llama 3").bfloat16()
    model.save_pretrained(tmp_path / "hf", max_shard_size="20kB")
    byte_tokenizer(tmp_path / "hf/tokenizer.json")
    assert len(list((tmp_path / "hf").glob("*.safetensors"))) > 2
    import_model(tmp_path / "hf", output=tmp_path / "run")
    result = export_model(tmp_path / "run", output=tmp_path / "back", shard_bytes=30_000)
    assert result.dtype == "bfloat16"
    assert len(list((tmp_path / "back").glob("*.safetensors"))) > 2
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back", dtype="auto")
    assert loaded.dtype == torch.bfloat16
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    export_model(tmp_path / "run", output=tmp_path / "wide", dtype="float32")
    wide = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "wide", dtype="auto")
    assert wide.dtype == torch.float32
    logits = open_run(tmp_path / "run").model(IDS)
    torch.testing.assert_close(logits, wide(IDS).logits, atol=1e-5, rtol=0)


def test_a_pipeline_finds_everything_and_generates_our_text(tmp_path):
    new_run(tmp_path / "run", **OURS["small"])
    export_model(tmp_path / "run", output=tmp_path / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer("The cat").input_ids == list(b"The cat")
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id) == (EOS, EOS)
    pipe = transformers.pipeline("text-generation", str(tmp_path / "hf"), device="cpu")
    assert pipe.model.generation_config.eos_token_id == EOS
    text = pipe("<|endoftext|>The", max_new_tokens=12, do_sample=False, return_full_text=False)[0][
        "generated_text"
    ]
    ours = lslm.generate(tmp_path / "run", prompt="The", max_tokens=12, temperature=0)
    assert text == ours


# Keys that llama.cpp's convert_hf_to_gguf.py and vLLM read of a Llama or Qwen model, by their sources.
CONVERTER = [
    "architectures", "head_dim", "hidden_act", "hidden_size", "intermediate_size",
    "max_position_embeddings", "model_type", "num_attention_heads", "num_hidden_layers",
    "num_key_value_heads", "rms_norm_eps", "rope_theta", "tie_word_embeddings", "torch_dtype",
    "vocab_size", "bos_token_id", "eos_token_id",
]  # fmt: skip


def test_an_exported_folder_has_what_converters_read(tmp_path):
    new_run(tmp_path / "run", **OURS["qwen3"])
    export_model(tmp_path / "run", output=tmp_path / "hf")
    content = json.loads((tmp_path / "hf/config.json").read_text())
    assert all(key in content for key in CONVERTER)
    assert content["architectures"] == ["Qwen3ForCausalLM"]
    assert content["hidden_act"] == "silu"
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def test_companions_of_an_imported_model_come_back(tmp_path):
    publish(tmp_path / "hf")
    for name in ("generation_config.json", "tokenizer_config.json"):
        (tmp_path / "hf" / name).write_text('{"eos_token_id": [256, 10], "model_max_length": 9}')
    (tmp_path / "hf/chat_template.jinja").write_text("{{ messages }}")
    import_model(tmp_path / "hf", output=tmp_path / "run")
    assert open_run(tmp_path / "run").stop_ids == {EOS, 10}
    export_model(tmp_path / "run", output=tmp_path / "back")
    for name in ("generation_config.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "back" / name).read_text() == (tmp_path / "hf" / name).read_text()
    assert json.loads((tmp_path / "back/config.json").read_text())["eos_token_id"] == [256, 10]


def changed_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


BAD_CONFIGS = [
    ({"model_type": "mamba"}, "model_type = 'mamba' is not supported"),
    ({"model_type": ["llama"]}, "model_type"),
    ({"architectures": ["LlamaForSequenceClassification"]}, "architectures"),
    ({"hidden_act": "gelu"}, "hidden_act = 'gelu' is not supported: silu is"),
    ({"attention_bias": True}, "attention_bias = True is not supported"),
    ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "rope_type = 'yarn'"),
    ({"rope_parameters": [1]}, "must be a table"),
    ({"layer_types": ["sliding_attention", "full_attention"]}, "layer_types"),
    ({"hidden_size": "32"}, "hidden_size is '32': must be a whole number"),
    ({"hidden_size": 1 << 60}, "hidden_size"),
    ({"hidden_size": None}, "hidden_size is missing"),
    ({"hidden_size": 64}, "and config.json says"),
    ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000, and the files have"),
    ({"num_hidden_layers": 3}, "model.layers.2.input_layernorm.weight is missing"),
    ({"num_hidden_layers": 1}, "model.layers.1.input_layernorm.weight is not part of Llama"),
    ({"num_key_value_heads": 3}, "kv_heads = 3: must divide"),
    ({"rms_norm_eps": "small"}, "rms_norm_eps is 'small'"),
    ({"vocab_size": 300}, "config.json says (300, 32)"),
    ({"tie_word_embeddings": True}, "lm_head.weight differs from model.embed_tokens.weight"),
    ({"eos_token_id": "end"}, "eos_token_id is 'end'"),
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "hf"
    publish(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder


@pytest.fixture
def copied(published, tmp_path):
    import shutil

    return shutil.copytree(published, tmp_path / "hf")


def refused(folder, tmp_path, kind=(FormatError, MismatchError)):
    """Return the one line that says why ``folder`` is not imported, and that nothing was written."""
    with pytest.raises(kind) as caught:
        import_model(folder, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert str(folder) in str(caught.value) + str(getattr(caught.value, "filename", ""))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("changes", "said"), BAD_CONFIGS, ids=str)
def test_what_cannot_be_held_is_refused_by_its_key(copied, tmp_path, changes, said):
    changed_config(copied, **changes)
    assert said in refused(copied, tmp_path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[1]"), "not a JSON object"),
        (lambda f: (f / "config.json").write_bytes(b"[" * 100_000), "not JSON"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x08" + bytes(40)), "truncated"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "a pickle"),
        (lambda f: byte_tokenizer_of(f, 300), "another model"),
        (lambda f: index_of(f, {"x": "../model.safetensors"}), "not a safetensors file of this"),
        (lambda f: index_of(f, {}), "weight_map is missing"),
    ],
)
def test_broken_and_hostile_folders_are_one_line(copied, tmp_path, damage, said):
    damage(copied)
    assert said in refused(copied, tmp_path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(copied, tmp_path, name):
    (copied / name).unlink()
    refused(copied, tmp_path, FileNotFoundError)
    index_of(copied, {"x": "model-00001-of-00002.safetensors"})
    refused(copied, tmp_path, FileNotFoundError)


def byte_tokenizer_of(folder, n):
    """Write a tokenizer with ``n`` ids."""
    byte_tokenizer(folder / "tokenizer.json")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"][0]["id"] = n - 1
    path.write_text(json.dumps(content))


def index_of(folder, weight_map):
    (folder / "model.safetensors").unlink(missing_ok=True)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_missing_extra_and_misshapen_tensors_are_named(copied, tmp_path):
    from safetensors.torch import load_file, save_file

    whole = load_file(copied / "model.safetensors")
    for change, said in [
        ({"model.norm.weight": None}, "model.norm.weight is missing"),
        ({"model.extra": torch.zeros(1)}, "model.extra is not part of LlamaForCausalLM"),
        ({"model.norm.weight": torch.zeros(31)}, "model.norm.weight is (31,), and config.json says (32,)"),
        ({"model.norm.weight": torch.zeros(32, dtype=torch.int32)}, "model.norm.weight has type"),
    ]:  # fmt: skip
        tensors = {key: value for key, value in (whole | change).items() if value is not None}
        save_file(tensors, copied / "model.safetensors")
        assert said in refused(copied, tmp_path)


def test_stored_buffers_and_old_names_of_gpt2_are_read(tmp_path):
    from safetensors.torch import load_file, save_file

    model = publish(tmp_path / "hf", "gpt2")
    path = tmp_path / "hf/model.safetensors"
    old = {key.removeprefix("transformer."): value for key, value in load_file(path).items()}
    save_file(old | {"h.0.attn.bias": torch.ones(1, 1, 64, 64)}, path)
    result = import_model(tmp_path / "hf", output=tmp_path / "run")
    assert any("1 stored buffers" in note for note in result.notes)
    assert any("resid_pdrop = 0.1" in note for note in result.notes)
    logits = open_run(tmp_path / "run").model(IDS)
    torch.testing.assert_close(logits, model(IDS).logits, atol=1e-5, rtol=0)


def test_unknown_keys_are_named_in_a_note(copied, tmp_path):
    changed_config(copied, attention_flavour="new")
    result = import_model(copied, output=tmp_path / "run")
    assert any("attention_flavour" in note for note in result.notes)
    with pytest.raises(ValueError, match="not empty"):
        import_model(copied, output=tmp_path / "run")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"activation": "gelu"}, "model.norm = 'rms'"),
        ({"norm": "layer"}, "model.positions = 'rope'"),
        ({"qkv_bias": True}, "model.qkv_bias = True"),
        ({"bias": True}, "model.bias = True"),
        ({"qk_norm": False, "qkv_bias": True}, "model.qkv_bias = True"),
        ({"token_shift": True}, "model.token_shift = True has no published architecture"),
        ({"bigram_rows": 9}, "model.bigram_rows = 9 has no published architecture"),
        ({"rope_fraction": 0.5}, "model.rope_fraction = 0.5 has no published architecture"),
        (vars(ModelConfig.gpt2(vocab_size=257, width=64, heads=4)) | {"kv_heads": 2}, "kv_heads = 2"),
    ],
)  # fmt: skip
def test_a_shape_without_a_published_architecture_is_refused_by_key(tmp_path, shape, said):
    new_run(tmp_path / "run", **{"width": 32, "layers": 1, "heads": 2} | shape)
    with pytest.raises(MismatchError, match=said):
        export_model(tmp_path / "run", output=tmp_path / "hf")
    assert not (tmp_path / "hf").exists()
    assert exports_as(open_run(tmp_path / "run").config.model).startswith("nothing: ")
