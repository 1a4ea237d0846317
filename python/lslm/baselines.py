"""What a dataset costs without a model: uniform and unigram probabilities, and a compressor."""

from __future__ import annotations

import lzma
import math
from typing import TYPE_CHECKING

import numpy as np

from lslm.evaluation_data import token_lengths
from lslm.scores import EvaluationResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lslm import TokenDataset, Tokenizer

__all__ = ["uniform_baseline", "unigram_baseline", "xz_bits_per_byte"]


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
