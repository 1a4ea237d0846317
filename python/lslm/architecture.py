"""The shape of a Transformer, as a value: what :mod:`lslm.model` builds and checkpoints fit."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ModelConfig"]


_MAY_BE_ZERO = ("vocab_size", "layers", "kv_heads", "head_size", "hidden", "bigram_rows")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of a Transformer."""

    vocab_size: int = 0
    """Number of token ids; 0: the tokenizer's, filled in by training. More than it has, such as a
    multiple of 64 for a GPU, is padding: never sampled, and without a share in scores."""
    sequence_length: int = 256
    """Positions that the model sees at once, in tokens (T)."""
    width: int = 256
    """Size of the vector of a position (C)."""
    layers: int = 4
    heads: int = 4
    """Query heads of a layer (H)."""
    kv_heads: int = 0
    """Heads of keys and values, each shared by ``heads / kv_heads`` query heads; 0: ``heads``."""
    head_size: int = 0
    """Size of the vectors of a head (D); 0: ``width / heads``."""
    hidden: int = 0
    """Width inside the feed-forward layer; 0: 4 × width, for swiglu 8/3 × width in steps of 64."""
    activation: Literal["relu2", "swiglu", "gelu"] = "relu2"
    """Of the feed-forward layer, see :class:`lslm.model.FeedForward`."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm."""
    norm_eps: float = 0.0
    """ε of every norm; 0: 10⁻⁶ of RMSNorm, 10⁻⁵ of LayerNorm, and of ``qk_norm`` that of the
    floating-point type, 1.2 · 10⁻⁷ in float32."""
    positions: Literal["rope", "learned"] = "rope"
    """rope: queries and keys are rotated; learned: a table is added to the embedding."""
    rope_base: float = 10_000.0
    """See :func:`lslm.rotary.rotary`."""
    rope_fraction: float = 1.0
    """Share of a head's pairs that are rotated; the others know no positions. In steps of a pair;
    below 1 it has no published architecture here."""
    rope_scaling: Literal["none", "linear", "llama3"] = "none"
    """Slower rotation, for more positions than a model was first trained on; linear: of every
    frequency; llama3: of the low ones, as in Llama 3.1. See :func:`lslm.rotary.frequencies`."""
    rope_factor: float = 1.0
    """What ``rope_scaling`` divides frequencies by."""
    rope_original_length: int = 0
    """Positions of the first training, which llama3 compares wavelengths with."""
    rope_low: float = 1.0
    """llama3 divides frequencies of fewer turns than this in ``rope_original_length``."""
    rope_high: float = 4.0
    """llama3 keeps frequencies of more turns than this in ``rope_original_length``."""
    qk_norm: bool = True
    """Normalise each query and key to mean square 1 (Henry et al. 2020)."""
    qk_norm_weight: bool = False
    """Multiply normalised queries and keys by a learned vector, one for all heads of a layer."""
    token_shift: bool = False
    """Let attention and feed-forward layers see the position before too, see
    :class:`lslm.previous.TokenShift`; it has no published architecture here."""
    bigram_rows: int = 0
    """Rows of a table that adds a vector for each id and the one before it, see
    :class:`lslm.previous.Bigrams`; 0: none. It has no published architecture here."""
    tied: bool = False
    """Use one table as embedding and head."""
    bias: bool = False
    """Add biases in attention and feed-forward layers."""
    qkv_bias: bool = False
    """Add biases to queries, keys and values, also without ``bias``."""
    dropout: float = 0.0
    """Probability of zeroing a value after the embedding and after each layer's two parts."""
    init: Literal["zero", "gpt2"] = "zero"
    """zero: each layer starts as the identity; gpt2: N(0, 0.02), smaller where layers add up."""

    def __post_init__(self) -> None:
        positive = ("sequence_length", "width", "heads")
        for name in (*positive, *_MAY_BE_ZERO):
            value, low = getattr(self, name), int(name in positive)
            if value < low:
                raise ValueError(f"model.{name} = {value}: must be at least {low}")
        self._check_heads()
        self._check_rope()
        if not 0 <= self.dropout < 1:
            raise ValueError(f"model.dropout = {self.dropout}: must be at least 0 and below 1")
        if not 0 <= self.norm_eps < 1:
            raise ValueError(f"model.norm_eps = {self.norm_eps}: must be at least 0 and below 1")

    def _check_heads(self) -> None:
        """Raise ``ValueError`` unless all heads have one size, an even one to be rotated."""
        if self.head_size == 0 and (
            self.width % self.heads or (self.positions == "rope" and self.width // self.heads % 2)
        ):
            raise ValueError(
                f"model.width = {self.width}: must be model.heads = {self.heads} × an even size, "
                f"unless model.head_size is set"
            )
        if self.positions == "rope" and self.head_size % 2:
            raise ValueError(f"model.head_size = {self.head_size}: must be even with rope")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(
                f"model.kv_heads = {self.kv_heads}: must divide model.heads = {self.heads}"
            )

    def _check_rope(self) -> None:
        """Raise ``ValueError`` for frequencies that do not exist or settings without effect."""
        for name in ("rope_base", "rope_factor", "rope_low", "rope_high"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"model.{name} = {getattr(self, name)}: must be above 0")
        if not 0 <= self.rope_fraction <= 1:
            raise ValueError(f"model.rope_fraction = {self.rope_fraction}: must be from 0 to 1")
        if self.rope_fraction != 1 and self.positions != "rope":
            raise ValueError(
                f"model.rope_fraction = {self.rope_fraction} has no effect with "
                f"model.positions = {self.positions!r}"
            )
        if self.rope_scaling == "none" and self.rope_factor != 1:
            raise ValueError(
                f"model.rope_factor = {self.rope_factor} has no effect without "
                f"model.rope_scaling: set it to linear or llama3"
            )
        if self.rope_scaling == "llama3" and self.rope_original_length < 1:
            raise ValueError("model.rope_original_length = 0: llama3 scaling needs it")
        if self.rope_scaling == "llama3" and not self.rope_low < self.rope_high:
            raise ValueError(
                f"model.rope_low = {self.rope_low}: must be below model.rope_high = "
                f"{self.rope_high}"
            )

    @classmethod
    def gpt2(cls, **changes: Any) -> ModelConfig:
        """Return GPT-2's architecture, by default of its smallest model (124 M parameters)."""
        preset: dict[str, Any] = {"vocab_size": 50_257, "sequence_length": 1024, "width": 768}
        preset |= {"layers": 12, "heads": 12, "activation": "gelu", "norm": "layer", "bias": True}
        preset |= {"positions": "learned", "qk_norm": False, "tied": True, "init": "gpt2"}
        return cls(**preset | changes)

    def resolved(self) -> ModelConfig:
        """Return this shape with the sizes that 0 stands for, but ``vocab_size``."""
        ratio = 8 / 3 if self.activation == "swiglu" else 4
        return dataclasses.replace(
            self,
            kv_heads=self.kv_heads or self.heads,
            head_size=self.head_size or self.width // self.heads,
            hidden=self.hidden or 64 * math.ceil(ratio * self.width / 64),
        )
