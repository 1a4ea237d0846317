"""Output of the verbs: JSON, and tables for people."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from lslm.results import counted, for_people, label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import lslm
    from lslm import ComparisonResult, EvaluationResult
    from lslm.results import Funnel, JobSlice, Reading, TextStatistics
    from lslm.scores import Scores

__all__ = [
    "console",
    "counted",
    "print_against",
    "print_comparison",
    "print_evaluation",
    "print_facts",
    "print_funnel",
    "print_json",
    "print_reading",
    "print_skipped",
    "print_slice",
    "print_table",
    "print_tokenizer_report",
    "profile_name",
    "quoted",
]

_logger = logging.getLogger("lslm.cli")

MAX_FILES = 10
"""Files and sources with a row of their own: the largest ones, and the first broken ones."""

MIN_NAME = 12
"""Columns for the names of a table; longer ones are folded."""

MAX_UNUSED = 8
"""Tokens that never occur shown in the report on a tokenizer: the last ones learned."""


def console() -> Console:
    """Return a console that prints text as it is: ``[INST]`` is a token, not a colour."""
    return Console(markup=False, emoji=False, highlight=False)


def print_json(value: object) -> None:
    """Print ``value`` as JSON.

    What JSON has no type for, such as a path, becomes a string; infinity and NaN become null.
    """
    print(json.dumps(_finite(value), ensure_ascii=False, indent=2, default=str, allow_nan=False))


def print_slice(output: Path, part: JobSlice) -> None:
    """Print which slice of the job in ``output`` is computed, and what comes next."""
    size = f"{part.n_partitions:,} of {counted(part.n_partitions_total, 'partition')}"
    left = f"{part.n_partitions_left:,} left" if part.n_partitions_left else "none left"
    next_step = f"{left}, then lslm finish {output}"
    print(f"{output}: slice {part.index}/{part.n_slices}, {size}; {next_step}")


def _finite(value: object) -> object:
    """Return ``value`` with None in place of infinity and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of a name and figures under ``columns``; on a narrow terminal one below the other.

    No figure is ever cut: ``4,…`` would be a lie.
    """
    out, cells = console(), [max(map(len, column)) for column in zip(*rows, strict=True)]
    for heads in (columns, [column.replace(" ", "\n") for column in columns]):
        pairs = zip(heads, cells, strict=True)
        widths = [max(width, *map(len, head.split("\n"))) for head, width in pairs]
        if min(widths[0], MIN_NAME) + sum(widths[1:]) + 3 * len(widths) + 1 <= out.width:
            break
    else:
        print(title)
        for name, *figures in rows:
            print(name)
            for column, figure in zip(columns[1:], figures, strict=True):
                print(" ", *filter(None, (column, figure)))
        return
    table = Table(title=title, title_justify="left")
    table.add_column(heads[0], overflow="fold")
    for head in heads[1:]:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print a title, then names and values as a table of two columns."""
    print(title)
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(label(name), for_people(value))
    console().print(table)


def print_evaluation(title: str, result: EvaluationResult) -> None:
    """Print a result, its scores by dataset and source, and its notes to standard error."""
    print_facts(title, result.summary())
    groups = [*result.by_dataset.items(), *_largest(result.by_source)]
    rows = [
        (
            name,
            f"{scores.bits_per_byte:.4f}",
            "" if scores.bits_per_byte_error is None else f"{scores.bits_per_byte_error:.4f}",
            f"{scores.perplexity:,.2f}",
            f"{scores.n_tokens:,}",
            f"{scores.n_documents:,}",
        )
        for name, scores in groups
    ]
    if len(groups) > 1:
        columns = ("", "bits per byte", "±", "perplexity", "tokens", "documents")
        print_table("by source", columns, rows)
        if len(result.by_source) > MAX_FILES:
            print(f"… {counted(len(result.by_source) - MAX_FILES, 'more source')} in --json")
        print("± is the standard error, clustered by document")
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)


def print_comparison(result: ComparisonResult) -> None:
    """Print both models' figures, the difference by source, and the verdict."""
    print_facts("comparison", result.summary())
    rows = []
    shown = sorted(result.by_source.items(), key=lambda item: -item[1].n_documents)[:MAX_FILES]
    for name, one in shown:
        interval = "" if one.low is None else f"{one.low:+.4f} to {one.high:+.4f}"
        noise = "noise" if one.is_noise else ""
        rows.append((name, f"{one.bits_per_byte:+.4f}", interval, f"{one.n_documents:,}", noise))
    if len(shown) > 1:
        columns = ("", "difference", "95 % interval", "documents", "")
        print_table("first less second, bits per byte", columns, rows)
        if len(result.by_source) > MAX_FILES:
            print(f"… {counted(len(result.by_source) - MAX_FILES, 'more source')} in --json")
    for note in result.first.notes:
        print(f"note: {note}", file=sys.stderr)


def _largest(scores: Mapping[str, Scores]) -> list[tuple[str, Scores]]:
    """Return the sources with the most tokens."""
    return sorted(scores.items(), key=lambda item: -item[1].n_tokens)[:MAX_FILES]


