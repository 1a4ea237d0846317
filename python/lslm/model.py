"""The language model: its formulas as named functions, its layers, and the Transformer.

    ids (B, T) → embedding → [ x + attention(norm(x)) → x + feed_forward(norm(x)) ] × layers
               → norm → head → logits (B, T, V), or with targets their cross-entropy

Shapes: B sequences, T positions, C width, H heads of size D, V vocabulary. The default is a decoder
as of 2026: RMSNorm before each layer, rotary positions, normalised queries and keys, grouped-query
attention, squared ReLU or SwiGLU, no biases. ``ModelConfig.gpt2()`` is the decoder of 2019:
LayerNorm, learned positions, GELU, biases, and one table as embedding and head. Every shape that
:class:`lslm.architecture.ModelConfig` describes is built here, and nothing else is.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lslm.architecture import ModelConfig
from lslm.by_hand import rms_norm, squared_relu
from lslm.cache import Cache
from lslm.document_mask import DocumentMask
from lslm.embedding import embedding
from lslm.loss import IGNORE, linear_cross_entropy
from lslm.previous import Bigrams, TokenShift
from lslm.rotary import frequencies, rotary, rotate

__all__ = [
    "Attention",
    "Bigrams",
    "Block",
    "Cache",
    "FeedForward",
    "ModelConfig",
    "RMSNorm",
    "TokenShift",
    "Transformer",
    "attention",
    "cross_entropy",
    "frequencies",
    "rotary",
    "rotate",
]


def attention(
    query: Tensor, key: Tensor, value: Tensor, *, visible: Tensor | None = None, fused: bool = True
) -> Tensor:
    """Return y_i = Σ_{j ≤ i} softmax_j(q_i · k_j / √D) v_j, causal attention (B, H, T, D).

    Vaswani et al. 2017, equation 1. ``query`` is (B, H, T, D); ``key`` and ``value`` are
    (B, H or a divisor of it, S, D) with S ≥ T: the queries are the last T of S positions.
    ``visible``, bool (B, 1, T, S), says which keys j each query i sees, instead of all j ≤ i.
    ``fused`` uses torch's kernel for the same sum; without it, the formula is computed as written.
    """
    T, S, groups = query.size(-2), key.size(-2), query.size(1) // key.size(1)
    is_causal = visible is None and 1 < T == S
    if visible is None and (not fused or 1 < T < S):
        visible = torch.ones(T, S, dtype=torch.bool, device=query.device).tril(S - T)
    if fused:
        if visible is not None and groups > 1 and query.is_cuda:
            # torch's kernel for a mask has no groups there; without this it computes as written
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
            groups = 1
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=visible, is_causal=is_causal, enable_gqa=groups > 1
        )
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.mT / math.sqrt(query.size(-1))  # (B, H, T, S)
    return scores.masked_fill(~visible, -math.inf).softmax(-1) @ value  # type: ignore[operator]


def cross_entropy(
    logits: Tensor, targets: Tensor, reduction: Literal["mean", "sum", "none"] = "mean"
) -> Tensor:
    """Return L = −(1/N) Σ log p(x_i | x_<i) in nats, over the targets that are not IGNORE.

    This is the formula. Training runs :func:`lslm.loss.linear_cross_entropy`, which never holds all
    logits; ``test_linear_cross_entropy_equals_cross_entropy`` holds the two equal. ``logits`` is
    (..., V), ``targets`` (...). Computed in float32, or in float64 if the logits are.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    counted = targets != IGNORE
    log_p = wide.log_softmax(-1).gather(-1, targets.clamp_min(0)[..., None])[..., 0]
    nats = -log_p * counted
    if reduction == "none":
        return nats
    return nats.sum() / counted.sum() if reduction == "mean" else nats.sum()


class RMSNorm(nn.Module):
    """RMSNorm: x / √(mean(x²) + ε) · g over the last axis (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (..., C) with its last axis normalised."""
        return rms_norm(x, self.weight.to(x.dtype), self.eps)


def norm(config: ModelConfig) -> nn.Module:
    """Return the norm of a vector of the width: RMSNorm or LayerNorm."""
    if config.norm == "rms":
        return RMSNorm(config.width, config.norm_eps or 1e-6)
    return nn.LayerNorm(config.width, config.norm_eps or 1e-5)


