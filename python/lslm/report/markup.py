"""HTML from nested calls: every string that is not markup already is escaped.

A report shows untrusted text: web pages, file names, what a model generated. With an element
builder escaping is the only way; with a template it is a setting. The page also has a content
security policy that forbids every network request and every script but one, named by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import json
import re
import unicodedata
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Child",
    "Markup",
    "data_block",
    "details",
    "element",
    "join",
    "page",
    "printable",
    "rule_name",
    "shortened",
    "table",
]

_VOID = frozenset({"br", "hr", "meta", "wbr"})
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Markup(str):
    """Text that is HTML already: it is not escaped again."""

    __slots__ = ()


Child: TypeAlias = "str | Markup | Iterable[Child] | None"


def printable(text: str) -> str:
    """Return ``text`` with each control character as its number, such as ⟨U+202E⟩.

    These are controls other than tab and newline, line separators, surrogates, non-characters and
    the marks that change the writing direction.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(f"⟨U+{ord(c):04X}⟩" if _is_control(c) else c for c in text)


def shortened(text: str, letters: int) -> str:
    """Return the first ``letters`` characters of ``text``, and an ellipsis if more follow."""
    return text if len(text) <= letters else text[:letters] + " …"


def _is_control(character: str) -> bool:
    if character in "\n\t":
        return False
    if (
        character in _BIDI
        or ord(character) & 0xFFFE == 0xFFFE
        or 0xFDD0 <= ord(character) <= 0xFDEF
    ):
        return True
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}


def join(children: Child) -> Markup:
    """Return the children one after the other, escaped unless they are markup; None is empty."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return Markup(html.escape(printable(children)))
    return Markup("".join(join(child) for child in children))


def element(tag: str, *children: Child, **attributes: str | float | None) -> Markup:
    """Return ``<tag …>children</tag>``; attributes that are None are left out.

    A trailing underscore in an attribute's name is dropped (``class_``), others become hyphens.
    """
    inside = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(printable(str(value)))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Markup(f"<{tag}{inside}>")
    return Markup(f"<{tag}{inside}>{join(children)}</{tag}>")


def table(
    head: Sequence[str], rows: Iterable[Sequence[Child]], *, text_columns: Iterable[int] = (0,)
) -> Markup:
    """Return a table that scrolls sideways on a narrow screen.

    Columns in ``text_columns`` are aligned left, the others, numbers, right. The keyboard reaches
    the table, to scroll it; its name is what its columns are called.
    """
    left = set(text_columns)

    def cells(tag: str, row: Sequence[Child], scope: str | None = None) -> Markup:
        return element(
            "tr",
            [
                element(tag, cell, class_=None if column in left else "number", scope=scope)
                for column, cell in enumerate(row)
            ],
        )

    named = [name for name in head if name]
    body = element("tbody", [cells("td", row) for row in rows])
    return element(
        "div",
        element("table", element("thead", cells("th", head, "col")) if named else None, body),
        class_="scroll",
        tabindex="0",
        role="group",
        aria_label=", ".join(named) or None,
    )


def rule_name(name: str) -> Markup:
    """Return a name such as ``gopher_quality.mean_word_length``, broken after . and _ alone."""
    parts = re.split(r"(?<=[._])", name)
    children = [child for part in parts for child in (part, element("wbr"))]
    return element("code", children[:-1], class_="name")


def details(summary: Child, *children: Child) -> Markup:
    """Return a part that is closed until the reader opens it; ``summary`` is always shown."""
    return element("details", element("summary", summary), *children)


def page(title: str, *body: Child, lang: str = "en", script: str = "") -> str:
    """Return the whole document: one file, no network, light or dark like the reader's system.

    ``script`` is the one script that may run: the policy has its hash, so that no other does.
    """
    style = importlib.resources.files("lslm.report").joinpath("style.css").read_text("utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="generator", content="lslm"),  # what a Corpus knows it by
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
    )
    code = element("script", Markup(script)) if script else None
    document = element("html", head, "\n", element("body", element("main", *body), code), lang=lang)
    return f"<!doctype html>\n{document}\n"


def _policy(script: str) -> str:
    """Return the content security policy: no requests, and no script but this one."""
    if not script:
        return _POLICY
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"{_POLICY}; script-src 'sha256-{digest}'"


def data_block(name: str, value: object) -> Markup:
    """Return ``value`` as JSON for the page's script; no text in it can end the block."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    escaped = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return element("script", Markup(escaped), type="application/json", id=name)
