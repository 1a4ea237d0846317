"""What cleaning does to one document: ``lslm clean --explain FILE:ID``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from lslm.cli.show import counted, print_table

if TYPE_CHECKING:
    import lslm
    from lslm.results import SourceLoss

__all__ = ["explain_document", "print_explanation", "print_losses"]

MAX_LOSSES = 10
"""Sources with a line of their own: those that lose the most documents."""

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