class Attention(nn.Module):
    """Queries, keys and values from x; :func:`attention`; a projection back to the width."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, shape = layer, config.resolved()
        self.size, biased = shape.head_size, config.bias or config.qkv_bias
        self.query = nn.Linear(config.width, shape.heads * self.size, biased)
        self.key = nn.Linear(config.width, shape.kv_heads * self.size, biased)
        self.value = nn.Linear(config.width, shape.kv_heads * self.size, biased)
        self.output = nn.Linear(shape.heads * self.size, config.width, config.bias)
        self.qk_norm, self.qk_eps = config.qk_norm, config.norm_eps or None
        if config.qk_norm and config.qk_norm_weight:
            self.query_norm = RMSNorm(self.size, config.norm_eps or 1e-6)
            self.key_norm = RMSNorm(self.size, config.norm_eps or 1e-6)

    def forward(
        self,
        x: Tensor,
        rotation: list[Tensor] | None,
        cache: Cache | None,
        mask: DocumentMask | None = None,
    ) -> Tensor:
        """Return (B, T, C) for ``x`` (B, T, C); each position sees itself and those before it."""
        B, T, _ = x.shape
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (part.view(B, T, -1, self.size).transpose(1, 2) for part in parts)  # (B, H, T, D)
        if self.qk_norm:
            q, k = self.normalised(q, k)
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        y = attention(q, k, v, visible=None if mask is None else mask.visible)
        return self.output(y.transpose(1, 2).reshape(B, T, -1))  # type: ignore[no-any-return]

    def normalised(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return queries and keys (..., D) with the mean square of each at 1, times its weight."""
        if hasattr(self, "query_norm"):
            return self.query_norm(q), self.key_norm(k)
        return rms_norm(q, None, self.qk_eps), rms_norm(k, None, self.qk_eps)


class FeedForward(nn.Module):
    """down(f(up(x))) with f = max(0, x)² or GELU; for SwiGLU, down(silu(gate(x)) · up(x)).

    Squared ReLU: So et al. 2021. GELU: Hendrycks and Gimpel 2016. SwiGLU: Shazeer 2020.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation, hidden = config.activation, config.resolved().hidden
        if config.activation == "swiglu":
            self.gate = nn.Linear(config.width, hidden, config.bias)
        self.up = nn.Linear(config.width, hidden, config.bias)
        self.down = nn.Linear(hidden, config.width, config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., C) for ``x`` (..., C), each position on its own."""
        h = self.up(x)
        if self.activation == "swiglu":
            h = F.silu(self.gate(x)) * h
        else:
            h = squared_relu(h) if self.activation == "relu2" else F.gelu(h, approximate="tanh")
        return self.down(h)  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + feed_forward(norm(x)).

    With ``token_shift``, what each of the two reads is shifted first, see :class:`TokenShift`.
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm, self.attention = norm(config), Attention(config, layer)
        self.feed_forward_norm, self.feed_forward = norm(config), FeedForward(config)
        self.dropout, self.shifts = config.dropout, nn.ModuleList()
        if config.token_shift:
            self.shifts.extend(TokenShift(config.width, 2 * layer + part) for part in (0, 1))

    def forward(
        self,
        x: Tensor,
        rotation: list[Tensor] | None,
        cache: Cache | None,
        mask: DocumentMask | None = None,
    ) -> Tensor:
        """Return (B, T, C) for ``x`` (B, T, C)."""
        z = self.attention_norm(x)
        z = self.shifts[0](z, cache, mask) if self.shifts else z
        h = self.attention(z, rotation, cache, mask)
        x = x + F.dropout(h, self.dropout, self.training)
        z = self.feed_forward_norm(x)
        h = self.feed_forward(self.shifts[1](z, cache, mask) if self.shifts else z)
        return x + F.dropout(h, self.dropout, self.training)


