"""The documents to evaluate on: those of a tokenized dataset, or of raw text, encoded here."""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lslm.exceptions import MismatchError
from lslm.results import counted
from lslm.sampling import stratified_sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    import lslm
    from lslm import protocol as protocols

__all__ = [
    "DatasetDocuments",
    "EvaluationData",
    "EvaluationDocument",
    "TextDocuments",
    "Vocabulary",
    "check_tokenizer",
    "token_lengths",
]


def token_lengths(tokenizer: lslm.Tokenizer) -> NDArray[np.int64]:
    """Return the bytes of text of each id (V); special tokens and unused ids have 0."""
    special = set(tokenizer.special_tokens.values())
    lengths = np.zeros(tokenizer.vocab_size, np.int64)
    for token in range(tokenizer.vocab_size):
        if token not in special:
            try:
                lengths[token] = len(tokenizer.token_bytes(token))
            except KeyError:  # an unused id
                continue
    return lengths


def check_tokenizer(
    dataset: lslm.TokenDataset, tokenizer: lslm.Tokenizer, path: str | Path
) -> None:
    """Raise ``MismatchError`` unless ``dataset``, which is at ``path``, is of ``tokenizer``."""
    made_with = dataset.tokenizer_fingerprint
    if made_with is not None and made_with != tokenizer.fingerprint:
        raise MismatchError(
            f"{path} was made with another tokenizer ({made_with[:12]}…) than the model's "
            f"({tokenizer.fingerprint[:12]}…): tokenize the text with the run's tokenizer.json"
        )


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer with the bytes of each of its ids."""

    tokenizer: lslm.Tokenizer
    lengths: NDArray[np.int64]
    """See :func:`token_lengths`."""
    eos: int | None = None
    """The id that ends a document of raw text."""
    prefix: int | None = None
    """The id before a sequence of raw text: what begins a document, or what ends one."""
    bos: int | None = None
    """The id that the tokenizer's own template puts before a text."""

    @classmethod
    def of(
        cls,
        tokenizer: lslm.Tokenizer,
        *,
        bos_id: int | None = None,
        eos_ids: tuple[int, ...] = (),
    ) -> Vocabulary:
        """Return the vocabulary of ``tokenizer``, with the ids that a model begins and ends with.

        Without them, documents end with the tokenizer's ``eos_id``.
        """
        eos = eos_ids[0] if eos_ids else tokenizer.eos_id
        try:
            template = tokenizer.encode("", template=True).tolist()
        except ValueError:  # a post-processor that is not supported
            template = []
        return cls(
            tokenizer,
            token_lengths(tokenizer),
            eos=eos,
            prefix=eos if bos_id is None else bos_id,
            bos=bos_id if bos_id is not None and template[:1] == [bos_id] else None,
        )


@dataclass(kw_only=True)
class EvaluationDocument:
    """One document: its ids, and what its text counts."""

    dataset: str
    index: int
    source: str
    id: str | None
    ids: NDArray[np.unsignedinteger]
    """Its tokens that are in the sequence, special ones included."""
    n_bytes: int
    """Bytes of its text as it came; those of its tokens if that is not known."""
    text: str | None = None
    """Its text; None: what its tokens decode to."""
    spans: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of ``ids`` that were scored, in order."""
    nats: float = 0.0
    """Their sum."""
    others: NDArray[np.float64] | float = 0.0
    """Sums of what a comparison has besides."""
    row: int | None = None
    """Its row in a score table."""

    def add(self, start: int, stop: int, nats: float, others: NDArray[np.float64]) -> None:
        """Record that the tokens ``start`` to ``stop`` were scored, with their sums."""
        self.nats += nats
        self.others = self.others + others
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = (self.spans[-1][0], stop)
        else:
            self.spans.append((start, stop))

    @property
    def n_scored(self) -> int:
        """Targets so far."""
        return sum(stop - start for start, stop in self.spans)

    def count(self, vocabulary: Vocabulary, words: str) -> dict[str, int]:
        """Return bytes, characters and words of what was scored, by name.

        The bytes of a document are spread over its tokens in proportion to theirs, which are the
        same unless a normaliser changed the text; they sum up to those of the text as it came.
        """
        sizes = vocabulary.lengths[self.ids]
        if self.n_scored == len(self.ids) or sizes.sum() == sum(
            sizes[start:stop].sum() for start, stop in self.spans
        ):
            n_bytes, text = self.n_bytes, self.text
        else:
            ends = np.concatenate([[0], np.cumsum(sizes)])
            ends = ends * self.n_bytes // max(int(ends[-1]), 1)
            n_bytes = int(sum(ends[stop] - ends[start] for start, stop in self.spans))
            text = None
        if text is None:
            scored = np.concatenate([self.ids[start:stop] for start, stop in self.spans])
            text = vocabulary.tokenizer.decode(scored[vocabulary.lengths[scored] > 0])
        return {"n_bytes": n_bytes, "n_chars": len(text), "n_words": count_words(text, words)}


def count_words(text: str, how: str) -> int:
    """Return the number of words of ``text``, counted as a protocol's ``words`` says."""
    return len(re.split(r"\s+", text)) if how == "lm-eval" else len(text.split())


