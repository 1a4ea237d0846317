"""Results of the verbs: frozen dataclasses with ``as_dict()`` and a summary as their repr."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

__all__ = [
    "BadDocument",
    "BadDocuments",
    "BadFile",
    "Change",
    "CleanPreview",
    "CleanResult",
    "DatasetPart",
    "Dropped",
    "DroppedDocument",
    "Duplicates",
    "Funnel",
    "HeldOut",
    "JobSlice",
    "Reading",
    "Result",
    "Signal",
    "SourceLoss",
    "TextStatistics",
    "TokenizeResult",
    "TokenizerReport",
]


class Result:
    """The base class of all results: to plain data and back, with a summary as its repr."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return a result with the fields in ``data``, as :meth:`as_dict` returns them.

        Keys that are not fields are ignored.

        Raises:
            TypeError: a field without a default is missing.
        """
        return typing.cast("Self", _build(cls, data))

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain data for ``json.dumps``: dicts, lists, str, numbers, None.

        A number that is not finite, which JSON does not have, is None. This is what the command
        line prints with ``--json``; ``docs/json.md`` lists the keys.
        """
        return _fields_of(self)

    def summary(self) -> dict[str, str]:
        """Return the main figures as labels and short texts, for the repr and for notebooks."""
        return {label(name): for_people(value) for name, value in self.as_dict().items()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{label}: {text}" for label, text in self.summary().items())
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        """Return the summary as a table of two columns, for notebooks."""
        from lslm.report.markup import table

        return str(table((type(self).__name__, ""), list(self.summary().items())))


@dataclass(frozen=True, kw_only=True)
class BadDocument:
    """A document that could not be read, and where it is."""

    source: str
    """The file, as in ``Document.source``."""
    position: int
    """The byte offset in the decompressed file; in Parquet the row number."""
    detail: str
    """What is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class BadDocuments:
    """The documents that could not be read for one reason."""

    n_documents: int
    examples: tuple[BadDocument, ...] = ()
    """The first five, in the order of reading."""


@dataclass(frozen=True, kw_only=True, repr=False)
class BadFile(Result):
    """A file that could not be read, or not beyond a place, with ``on_bad_file="skip"``."""

    source: str
    """The file, as in ``Document.source``."""
    position: int | None = None
    """The byte offset of the fault in the stored file, if it is known."""
    detail: str
    """What is wrong with it."""
    n_documents: int = 0
    """The documents before the fault, which count; of Parquet those of its row group."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Reading(Result):
    """What was read: how many documents, and what was wrong with the others."""

    n_documents: int
    """Documents that could be read."""
    n_bytes: int
    """Bytes of their text, as UTF-8."""
    n_replaced_documents: int = 0
    """Documents with bytes that were not UTF-8 and became U+FFFD."""
    n_replaced_sequences: int = 0
    """How many U+FFFD these documents got."""
    n_trailing_bytes: int = 0
    """Bytes after the end of gzip data, such as zero padding, which were skipped."""
    bad: Mapping[str, BadDocuments]
    """Documents that could not be read, by reason: ``malformed_json``, ``not_an_object``,
    ``missing_text``, ``null_text``, ``text_not_string``, ``ill_formed_utf8``, ``uneven_row``."""
    n_inner_marks: int = 0
    """Byte order marks before lines of JSONL other than the first, which were skipped."""
    converted: Mapping[str, int] = field(default_factory=dict)
    """Documents that were converted to UTF-8, by the encoding of their file."""
    bad_files: tuple[BadFile, ...] = ()
    """The files that are broken, in the order of reading, with ``on_bad_file="skip"``."""

    @property
    def n_bad_documents(self) -> int:
        """Documents that could not be read, for any reason."""
        return sum(bad.n_documents for bad in self.bad.values())

    def summary(self) -> dict[str, str]:
        """Return documents, megabytes, and the bad documents by reason."""
        shown = {"documents": f"{self.n_documents:,}", "text": _megabytes(self.n_bytes)}
        if self.n_replaced_documents:
            shown["not UTF-8"] = counted(self.n_replaced_documents, "document")
        for encoding, n_documents in self.converted.items():
            shown[f"from {encoding}"] = counted(n_documents, "document")
        if self.n_trailing_bytes:
            shown["after gzip data"] = f"{counted(self.n_trailing_bytes, 'byte')} skipped"
        if self.n_inner_marks:
            shown["inside joined files"] = (
                f"{counted(self.n_inner_marks, 'byte order mark')} skipped"
            )
        if self.bad_files:
            shown["broken files"] = f"{len(self.bad_files):,}"
        return shown | {reason: f"{bad.n_documents:,}" for reason, bad in self.bad.items()}


@dataclass(frozen=True, kw_only=True)
class DroppedDocument:
    """Some of a dropped document, and what decided it."""

    text: str
    """Up to 240 bytes, redacted as kept text is: the beginning, or around what decided."""
    value: float | None = None
    """What was measured; for a duplicate, how often it occurs."""
    limit: float | None = None
    """The limit that the value did not keep."""
    span: tuple[int, int] | None = None
    """The characters of ``text`` that decided, from and to; None if it is no single place."""


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """The documents that were dropped for one reason."""

    n_documents: int
    n_bytes: int
    """Bytes of their text before cleaning."""
    examples: tuple[DroppedDocument, ...] = ()
    """The first three, in the order of the inputs."""
    entries: Mapping[str, int] = field(default_factory=dict)
    """For the rule ``lists``, the documents by the entry that was found first."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one rule changed in the text of all documents."""

    n_documents: int
    """Documents in which the rule changed something."""
    n_changes: int
    """Characters that a normaliser changed, or finds of a redactor."""


@dataclass(frozen=True, kw_only=True)
class Signal:
    """The values of one signal over all documents, with ``signals=True``."""

    limit: float
    is_maximum: bool | None = None
    """Whether the limit is the largest value that is kept, not the smallest; None if no document
    has another value."""
    n_documents: int
    """Documents that were measured: those that came in; for stages after ``dedup``, those that it
    leaves."""
    n_failed: int
    """Those outside the limit, whichever rule dropped them."""
    values: tuple[tuple[float, int], ...] = ()
    """The number of documents by value, in increasing order; values are rounded."""


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What the stage ``dedup`` compared, of one kind: documents, lines or paragraphs."""

    n_compared: int
    """Those that were compared: documents that the rules keep, parts of ``min_part_chars``."""
    n_removed: int
    """Those that equal an earlier one."""
    n_older: int = 0
    """Those of them that equal one of those in ``dedup_against``."""
    groups: Mapping[str, int] = field(default_factory=dict)
    """How many groups of equal ones have a size of two or more, by size."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Funnel(Result):
    """What cleaning kept and dropped, and why."""

    n_documents: int
    """Documents that came in."""
    n_bytes: int
    """Bytes of their text before cleaning."""
    n_documents_kept: int
    n_bytes_kept: int
    """Bytes of the kept documents after cleaning."""
    dropped: Mapping[str, Dropped]
    """The others by reason, such as ``gopher_repetition.top_2_gram``."""
    changes: Mapping[str, Change]
    """What was changed, by rule."""
    dedup: Mapping[str, Duplicates] = field(default_factory=dict)
    """What deduplication compared and removed, by kind: ``document``, ``line``, ``paragraph``."""
    signals: Mapping[str, Signal] = field(default_factory=dict)
    """The values of every signal by name, if they were asked for."""
    n_without_url: int = 0
    """Documents that ``lists.urls`` could not be compared with, since they have no URL."""

    def summary(self) -> dict[str, str]:
        """Return documents and megabytes kept, then the documents dropped by reason."""
        shown = {
            "kept": f"{self.n_documents_kept:,} of {counted(self.n_documents, 'document')}",
            "text": f"{_megabytes(self.n_bytes_kept)} of {_megabytes(self.n_bytes)}",
        }
        return shown | {reason: f"{row.n_documents:,}" for reason, row in self.dropped.items()}


@dataclass(frozen=True, kw_only=True)
class SourceLoss:
    """What cleaning kept of a source; duplicates count as kept."""

    n_documents: int
    """Documents read."""
    n_bytes: int
    """Their bytes, before cleaning."""
    n_documents_kept: int
    """Documents kept."""
    n_bytes_kept: int
    """Their bytes, before cleaning."""


@dataclass(frozen=True, kw_only=True, repr=False)
class CleanPreview(Result):
    """What :func:`lslm.preview_clean` would keep and drop of a sample."""

    sample: float
    """The share of the documents in the sample."""
    funnel: Funnel
    """What would be kept and dropped of the sample, and why."""
    reading: Reading
    """What was read: all documents, with the bad ones."""
    losses: Mapping[str, SourceLoss] = field(default_factory=dict)
    """The sources of which the rules drop more than half of the sample."""

    def summary(self) -> dict[str, str]:
        """Return the share of the sample and its funnel."""
        return {"sample": f"{self.sample:.2%}"} | self.funnel.summary()


@dataclass(frozen=True, kw_only=True)
class JobSlice:
    """Which partitions of a job a process computed, with ``partitions="3/16"``."""

    index: int
    """Its number, from 1."""
    n_slices: int
    n_partitions: int
    """The partitions of the slice, all of which are finished."""
    n_partitions_total: int
    """The partitions of the job."""
    n_partitions_left: int
    """Those that no slice had finished when this one ended; 0: :func:`lslm.finish` can run."""

    def summary(self) -> dict[str, str]:
        """Return how many partitions this is, and how many are left."""
        size = f"{self.n_partitions:,} of {counted(self.n_partitions_total, 'partition')}"
        left = f"{self.n_partitions_left:,} left"
        return {f"slice {self.index}/{self.n_slices}": f"{size}, {left}"}


@dataclass(frozen=True, kw_only=True, repr=False)
class CleanResult(Result):
    """What :func:`lslm.clean` wrote, kept and dropped."""

    output: Path
    """The folder that holds the files."""
    files: tuple[str, ...]
    """The names of the files, in the order of their documents."""
    n_documents: int
    """Documents in the files."""
    n_bytes: int
    """Bytes of their text."""
    funnel: Funnel
    """What was kept and dropped, and why."""
    reading: Reading
    """What was read, with the bad documents."""
    fingerprint: str
    """The fingerprint of the rules, 64 hexadecimal digits."""
    losses: Mapping[str, SourceLoss] = field(default_factory=dict)
    """The sources of which the rules drop more than half of the documents."""
    against: Reading | None = None
    """What was read of the documents in ``dedup_against``; None without, and with an index."""
    slice: JobSlice | None = None
    """The slice that all these figures are of; None if the job is finished."""

    def summary(self) -> dict[str, str]:
        """Return the funnel, where the files are, and which slice this is."""
        files = counted(len(self.files), "file")
        shown = self.funnel.summary() | {"output": f"{self.output} ({files})"}
        return shown if self.slice is None else self.slice.summary() | shown


@dataclass(frozen=True, kw_only=True)
class DatasetPart:
    """One part of what :func:`lslm.tokenize` wrote: a dataset for :class:`lslm.TokenDataset`."""

    path: Path
    """The folder of the dataset."""
    n_tokens: int
    n_documents: int
    n_bytes: int
    """Bytes of text that the tokens stand for."""
    n_shards: int
    """Files of tokens."""


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What :func:`lslm.tokenize` held out for validation."""

    by: str
    """``documents`` if whole documents, ``stretches`` if parts of long ones."""
    fraction: float
    """The share of the documents, or of their bytes, that was asked for."""
    seed: int
    n_divided_documents: int = 0
    """Documents with text in both parts."""


@dataclass(frozen=True, kw_only=True, repr=False)
class TokenizeResult(Result):
    """What :func:`lslm.tokenize` wrote."""

    train: DatasetPart
    """The training part, in ``output/train``."""
    validation: DatasetPart | None
    """The validation part, in ``output/validation``; None with ``validation_fraction=0``."""
    held_out: HeldOut | None = None
    """What the validation part consists of; None with ``validation_fraction=0``."""
    funnel: Funnel
    """What cleaning kept and dropped, and why."""
    reading: Reading
    """What was read, with the bad documents."""
    warnings: tuple[str, ...] = ()
    """What was also issued as ``UserWarning``, such as an empty validation part."""
    against: Reading | None = None
    """What was read of the documents in ``dedup_against``; None without, and with an index."""
    slice: JobSlice | None = None
    """The slice that all these figures are of; None if the job is finished."""

    def summary(self) -> dict[str, str]:
        """Return tokens, documents and folder of each part, what was divided, and the slice."""
        parts = {"train": self.train, "validation": self.validation}
        shown = {} if self.slice is None else self.slice.summary()
        shown |= {
            name: f"{counted(part.n_tokens, 'token')} in {counted(part.n_documents, 'document')}, "
            f"{part.path}"
            for name, part in parts.items()
            if part is not None
        }
        if self.held_out is not None and self.held_out.n_divided_documents:
            divided = counted(self.held_out.n_divided_documents, "document")
            shown["held out"] = f"stretches of {divided}"
        return shown


@dataclass(frozen=True, kw_only=True)
class TextStatistics:
    """What a vocabulary makes of some documents."""

    file: str | None = None
    """The file that the documents come from; None for sums over files."""
    n_documents: int
    n_bytes: int
    """Bytes of text."""
    n_words: int
    """Pre-tokens: what the tokenizer's pattern splits the text into."""
    n_whole_words: int
    """Pre-tokens that are one token."""
    n_tokens: int
    bytes_per_token: float
    """Bytes of text per token, 0 without text. More is better."""
    tokens_per_word: float
    """Tokens per pre-token ("fertility"), 0 without text. Less is better."""
    whole_word_share: float
    """Share of the pre-tokens that are one token, from 0 to 1."""


@dataclass(frozen=True, kw_only=True, repr=False)
class TokenizerReport(Result):
    """What :func:`lslm.measure_tokenizer` found."""

    total: TextStatistics
    """Sums over all documents."""
    validation: TextStatistics | None
    """Sums over the validation documents; None if there are none."""
    files: tuple[TextStatistics, ...]
    """Sums over each file that has documents, in the order of the inputs."""
    unused: tuple[int, ...]
    """Ids that never occur in the validation documents, or without these in any document; special
    tokens, which no text spells, are not among them."""

    def summary(self) -> dict[str, str]:
        """Return the ratios of the validation documents, or without these of all documents."""
        shown = self.validation or self.total
        return {
            "bytes per token": f"{shown.bytes_per_token:.3f}",
            "tokens per word": f"{shown.tokens_per_word:.3f}",
            "one-token words": f"{shown.whole_word_share:.1%}",
            "unused tokens": f"{len(self.unused):,}",
            "documents": f"{shown.n_documents:,}",
        }


def counted(n: int, noun: str) -> str:
    """Return a count in English: ``1 file``, ``2,000 files``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def label(name: str) -> str:
    """Return the name of a field for people: ``tokens`` for ``n_tokens``."""
    return name.removeprefix("n_").replace("_", " ")


def for_people(value: object) -> str:
    """Return a value as text: counts with separators, other numbers with four digits, no braces."""
    if isinstance(value, Mapping):
        value = [f"{key}: {for_people(inner)}" for key, inner in value.items()]
    if isinstance(value, list | tuple):
        return ", ".join(map(for_people, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e3 <= abs(value) < 1e12 else f"{value:.4g}"
    return str(value)


def _megabytes(n_bytes: int) -> str:
    """Return bytes as text in units of 10^6, such as ``12.34 MB``."""
    return f"{n_bytes / 1e6:,.2f} MB"


@cache
def _types_of(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields by name, resolved."""
    return typing.get_type_hints(kind)


def _build(kind: Any, value: Any) -> Any:
    """Return ``value``, plain data, as an object of the type ``kind``."""
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, Mapping):
        known = {name: of for name, of in _types_of(kind).items() if name in value}
        return kind(**{name: _build(of, value[name]) for name, of in known.items()})
    if origin is types.UnionType:
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return None if value is None else _build(inner, value)
    if origin is tuple:
        return tuple(_build(arguments[0], item) for item in value)
    if origin is Mapping:
        return {key: _build(arguments[1], item) for key, item in value.items()}
    if kind is float and value is None:  # of as_dict, which has no number that is not finite
        return math.nan
    return Path(value) if kind is Path else value


def _fields_of(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as data that JSON has."""
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> Any:
    """Return a result or a value of one as data that JSON has."""
    if isinstance(value, Result):
        return value.as_dict()
    if is_dataclass(value):
        return _fields_of(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else finite(value)


def finite(value: Any) -> Any:
    """Return ``value``, or None if it is a float that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
