"""The texts of a page in the reader's language: English or Chinese."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lslm.report.chinese import CHINESE, ENGLISH

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Words", "words"]


class Words:
    """Returns a text in one language: ``say("loss")``; ``say.lang`` is its code for HTML."""

    def __init__(self, lang: str, translate: Callable[[str], str]) -> None:
        self.lang, self._translate = lang, translate

    def __call__(self, text: str, **values: object) -> str:
        """Return ``text`` translated, with ``{name}`` replaced by the value of that name."""
        return self._translate(text).format(**values) if values else self._translate(text)


def words(language: str) -> Words:
    """Return the texts of ``language``, "en" or "zh".

    A text without a translation is a ``KeyError`` in Chinese, so that a test finds it.
    """
    if language == "en":
        return Words("en", lambda text: ENGLISH.get(text, text))
    if language == "zh":
        return Words("zh-Hans", CHINESE.__getitem__)
    raise ValueError(f"language = {language!r}: use en or zh")
