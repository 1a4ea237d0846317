"""The part of a report that shows what cleaning kept, dropped and changed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lslm.report.charts import Bar, Columns, bars, histogram
from lslm.report.markup import Child, details, element, rule_name, shortened, table
from lslm.report.numbers import percent, size
from lslm.results import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lslm.results import (
        BadDocuments,
        Dropped,
        DroppedDocument,
        Funnel,
        Reading,
        Signal,
        SourceLoss,
    )

__all__ = ["funnel_parts", "loss_parts", "reading_parts", "signal_parts"]

MAX_EXAMPLE_LETTERS = 400
"""Characters of a dropped document to show."""

MAX_ENTRIES = 20
"""Entries of a list with a row of their own."""

MAX_BAD_FILES = 200
"""Broken files and sources with a row of their own; the count is of all."""


def funnel_parts(funnel: Funnel) -> list[Child]:
    """Return the funnel as bars, what its rules do, the changes by rule, and examples."""
    dropped = sorted(funnel.dropped.items(), key=lambda item: (-item[1].n_documents, item[0]))
    parts: list[Child] = [_bars(funnel, dropped)]
    if not dropped:
        parts.append(element("p", "Nothing was dropped.", class_="note"))
    parts.append(element("p", _size_change(funnel), class_="note"))
    if funnel.n_without_url:
        missing = counted(funnel.n_without_url, "document")
        note = f"{missing} had no URL to compare with the list."
        parts.append(element("p", note, class_="note"))
    return [*parts, *_rules(funnel), *_duplicates(funnel), *_changes(funnel), *_examples(dropped)]


def signal_parts(signals: Mapping[str, Signal]) -> list[Child]:
    """Return a histogram of each signal with its limit, those that drop the most first."""
    ordered = sorted(
        signals.items(), key=lambda item: (-item[1].n_failed / max(item[1].n_documents, 1), item[0])
    )
    measured = {signal.n_documents for signal in signals.values()}
    most = max(measured, default=0)
    about = (
        f"Values of all {counted(most, 'document')} that came in, and the share outside each "
        "limit, whichever rule dropped them. Columns outside are red."
    )
    if len(measured) > 1:
        about += " Rules that saw fewer documents, as after deduplication, say how many."
    shown = [
        element("div", histogram(name, _title(name, one, most), _columns(one)))
        for name, one in ordered
    ]
    return [element("p", about, class_="note"), element("div", shown, class_="charts")]


def reading_parts(reading: Reading) -> list[Child]:
    """Return what was read, converted, replaced and left out, with each broken file."""
    rows = [("documents read", f"{reading.n_documents:,}", "")]
    rows += [
        ("documents converted to UTF-8", f"{n_documents:,}", f"from {encoding}")
        for encoding, n_documents in reading.converted.items()
    ]
    rows += [
        ("documents left out", f"{bad.n_documents:,}", f"{reason}: {_first(bad)}")
        for reason, bad in reading.bad.items()
    ]
    counts = {
        "documents with U+FFFD for ill-formed bytes": reading.n_replaced_documents,
        "bytes skipped after gzip data": reading.n_trailing_bytes,
        "byte order marks skipped inside joined files": reading.n_inner_marks,
        "broken files": len(reading.bad_files),
    }
    rows += [(name, f"{count:,}", "") for name, count in counts.items() if count]
    parts: list[Child] = [table(("what", "count", "which"), rows, text_columns=(0, 2))]
    if reading.bad_files:
        shown = [
            (
                element("code", bad.source),
                "" if bad.position is None else f"{bad.position:,}",
                f"{bad.n_documents:,}",
                bad.detail,
            )
            for bad in reading.bad_files[:MAX_BAD_FILES]
        ]
        parts += [
            element("h3", "Broken files"),
            table(
                ("file", "at byte", "documents before it", "what is wrong"),
                shown,
                text_columns=(0, 3),
            ),
        ]
    return parts


def loss_parts(losses: Mapping[str, SourceLoss]) -> list[Child]:
    """Return the sources that lose more than half, those with the most dropped documents first."""

    def n_dropped(loss: SourceLoss) -> int:
        return loss.n_documents - loss.n_documents_kept

    ordered = sorted(losses.items(), key=lambda item: (-n_dropped(item[1]), item[0]))
    rows = [
        (
            element("code", source),
            f"{loss.n_documents:,}",
            f"{n_dropped(loss):,} ({percent(n_dropped(loss), loss.n_documents)})",
            f"{size(loss.n_bytes - loss.n_bytes_kept)} of {size(loss.n_bytes)}",
        )
        for source, loss in ordered[:MAX_BAD_FILES]
    ]
    shown = f"Of {counted(len(losses), 'source')} the rules drop more than half of the documents."
    return [
        element("p", shown, class_="note"),
        table(("source", "documents", "dropped", "bytes dropped"), rows),
    ]


def _first(bad: BadDocuments) -> str:
    """Return the place and the fault of the first bad document."""
    if not bad.examples:
        return ""
    first = bad.examples[0]
    return f"the first in {first.source} at {first.position:,} ({first.detail})"


def _bars(funnel: Funnel, dropped: Sequence[tuple[str, Dropped]]) -> Child:
    total = f"{funnel.n_documents:,} · {size(funnel.n_bytes)}"
    rows = [
        Bar(label="read", value=funnel.n_documents, shown=total),
        Bar(
            label="kept",
            value=funnel.n_documents_kept,
            shown=_share(funnel.n_documents_kept, _bytes_of_kept(funnel), funnel),
            kind="good",
        ),
    ]
    rows += [
        Bar(
            label=["dropped: ", rule_name(reason)],
            value=row.n_documents,
            shown=_share(row.n_documents, row.n_bytes, funnel),
            kind="bad",
        )
        for reason, row in dropped
    ]
    return bars(rows, most=funnel.n_documents)


def _bytes_of_kept(funnel: Funnel) -> int:
    """Return the bytes of the kept documents before cleaning."""
    return funnel.n_bytes - sum(row.n_bytes for row in funnel.dropped.values())


def _size_change(funnel: Funnel) -> str:
    """Return how many bytes were written, beside those of the same documents before cleaning."""
    removed = _bytes_of_kept(funnel) - funnel.n_bytes_kept
    written = f"{size(funnel.n_bytes_kept)} of text were written"
    if removed == 0:
        return f"{written}, as much as was read of these documents."
    more = "less" if removed > 0 else "more"
    return f"{written}, {size(abs(removed))} {more} than was read of these documents."


def _rules(funnel: Funnel) -> list[Child]:
    """Return a sentence on each rule that dropped or changed something."""
    from lslm import Cleaner

    about = Cleaner.rules()
    changed = [name for name, change in funnel.changes.items() if change.n_changes]
    acted = {name.partition(".")[0] for name in (*funnel.dropped, *changed)}
    rows = [(rule_name(name), f"{text}.") for name, text in about.items() if name in acted]
    if not rows:
        return []
    return [
        element("h3", "What the rules do"),
        table(("rule", "what it does"), rows, text_columns=(0, 1)),
    ]


def _duplicates(funnel: Funnel) -> list[Child]:
    """Return what was compared, and how large the groups of equal documents or parts are."""
    if not funnel.dedup:
        return []
    rows = [
        (
            f"{kind}s",
            f"{found.n_compared:,}",
            f"{found.n_removed:,} ({percent(found.n_removed, found.n_compared)})",
            f"{found.n_older:,}",
            f"{sum(found.groups.values()):,}",
            f"{max(map(int, found.groups), default=0):,}",
        )
        for kind, found in funnel.dedup.items()
    ]
    head = ("kind", "compared", "removed", "seen earlier", "groups of equal ones", "largest")
    parts: list[Child] = [element("h3", "Duplicates"), table(head, rows)]
    for kind, found in funnel.dedup.items():
        sizes = _by_size(found.groups)
        if len(sizes) > 1:
            bar = [Bar(label=label, value=n, shown=counted(n, "group")) for label, n in sizes]
            parts += [element("p", f"Groups of equal {kind}s by their size", class_="note")]
            parts.append(bars(bar))
    return parts


def _by_size(groups: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the number of groups of 2, 3 to 4, 5 to 8 … equal ones."""
    counts: dict[int, int] = {}
    for n_equal, count in groups.items():
        power = (int(n_equal) - 1).bit_length()
        counts[power] = counts.get(power, 0) + count
    label = {1: "2"}
    return [
        (label.get(power, f"{2 ** (power - 1) + 1:,} to {2**power:,}"), count)
        for power, count in sorted(counts.items())
    ]


