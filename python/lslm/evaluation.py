"""How well a model predicts text: nats, perplexity and bits per byte over a whole dataset.

**What is scored.** The documents of a dataset are one sequence, in order, as in training. Every
token of it is a target exactly once, the end-of-document tokens too (they count 0 bytes). The first
token is predicted from an end-of-document token. Windows of ``sequence_length`` tokens follow each
other by ``stride`` (default: the whole length); of each, the tokens that the one before did not
score are scored, so with a smaller stride every token but the first has at least
``sequence_length − stride`` tokens of context. Sums are float64 and int64, divided once at the end.
"""

from __future__ import annotations

import lzma
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lslm import progress as progress_module
from lslm.checkpoint import Run, open_run
from lslm.config import DataConfig
from lslm.exceptions import MismatchError
from lslm.loss import IGNORE
from lslm.parallel import autocast, process_group, ranks, resolve_device, resolve_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from lslm import TokenDataset, Tokenizer
    from lslm.model import Transformer
    from lslm.progress import Reporter

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


def perplexity(nats: float, tokens: int) -> float:
    """P = exp(−(1/N) Σ log p(x_i | x_<i)): ``nats`` is −Σ log p, ``tokens`` is N.

    A model that gives each of V tokens the same probability has perplexity V.
    """
    return math.exp(min(nats / tokens, 700.0)) if tokens else math.nan


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """−Σ log₂ p per byte of text: comparable between models of different vocabularies."""
    return nats / math.log(2) / n_bytes if n_bytes else math.nan


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The totals of an evaluation, and what follows from them."""

    nats: float
    """−Σ log p over all targets."""
    tokens: int
    """Number of targets."""
    bytes: int
    """Bytes of their text."""

    @property
    def loss(self) -> float:
        """Mean nats of a token."""
        return self.nats / self.tokens if self.tokens else math.nan

    @property
    def perplexity(self) -> float:
        """See :func:`perplexity`; depends on the vocabulary."""
        return perplexity(self.nats, self.tokens)

    @property
    def bits_per_byte(self) -> float:
        """See :func:`bits_per_byte`; does not depend on the vocabulary."""
        return bits_per_byte(self.nats, self.bytes)

    def as_dict(self) -> dict[str, float | int]:
        """Totals and ratios under their names."""
        ratios = ("loss", "perplexity", "bits_per_byte")
        return vars(self) | {name: getattr(self, name) for name in ratios}


def evaluate(
    run: str | Path | Run,
    *,
    data: str | Path | None = None,
    checkpoint: str | int = "best",
    tokens: int = 0,
    sequence_length: int = 0,
    stride: int = 0,
    batch_size: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    progress: Any = None,
) -> EvaluationResult:
    """Score a dataset with a run's model; see this module for what is counted.

    ``data`` is a dataset or a folder with a ``validation`` dataset in it, by default the run's own.
    ``tokens`` takes only that many from its start. ``sequence_length`` and ``stride`` are by
    default the model's length. Neither ``batch_size`` nor the number of torchrun's processes
    changes the result. A dataset of another tokenizer is a ``MismatchError``. A run that is open
    already is measured with the checkpoint and on the device that it was opened with.
    """
    from lslm import TokenDataset

    opened = run if isinstance(run, Run) else open_run(run, checkpoint, resolve_device(device))
    device = str(next(opened.model.parameters()).device)
    where = opened.config.data if data is None else DataConfig(path=str(data))
    path = where.validation_path()
    if path is None and data is None:
        raise ValueError(f"{opened.path}: was trained without validation data; give data=")
    path = path or Path(where.path)
    dataset = TokenDataset(path)
    check_tokenizer(dataset, opened.tokenizer, path)
    with process_group(device) as group, autocast(device, resolve_dtype(dtype, device)):
        reporter = progress_module.resolve(progress) if group.first else None
        completed = False
        try:
            result = score(
                opened.model,
                dataset,
                token_lengths(opened.tokenizer),
                tokens=tokens,
                sequence_length=sequence_length,
                stride=stride,
                batch_size=batch_size,
                reporter=reporter,
            )
            completed = True
        finally:
            if reporter is not None:
                reporter.close(completed)
    return result


def check_tokenizer(dataset: TokenDataset, tokenizer: Tokenizer, path: str | Path) -> None:
    """Raise ``MismatchError`` unless ``dataset`` was made with ``tokenizer``."""
    made_with = dataset.tokenizer_fingerprint
    if made_with is not None and made_with != tokenizer.fingerprint:
        raise MismatchError(
            f"{path} was made with another tokenizer ({made_with[:12]}…) than the model's "
            f"({tokenizer.fingerprint[:12]}…): tokenize the text with the run's tokenizer.json"
        )


def token_lengths(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return the bytes of text that each id stands for; special tokens stand for none."""
    special = set(tokenizer.special_tokens.values())
    lengths = np.zeros(tokenizer.vocab_size, np.int64)
    for token in range(tokenizer.vocab_size):
        if token not in special:
            try:
                lengths[token] = len(tokenizer.token_bytes(token))
            except KeyError:  # an id that no token has
                continue
    return lengths


