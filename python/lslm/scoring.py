"""Runs a model over windows: nats, rank, entropy and top of every target, in the text's order.

    documents → WindowPlanner → pools of windows → batches of similar length → token_scores
              → rows in order → sums of each document → the caller, and a score table

A pool is some batches of windows. Within it, windows are sorted by length, so that few positions
are padding; the head is applied to scored positions only. Under torchrun, the processes take the
batches in turn, and all of them get all rows: what is summed does not depend on their number.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from lslm.loss import divergence, token_scores
from lslm.parallel import ranks
from lslm.scores import DocumentScores
from lslm.windows import WindowPlanner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from lslm.evaluation_data import EvaluationData, EvaluationDocument, Vocabulary
    from lslm.model import Transformer
    from lslm.protocol import Protocol
    from lslm.score_table import ScoreWriter
    from lslm.windows import Window

__all__ = [
    "DocumentScorer",
    "PairColumns",
    "PairScorer",
    "Rows",
    "batch_tokens",
    "planned_windows",
    "score_windows",
]

POOL_BATCHES = 8
"""Batches of a pool: enough that windows of similar length are found, few enough for memory."""

CPU_BATCH_TOKENS, CUDA_BATCH_TOKENS = 4_096, 65_536
"""Positions of a batch by default: a CPU's cache; enough to keep a GPU busy."""


class Rows(NamedTuple):
    """The scored targets of some windows, in order."""

    id: NDArray[np.int64]
    nats: NDArray[np.float32]
    rank: NDArray[np.int64]
    entropy: NDArray[np.float32]
    top: NDArray[np.float32]
    others: NDArray[np.float64]
    """What a comparison has besides (K, N); K = 0 for one model."""


def batch_tokens(model: Transformer, batch_size: int | None, window: int) -> int:
    """Return the positions of a batch: ``batch_size`` windows, or what suits the device."""
    if batch_size is not None:
        return batch_size * window
    is_cuda = next(model.parameters()).is_cuda
    return max(window, CUDA_BATCH_TOKENS if is_cuda else CPU_BATCH_TOKENS)


class DocumentScorer:
    """Scores the documents of data under a protocol.

    ``writer`` gets the rows of all tokens and documents; ``advance`` is called with the number of
    targets scored since its last call.
    """

    def __init__(
        self,
        model: Transformer,
        vocabulary: Vocabulary,
        protocol: Protocol,
        *,
        batch_size: int | None = None,
        writer: ScoreWriter | None = None,
        advance: Callable[[int], object] | None = None,
    ) -> None:
        self._models: tuple[Transformer, ...] = (model,)
        self._vocabulary, self._protocol = vocabulary, protocol
        self._writer, self._advance = writer, advance
        self._batch_tokens = batch_tokens(model, batch_size, protocol.window)
        self.n_unscored = 0
        """Tokens of the documents so far that the protocol does not score."""

    def scores(
        self, data: EvaluationData, sample: Mapping[int, int] | None = None
    ) -> Iterator[DocumentScores]:
        """Yield the scores of each document of ``data``, or ``sample``, that has a target."""
        for scores, _ in self._documents(data, sample):
            yield scores

    def _documents(
        self, data: EvaluationData, sample: Mapping[int, int] | None
    ) -> Iterator[tuple[DocumentScores, NDArray[np.float64]]]:
        """Yield the scores of each document, and the sums over it of ``Rows.others``."""
        ledger = _Ledger(self._vocabulary, self._protocol, self._writer)
        bos = self._vocabulary.bos
        windows = planned_windows(data, sample, self._protocol, ledger.open, bos=bos)
        n_ids = len(self._vocabulary.lengths)
        limit = self._batch_tokens
        for pool, rows in score_windows(self._models, windows, n_ids=n_ids, batch_tokens=limit):
            yield from ledger.add(pool, rows)
            if self._advance is not None:
                self._advance(len(rows.id))
        yield from ledger.close()
        self.n_unscored += ledger.n_unscored


class PairColumns(NamedTuple):
    """What a comparison of two models has of each token, after the scores of the first."""

    nats: float
    """−log p of the second model."""
    divergence: float
    """KL(first ‖ second) of the two distributions, in nats."""
    same_top: float
    """1 where both find the same id the most likely, else 0."""


class PairScorer(DocumentScorer):
    """Scores documents with two models of one tokenizer, in one pass over the text."""

    def __init__(
        self,
        models: tuple[Transformer, Transformer],
        vocabulary: Vocabulary,
        protocol: Protocol,
        *,
        batch_size: int | None = None,
        advance: Callable[[int], object] | None = None,
    ) -> None:
        super().__init__(models[0], vocabulary, protocol, batch_size=batch_size, advance=advance)
        self._models = models

    def pairs(
        self, data: EvaluationData, sample: Mapping[int, int] | None = None
    ) -> Iterator[tuple[DocumentScores, PairColumns]]:
        """Yield the first model's scores of each document, and the sums of the other columns."""
        for scores, others in self._documents(data, sample):
            yield scores, PairColumns(*others.tolist())


