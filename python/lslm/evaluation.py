"""How well a model predicts text: nats, perplexity and bits per byte over a whole dataset.

**What is scored.** The documents of a dataset are one sequence, in order, as in training. Every
token of it is a target exactly once, end-of-document tokens included (they count 0 bytes). The
first token is predicted from an end-of-document token. Windows of ``sequence_length`` tokens start
``stride`` tokens apart (default: the whole length); in each, the tokens that no earlier window
scored are scored, so with a smaller stride every token has at least ``sequence_length − stride``
tokens of context, except at the very start. Sums are float64 and int64, divided once at the end.

Probabilities are those of the tokenizer's ids: where ``model.vocab_size`` is padded above its
vocabulary, the ids that no token has are left out of the softmax.
"""

from __future__ import annotations

import lzma
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lslm.checkpoint import Run, open_run
from lslm.config import DataConfig, missing_data
from lslm.exceptions import MismatchError
from lslm.limits import check_batch, check_counts
from lslm.loss import IGNORE
from lslm.parallel import autocast, process_group, ranks, resolve_device, resolve_dtype
from lslm.progress import reporting
from lslm.scores import EvaluationResult, bits_per_byte, perplexity

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from lslm import TokenDataset, Tokenizer
    from lslm.model import Transformer
    from lslm.progress import Progress, Reporter

__all__ = [
    "EvaluationResult",
    "bits_per_byte",
    "evaluate",
    "perplexity",
    "score",
    "token_lengths",
    "token_nats",
    "uniform_baseline",
    "unigram_baseline",
    "xz_bits_per_byte",
]


def evaluate(
    run: str | os.PathLike[str] | Run,
    *,
    data: str | os.PathLike[str] | None = None,
    checkpoint: str | int = "best",
    n_tokens: int | None = None,
    sequence_length: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    progress: Progress = None,
) -> EvaluationResult:
    """Return the scores of a run's model on a dataset; this module's text says what is counted.

    ``data`` is a dataset, or a folder with a ``validation`` dataset in it; None: the validation
    set of the run. ``n_tokens`` scores only so many from the start. ``sequence_length`` and
    ``stride`` are at most, and by default, the model's length. ``checkpoint`` is best, last or a
    step; a :class:`lslm.checkpoint.Run` keeps the checkpoint and device it was opened with. The
    result depends on neither ``batch_size`` nor the number of torchrun's processes, up to the
    order of float32 sums. A dataset of another tokenizer is a ``MismatchError``, one without a
    token to score a ``ValueError``, and an id that the vocabulary does not have, as in a damaged
    shard, a ``FormatError`` with file and byte.
    """
    from lslm import TokenDataset

    _check_sizes(n_tokens, sequence_length, stride, batch_size)
    opened = run if isinstance(run, Run) else open_run(run, checkpoint, resolve_device(device))
    device = str(next(opened.model.parameters()).device)
    path = _own_validation(opened) if data is None else _validation_in(data)
    dataset = TokenDataset(path)
    check_tokenizer(dataset, opened.tokenizer, path)
    with (
        process_group(device) as group,
        autocast(device, resolve_dtype(dtype, device)),
        reporting(progress if group.first else False) as reporter,
    ):
        return score(
            opened.model,
            dataset,
            token_lengths(opened.tokenizer),
            n_tokens=n_tokens,
            sequence_length=sequence_length,
            stride=stride,
            batch_size=batch_size,
            reporter=reporter,
        )


def _validation_in(folder: str | os.PathLike[str]) -> Path:
    """Return the dataset ``validation`` in ``folder``, or else ``folder``."""
    return DataConfig(path=str(folder)).validation_path() or Path(folder)


def _own_validation(run: Run) -> Path:
    """Return the validation set of ``run``; raise an error that says what is missing."""
    where = run.config.data
    path = where.validation_path()
    if path is not None and path.exists():
        return path
    missing = where.validation or where.path
    if Path(missing).exists():
        if run.validation_dataset is None:
            raise ValueError(f"{run.path} was trained without validation data: give data=")
        missing = str(Path(missing, "validation"))
    raise missing_data(missing, run.config, run.path, "validation data", "data=")


