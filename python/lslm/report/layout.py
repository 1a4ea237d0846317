"""What all pages have in common: a header of figures and links, sections, lists of facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lslm.report.markup import Child, Markup, element, page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Section", "document", "fact_list", "tile"]

Section: TypeAlias = tuple[str, str, Child]
"""Heading, anchor and content."""


def document(
    title: str,
    tiles: Sequence[Markup],
    sections: Sequence[Section],
    *,
    lang: str = "en",
    script: str = "",
) -> str:
    """Return the page with a header of tiles and links, and its sections."""
    links = [element("a", name, href=f"#{anchor}") for name, anchor, _ in sections]
    contents = element("nav", links)
    body = [
        element("section", element("h2", name), children, id=anchor)
        for name, anchor, children in sections
    ]
    header = [element("h1", title), element("div", tiles, class_="tiles"), contents]
    return page(title, element("header", header), body, lang=lang, script=script)


def tile(value: str, name: str, note: str) -> Markup:
    """Return one figure of the header: the value, its name, and what to read it by."""
    return element(
        "div", element("b", value), element("span", name), element("small", note), class_="tile"
    )


def fact_list(rows: Mapping[str, str]) -> Markup | None:
    """Return a list of names and values; None of nothing."""
    if not rows:
        return None
    return element("dl", [[element("dt", name), element("dd", v)] for name, v in rows.items()])
