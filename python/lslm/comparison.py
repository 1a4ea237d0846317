"""Two models on the same text: the paired difference, its confidence interval, and a verdict.

Documents are the pairs. With the nats x_d and y_d that the models need for document d of b_d bytes,
the difference is Σ (x_d − y_d) / (ln 2 · Σ b_d) bits per byte, and its error that of a ratio of
sums over documents (:mod:`lslm.scores`). What makes a document hard does so for both models and
cancels, so the error is much smaller than that of either.

Models of one tokenizer read the same windows, and their distributions are compared token by token.
Models of different tokenizers are compared in bits per byte of documents that are the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping  # noqa: TC003  (Result reads the types of its fields)
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lslm.evaluation import (
    Subject,
    checked_window,
    progress_of,
    samples_of,
)
from lslm.evaluation_inputs import open_data, own_validation
from lslm.exceptions import MismatchError
from lslm.limits import check_counts
from lslm.parallel import autocast, process_group
from lslm.progress import reporting
from lslm.protocol import Protocol, parse_protocol
from lslm.results import Result, counted
from lslm.scores import DocumentScores, EvaluationResult, Sums, Totals
from lslm.scoring import DocumentScorer, PairColumns, PairScorer

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from lslm.checkpoint import Run
    from lslm.evaluation_data import EvaluationData
    from lslm.progress import Progress

__all__ = ["ComparisonResult", "Difference", "compare"]

WHOLE = 2**62
"""Tokens of a document in a sample that does not cut any."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference(Result):
    """Bits per byte of the first model less those of the second; below 0 the first is better."""

    bits_per_byte: float
    error: float | None
    """Standard error, paired and clustered by document; None with fewer than two."""
    low: float | None
    """The 95 % confidence interval begins here, by Student's t."""
    high: float | None
    """It ends here."""
    n_documents: int

    @property
    def is_noise(self) -> bool:
        """Whether chance alone may be the reason: the interval has 0 in it, or there is none."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high

    def verdict(self, first: str = "the first", second: str = "the second") -> str:
        """Return in words what the difference means."""
        if self.low is None or self.high is None or self.error is None:
            return "one document only: chance cannot be told; give more documents"
        if self.error == 0 and self.bits_per_byte == 0:
            return "no difference: both give every document the same probability"
        size, shown = abs(self.bits_per_byte), f"95 % interval {self.low:+.4f} to {self.high:+.4f}"
        if self.is_noise:
            needed = ""
            if size:
                factor = (student_quantile(self.n_documents - 1) * self.error / size) ** 2
                n = math.ceil(self.n_documents * factor)
                needed = (
                    f"; to tell one of this size takes about {counted(n, 'document')} like this"
                )
            return f"noise: the difference of {size:.4f} is within chance ({shown}){needed}"
        better = first if self.bits_per_byte < 0 else second
        return f"{better} is better by {size:.4f} bits per byte ({shown})"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, ``is_noise`` and the verdict."""
        return super().as_dict() | {"is_noise": self.is_noise, "verdict": self.verdict()}

    def summary(self) -> dict[str, str]:
        """Return difference, documents and verdict."""
        return {
            "difference": f"{self.bits_per_byte:+.4f} bits per byte",
            "documents": f"{self.n_documents:,}",
            "verdict": self.verdict(),
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class ComparisonResult(Result):
    """Two models on the same documents, from :func:`compare`."""

    names: tuple[str, ...]
    """What the first and the second model are called."""
    first: EvaluationResult
    second: EvaluationResult
    difference: Difference
    by_source: Mapping[str, Difference] = field(default_factory=dict)
    divergence: float | None = None
    """KL(first ‖ second), nats per token; None for different tokenizers."""
    divergence_error: float | None = None
    """Its standard error, clustered by document."""
    same_top: float | None = None
    """Share of tokens at which both find the same id the most likely."""
    same_top_error: float | None = None
    """Its standard error, clustered by document."""

    @property
    def verdict(self) -> str:
        """In words, what the difference means."""
        return self.difference.verdict(*self.names)

    def as_dict(self) -> dict[str, Any]:
        """Return all fields and the verdict."""
        verdict = {"verdict": self.verdict}
        return super().as_dict() | {"difference": self.difference.as_dict() | verdict}

    def summary(self) -> dict[str, str]:
        """Return both models' figures, the difference, and the verdict."""
        shown = {}
        for name, result in zip(self.names, (self.first, self.second), strict=True):
            values = result.summary()
            shown[name] = (
                f"{values['bits per byte']} bits per byte, perplexity " + (values["perplexity"])
            )
        shown |= {"difference": f"{self.difference.bits_per_byte:+.4f} bits per byte"}
        if self.divergence is not None and self.same_top is not None:
            shown["KL divergence"] = f"{self.divergence:.4f} nats per token"
            shown["same most likely token"] = f"{self.same_top:.1%}"
        shown["documents"] = f"{self.difference.n_documents:,}"
        protocol = self.first.summary().get("protocol")
        return shown | ({"protocol": protocol} if protocol else {}) | {"verdict": self.verdict}


def compare(
    first: str | os.PathLike[str] | Run,
    second: str | os.PathLike[str] | Run,
    *,
    data: Any = None,
    protocol: str | Protocol = "disjoint",
    checkpoint: str | int = "best",
    n_tokens: int | None = None,
    sequence_length: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    progress: Progress = None,
) -> ComparisonResult:
    """Return how two runs' models differ on the same documents.

    The arguments are those of :func:`lslm.evaluate`, for both. Without ``data``, models of one
    tokenizer are compared on the validation set of the first, and models of different tokenizers
    each on its own, if these hold the same texts. The window is the shorter of both models' lengths
    unless ``sequence_length`` is given. Raises ``MismatchError`` for documents that are not the
    same bytes, and ``ValueError`` for a protocol that scores parts of documents (``hf-stride``,
    ``llama.cpp``) where the tokenizers differ.
    """
    check_counts(n_tokens=n_tokens, sequence_length=sequence_length, batch_size=batch_size)
    subjects = [Subject.open(run, checkpoint, device, dtype) for run in (first, second)]
    same = len({subject.run.tokenizer.fingerprint for subject in subjects}) == 1
    lengths = [subject.model.config.sequence_length for subject in subjects]
    window = min(lengths) if sequence_length is None else sequence_length
    windows = [checked_window(subject.model, window, batch_size) for subject in subjects]
    chosen = parse_protocol(protocol, windows[0])
    if not same and chosen.prefix == "none":
        raise ValueError(
            f"protocol {chosen.name} scores other bytes with each tokenizer: compare these models "
            f"by disjoint, stride:N, document or lm-eval"
        )
    sets = _aligned_data(subjects, data, same=same)
    samples = samples_of(sets[0], n_tokens)
    expected = n_tokens or sum(one.n_tokens or 0 for one in sets[0]) or None
    with (
        process_group(subjects[0].device) as group,
        autocast(subjects[0].device, subjects[0].dtype),
        reporting(progress if group.first else False) as reporter,
    ):
        advance = progress_of(reporter, expected)
        pairs = _Pairs(subjects, chosen, batch_size, advance)
        tally = _Tally()
        for one, other, sample in zip(*sets, samples, strict=True):
            for pair in pairs.of(one, other, sample, same=same):
                tally.add(*pair)
    sampled = {"n_tokens": n_tokens, "seed": 0} if any(s is not None for s in samples) else None
    return tally.result(subjects, sets, chosen, sampled, pairs.n_unscored)


def _aligned_data(
    subjects: Sequence[Subject], data: Any, *, same: bool
) -> tuple[list[EvaluationData], list[EvaluationData]]:
    """Return the data of both models, the same texts in the same order."""
    given = data if data is not None or not same else own_validation(subjects[0].run)
    try:
        first, second = (open_data(one.run, given, one.vocabulary) for one in subjects)
    except MismatchError as error:
        if same:
            raise
        raise MismatchError(
            f"{error}; to compare models of different tokenizers, give raw text"
        ) from None
    return first, second


class _Pairs:
    """Runs both models and yields the scores of each document by both."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        protocol: Protocol,
        batch_size: int | None,
        advance: Callable[[int], object],
    ) -> None:
        vocabulary = subjects[0].vocabulary
        models = (subjects[0].model, subjects[1].model)
        self._joint = PairScorer(
            models, vocabulary, protocol, batch_size=batch_size, advance=advance
        )
        self._scorers = [
            DocumentScorer(
                subject.model, subject.vocabulary, protocol, batch_size=batch_size, advance=each
            )
            for subject, each in zip(subjects, (advance, None), strict=True)
        ]

    @property
    def n_unscored(self) -> int:
        """Tokens that the protocol does not score, of the first model's."""
        return self._joint.n_unscored + self._scorers[0].n_unscored

    def of(
        self,
        first: EvaluationData,
        second: EvaluationData,
        sample: Mapping[int, int] | None,
        *,
        same: bool,
    ) -> Iterator[tuple[DocumentScores, DocumentScores, PairColumns | None]]:
        """Yield the scores of each document by both models."""
        if same:
            for scores, columns in self._joint.pairs(first, sample):
                yield scores, replace(scores, nats=columns.nats), columns
            return
        whole = None if sample is None else dict.fromkeys(sample, WHOLE)
        ours = self._scorers[0].scores(first, whole)
        theirs = self._scorers[1].scores(second, whole)
        while True:
            one, other = next(ours, None), next(theirs, None)
            if one is None and other is None:
                return
            if one is None or other is None or not _is_same_text(one, other):
                raise MismatchError(
                    f"{first.name} and {second.name} are not the same documents: "
                    f"{_described(one)} against {_described(other)}; give raw text to compare on"
                )
            yield one, other, None


def _is_same_text(one: DocumentScores, other: DocumentScores) -> bool:
    """Return whether two documents have the same number and the same bytes."""
    return (one.index, one.n_bytes) == (other.index, other.n_bytes)


def _described(document: DocumentScores | None) -> str:
    """Return number and size of a document."""
    if document is None:
        return "the end"
    return f"document {document.index} of {document.n_bytes:,} bytes"


class _Tally:
    """Adds up pairs of documents."""

    def __init__(self) -> None:
        self._totals = (Totals(), Totals())
        self._all, self._by_source = Sums(), dict[str, Sums]()
        self._divergence, self._same_top = Sums(), Sums()
        self._has_columns = False

    def add(self, one: DocumentScores, other: DocumentScores, columns: PairColumns | None) -> None:
        """Add the scores of one document by both models."""
        for totals, document in zip(self._totals, (one, other), strict=True):
            totals.add(document)
        difference = replace(one, nats=one.nats - other.nats)
        self._all.add(difference)
        if one.source:
            self._by_source.setdefault(one.source, Sums()).add(difference)
        if columns is not None:
            self._has_columns = True
            self._divergence.add(replace(one, nats=columns.divergence))
            self._same_top.add(replace(one, nats=columns.same_top))

    def result(
        self,
        subjects: Sequence[Subject],
        sets: Sequence[Sequence[EvaluationData]],
        protocol: Protocol,
        sample: Mapping[str, int | None] | None,
        n_unscored: int,
    ) -> ComparisonResult:
        """Return the comparison of everything that was added."""
        if not self._all.n_tokens:
            names = ", ".join(one.name for one in sets[0])
            raise ValueError(f"{names} has no token to compare on: give other data")
        results = [
            totals.result(
                protocol=protocol.as_dict(),
                dtype=subject.dtype,
                sample=sample,
                n_unscored=n_unscored,
                fingerprints=subject.fingerprints()
                | {"protocol": protocol.fingerprint}
                | {f"data {one.name}": one.fingerprint for one in data},
                notes=tuple(note for one in data for note in one.notes),
            )
            for totals, subject, data in zip(self._totals, subjects, sets, strict=True)
        ]
        columns: dict[str, Any] = {}
        if self._has_columns:
            for name, sums in (("divergence", self._divergence), ("same_top", self._same_top)):
                columns[name] = sums.nats / sums.n_tokens
                columns[f"{name}_error"] = sums.values()["loss_error"]
        return ComparisonResult(
            names=_names(subjects),
            first=results[0],
            second=results[1],
            difference=_difference(self._all),
            by_source={name: _difference(s) for name, s in sorted(self._by_source.items())},
            **columns,
        )


def _names(subjects: Sequence[Subject]) -> tuple[str, ...]:
    """Return a name for each model: its run, with the step where the run is the same."""
    names = [str(subject.run.path) for subject in subjects]
    if len(set(names)) == 1:
        names = [f"{subject.run.path} step {subject.run.step}" for subject in subjects]
    return tuple(names)


def _difference(sums: Sums) -> Difference:
    """Return the difference whose nats ``sums`` has."""
    value = sums.nats / math.log(2) / sums.n_bytes if sums.n_bytes else math.nan
    error = sums.values()["bits_per_byte_error"]
    margin = None if error is None else student_quantile(sums.n_documents - 1) * error
    return Difference(
        bits_per_byte=value,
        error=error,
        low=None if margin is None else value - margin,
        high=None if margin is None else value + margin,
        n_documents=sums.n_documents,
    )


def student_quantile(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t with ``degrees`` of freedom.

    Exact for 1 and 2; else from the normal quantile by Abramowitz and Stegun 26.7.5, within 0.3 %.
    """
    if degrees == 1:
        return 12.706204736
    if degrees == 2:
        return 4.302652730
    z, v = 1.959963985, degrees
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / v ** (k + 1) for k, term in enumerate(terms))