def _title(name: str, signal: Signal, most: int) -> Child:
    """Return the name of a signal, and the share of documents outside its limit.

    The number of documents is added if it is not ``most``.
    """
    side = {True: "at most", False: "at least", None: "limit"}[signal.is_maximum]
    outside = percent(signal.n_failed, signal.n_documents)
    limit = f"{signal.limit:,.0f}" if signal.limit >= 1000 else f"{signal.limit:.4g}"
    of = f" of {signal.n_documents:,}" if signal.n_documents != most else ""
    return [rule_name(name), element("span", f"{side} {limit} · {outside}{of} outside")]


def _columns(signal: Signal) -> Columns:
    """Return the values of a signal in columns of equal width; logarithmic for wide ranges."""
    values = [(value, n) for value, n in signal.values if math.isfinite(value)]
    least = min((v for v, _ in values), default=0.0)
    most = max((v for v, _ in values), default=0.0)
    positive = [v for v, _ in values if v > 0]
    log = most > 100 and bool(positive) and most > 50 * min(positive)
    low, high = (min(positive), most) if log else (min(0.0, least), max(most, 0.0))
    if math.isfinite(signal.limit) and (not log or signal.limit > 0):
        low, high = min(low, signal.limit), max(high, signal.limit)
    return Columns(
        values=values, low=low, high=high if high > low else low + 1, log=log, limit=signal.limit,
        is_maximum=signal.is_maximum,
    )  # fmt: skip


