"""Published architectures and our shapes: config.json to ModelConfig, and back.

What changes a result and has no place in a :class:`ModelConfig` is refused by its key. A key that
is not known here is named in a note, since it may.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lslm.architecture import ModelConfig
from lslm.exceptions import FormatError, MismatchError
from lslm.huggingface.names import GPT2, LLAMA

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ARCHITECTURES", "Architecture", "choose", "exports_as", "from_json", "to_json"]


@dataclass(frozen=True)
class Architecture:
    """A published architecture: the class that transformers has for it, and its tensor names."""

    model_type: str
    class_name: str
    names: Mapping[str, str] = dataclasses.field(default_factory=lambda: LLAMA)


ARCHITECTURES = {
    "gpt2": Architecture("gpt2", "GPT2LMHeadModel", GPT2),
    "llama": Architecture("llama", "LlamaForCausalLM"),
    "mistral": Architecture("mistral", "MistralForCausalLM"),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM"),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM"),
    "arcee": Architecture("arcee", "ArceeForCausalLM"),
}
"""By ``model_type``, the key of config.json that chooses one."""

MAX_SIZE = 2**31
"""Above every size that a model has; a larger one is a mistake, or made to use up memory."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "auto_map": (None,),
    "quantization_config": (None,),
    "add_cross_attention": (None, False),
    "is_encoder_decoder": (None, False),
    "scale_attn_weights": (None, True),
    "scale_attn_by_inverse_layer_idx": (None, False),
    "use_sliding_window": (None, False),
    "partial_rotary_factor": (None, 1),
    "final_logit_softcapping": (None,),
    "attn_logit_softcapping": (None,),
}
"""Keys that would change the result, and the values with which they do not."""

HARMLESS = frozenset((
    *("torch_dtype", "dtype", "transformers_version", "use_cache", "initializer_range"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "pretraining_tp", "_name_or_path"),
    *("reorder_and_upcast_attn", "max_window_layers", "summary_type", "summary_use_proj"),
    *("summary_activation", "summary_proj_to_labels", "summary_first_dropout", "n_ctx"),
    *("task_specific_params", "output_attentions", "output_hidden_states", "return_dict"),
    *("chunk_size_feed_forward", "id2label", "label2id", "problem_type", "unk_token_id"),
))  # fmt: skip
"""Keys that change nothing that a model computes."""

DROPOUTS = ("attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop")
"""Keys of training only; a note says when they are dropped."""


class _Keys:
    """The keys of a config.json, checked as they are read."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content, self.where, self.seen = content, where, set(HARMLESS)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``; ``default`` if it is missing or null."""
        self.seen.add(key)
        value = self.content.get(key)
        return default if value is None else value

    def size(self, key: str, default: int | None = None) -> int:
        """Return a whole number from 1 on."""
        value = self.get(key, default)
        if type(value) is not int or not (value == default or 1 <= value < MAX_SIZE):
            need = "missing" if value is None else f"{value!r}: must be a whole number from 1 on"
            raise FormatError(f"{self.where}: {key} is {need}", self.where)
        return value

    def number(self, key: str, default: float, table: Mapping[str, Any] | None = None) -> float:
        """Return a number above 0, of ``table`` if it is given."""
        value = self.get(key, default) if table is None else table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise FormatError(f"{self.where}: {key} is {value!r}: must be above 0", self.where)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise FormatError(f"{self.where}: {key} is {value!r}: must be a boolean", self.where)
        return value

    def refuse(self, key: str, value: object, need: str) -> MismatchError:
        """Return the error of a value that a ModelConfig cannot hold."""
        return MismatchError(f"{self.where}: {key} = {value!r} is not supported: {need}")


def from_json(
    content: Mapping[str, Any], where: str
) -> tuple[Architecture, ModelConfig, list[str]]:
    """Return the architecture and shape in a config.json, and notes on what was left out.

    ``where`` is its path, for errors. Raises ``FormatError`` for a key that is missing or of the
    wrong type, and ``MismatchError`` for what a :class:`ModelConfig` cannot hold.
    """
    keys = _Keys(content, where)
    kind = keys.get("model_type")
    architecture = ARCHITECTURES.get(kind) if isinstance(kind, str) else None
    if architecture is None:
        raise keys.refuse("model_type", kind, f"these are: {', '.join(ARCHITECTURES)}")
    classes = keys.get("architectures", [architecture.class_name])
    if classes != [architecture.class_name]:
        raise keys.refuse("architectures", classes, f"[{architecture.class_name!r}] is")
    for key, allowed in NEUTRAL.items():
        if keys.get(key) not in allowed:
            raise keys.refuse(key, content[key], f"only {allowed[-1]!r} is")
    values = _from_gpt2(keys) if kind == "gpt2" else _from_llama(keys, architecture.model_type)
    try:
        config = ModelConfig(vocab_size=keys.size("vocab_size"), **values)
    except ValueError as error:
        raise FormatError(f"{where}: {error}", where) from None
    drops = [f"{key} = {content[key]}" for key in DROPOUTS if keys.get(key)]
    notes = [f"dropout was left out ({', '.join(drops)}): set dropout= to train on with it"]
    unread = sorted(set(content) - keys.seen)
    unknown = f"unknown keys of config.json were not read: {', '.join(unread)}"
    return architecture, config, notes * bool(drops) + [unknown] * bool(unread)