def score(
    model: Transformer,
    dataset: TokenDataset,
    lengths: NDArray[np.int64],
    *,
    tokens: int = 0,
    sequence_length: int = 0,
    stride: int = 0,
    batch_size: int = 0,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Score ``dataset`` or its first ``tokens`` with ``model``, on all processes together.

    ``lengths`` are those of :func:`token_lengths`.
    """
    n = min(tokens or dataset.n_tokens, dataset.n_tokens)
    total, here = ranks(), 0.0
    counts = np.zeros(2, np.int64)  # targets, bytes
    windows = token_nats(
        model,
        dataset,
        n,
        sequence_length=sequence_length,
        stride=stride,
        batch_size=batch_size,
    )
    for targets, nats in windows:
        counted = targets != IGNORE
        here += float(nats.sum(dtype=np.float64))
        counts += (counted.sum(), lengths[targets[counted]].sum())
        if reporter is not None:
            reporter.update("evaluate", min(n, int(counts[0]) * total.world_size), n, "tokens")
    nats_sum = total.sum(torch.tensor(here, dtype=torch.float64))
    sums = total.sum(torch.from_numpy(counts))
    return EvaluationResult(nats=nats_sum.item(), tokens=int(sums[0]), bytes=int(sums[1]))


@torch.no_grad()
def token_nats(
    model: Transformer,
    dataset: TokenDataset,
    n: int,
    *,
    sequence_length: int = 0,
    stride: int = 0,
    batch_size: int = 0,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield targets and their −log p, (B, T) each, of the windows that are this process's.

    Together they hold each of the first ``n`` tokens once; places not scored are IGNORE and 0.
    """
    T = min(sequence_length or model.config.sequence_length, model.config.sequence_length)
    stride = stride or T
    if not 1 <= stride <= T:
        raise ValueError(f"stride = {stride}: must be from 1 to the sequence length, {T}")
    parameter = next(model.parameters())
    batch_size = batch_size or max(1, (65_536 if parameter.is_cuda else 4_096) // T)
    eos = dataset.eos_id
    starts = range(0, n, stride)
    here, training = ranks(), model.training
    model.eval()
    try:
        for first in range(here.rank * batch_size, len(starts), here.world_size * batch_size):
            group = starts[first : first + batch_size]
            inputs = np.zeros((len(group), T), np.int64)
            targets = np.full((len(group), T), IGNORE, np.int64)
            for row, scored in enumerate(group):
                stop = min(scored + stride, n)
                begin = max(0, stop - T)
                window = dataset.tokens(max(0, begin - 1), stop).astype(np.int64)
                if begin == 0:  # nothing comes before the first token but the end of a document
                    window = np.concatenate([[eos if eos is not None else 0], window])
                inputs[row, : stop - begin] = window[:-1]
                targets[row, scored - begin : stop - begin] = window[1 + scored - begin :]
                if scored == 0 and eos is None:
                    targets[row, 0] = IGNORE
            ids, wanted = (torch.from_numpy(a).to(parameter.device) for a in (inputs, targets))
            yield targets, model(ids, wanted, reduction="none").float().cpu().numpy()
    finally:
        model.train(training)


def uniform_baseline(dataset: TokenDataset, tokenizer: Tokenizer) -> EvaluationResult:
    """Score ``dataset`` with the model that gives each token of the vocabulary probability 1/V."""
    counts = _counts(dataset, tokenizer.vocab_size)
    return _baseline(counts, np.full(len(counts), math.log(len(counts))), tokenizer)


def unigram_baseline(
    train: TokenDataset, dataset: TokenDataset, tokenizer: Tokenizer
) -> EvaluationResult:
    """Score ``dataset`` with p(token) = (count in ``train`` + 1) / (all of them + V)."""
    seen = _counts(train, tokenizer.vocab_size) + 1
    counts = _counts(dataset, tokenizer.vocab_size)
    return _baseline(counts, np.log(seen.sum()) - np.log(seen), tokenizer)


def xz_bits_per_byte(dataset: TokenDataset, tokenizer: Tokenizer) -> float:
    """Bits per byte of ``xz -9`` on the text of ``dataset``, all documents in one stream."""
    lengths = token_lengths(tokenizer)
    compressor, n_bytes, compressed = lzma.LZMACompressor(preset=9), 0, 0
    for ids in _pieces(dataset):
        text = tokenizer.decode_bytes(ids[lengths[ids] > 0])
        n_bytes += len(text)
        compressed += len(compressor.compress(text))
    return 8 * (compressed + len(compressor.flush())) / n_bytes if n_bytes else math.nan


def _baseline(
    counts: NDArray[np.int64], nats: NDArray[np.float64], tokenizer: Tokenizer
) -> EvaluationResult:
    n_bytes = int(counts @ token_lengths(tokenizer))
    return EvaluationResult(nats=float(counts @ nats), tokens=int(counts.sum()), bytes=n_bytes)


def _counts(dataset: TokenDataset, vocab_size: int) -> NDArray[np.int64]:
    """How often each id occurs."""
    counts = np.zeros(vocab_size, np.int64)
    for ids in _pieces(dataset):
        counts += np.bincount(ids, minlength=vocab_size)
    return counts


def _pieces(dataset: TokenDataset, size: int = 1 << 22) -> Iterator[NDArray[Any]]:
    for start in range(0, dataset.n_tokens, size):
        yield dataset.tokens(start, min(start + size, dataset.n_tokens))