def planned_windows(
    data: EvaluationData,
    sample: Mapping[int, int] | None,
    protocol: Protocol,
    opened: Callable[[EvaluationDocument], object],
    *,
    bos: int | None = None,
) -> Iterator[Window]:
    """Yield the windows of ``data``; ``opened`` gets each document before a window reaches it."""
    planner = WindowPlanner(protocol, prefix=data.prefix, bos=bos)
    for document in data.documents(protocol, sample):
        opened(document)
        yield from planner.push(document.ids)
        if protocol.boundaries == "separate":
            yield from planner.finish()
    yield from planner.finish()


@torch.no_grad()
def score_windows(
    models: Sequence[Transformer], windows: Iterable[Window], *, n_ids: int, batch_tokens: int
) -> Iterator[tuple[list[Window], Rows]]:
    """Yield pools of ``windows`` with the rows of their scored targets, in order.

    ``models`` are one, or two to compare. Only the first ``n_ids`` ids have a share in the softmax.
    ``batch_tokens`` limits the positions of a batch, padding included. Raises
    ``FloatingPointError`` for a score that is not a number.
    """
    training = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        for pool in _pools(windows, POOL_BATCHES * batch_tokens):
            yield pool, _score_pool(models, pool, n_ids, batch_tokens)
    finally:
        for model, mode in zip(models, training, strict=True):
            model.train(mode)


def _pools(windows: Iterable[Window], limit: int) -> Iterator[list[Window]]:
    """Yield lists of windows with about ``limit`` positions in all."""
    pool: list[Window] = []
    size = 0
    for window in windows:
        pool.append(window)
        size += len(window.inputs)
        if size >= limit:
            yield pool
            pool, size = [], 0
    if pool:
        yield pool


def _score_pool(
    models: Sequence[Transformer], pool: list[Window], n_ids: int, batch_tokens: int
) -> Rows:
    """Return the rows of ``pool``."""
    counts = np.array([len(window.targets) - window.first for window in pool])
    starts = np.cumsum(counts) - counts
    n_columns = 4 if len(models) == 1 else 4 + len(PairColumns._fields)
    scores = torch.zeros(n_columns, int(counts.sum()), dtype=torch.float64)
    group = ranks()
    for number, batch in enumerate(batches_by_length(pool, batch_tokens)):
        if number % group.world_size == group.rank:
            found = _score_batch(models, [pool[i] for i in batch], n_ids).double().cpu()
            rows = np.concatenate([np.arange(starts[i], starts[i] + counts[i]) for i in batch])
            scores[:, torch.from_numpy(rows)] = found
    nats, rank, entropy, top, *others = group.sum(scores).numpy()
    targets = np.concatenate([window.targets[window.first :] for window in pool])
    if not np.isfinite(nats).all():
        row = int(np.flatnonzero(~np.isfinite(nats))[0])
        raise FloatingPointError(
            f"the model's loss is {nats[row]} at a token with id {targets[row]}: its weights or "
            f"activations are not finite; evaluate another checkpoint"
        )
    narrow = nats.astype(np.float32)
    more = np.stack(others) if others else np.empty((0, len(nats)))
    more[:1] = more[:1].astype(np.float32)  # nats of the second model, as precise as the first's
    entropy, top = entropy.astype(np.float32), top.astype(np.float32)
    return Rows(targets, narrow, rank.astype(np.int64), entropy, top, more)


def batches_by_length(pool: list[Window], batch_tokens: int) -> Iterator[list[int]]:
    """Yield indices into ``pool``: batches of similar length, the longest windows first."""
    order = sorted(range(len(pool)), key=lambda i: -len(pool[i].inputs))
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // len(pool[order[start]].inputs))
        yield order[start : start + rows]
        start += rows


def padded(windows: list[Window], device: torch.device) -> torch.Tensor:
    """Return the inputs of ``windows`` as one tensor (B, T), with zeros after the shorter ones."""
    T = max(len(window.inputs) for window in windows)
    inputs = np.zeros((len(windows), T), np.int64)
    for row, window in zip(inputs, windows, strict=True):
        row[: len(window.inputs)] = window.inputs
    return torch.from_numpy(inputs).to(device)


def scored_positions(windows: list[Window], T: int) -> NDArray[np.int64]:
    """Return where the scored targets of ``windows`` are in (B, T), flattened."""
    parts = [
        np.arange(row * T + window.first, row * T + len(window.targets))
        for row, window in enumerate(windows)
    ]
    return np.concatenate(parts)