def _changes(funnel: Funnel) -> list[Child]:
    changes = [item for item in funnel.changes.items() if item[1].n_changes]
    if not changes:
        return []
    rows = [
        (rule_name(rule), f"{change.n_documents:,}", f"{change.n_changes:,}")
        for rule, change in sorted(changes, key=lambda item: (-item[1].n_documents, item[0]))
    ]
    return [
        element("h3", "Changes made to the text"),
        table(("rule", "documents", "characters or finds"), rows),
    ]


def _examples(dropped: Sequence[tuple[str, Dropped]]) -> list[Child]:
    shown: list[Child] = [
        details(
            [rule_name(reason), f" · {row.n_documents:,}"],
            [*_entries(row), *(_example(example) for example in row.examples)],
        )
        for reason, row in dropped
        if row.examples
    ]
    return [element("h3", "Examples of what was dropped"), *shown] if shown else []


def _entries(row: Dropped) -> list[Child]:
    """Return the entries of a list that dropped the most documents."""
    if not row.entries:
        return []
    most = sorted(row.entries.items(), key=lambda item: (-item[1], item[0]))
    rows = [(element("code", entry), f"{count:,}") for entry, count in most[:MAX_ENTRIES]]
    more = len(most) - len(rows)
    parts: list[Child] = [table(("entry", "documents"), rows)]
    if more > 0:
        parts.append(element("p", f"{more:,} more entries", class_="note"))
    return parts


def _example(example: DroppedDocument) -> list[Child]:
    text = element("pre", _marked(example), dir="auto")
    if example.value is None or example.limit is None:
        return [text]
    measured = f"measured {example.value:.4g}, the limit is {example.limit:.4g}"
    return [element("p", measured, class_="note"), text]


def _marked(example: DroppedDocument) -> Child:
    """Return the text of an example with the place that decided marked."""
    if example.span is None:
        return shortened(example.text, MAX_EXAMPLE_LETTERS)
    start, end = example.span
    before, place, after = example.text[:start], example.text[start:end], example.text[end:]
    return [before, element("mark", place), shortened(after, MAX_EXAMPLE_LETTERS)]


def _share(n_documents: int, n_bytes: int, funnel: Funnel) -> str:
    share = percent(n_documents, funnel.n_documents)
    return f"{n_documents:,} ({share}) · {size(n_bytes)} ({percent(n_bytes, funnel.n_bytes)})"