def _from_gpt2(keys: _Keys) -> dict[str, Any]:
    """Return the values of a ModelConfig for a config.json of GPT-2."""
    activation = keys.get("activation_function", "gelu_new")
    if activation not in {"gelu_new", "gelu_pytorch_tanh"}:
        raise keys.refuse("activation_function", activation, "gelu_new is")
    width = keys.size("n_embd")
    shape = ModelConfig.gpt2(
        sequence_length=keys.size("n_positions"),
        width=width,
        layers=keys.size("n_layer"),
        heads=keys.size("n_head"),
        hidden=keys.size("n_inner", 4 * width),
        norm_eps=keys.number("layer_norm_epsilon", 1e-5),
        tied=keys.flag("tie_word_embeddings", True),
    )
    return {key: value for key, value in vars(shape).items() if key != "vocab_size"}


def _from_llama(keys: _Keys, kind: str) -> dict[str, Any]:
    """Return the values of a ModelConfig for a config.json of Llama or one of its relatives."""
    default = "relu2" if kind == "arcee" else "silu"
    allowed = {default: "relu2" if kind == "arcee" else "swiglu"}
    if kind == "qwen3":
        allowed["relu"] = "relu2"  # relu(x) · x, where gate and up are one matrix
    activation = keys.get("hidden_act", default)
    if activation not in allowed:
        raise keys.refuse("hidden_act", activation, f"{default} is")
    values: dict[str, Any] = {
        "sequence_length": keys.size("max_position_embeddings"),
        "width": keys.size("hidden_size"),
        "layers": keys.size("num_hidden_layers"),
        "heads": keys.size("num_attention_heads"),
        "kv_heads": keys.size("num_key_value_heads", None if kind.startswith("qwen") else 0),
        "head_size": keys.size("head_dim", 128 if kind == "qwen3" else 0),
        "hidden": keys.size("intermediate_size"),
        "activation": allowed[activation],
        "norm_eps": keys.number("rms_norm_eps", 1e-6),
        "qk_norm": kind == "qwen3",
        "qk_norm_weight": kind == "qwen3",
        "qkv_bias": kind == "qwen2",
        "tied": keys.flag("tie_word_embeddings", False),
    }
    biases = keys.flag("attention_bias", False), keys.flag("mlp_bias", False)
    if any(biases) and (kind not in {"llama", "arcee"} or not all(biases)):
        key = "attention_bias" if biases[0] else "mlp_bias"
        raise keys.refuse(key, True, "biases are in all layers or in none")
    values["bias"] = all(biases)
    window, length = keys.get("sliding_window"), values["sequence_length"]
    if kind == "mistral" and window is not None and window < length:
        raise keys.refuse("sliding_window", window, "attention over all positions is")
    types = keys.get("layer_types", [])
    if any(each != "full_attention" for each in types):
        raise keys.refuse("layer_types", types, "full_attention is")
    return values | _from_rope(keys, length)


def _from_rope(keys: _Keys, length: int) -> dict[str, Any]:
    """Return the values of rotary positions: in rope_parameters since transformers 5."""
    old, new = keys.get("rope_scaling", {}), keys.get("rope_parameters", {})
    table: Mapping[str, Any] = new or old
    if not isinstance(table, dict):
        raise FormatError(f"{keys.where}: rope_scaling is {table!r}: must be a table", keys.where)
    base = keys.number("rope_theta", 10_000.0)
    values: dict[str, Any] = {"rope_base": keys.number("rope_theta", base, table)}
    kind = table.get("rope_type", table.get("type", "default"))
    if table.get("partial_rotary_factor", 1) != 1:
        share = table["partial_rotary_factor"]
        raise keys.refuse("partial_rotary_factor", share, "rotation of all pairs is")
    if kind == "default":
        return values
    if kind not in {"linear", "llama3"}:
        raise keys.refuse("rope_scaling.rope_type", kind, "default, linear and llama3 are")
    values |= {"rope_scaling": kind, "rope_factor": keys.number("factor", 1.0, table)}
    if kind == "llama3":
        original = keys.number("original_max_position_embeddings", length, table)
        values["rope_original_length"] = int(original)
        values["rope_low"] = keys.number("low_freq_factor", 1.0, table)
        values["rope_high"] = keys.number("high_freq_factor", 4.0, table)
    return values


