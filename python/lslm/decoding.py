"""One position at a time through a model, for one text or several: what generation repeats.

    prompt → all positions at once, keys and values into a cache
    for each new id:
        x = embedding[id]
        for each layer:
            q, k, v = one product with the three matrices together; q and k normalised and rotated
            cache[length] = k, v
            x += attention(q, cache) · output
            x += feed_forward(norm(x))
        logits = head · norm(x), some rows of the head at a time

It computes what :meth:`lslm.model.Transformer.forward` does, in half the calls: at one position a
model of 30 M parameters waits for memory and for Python, not for arithmetic. A test holds the two
equal.

Several texts are computed by the same calls as each alone, one after the other while a matrix is in
the processor's cache. So a text is the same to the last bit whatever it shares a batch with: a
product of several rows adds in another order than that of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F

from lslm.cache import Cache
from lslm.model import Block
from lslm.previous import TokenShift
from lslm.rotary import frequencies, rotary
from lslm.shortlist import Shortlist

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lslm.model import Transformer

__all__ = ["Decoder", "Logits", "Sequence"]

Logits: TypeAlias = "tuple[Tensor, Tensor | None]"
"""Logits in float32 or wider, and the ids that they are of, ascending; None: of all ids."""

HEAD_BYTES = 2**20
"""Part of the head that is multiplied with all texts before the next part: it stays in the cache of
a core, and four texts take 4.4 ms each instead of 7.3 (50,304 × 384, docs/log.md)."""


class Sequence:
    """The keys and values of one text so far, from :meth:`Decoder.start`."""

    def __init__(self, pairs: Tensor, length: int, last: dict[int, Tensor]) -> None:
        self.pairs, self.length = pairs, length
        """(layers, 2, kv_heads, capacity, D): keys and values; positions that are filled."""
        self.last = last
        """What each token shift saw last (1, C), and a table of bigrams (1), by its number."""


class _Place:
    """The last position of a sequence: where its keys and values go, and what it attends to."""

    def __init__(self, sequence: Sequence, table: tuple[Tensor, Tensor] | None) -> None:
        at, pairs, self.last = sequence.length, sequence.pairs, sequence.last
        here, seen = pairs[:, :, None, :, at : at + 1], pairs[:, :, None, :, : at + 1]
        # one view for each layer, made for all of them at once: views cost as much as small sums
        self.new_keys, self.new_values = here[:, 0].unbind(), here[:, 1].unbind()
        self.keys, self.values = seen[:, 0].unbind(), seen[:, 1].unbind()
        self.rotation = None if table is None else (table[0][at], table[1][at])


class _Layer:
    """The weights of one block, those that are used together in one matrix."""

    def __init__(self, block: nn.Module) -> None:
        assert isinstance(block, Block)
        attention, forward = block.attention, block.feed_forward
        qkv = (attention.query, attention.key, attention.value)
        ups = (forward.gate, forward.up) if forward.activation == "swiglu" else (forward.up,)
        self.norms = (block.attention_norm, block.feed_forward_norm)
        self.shifts = [
            (shift.number, shift.weight.detach())
            for shift in block.shifts
            if isinstance(shift, TokenShift)
        ]
        self.activation, self.qk_eps = forward.activation, attention.qk_eps
        self.qkv, self.qkv_bias = _joined(qkv)
        self.up, self.up_bias = _joined(ups)
        self.output, self.output_bias = _joined((attention.output,))
        self.down, self.down_bias = _joined((forward.down,))
        self.qk_weight: Tensor | None = None
        if hasattr(attention, "query_norm"):
            heads = attention.query.out_features, attention.key.out_features
            norms = (attention.query_norm.weight, attention.key_norm.weight)
            rows = [w.expand(n // len(w), -1) for w, n in zip(norms, heads, strict=True)]
            self.qk_weight = torch.cat(rows)[None, :, None].detach()
            self.qk_eps = attention.query_norm.eps

    def normed(self, part: int, x: Tensor, last: dict[int, Tensor]) -> Tensor:
        """Return what attention (0) or the feed-forward layer (1) reads of ``x`` (1, C)."""
        z: Tensor = self.norms[part](x)
        if not self.shifts:
            return z
        number, weight = self.shifts[part]
        before, last[number] = last[number], z
        return torch.addcmul(z, weight, before)

    def feed_forward(self, z: Tensor) -> Tensor:
        """Return the vector between the two products of the feed-forward layer."""
        h = F.linear(z, self.up, self.up_bias)
        if self.activation == "swiglu":
            gate, up = h.chunk(2, -1)
            return F.silu(gate).mul_(up)
        if self.activation == "relu2":
            return h.relu_().square_()
        return F.gelu(h, approximate="tanh")


def _joined(layers: tuple[nn.Linear, ...]) -> tuple[Tensor, Tensor | None]:
    """Return the matrices of ``layers`` below each other, and their biases; one is not copied."""
    weights = [layer.weight.detach() for layer in layers]
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    bias = torch.cat(biases) if biases else None
    return weights[0] if len(weights) == 1 else torch.cat(weights), bias


class Decoder:
    """Computes the logits after each position of texts; see this module's text.

    The weights are those that the model has when this is made: make another after training.
    """

    def __init__(
        self,
        model: Transformer,
        n_ids: int | None = None,
        unused: list[int] | None = None,
    ) -> None:
        """``n_ids``: logits of the first so many ids alone, as in the model's ``forward``.

        The logits of the ids ``unused`` are −∞.
        """
        self.model, self.config = model, model.config.resolved()
        self.weight = weight = model.head_weight.detach()[:n_ids]
        self.n_ids, self.device = len(weight), weight.device
        self.head = torch.split(weight, max(1, HEAD_BYTES // weight[0].nbytes))
        self.layers = [_Layer(block) for block in model.blocks]
        self.table: tuple[Tensor, Tensor] | None = None
        self.unused = torch.tensor(unused or [], dtype=torch.int64, device=self.device)
        self.shortlist: Shortlist | None = None

    @torch.inference_mode()
    def start(self, ids: list[int], capacity: int) -> tuple[Sequence, Tensor]:
        """Return the sequence of ``ids`` with room for ``capacity``, and the hidden state (C)."""
        cache = Cache(capacity)
        x = self.model.hidden(torch.tensor([ids], device=self.device), cache=cache)
        c = self.config
        pairs = x.new_empty(c.layers, 2, c.kv_heads, capacity, c.head_size)
        for pair, stored in zip(pairs, cache.layers, strict=True):
            pair[:, :, : len(ids)] = torch.cat(stored)[:, :, : len(ids)]
        if c.positions == "rope" and (self.table is None or len(self.table[0]) < capacity):
            self.table = self._rotation(capacity, x.dtype)
        last = {number: z[0] for number, z in cache.last.items()}
        return Sequence(pairs, len(ids), last), x[0, -1]

    def _rotation(self, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return (cos, cos) and (−sin, sin) of the angles of ``length`` positions (T, D)."""
        wide = torch.promote_types(dtype, torch.float32)
        positions = torch.arange(length, device=self.device)
        cos, sin = rotary(positions, frequencies(self.config, self.device, wide))
        return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)

    @torch.inference_mode()
    def step(self, sequences: list[Sequence], ids: list[int]) -> list[Tensor]:
        """Append one of ``ids`` to each of ``sequences``; return the hidden state (C) of each."""
        model, rows = self.model, []
        for sequence, token in zip(sequences, ids, strict=True):
            x = model.embedding.weight[token : token + 1]
            if self.config.bigram_rows:
                here, number = torch.tensor([token], device=self.device), model.bigrams.NUMBER
                x = x + model.bigrams.vectors(sequence.last[number], here)
                sequence.last[number] = here
            if self.config.positions == "learned":
                x = x + model.positions.weight[sequence.length]
            rows.append(x)
        places = [_Place(sequence, self.table) for sequence in sequences]
        for number, layer in enumerate(self.layers):
            for k, place in enumerate(places):
                rows[k] = self._layer(number, layer, rows[k], place)
        for sequence in sequences:
            sequence.length += 1
        return [model.norm(x)[0] for x in rows]

    @torch.inference_mode()
    def logits(self, rows: list[Tensor], most: list[int | None]) -> list[Logits]:
        """Return the logits of hidden states (C), each with the ids that they are of.

        Where ``most`` is a number, from :meth:`listed`, so many of the largest are among them;
        None: all.
        """
        found: dict[int, Logits] = {}
        for k, (x, wanted) in enumerate(zip(rows, most, strict=True)):
            if wanted is not None:
                self.shortlist = self.shortlist or Shortlist(self.weight)
                values, ids = self.shortlist.logits(x, wanted)
                found[k] = self._without_unused(values, ids), ids
        others = [k for k in range(len(rows)) if k not in found]
        for k, full in zip(others, self._logits([rows[k] for k in others]), strict=True):
            found[k] = self._without_unused(full, None), None
        return [found[k] for k in range(len(rows))]

    def listed(self, n_candidates: int | None, n_tokens: int) -> int | None:
        """Return ``most`` of :meth:`logits` for a text of which ``n_tokens`` are to be written.

        ``n_candidates`` of the most likely ids decide each; None: all do.
        """
        if n_candidates is None or torch.is_autocast_enabled(self.device.type):
            return None
        wanted = n_candidates + len(self.unused)  # which may be the most likely
        return wanted if Shortlist.pays(self.weight, wanted, n_tokens) else None

    def _without_unused(self, logits: Tensor, ids: Tensor | None) -> Tensor:
        """Return ``logits`` (of ``ids``; None: of all) with −∞ for unused ids, in place."""
        if not len(self.unused):
            return logits
        if ids is None:
            return logits.index_fill_(0, self.unused, -torch.inf)
        return logits.masked_fill_(torch.isin(ids, self.unused), -torch.inf)

    def _layer(self, number: int, layer: _Layer, x: Tensor, place: _Place) -> Tensor:
        """Return ``x`` (1, C) after ``layer``, whose keys and values go to their place."""
        c = self.config
        z = layer.normed(0, x, place.last)
        qkv = F.linear(z, layer.qkv, layer.qkv_bias).view(1, -1, 1, c.head_size)
        qk, v = torch.split(qkv, [c.heads + c.kv_heads, c.kv_heads], 1)
        if c.qk_norm:
            qk = F.rms_norm(qk, (c.head_size,), eps=layer.qk_eps)
            qk = qk if layer.qk_weight is None else qk.mul_(layer.qk_weight)
        if place.rotation is not None:
            cos, sin = place.rotation
            qk = (qk * cos).addcmul_(qk.roll(c.head_size // 2, -1), sin)
        q, k = torch.split(qk, [c.heads, c.kv_heads], 1)
        place.new_keys[number].copy_(k)
        place.new_values[number].copy_(v)
        keys, values = place.keys[number], place.values[number]
        gqa = c.heads != c.kv_heads
        y = F.scaled_dot_product_attention(q, keys, values, enable_gqa=gqa)
        x = x + F.linear(y.view(1, -1), layer.output, layer.output_bias)
        h = layer.feed_forward(layer.normed(1, x, place.last))
        return x + F.linear(h, layer.down, layer.down_bias)

    def _logits(self, rows: list[Tensor]) -> list[Tensor]:
        """Return the logits (V) of hidden states (C)."""
        logits = [x.new_empty(self.n_ids) for x in rows]
        start = 0
        for part in self.head:
            stop = start + len(part)
            for x, row in zip(rows, logits, strict=True):
                torch.mv(part, x, out=row[start:stop])
            start = stop
        return [row.to(torch.promote_types(row.dtype, torch.float32)) for row in logits]
