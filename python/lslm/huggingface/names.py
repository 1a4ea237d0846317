"""Published names of tensors beside ours, and how the values are arranged in each.

A table has a row for each of our modules; # is the number of a layer. Weights and biases of a
module go together. :func:`ours_from` reads a published file as ours, :func:`theirs_from` ours as a
published one; both say where values are, and copy none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from lslm.tensors import Entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

__all__ = ["GPT2", "LLAMA", "is_buffer", "ours_from", "published_name", "theirs_from"]

LLAMA = {
    "embedding": "model.embed_tokens",
    "norm": "model.norm",
    "head": "lm_head",
    "blocks.#.attention_norm": "model.layers.#.input_layernorm",
    "blocks.#.attention.query": "model.layers.#.self_attn.q_proj",
    "blocks.#.attention.key": "model.layers.#.self_attn.k_proj",
    "blocks.#.attention.value": "model.layers.#.self_attn.v_proj",
    "blocks.#.attention.query_norm": "model.layers.#.self_attn.q_norm",
    "blocks.#.attention.key_norm": "model.layers.#.self_attn.k_norm",
    "blocks.#.attention.output": "model.layers.#.self_attn.o_proj",
    "blocks.#.feed_forward_norm": "model.layers.#.post_attention_layernorm",
    "blocks.#.feed_forward.gate": "model.layers.#.mlp.gate_proj",
    "blocks.#.feed_forward.up": "model.layers.#.mlp.up_proj",
    "blocks.#.feed_forward.down": "model.layers.#.mlp.down_proj",
}
"""Of Llama, Mistral, Qwen and Arcee."""

GPT2 = {
    "embedding": "transformer.wte",
    "positions": "transformer.wpe",
    "norm": "transformer.ln_f",
    "head": "lm_head",
    "blocks.#.attention_norm": "transformer.h.#.ln_1",
    "blocks.#.attention.query": "transformer.h.#.attn.c_attn",
    "blocks.#.attention.key": "transformer.h.#.attn.c_attn",
    "blocks.#.attention.value": "transformer.h.#.attn.c_attn",
    "blocks.#.attention.output": "transformer.h.#.attn.c_proj",
    "blocks.#.feed_forward_norm": "transformer.h.#.ln_2",
    "blocks.#.feed_forward.up": "transformer.h.#.mlp.c_fc",
    "blocks.#.feed_forward.down": "transformer.h.#.mlp.c_proj",
}
"""Of GPT-2: one matrix for queries, keys and values, in this order; and all matrices of layers are
stored as (inputs, outputs)."""

BUFFERS = re.compile(r"\.attn\.(masked_)?bias$|\.rotary_emb\.inv_freq$")
"""Names of tensors that older versions of transformers saved and compute now."""


def published_name(name: str, table: Mapping[str, str]) -> str:
    """Return the published name of our tensor ``name``."""
    layer = re.search(r"\d+", name)
    number = layer[0] if layer else ""
    return f"{table[_pattern(name)].replace('#', number)}.{name.rpartition('.')[2]}"


def _pattern(name: str) -> str:
    """Return the module of our tensor ``name`` with # for the number of its layer."""
    return re.sub(r"\d+", "#", name.rpartition(".")[0])


def is_transposed(name: str, shape: tuple[int, ...], table: Mapping[str, str]) -> bool:
    """Return whether our tensor ``name`` is stored as (inputs, outputs) in a published file."""
    return table is GPT2 and name.startswith("blocks.") and len(shape) == 2


def ours_from(
    published: Mapping[str, Entry],
    shapes: Mapping[str, tuple[int, ...]],
    table: Mapping[str, str],
) -> dict[str, Entry]:
    """Return our tensors of ``shapes``, taken from those of a published file.

    Every published name must be there, with the rows that ours have together.
    """
    first: dict[str, int] = {}  # rows of a published tensor that are taken
    ours = {}
    for name, shape in shapes.items():
        theirs = published_name(name, table)
        start = first.get(theirs, 0)
        first[theirs] = start + shape[0]
        rows = slice(start, start + shape[0])
        source, turned = published[theirs], is_transposed(name, shape, table)

        def load(source: Entry = source, rows: slice = rows, turned: bool = turned) -> Tensor:
            tensor = source.load()
            return (tensor.T if turned else tensor)[rows]

        ours[name] = Entry(shape, source.dtype, load, source.source)
    return ours


def theirs_from(ours: Mapping[str, Entry], table: Mapping[str, str]) -> dict[str, Entry]:
    """Return the tensors of a published file, made of ours."""
    parts: dict[str, list[str]] = {}
    order = {module: place for place, module in enumerate(table)}  # queries, keys, values
    for name in sorted(ours, key=lambda name: order[_pattern(name)]):
        parts.setdefault(published_name(name, table), []).append(name)
    theirs = {}
    for name, own in parts.items():
        entries = [ours[each] for each in own]
        rows, *rest = entries[0].shape
        rows = sum(entry.shape[0] for entry in entries)
        turned = is_transposed(own[0], entries[0].shape, table)

        def load(entries: list[Entry] = entries, turned: bool = turned) -> Tensor:
            whole = torch.cat([entry.load() for entry in entries]) if entries[1:] else None
            tensor = entries[0].load() if whole is None else whole
            return tensor.T if turned else tensor

        shape = (*rest, rows) if turned else (rows, *rest)
        theirs[name] = Entry(shape, entries[0].dtype, load)
    return theirs


def is_buffer(name: str) -> bool:
    """Return whether a published tensor is one that programs compute by themselves."""
    return BUFFERS.search(name) is not None