class Transformer(nn.Module):
    """The language model: ``model(inputs)`` returns logits, ``model(inputs, targets)`` the loss."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        if config.vocab_size < 1:
            raise ValueError("model.vocab_size = 0: set it to the tokenizer's vocab_size")
        self.config = config
        self.embedding = embedding(config.vocab_size, config.width)
        if config.bigram_rows:
            self.bigrams = Bigrams(config)
        if config.positions == "learned":
            self.positions = embedding(config.sequence_length, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = norm(config)
        if not config.tied:
            self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.init_weights(seed)
        self._compiled = False

    def compile_layers(self) -> None:
        """Compile layers and loss with torch.compile, at the first step.

        One compiled layer serves all of them, so it takes seconds and not minutes.
        """
        self._compiled = True
        for block in self.blocks:
            block.compile()

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Draw every weight matrix from ``seed``; biases are 0, norm weights 1.

        ============================  =========================  ==============================
        parameters                    zero                       gpt2
        ============================  =========================  ==============================
        embedding, positions          N(0, 1), tied N(0, 0.02)   N(0, 0.02)
        bigrams                       N(0, 0.3)                  N(0, 0.02)
        matrices                      N(0, 1 / √fan_in)          N(0, 0.02)
        output and down projections   0                          N(0, 0.02 / √(2 · layers))
        head                          0                          N(0, 0.02)
        ============================  =========================  ==============================
        """
        generator, gpt2 = torch.Generator().manual_seed(seed), self.config.init == "gpt2"
        for name, parameter in self.named_parameters():
            if parameter.is_meta or parameter.dim() < 2:
                continue  # has no memory; or a norm's weight, which torch made 1; or a bias
            scale = 0.02 if gpt2 else parameter.size(1) ** -0.5
            if name.endswith(("output.weight", "down.weight")):
                scale = 0.02 / math.sqrt(2 * self.config.layers) if gpt2 else 0.0
            elif name == "head.weight" and not gpt2:
                scale = 0.0
            elif name.startswith("bigrams") and not gpt2:
                scale = 0.3
            elif name.startswith(("embedding", "positions")):
                scale = 0.02 if gpt2 or self.config.tied else 1.0
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor | None = None,
        *,
        reduction: Literal["mean", "sum", "none"] = "mean",
        cache: Cache | None = None,
        n_ids: int | None = None,
        document_ids: Tensor | None = None,
    ) -> Tensor:
        """Return float32 logits (B, T, V) of ``inputs`` (B, T), or the loss in nats of ``targets``.

        ``reduction`` is that of :func:`cross_entropy`. With ``cache`` the inputs follow the
        positions in it, and are appended. V is ``n_ids`` if it is given: only these ids have a
        logit and a share in the softmax, not the padding of ``vocab_size`` above a tokenizer's.
        ``document_ids`` (B, T), such as :attr:`lslm.data.Batch.document_ids`, keep each document of
        a row as if it were alone: attention, positions, token shift and bigrams end with it.
        Raises ``ValueError`` beyond ``sequence_length``, and for ``document_ids`` and a ``cache``.
        """
        x = self.hidden(inputs, cache, document_ids)
        weight = self.head_weight if n_ids is None else self.head_weight[:n_ids]
        if targets is not None:
            return linear_cross_entropy(x, weight, targets, reduction, compiled=self._compiled)
        logits = F.linear(x, weight)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    @property
    def head_weight(self) -> Tensor:
        """The matrix (V, C) that makes logits of hidden states."""
        return self.embedding.weight if self.config.tied else self.head.weight

    def hidden(
        self, inputs: Tensor, cache: Cache | None = None, document_ids: Tensor | None = None
    ) -> Tensor:
        """Return the hidden states (B, T, C) whose product with the head is the logits.

        ``cache``, ``document_ids`` and the errors are those of :meth:`forward`.
        """
        T = inputs.size(1)
        start = cache.length if cache is not None else 0
        if start + T > self.config.sequence_length:
            raise ValueError(
                f"{start + T} positions, but model.sequence_length = {self.config.sequence_length}"
            )
        if document_ids is not None and cache is not None:
            raise ValueError("document_ids beside a cache: give one of them")
        mask = None if document_ids is None else DocumentMask.of(document_ids)
        x, rotation = self.embedding(inputs), None  # (B, T, C)
        if self.config.bigram_rows:
            x = x + self.bigrams(inputs, cache, mask)
        positions = torch.arange(start, start + T, device=inputs.device)
        if self.config.positions == "learned":
            x = x + self.positions(positions if mask is None else mask.positions)
        else:
            wide = torch.promote_types(x.dtype, torch.float32)
            rotation = rotary(positions, frequencies(self.config, inputs.device, wide))
        if torch.is_autocast_enabled(x.device.type):  # or every sum with x would be float32
            x = x.to(torch.get_autocast_dtype(x.device.type))
        x = F.dropout(x, self.config.dropout, self.training)
        for block in self.blocks:
            x = block(x, rotation, cache, mask)
        if cache is not None:
            cache.length += T
        return self.norm(x)  # type: ignore[no-any-return]

    def n_parameters(self) -> int:
        """Return the number of trained values."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flops_per_token(self) -> int:
        """Return the floating-point operations to train on one token, forward and backward.

        6 per weight of a matrix product, and 12 · layers · H · D · sequence_length for attention
        (Chowdhery et al. 2022, appendix B: the causal half that a kernel may skip is counted).
        """
        c = self.config.resolved()
        matrices = sum(p.numel() for p in self.blocks.parameters() if p.dim() == 2)
        head = self.embedding.weight.numel()
        return 6 * (matrices + head) + 12 * c.layers * c.heads * c.head_size * c.sequence_length
