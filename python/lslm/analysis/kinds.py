"""What kind of token an id is: by its text, and by the token before it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lslm import Tokenizer

__all__ = ["KINDS", "TokenKinds", "UrlFinder"]

KINDS = (
    "word start",
    "inside a word",
    "digits",
    "punctuation",
    "white space",
    "line ends and indentation",
    "part of a character",
    "Han",
    "Kana",
    "Hangul",
    "Cyrillic",
    "Greek",
    "Arabic",
    "other script",
    "URL",
    "end of document",
    "other special token",
)
"""All kinds; Latin letters are divided into word starts and the rest, other scripts by name."""
_SCRIPTS = {
    "CJK": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "HANGUL": "Hangul",
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "ARABIC": "Arabic",
}
"""The kind by the first word of a character's name in Unicode."""


@dataclass(frozen=True)
class TokenKinds:
    """The kinds of all ids of a tokenizer, as arrays (V)."""

    kind: NDArray[np.uint8]
    """Index into KINDS; of letters "word start", until the token before is known."""
    begins_with_letter: NDArray[np.bool_]
    ends_with_letter: NDArray[np.bool_]
    begins_url: NDArray[np.bool_]
    has_space: NDArray[np.bool_]

    @classmethod
    def of(cls, tokenizer: Tokenizer, eos_id: int | None) -> TokenKinds:
        """Return the kinds of the ids of ``tokenizer``."""
        special = set(tokenizer.special_tokens.values())
        found = cls(
            np.zeros(tokenizer.vocab_size, np.uint8),
            *(np.zeros(tokenizer.vocab_size, np.bool_) for _ in range(4)),
        )
        for token in range(tokenizer.vocab_size):
            if token in special:
                name = "end of document" if token == eos_id else "other special token"
                found.kind[token] = KINDS.index(name)
                continue
            try:
                text = tokenizer.token_bytes(token).decode()
            except KeyError:  # an unused id
                continue
            except UnicodeDecodeError:
                found.kind[token] = KINDS.index("part of a character")
                continue
            found.kind[token] = KINDS.index(kind_of_text(text))
            found.begins_with_letter[token] = text[:1].isalpha()
            found.ends_with_letter[token] = text[-1:].isalpha()
            found.begins_url[token] = any(mark in text for mark in ("http", "://", "www."))
            found.has_space[token] = any(c.isspace() for c in text.lstrip(" "))
        return found

    def of_tokens(
        self, ids: NDArray[np.int64], before: NDArray[np.int64], in_url: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        """Return the kind of each token; ``before`` are the ids before them, −1 at a beginning."""
        kinds = self.kind[ids]
        follows = (before >= 0) & self.ends_with_letter[np.maximum(before, 0)]
        inside = (kinds == KINDS.index("word start")) & self.begins_with_letter[ids] & follows
        kinds[inside] = KINDS.index("inside a word")
        kinds[in_url] = KINDS.index("URL")
        return kinds


@cache
def kind_of_text(text: str) -> str:
    """Return the kind of a token's text, where it is UTF-8."""
    inner = text.strip()
    if not inner:
        return "line ends and indentation" if "\n" in text or len(text) > 1 else "white space"
    if all(c.isdigit() for c in inner):
        return "digits"
    letter = next((c for c in inner if c.isalpha()), None)
    if letter is None:
        return "punctuation"
    script = unicodedata.name(letter, "").partition(" ")[0]
    if script in {"LATIN", "FULLWIDTH", "MICRO", "FEMININE", "MASCULINE"}:
        return "word start"
    return _SCRIPTS.get(script, "other script")


class UrlFinder:
    """Marks the tokens of URLs: from one with http, :// or www. to the next white space."""

    def __init__(self, kinds: TokenKinds, tokens_with_space: NDArray[np.bool_]) -> None:
        self._kinds, self._begins_with_space = kinds, tokens_with_space
        self._is_inside = False

    def mark(self, ids: NDArray[np.int64], is_first: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of the next tokens are in a URL; ``is_first`` begins a document."""
        begins = self._kinds.begins_url[ids]
        ends = is_first | self._begins_with_space[ids] | self._kinds.has_space[ids]
        places = np.arange(1, len(ids) + 1)
        last_begin = np.maximum.accumulate(np.where(begins, places, 0 if self._is_inside else -1))
        last_end = np.maximum.accumulate(
            np.where(ends & ~begins, places, -1 if self._is_inside else 0)
        )
        inside = last_begin > last_end
        if len(inside):
            self._is_inside = bool(inside[-1])
        return inside