class EvaluationData(Protocol):
    """What has documents to evaluate on."""

    name: str
    """Of the dataset or text, in results."""

    def documents(
        self, protocol: protocols.Protocol, sample: Mapping[int, int] | None
    ) -> Iterator[EvaluationDocument]:
        """Yield the documents, or those in ``sample`` with their first so many tokens."""

    def sample(self, n_tokens: int, seed: int) -> Mapping[int, int] | None:
        """Return a sample for :meth:`documents`; None if it would be everything."""

    @property
    def n_tokens(self) -> int | None:
        """Tokens of all documents; None if that is not known."""

    @property
    def fingerprint(self) -> str:
        """Identity of the content, hexadecimal; of raw text, once :meth:`documents` has ended."""

    @property
    def prefix(self) -> int | None:
        """The id before a sequence: what begins a document, or what ends one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was wrong with it, one sentence each, once :meth:`documents` has ended."""


def _as_sample(
    sources: list[str], lengths: list[int], n_tokens: int, seed: int
) -> Mapping[int, int] | None:
    """Return the stratified sample as document → tokens; None if it is everything."""
    if sum(lengths) <= n_tokens:
        return None
    numbers = {source: number for number, source in enumerate(dict.fromkeys(sources))}
    chosen, used = stratified_sample(
        np.array([numbers[source] for source in sources], np.int64), lengths, n_tokens, seed=seed
    )
    return dict(zip(chosen.tolist(), used.tolist(), strict=True))


class DatasetDocuments:
    """The documents of a tokenized dataset."""

    notes: tuple[str, ...] = ()

    def __init__(self, dataset: lslm.TokenDataset, vocabulary: Vocabulary, name: str) -> None:
        self.dataset, self.name = dataset, name
        self._vocabulary = vocabulary
        self._samples: dict[tuple[int, int], Mapping[int, int] | None] = {}

    @property
    def n_tokens(self) -> int:
        """Tokens of the dataset."""
        return self.dataset.n_tokens

    @property
    def fingerprint(self) -> str:
        """Identity of the dataset, hexadecimal."""
        return self.dataset.fingerprint

    @property
    def prefix(self) -> int | None:
        """The id that begins documents, else the one that ends them, or None."""
        bos, eos = self.dataset.bos_id, self.dataset.eos_id
        return eos if bos is None else bos

    def sample(self, n_tokens: int, seed: int) -> Mapping[int, int] | None:
        """Return the stratified sample as document → tokens; None if it is everything."""
        if (n_tokens, seed) not in self._samples:
            documents = range(self.dataset.n_documents)
            spans = [self.dataset.document_span(i) for i in documents]
            sources = [self.dataset.source(i) or "" for i in documents]
            lengths = [stop - start for start, stop in spans]
            self._samples[n_tokens, seed] = _as_sample(sources, lengths, n_tokens, seed)
        return self._samples[n_tokens, seed]

    def documents(
        self, protocol: protocols.Protocol, sample: Mapping[int, int] | None
    ) -> Iterator[EvaluationDocument]:
        """Yield the documents, or those in ``sample`` with their first so many tokens."""
        dataset, lengths = self.dataset, self._vocabulary.lengths
        for index in range(dataset.n_documents) if sample is None else sample:
            ids = dataset.document(index)
            whole = int(lengths[ids].sum())
            n_bytes = dataset.document_bytes(index) or whole
            if sample is not None and sample[index] < len(ids):
                ids = ids[: sample[index]]
                n_bytes = n_bytes * int(lengths[ids].sum()) // max(whole, 1)
            yield EvaluationDocument(
                dataset=self.name,
                index=index,
                source=dataset.source(index) or "",
                id=dataset.document_id(index),
                ids=self._without_ends(ids, protocol),
                n_bytes=n_bytes,
            )

    def _without_ends(
        self, ids: NDArray[np.unsignedinteger], protocol: protocols.Protocol
    ) -> NDArray[np.unsignedinteger]:
        """Return ``ids`` without the tokens that the protocol does not score."""
        bos, eos = self.dataset.bos_id, self.dataset.eos_id
        is_prefix = protocol.boundaries == "separate" and protocol.prefix == "document-end"
        if (
            bos is not None
            and len(ids)
            and ids[0] == bos
            and (is_prefix or protocol.eos == "removed")
        ):
            ids = ids[1:]
        if protocol.eos == "removed" and eos is not None and len(ids) and ids[-1] == eos:
            ids = ids[:-1]
        return ids