def _check_sizes(
    n_tokens: int | None, sequence_length: int | None, stride: int | None, batch_size: int | None
) -> None:
    """Raise ``ValueError`` for a size that scores nothing."""
    check_counts(
        n_tokens=n_tokens, sequence_length=sequence_length, stride=stride, batch_size=batch_size
    )


def check_tokenizer(dataset: TokenDataset, tokenizer: Tokenizer, path: str | Path) -> None:
    """Raise ``MismatchError`` unless ``dataset``, which is at ``path``, is of ``tokenizer``."""
    made_with = dataset.tokenizer_fingerprint
    if made_with is not None and made_with != tokenizer.fingerprint:
        raise MismatchError(
            f"{path} was made with another tokenizer ({made_with[:12]}…) than the model's "
            f"({tokenizer.fingerprint[:12]}…): tokenize the text with the run's tokenizer.json"
        )


def token_lengths(tokenizer: Tokenizer) -> NDArray[np.int64]:
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


def score(
    model: Transformer,
    dataset: TokenDataset,
    lengths: NDArray[np.int64],
    *,
    n_tokens: int | None = None,
    sequence_length: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Return the scores of ``model`` on the first ``n_tokens`` of ``dataset`` (None: all).

    ``lengths`` are those of :func:`token_lengths`. Under torchrun each process scores a part, and
    all of them return the sum. Nothing to score is a ``ValueError`` that names the dataset.
    """
    _check_sizes(n_tokens, sequence_length, stride, batch_size)
    n = min(n_tokens or dataset.n_tokens, dataset.n_tokens)
    group, own_nats = ranks(), 0.0
    counts = np.zeros(2, np.int64)  # targets, bytes
    windows = token_nats(
        model,
        dataset,
        n,
        sequence_length=sequence_length,
        stride=stride,
        batch_size=batch_size,
        n_ids=len(lengths),
    )
    for targets, nats in windows:
        counted = targets != IGNORE
        own_nats += float(nats.sum(dtype=np.float64))
        counts += (counted.sum(), lengths[targets[counted]].sum())
        if reporter is not None:
            reporter.update("evaluate", min(n, int(counts[0]) * group.world_size), n, "tokens")
    nats_sum = group.sum(torch.tensor(own_nats, dtype=torch.float64))
    sums = group.sum(torch.from_numpy(counts))
    if not sums[0]:
        raise ValueError(
            f"{dataset.path} has {dataset.n_tokens:,} tokens, and none of them can be scored: "
            f"evaluate another dataset, or tokenize with more held-out text"
        )
    return EvaluationResult(nats=nats_sum.item(), n_tokens=int(sums[0]), n_bytes=int(sums[1]))


@torch.no_grad()
def token_nats(
    model: Transformer,
    dataset: TokenDataset,
    n_tokens: int,
    *,
    sequence_length: int | None = None,
    stride: int | None = None,
    batch_size: int | None = None,
    n_ids: int | None = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield targets and their −log p in nats, (B, T) each, of the windows of this process.

    Those of all processes hold each of the first ``n_tokens`` once; positions that are not scored
    have target IGNORE and 0 nats. ``n_ids`` is that of the model's ``forward``.
    """
    T = model.config.sequence_length if sequence_length is None else sequence_length
    if not 1 <= T <= model.config.sequence_length:
        raise ValueError(
            f"sequence_length = {T}: must be from 1 to the model's, {model.config.sequence_length}"
        )
    stride = T if stride is None else stride
    if not 1 <= stride <= T:
        raise ValueError(f"stride = {stride}: must be from 1 to the sequence length, {T}")
    parameter = next(model.parameters())
    if batch_size is None:
        batch_size = max(1, (65_536 if parameter.is_cuda else 4_096) // T)
    check_batch(batch_size, T)
    starts = range(0, n_tokens, stride)
    group, training = ranks(), model.training
    model.eval()
    try:
        for first in range(group.rank * batch_size, len(starts), group.world_size * batch_size):
            rows = [
                _window(dataset, scored, min(scored + stride, n_tokens), T)
                for scored in starts[first : first + batch_size]
            ]
            inputs, targets = (np.stack(arrays) for arrays in zip(*rows, strict=True))
            ids, wanted = (torch.from_numpy(a).to(parameter.device) for a in (inputs, targets))
            yield targets, _nats(model, ids, wanted, n_ids)
    finally:
        model.train(training)


def _nats(
    model: Transformer, inputs: Tensor, targets: Tensor, n_ids: int | None
) -> NDArray[np.float32]:
    """Return −log p of ``targets`` (B, T) in nats."""
    nats: Tensor = model(inputs, targets, reduction="none", n_ids=n_ids)
    return nats.float().cpu().numpy()


def _window(
    dataset: TokenDataset, scored: int, stop: int, T: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return inputs and targets (T) of the window that ends at token ``stop``.

    Targets from token ``scored`` on are scored, the others are IGNORE.
    """
    inputs, targets = np.zeros(T, np.int64), np.full(T, IGNORE, np.int64)
    begin = max(0, stop - T)
    window = dataset.tokens(max(0, begin - 1), stop).astype(np.int64)
    eos = dataset.eos_id
    if begin == 0:  # the first token follows the end of a document
        window = np.concatenate([[eos if eos is not None else 0], window])
    inputs[: stop - begin] = window[:-1]
    targets[scored - begin : stop - begin] = window[1 + scored - begin :]
    if scored == 0 and eos is None:  # without end-of-document tokens it has no context
        targets[0] = IGNORE
    return inputs, targets


def uniform_baseline(dataset: TokenDataset, tokenizer: Tokenizer) -> EvaluationResult:
    """Return the scores of the model that gives each of the V tokens probability 1/V."""
    counts = _counts(dataset, tokenizer.vocab_size)
    return _baseline(counts, np.full(len(counts), math.log(len(counts))), tokenizer)


def unigram_baseline(
    train: TokenDataset, dataset: TokenDataset, tokenizer: Tokenizer
) -> EvaluationResult:
    """Return the scores on ``dataset`` of p(token) = (count in ``train`` + 1) / (N + V).

    N is the number of tokens in ``train``, V the size of the vocabulary: Laplace smoothing.
    """
    seen = _counts(train, tokenizer.vocab_size) + 1
    counts = _counts(dataset, tokenizer.vocab_size)
    return _baseline(counts, np.log(seen.sum()) - np.log(seen), tokenizer)


def xz_bits_per_byte(dataset: TokenDataset, tokenizer: Tokenizer) -> float:
    """Return the bits per byte of ``xz -9`` on the text of ``dataset``, as one stream."""
    lengths = token_lengths(tokenizer)
    compressor, n_bytes, compressed = lzma.LZMACompressor(preset=9), 0, 0
    for ids in _chunks(dataset):
        text = tokenizer.decode_bytes(ids[lengths[ids] > 0])
        n_bytes += len(text)
        compressed += len(compressor.compress(text))
    return 8 * (compressed + len(compressor.flush())) / n_bytes if n_bytes else math.nan


def _baseline(
    counts: NDArray[np.int64], nats: NDArray[np.float64], tokenizer: Tokenizer
) -> EvaluationResult:
    """Return the totals where id i occurs ``counts[i]`` times and costs ``nats[i]`` each time."""
    n_bytes = int(counts @ token_lengths(tokenizer))
    return EvaluationResult(nats=float(counts @ nats), n_tokens=int(counts.sum()), n_bytes=n_bytes)


def _counts(dataset: TokenDataset, vocab_size: int) -> NDArray[np.int64]:
    """Return how often each id occurs (V)."""
    counts = np.zeros(vocab_size, np.int64)
    for ids in _chunks(dataset):
        counts += np.bincount(ids, minlength=vocab_size)
    return counts


def _chunks(
    dataset: TokenDataset, size: int = 1 << 22
) -> Iterator[NDArray[np.uint16] | NDArray[np.uint32]]:
    """Yield the tokens of ``dataset``, ``size`` at a time."""
    for start in range(0, dataset.n_tokens, size):
        yield dataset.tokens(start, min(start + size, dataset.n_tokens))
