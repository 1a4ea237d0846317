"""The part of a report that shows a vocabulary: its ratios, its tokens, and a text in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lslm.report.markup import Child, details, element, table
from lslm.report.numbers import percent, size
from lslm.results import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lslm.report.figures import TokenizerFigures
    from lslm.results import TextStatistics, TokenizerReport

__all__ = ["running_token", "visible_token", "vocabulary_parts"]

MAX_FILES = 20
"""Files with a row of their own, the largest first."""
MAX_UNUSED = 100
"""Unused tokens to show."""
MAX_SAMPLE_TOKENS = 600
"""Tokens of the coloured text."""
_COLOURS = 5
_RUN = re.compile(r"(.)\1{7,}", re.DOTALL)
"""A character eight times or more in a row."""


def vocabulary_parts(figures: TokenizerFigures) -> list[Child]:
    """Return the facts of a vocabulary, its ratios per file, unused and longest tokens, a text."""
    parts: list[Child] = [_facts(figures)]
    if figures.report is not None:
        parts += [element("h3", "Ratios by text"), _ratios(figures.report)]
    if figures.unused:
        shown = figures.unused[:MAX_UNUSED]
        parts += [
            element("h3", "Unused tokens"),
            details(f"the first {len(shown):,} of {len(figures.unused):,}", _token_list(shown)),
        ]
    if figures.sample:
        parts += [element("h3", "A text as tokens"), _coloured(figures.sample)]
    if figures.longest:
        heading = "The longest tokens, without runs of one character"
        parts += [element("h3", heading), _token_list(figures.longest)]
    return parts


def _facts(figures: TokenizerFigures) -> Child:
    facts = {"vocabulary": f"{figures.vocab_size:,} tokens", "pattern": figures.pattern}
    if figures.report is not None:
        held_out = figures.report.validation
        measured, text = held_out or figures.report.total, _text_name(figures.report)
        whole = percent(measured.n_whole_words, measured.n_words)
        facts |= {
            "bytes per token": f"{measured.bytes_per_token:.3f} on {text} "
            f"({measured.n_bytes:,} bytes in {measured.n_tokens:,} tokens)",
            "tokens per word": f"{measured.tokens_per_word:.3f}; "
            f"{whole} of the words are one token",
            f"never used in {text}": counted(len(figures.unused), "token"),
        }
    return element("dl", [[element("dt", name), element("dd", v)] for name, v in facts.items()])


def _text_name(report: TokenizerReport) -> str:
    return "the held-out text" if report.validation else "the text"


def _ratios(report: TokenizerReport) -> Child:
    rows = sorted(report.files, key=lambda row: -row.n_bytes)
    lines = [_ratio_row(row.file or "", row) for row in rows[:MAX_FILES]]
    if len(rows) > MAX_FILES:
        lines.append([f"… {len(rows) - MAX_FILES:,} more files", *[""] * 5])
    lines.append(_ratio_row("all documents", report.total))
    if report.validation is not None:
        lines.append(_ratio_row("held out", report.validation))
    head = ["text", "size", "tokens", "bytes per token", "tokens per word", "one-token words"]
    return table(head, lines, text_columns=(0,))


def _ratio_row(name: str, row: TextStatistics) -> list[Child]:
    return [
        name,
        size(row.n_bytes),
        f"{row.n_tokens:,}",
        f"{row.bytes_per_token:.3f}",
        f"{row.tokens_per_word:.3f}",
        percent(row.n_whole_words, row.n_words),
    ]


def _token_list(tokens: Sequence[bytes]) -> Child:
    return element("p", [[element("code", visible_token(t)), " "] for t in tokens], class_="tokens")


def _coloured(sample: Sequence[tuple[int, bytes]]) -> Child:
    """Return running text whose tokens have colours in turn, and id and bytes as tooltips."""
    tokens = [
        element(
            "span", running_token(token), class_=f"t{k % _COLOURS}", title=f"{token_id}: {token!r}"
        )
        for k, (token_id, token) in enumerate(sample[:MAX_SAMPLE_TOKENS])
    ]
    return element("pre", tokens, class_="pieces")


def running_token(token: bytes) -> str:
    """Return a token as part of running text: line ends are marked and kept."""
    return _decoded(token).replace("\n", "⏎\n")


def visible_token(token: bytes) -> str:
    """Return a token on one line, with white space visible and long runs as a count."""
    text = _decoded(token).replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
    return _RUN.sub(lambda run: f"{run[1]}*{len(run[0])}", text)


def _decoded(token: bytes) -> str:
    """Return a token as text; if it is not UTF-8, its bytes beyond ASCII as ⟨e4⟩."""
    try:
        return token.decode("utf-8")
    except UnicodeDecodeError:
        return "".join(chr(b) if 32 <= b < 127 else f"⟨{b:02x}⟩" for b in token)