def print_reading(reading: Reading) -> None:
    """Print to standard error what was left out, replaced, converted or skipped."""
    for bad_file in reading.bad_files[:MAX_FILES]:
        kept = counted(bad_file.n_documents, "document")
        at = "" if bad_file.position is None else f" at byte {bad_file.position:,}"
        print(f"broken: {bad_file.source}{at}: {bad_file.detail} ({kept} kept)", file=sys.stderr)
    if len(reading.bad_files) > MAX_FILES:
        print(f"broken: {len(reading.bad_files):,} files in all", file=sys.stderr)
    for encoding, n_documents in reading.converted.items():
        print(f"converted from {encoding}: {counted(n_documents, 'document')}", file=sys.stderr)
    if reading.n_inner_marks:
        marks = counted(reading.n_inner_marks, "byte order mark")
        print(f"skipped: {marks} before lines of joined files", file=sys.stderr)
    for reason, bad in reading.bad.items():
        first = bad.examples[0]
        print(
            f"left out: {counted(bad.n_documents, 'bad document')} ({reason}); the first is in "
            f"{first.source} at {first.position:,}: {first.detail}",
            file=sys.stderr,
        )
    if reading.n_replaced_documents:
        print(
            f"not UTF-8: {counted(reading.n_replaced_sequences, 'place')} in "
            f"{counted(reading.n_replaced_documents, 'document')} replaced by U+FFFD",
            file=sys.stderr,
        )
    if reading.n_trailing_bytes:
        print(
            f"skipped: {reading.n_trailing_bytes:,} bytes after the end of gzip data",
            file=sys.stderr,
        )


def print_against(reading: Reading | None) -> None:
    """Print to standard error how many earlier documents were compared with, and what was not."""
    if reading is not None:
        print(f"compared with: {counted(reading.n_documents, 'document')}", file=sys.stderr)
        print_reading(reading)


def print_skipped(corpus: lslm.Corpus) -> None:
    """Print to standard error how many files of folders are not read, by reason."""
    if corpus.skipped:
        reasons = Counter(skipped.reason for skipped in corpus.skipped)
        listed = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.items())
        first = corpus.skipped[0].path
        print(f"skipped files: {listed}; the first is {first}", file=sys.stderr)
        for skipped in corpus.skipped:
            _logger.debug("skipped: %s (%s)", skipped.path, skipped.reason)


def profile_name(cleaner: lslm.Cleaner) -> str:
    """Return the resolved name and the version of a cleaner's profile, such as ``fineweb 1``."""
    return f"{cleaner.config['profile']} {cleaner.config['profile_version']}"


def print_funnel(funnel: Funnel) -> None:
    """Print documents and bytes read, dropped by reason, and kept; then the changes by rule."""
    rows = [("in", funnel.n_documents, funnel.n_bytes)]
    rows += [(f"  {why}", row.n_documents, row.n_bytes) for why, row in funnel.dropped.items()]
    rows += [("kept", funnel.n_documents_kept, funnel.n_bytes_kept)]
    shown = [(name, f"{n:,}", f"{n_bytes / 1e6:,.2f}") for name, n, n_bytes in rows]
    print_table("funnel", ("", "documents", "MB"), shown)
    if funnel.changes:
        changes = [
            (rule, f"{change.n_documents:,}", f"{change.n_changes:,}")
            for rule, change in funnel.changes.items()
        ]
        print_table("changes", ("rule", "documents", "changes"), changes)
    for reason, row in funnel.dropped.items():
        if row.entries:
            most = sorted(row.entries.items(), key=lambda item: (-item[1], item[0]))
            listed = ", ".join(f"{entry} ({count:,})" for entry, count in most[:MAX_FILES])
            more = len(most) - MAX_FILES
            print(f"{reason}: {listed}" + (f" and {more:,} more" if more > 0 else ""))
    if funnel.n_without_url:
        print(f"lists.urls: {counted(funnel.n_without_url, 'document')} without a URL to compare")
    for kind, found in funnel.dedup.items():
        groups = sum(found.groups.values())
        largest = max(map(int, found.groups), default=0)
        older = f", {found.n_older:,} of them seen earlier" if found.n_older else ""
        print(
            f"dedup: {found.n_removed:,} of {counted(found.n_compared, kind)} equal an earlier one"
            f"{older}; {counted(groups, 'group')} of equal ones, at most {largest:,} in one"
        )


def print_tokenizer_report(tokenizer: lslm.Tokenizer, measured: lslm.TokenizerReport) -> None:
    """Print how a tokenizer encodes its documents: the largest files, all, the held-out part."""

    def row(name: str, figures: TextStatistics) -> tuple[str, ...]:
        return (
            name,
            f"{figures.n_bytes / 1e6:,.2f}",
            f"{figures.n_tokens:,}",
            f"{figures.bytes_per_token:.3f}",
            f"{figures.tokens_per_word:.3f}",
            f"{figures.whole_word_share:.1%}",
        )

    files = sorted(measured.files, key=lambda figures: -figures.n_bytes)
    rows = [row(figures.file or "", figures) for figures in files[:MAX_FILES]]
    if len(files) > MAX_FILES:
        rows.append((f"… {counted(len(files) - MAX_FILES, 'more file')}", *[""] * 5))
    rows.append(row("all documents", measured.total))
    if measured.validation is not None:
        rows.append(row("held out", measured.validation))
    columns = ("", "MB", "tokens", "bytes/token", "tokens/word", "one-token words")
    print_table("what it makes of the text", columns, rows)
    unused = measured.unused
    where = "the text" if measured.validation is None else "the held-out text"
    examples = " ".join(quoted(tokenizer.token_bytes(i)) for i in unused[-MAX_UNUSED:])
    line = f"{len(unused):,} of {tokenizer.vocab_size:,} tokens are never used in {where}"
    print(f"{line}; the last of them: {examples}" if unused else line)


def quoted(token: bytes) -> str:
    """Return a token's text in quotes on one line, with white space and bad bytes escaped."""
    # surrogates stand for bad bytes; backslashes of the text are doubled by repr, theirs are not
    shown = repr(token.decode("utf-8", "surrogateescape"))
    return re.sub(r"(?<!\\)\\udc([89a-f][0-9a-f])", r"\\x\1", shown)
