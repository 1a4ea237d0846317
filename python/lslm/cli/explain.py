"""What cleaning does to one document: ``lslm clean --explain FILE:ID``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm.cli.show import counted, print_table

if TYPE_CHECKING:
    import lslm
    from lslm.results import SourceLoss

__all__ = ["explain_document", "print_explanation", "print_losses", "warn_of_nothing_left"]

MAX_LOSSES = 10
"""Sources with a line of their own: those that lose the most documents."""

MIN_LARGE = 1_000_000
"""Bytes from which on a file that is one document is more likely many: a novel has half of it."""

RECORDS = {".jsonl", ".jsonlines", ".ndjson", ".json", ".parquet", ".pq", ".csv", ".tsv"}
"""Endings of files that are not plain text, so that --split does not change their documents."""

MAX_LETTERS = 2000
"""Characters of the text to print."""


def explain_document(corpus: lslm.Corpus, cleaner: lslm.Cleaner, place: str) -> dict[str, Any]:
    """Return verdict, changes and every measure of the document at ``place``, FILE:ID.

    FILE is a file of the corpus or the end of its path. ID is the document's id; where no document
    of the file has it, a number counts the documents from 1.
    """
    file, colon, wanted = place.rpartition(":")
    if not colon or not file or not wanted:
        raise ValueError(f"--explain {place}: use FILE:ID, such as raw/a.jsonl:17")
    sources = [source for source in corpus.inputs if source == file or source.endswith(f"/{file}")]
    if len(sources) != 1:
        which = "is no input" if not sources else f"is the end of {len(sources)} inputs"
        raise ValueError(f"--explain {place}: {file} {which}; name one of the files that are read")
    numbered = n_documents = 0
    found = None
    for document in corpus:
        if document.source != sources[0]:
            continue
        n_documents += 1
        if document.id == wanted:
            found, numbered = document, n_documents
            break
        if wanted == str(n_documents):
            found, numbered = document, n_documents
    if found is None:
        raise ValueError(
            f"--explain {place}: no document has this id, and the file has"
            f" {counted(n_documents, 'document')}; use an id, or a number from 1"
        )
    cleaned = cleaner.clean(found.text)
    return {
        "source": found.source,
        "id": found.id,
        "number": numbered,
        "keep": cleaned.keep,
        "reason": None if cleaned.measure is None else cleaned.measure.name,
        "changes": dict(cleaned.changes),
        "measures": [
            {"name": m.name, "value": m.value, "limit": m.limit, "passed": m.passed}
            for m in cleaner.explain(found.text)
        ],
        "text": found.text,
        "cleaned": cleaned.text,
    }


def print_explanation(explanation: dict[str, Any]) -> None:
    """Print an explanation for people: verdict, measures with their limits, changes, the text."""
    name = explanation["id"] or explanation["number"]
    verdict = "kept" if explanation["keep"] else f"dropped by {explanation['reason']}"
    print(f"{explanation['source']}:{name}: {verdict}")
    rows = [
        (
            measure["name"],
            *(f"{measure[key]:.4g}" for key in ("value", "limit")),
            "" if measure["passed"] else "failed",
        )
        for measure in explanation["measures"]
    ]
    if rows:
        print_table("measures", ("measure", "value", "limit", ""), rows)
    for rule, n_changes in explanation["changes"].items():
        print(f"changed by {rule}: {n_changes:,}")
    shown = explanation["cleaned"][:MAX_LETTERS]
    cut = "" if len(shown) == len(explanation["cleaned"]) else "…"
    print(f"\n{shown}{cut}")


def print_losses(result: lslm.CleanResult | lslm.CleanPreview) -> None:
    """Print to standard error the sources that lose more than half of their documents."""

    def n_dropped(loss: SourceLoss) -> int:
        return loss.n_documents - loss.n_documents_kept

    losses = sorted(result.losses.items(), key=lambda item: -n_dropped(item[1]))
    for source, loss in losses[:MAX_LOSSES]:
        share = 1 - loss.n_documents_kept / loss.n_documents
        print(
            f"loses {share:.0%}: {source} ({n_dropped(loss):,} of"
            f" {counted(loss.n_documents, 'document')} dropped)",
            file=sys.stderr,
        )
    if len(losses) > MAX_LOSSES:
        print(f"{len(losses):,} sources lose more than half in all", file=sys.stderr)


def warn_of_nothing_left(
    result: lslm.CleanResult | lslm.CleanPreview, *, is_annotated: bool, split: str
) -> None:
    """Print to standard error that all was dropped, or a large file as a whole, and what to do."""
    funnel, dropped = result.funnel, result.funnel.dropped
    if not funnel.n_documents:
        n_documents = counted(result.reading.n_documents, "document")
        text = f"warning: the sample has none of {n_documents}: take more, --sample"
        print(text, file=sys.stderr)
    if is_annotated:  # nothing is dropped
        return
    is_empty = bool(funnel.n_documents) and not funnel.n_documents_kept
    if is_empty:
        reason = max(dropped, key=lambda name: dropped[name].n_documents)
        what = f"all {funnel.n_documents:,} documents, {dropped[reason].n_documents:,} of them"
        print(
            f"warning: cleaning dropped {'the only document,' if funnel.n_documents == 1 else what}"
            f" by {reason}: choose another profile, or change the rule with --set",
            file=sys.stderr,
        )
    if split != "file":
        return
    whole = {
        source: loss.n_bytes
        for source, loss in result.losses.items()
        if loss.n_documents == 1 and not loss.n_documents_kept and not is_record_file(source)
    }
    largest = max(whole, key=lambda source: whole[source], default="")
    if whole and (is_empty or whole[largest] >= MIN_LARGE):
        print(
            f"warning: {largest} is one document of {whole[largest] / 1e6:,.2f} MB, and it was"
            " dropped: --split line or --split blank-lines makes more documents of it",
            file=sys.stderr,
        )


def is_record_file(source: str) -> bool:
    """Return whether a source has records, by its name."""
    return bool(RECORDS & {suffix.lower() for suffix in Path(source).suffixes[-2:]})
