"""Evaluation protocols: what is scored, with which context, as a frozen, named, hashed value.

Two figures compare only if their protocols are equal. ``docs/scores.md`` has the table of presets.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["PRESETS", "Protocol", "parse_protocol"]

PRESETS = ("disjoint", "stride:N", "document", "lm-eval", "hf-stride", "llama.cpp")
"""The names that :func:`parse_protocol` reads."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which tokens are targets, and what the model sees before each of them."""

    name: str
    """The preset, such as ``disjoint`` or ``stride:128``."""
    window: int
    """Tokens that the model sees at most before a target, and the targets of a window at most."""
    stride: int
    """Targets from one window to the next; the first window has as many as fit."""
    boundaries: Literal["joined", "separate"]
    """joined: the documents are one sequence, in order; separate: each is a sequence of its own."""
    prefix: Literal["document-end", "none"]
    """What comes before a sequence: the token that ends documents (or the one that begins them, if
    there is one), so that the first token is scored; or nothing."""
    eos: Literal["scored", "removed"]
    """Whether end-of-document tokens are targets (of 0 bytes) or left out of the sequence."""
    first: Literal["scored", "context"]
    """Whether the first token of a window that no earlier window scored is a target, predicted from
    the one token before it; or context only, as where a window is all that the model is given."""
    targets: Literal["new", "second-half"]
    """new: what no earlier window scored; second-half: of each window, the tokens after the first
    ``window / 2 + 1``."""
    remainder: Literal["scored", "dropped"]
    """The last tokens of a sequence, where they do not fill a window."""
    words: Literal["split", "lm-eval"]
    """How words are counted: runs of non-space, or as lm-eval does, what stands between runs of
    white space, which counts an empty word at a white beginning or end of a document."""
    bytes: Literal["text"] = "text"
    """Bytes are those of the UTF-8 text as it came, before the tokenizer's normaliser."""

    def __post_init__(self) -> None:
        smallest = 4 if self.targets == "second-half" else 1 if self.first == "scored" else 2
        if self.window < smallest:
            raise ValueError(
                f"window = {self.window}: protocol {self.name} needs at least {smallest} tokens"
            )
        if not 1 <= self.stride <= self.window:
            raise ValueError(f"stride = {self.stride}: must be from 1 to the window, {self.window}")

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all fields but the name: equal where equal tokens have equal contexts."""
        fields = dataclasses.asdict(self)
        del fields["name"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and the fingerprint as plain data."""
        return dataclasses.asdict(self) | {"fingerprint": self.fingerprint}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Protocol:
        """Return the protocol that :meth:`as_dict` described; keys that are not fields are left."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in names})

    def __str__(self) -> str:
        return f"{self.name} (window {self.window}, stride {self.stride})"


def parse_protocol(text: str | Protocol, window: int) -> Protocol:
    """Return the protocol that ``text`` names, for windows of ``window`` tokens.

    ``disjoint``: documents joined as in training, every token a target once, windows one after the
    other. ``stride:N``: the same with windows that start N tokens apart. ``document``: each
    document alone. ``lm-eval``: rolling log-likelihood of EleutherAI's harness. ``hf-stride``:
    transformers' recipe, with half a window as stride, or ``hf-stride:N``. ``llama.cpp``: the
    second halves of its perplexity tool. ``document:N`` and ``lm-eval:N`` change the stride.
    Raises ``ValueError`` for another name, and for a stride that is not from 1 to ``window``.
    """
    if isinstance(text, Protocol):
        return text
    name, colon, number = text.partition(":")
    presets = {preset.partition(":")[0] for preset in PRESETS}
    if name not in presets or (name == "stride" and not colon):
        raise ValueError(f"protocol = {text!r}: choose {', '.join(PRESETS)}")
    if colon and (name in {"disjoint", "llama.cpp"} or not number.isdecimal()):
        raise ValueError(
            f"protocol = {text!r}: give a whole number of tokens, such as stride:128; "
            f"disjoint and llama.cpp take none"
        )
    stride = int(number) if colon else max(1, window // 2) if name == "hf-stride" else window
    if not 1 <= stride <= window:
        raise ValueError(f"protocol = {text!r}: the stride must be from 1 to the window, {window}")
    is_peer = name in {"lm-eval", "hf-stride", "llama.cpp"}
    alone = name in {"document", "lm-eval"}
    bare = name in {"hf-stride", "llama.cpp"}
    return Protocol(
        name=text,
        window=window,
        stride=stride,
        boundaries="separate" if alone else "joined",
        prefix="none" if bare else "document-end",
        eos="removed" if is_peer else "scored",
        first="context" if bare else "scored",
        targets="second-half" if name == "llama.cpp" else "new",
        remainder="dropped" if name == "llama.cpp" else "scored",
        words="lm-eval" if name == "lm-eval" else "split",
    )