def choose(config: ModelConfig) -> Architecture:
    """Return the architecture that computes what ``config`` describes.

    Raises ``MismatchError`` with the first key that none has.
    """
    shape = config.resolved()
    for key, value in (("token_shift", False), ("rope_fraction", 1.0), ("bigram_rows", 0)):
        if getattr(shape, key) != value:
            raise MismatchError(
                f"model.{key} = {getattr(shape, key)!r} has no published architecture: train with "
                f"{key}={str(value).lower()}"
            )
    if "layer" in config.norm or config.positions == "learned" or config.activation == "gelu":
        need: dict[str, Any] = {"norm": "layer", "positions": "learned", "activation": "gelu"}
        need |= {"bias": True, "qk_norm": False, "kv_heads": config.heads}
        need["head_size"] = config.width // config.heads
        kind = "gpt2"
    elif config.qk_norm:
        need, kind = {"bias": False, "qkv_bias": False}, "qwen3"
    elif config.activation == "swiglu" and config.qkv_bias and not config.bias:
        need, kind = {}, "qwen2"
    else:
        kind = "llama" if config.activation == "swiglu" else "arcee"
        need = {"qkv_bias": False} if not config.bias else {}
    for key, value in need.items():
        if getattr(shape, key) != value:
            raise MismatchError(
                f"model.{key} = {getattr(shape, key)!r} has no published architecture with the "
                f"rest of this shape: {ARCHITECTURES[kind].class_name}, the nearest, has {value!r}"
            )
    if kind in {"llama", "arcee"} and config.width % config.heads:
        raise MismatchError(
            f"model.heads = {config.heads} does not divide model.width = {config.width}, which "
            f"transformers refuses in {ARCHITECTURES[kind].class_name}"
        )
    return ARCHITECTURES[kind]


def exports_as(config: ModelConfig) -> str:
    """Return what ``config`` is exported as, or why it is not, in a few words."""
    try:
        architecture = choose(config)
    except MismatchError as error:
        return f"nothing: {error}"
    name = architecture.class_name
    if architecture.model_type == "qwen3" and config.activation == "relu2":
        return f"{name} with hidden_act relu, which transformers loads and llama.cpp does not"
    return name


def to_json(config: ModelConfig) -> dict[str, Any]:
    """Return the config.json of ``config``, whose norms of queries and keys are learned ones.

    Special ids and the type of the weights are the caller's to add.
    """
    architecture, shape = choose(config), config.resolved()
    content: dict[str, Any] = {
        "architectures": [architecture.class_name],
        "model_type": architecture.model_type,
        "vocab_size": shape.vocab_size,
        "tie_word_embeddings": shape.tied,
        "initializer_range": 0.02,
        "use_cache": True,
    }
    if architecture.model_type == "gpt2":
        return content | {
            "n_positions": shape.sequence_length,
            "n_embd": shape.width,
            "n_layer": shape.layers,
            "n_head": shape.heads,
            "n_inner": shape.hidden,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": shape.norm_eps or 1e-5,
            **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0),
        }
    relu2 = "relu" if config.qk_norm else "relu2"
    content |= {
        "max_position_embeddings": shape.sequence_length,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "intermediate_size": shape.hidden,
        "hidden_act": "silu" if shape.activation == "swiglu" else relu2,
        "rms_norm_eps": shape.norm_eps or 1e-6,
        "rope_theta": shape.rope_base,
        "rope_scaling": _rope_table(shape),
        "attention_dropout": 0.0,
    }
    if architecture.model_type in {"llama", "arcee"}:
        content |= {"attention_bias": shape.bias, "mlp_bias": shape.bias}
    if architecture.model_type.startswith("qwen"):
        content["use_sliding_window"] = False
    return content


def _rope_table(shape: ModelConfig) -> dict[str, Any] | None:
    """Return rope_scaling as config.json has it."""
    if shape.rope_scaling == "none":
        return None
    table: dict[str, Any] = {"rope_type": shape.rope_scaling, "factor": shape.rope_factor}
    if shape.rope_scaling == "llama3":
        table["original_max_position_embeddings"] = shape.rope_original_length
        table |= {"low_freq_factor": shape.rope_low, "high_freq_factor": shape.rope_high}
    return table