class TextDocuments:
    """The documents of raw text, encoded as they are read; memory holds one of them."""

    def __init__(self, corpus: lslm.Corpus, vocabulary: Vocabulary, name: str) -> None:
        self.corpus, self.name = corpus, name
        self._vocabulary = vocabulary
        self._hash = hashlib.sha256(b"lslm-text-1\n")
        self.notes: tuple[str, ...] = ()
        self.n_tokens: int | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the documents that were read last, hexadecimal."""
        return self._hash.hexdigest()

    @property
    def prefix(self) -> int | None:
        """The id that begins documents, else the one that ends them, or None."""
        return self._vocabulary.prefix

    def sample(self, n_tokens: int, seed: int) -> Mapping[int, int] | None:
        """Return the stratified sample, from a first pass over the text; None: everything."""
        if "-" in self.corpus.inputs:
            raise ValueError(
                "a sample needs two passes and standard input has one: write it to a file, or "
                "score everything"
            )
        eos = 0 if self._vocabulary.eos is None else 1
        sources, lengths = [], []
        for document in self._read():
            sources.append(document.source)
            lengths.append(self._vocabulary.tokenizer.count(document.text) + eos)
        return _as_sample(sources, lengths, n_tokens, seed)

    def documents(
        self, protocol: protocols.Protocol, sample: Mapping[int, int] | None
    ) -> Iterator[EvaluationDocument]:
        """Yield the documents, or those in ``sample`` with their first so many tokens."""
        tokenizer, eos = self._vocabulary.tokenizer, self._vocabulary.eos
        end = np.array([eos] if eos is not None and protocol.eos == "scored" else [], np.uint32)
        self._hash = hashlib.sha256(b"lslm-text-1\n")
        for index, document in enumerate(self._read()):
            if sample is not None and index not in sample:
                continue
            raw = document.text.encode()
            self._hash.update(len(raw).to_bytes(8, "little") + raw)
            found = EvaluationDocument(
                dataset=self.name,
                index=index,
                source=document.source,
                id=document.id,
                ids=np.concatenate([tokenizer.encode(document.text), end]),
                n_bytes=document.n_bytes,
                text=document.text,
            )
            limit = None if sample is None else sample[index]
            yield found if limit is None or limit >= len(found.ids) else self._cut(found, limit)

    def _read(self) -> Iterator[lslm.Document]:
        """Yield the documents; then set the notes on what could not be read as it is."""
        documents = iter(self.corpus)
        while True:
            # the last call warns of bad documents, which become notes
            with warnings.catch_warnings(action="ignore"):
                document = next(documents, None)
            if document is None:
                break
            yield document
        reading, notes = documents.reading, []
        if reading.n_bad_documents:
            reasons = ", ".join(f"{name}: {bad.n_documents:,}" for name, bad in reading.bad.items())
            n_bad = counted(reading.n_bad_documents, "document")
            notes.append(f"{self.name}: {n_bad} left out ({reasons})")
        if reading.n_replaced_documents:
            notes.append(
                f"{self.name}: {counted(reading.n_replaced_sequences, 'place')} not in UTF-8, in "
                f"{counted(reading.n_replaced_documents, 'document')}: read as U+FFFD, their bytes "
                f"counted as they came"
            )
        self.notes = tuple(notes)

    def _cut(self, document: EvaluationDocument, limit: int) -> EvaluationDocument:
        """Return ``document`` with its first ``limit`` tokens."""
        sizes = self._vocabulary.lengths[document.ids]
        kept = document.ids[:limit]
        document.n_bytes = document.n_bytes * int(sizes[:limit].sum()) // max(int(sizes.sum()), 1)
        document.ids, document.text = kept, None
        return document