def _score_batch(models: Sequence[Transformer], windows: list[Window], n_ids: int) -> torch.Tensor:
    """Return nats, rank, entropy and top (4, N) of the scored targets of ``windows``, in order.

    Of two models, those of the first, and then the rows of PairColumns.
    """
    device = next(models[0].parameters()).device
    inputs = padded(windows, device)
    positions = torch.from_numpy(scored_positions(windows, inputs.size(1))).to(device)
    targets = np.concatenate([window.targets[window.first :] for window in windows])
    wanted, hidden = torch.from_numpy(targets).to(device), []
    for model in models:
        states = model.hidden(inputs).flatten(0, 1)
        hidden.append(states[positions] if len(positions) < len(states) else states)
    weights = [model.head_weight[:n_ids] for model in models]
    first = token_scores(hidden[0], weights[0], wanted)
    if len(models) == 1:
        return first
    second = token_scores(hidden[1], weights[1], wanted)
    return torch.cat([first, second[:1], divergence(hidden[0], hidden[1], weights[0], weights[1])])


class _Ledger:
    """Assigns rows to documents, and writes them into a score table."""

    def __init__(
        self, vocabulary: Vocabulary, protocol: Protocol, writer: ScoreWriter | None
    ) -> None:
        self._vocabulary, self._words, self._writer = vocabulary, protocol.words, writer
        self._open: deque[tuple[int, EvaluationDocument]] = deque()
        self._end, self._n_rows = 0, 0 if writer is None else writer.n_documents
        self.n_unscored = 0

    def open(self, document: EvaluationDocument) -> None:
        """Add a document that the next windows may reach."""
        self._open.append((self._end, document))
        self._end += len(document.ids)

    def add(
        self, windows: list[Window], rows: Rows
    ) -> Iterator[tuple[DocumentScores, NDArray[np.float64]]]:
        """Take the rows of ``windows``; yield the documents that no later window can reach."""
        spans, starts = self._spans(windows)
        sums = np.add.reduceat(rows.nats.astype(np.float64), starts)
        others = np.add.reduceat(rows.others, starts, axis=1).T
        for (document, start, stop, _), nats, more in zip(spans, sums, others, strict=True):
            document.add(start, stop, float(nats), more)
        if self._writer is not None:
            self._write(spans, starts, rows)
        last = windows[-1]
        reached = last.position + len(last.targets) - last.first
        while self._open and self._open[0][0] + len(self._open[0][1].ids) <= reached:
            yield from self._finished(self._open.popleft()[1])

    def close(self) -> Iterator[tuple[DocumentScores, NDArray[np.float64]]]:
        """Yield the documents that are left."""
        while self._open:
            yield from self._finished(self._open.popleft()[1])

    def _spans(
        self, windows: list[Window]
    ) -> tuple[list[tuple[EvaluationDocument, int, int, int]], list[int]]:
        """Return (document, start, stop, context) for each run of rows, and each run's first row.

        A run is in one window and one document.
        """
        spans, starts, row, at = [], [], 0, 0
        opened = list(self._open)
        for window in windows:
            position, context = window.position, window.first + 1
            stop = position + len(window.targets) - window.first
            while position < stop:
                begin, document = opened[at]
                end = begin + len(document.ids)
                if position >= end:
                    at += 1
                    continue
                size = min(stop, end) - position
                spans.append((document, position - begin, position - begin + size, context))
                starts.append(row)
                row, position, context = row + size, position + size, context + size
        return spans, starts

    def _write(
        self,
        spans: list[tuple[EvaluationDocument, int, int, int]],
        starts: list[int],
        rows: Rows,
    ) -> None:
        """Append ``rows`` and their spans to the score table."""
        assert self._writer is not None
        for document, *_ in spans:
            if document.row is None:
                document.row, self._n_rows = self._n_rows, self._n_rows + 1
        first = self._writer.n_tokens
        self._writer.add_tokens(**{n: c for n, c in rows._asdict().items() if n != "others"})
        self._writer.add_spans(
            row=np.array(starts, np.int64) + first,
            document=np.array([span[0].row for span in spans], np.int64),
            position=np.array([span[1] for span in spans], np.int64),
            context=np.array([span[3] for span in spans], np.int64),
        )

    def _finished(
        self, document: EvaluationDocument
    ) -> Iterator[tuple[DocumentScores, NDArray[np.float64]]]:
        """Yield the scores of ``document``, unless nothing of it was scored."""
        self.n_unscored += len(document.ids) - document.n_scored
        if not document.spans:
            return
        scores = DocumentScores(
            dataset=document.dataset,
            index=document.index,
            source=document.source,
            id=document.id,
            n_tokens=document.n_scored,
            nats=document.nats,
            **document.count(self._vocabulary, self._words),
        )
        if self._writer is not None:
            self._writer.add_document(scores)
        yield scores, np.asarray(document.others)
