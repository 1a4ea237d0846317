"""How well a model predicts text: perplexity and bits per byte under a named protocol.

**What is scored** is decided by a :class:`lslm.protocol.Protocol`. By default (``disjoint``) the
documents are one sequence, in order, as in training; every token of it is a target exactly once,
end-of-document tokens included (they count 0 bytes); the first is predicted from an end-of-document
token. Nats are summed in float64, counts in int64, and divided once at the end.

Probabilities are those of the tokenizer's ids: where ``model.vocab_size`` is padded above its
vocabulary, the ids that no token has are left out of the softmax. Bytes are those of the text as it
came, before a normaliser of the tokenizer.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm.baselines import uniform_baseline, unigram_baseline, xz_bits_per_byte
from lslm.checkpoint import Run, open_run
from lslm.evaluation_data import EvaluationData, Vocabulary, check_tokenizer, token_lengths
from lslm.evaluation_inputs import model_fingerprints, open_data
from lslm.limits import check_batch, check_counts
from lslm.parallel import autocast, process_group, resolve_device, resolve_dtype
from lslm.progress import reporting
from lslm.protocol import Protocol, parse_protocol
from lslm.results import counted
from lslm.score_table import ScoreWriter
from lslm.scores import DocumentScores, EvaluationResult, Totals, bits_per_byte, perplexity
from lslm.scoring import DocumentScorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lslm.model import Transformer
    from lslm.progress import Progress, Reporter

__all__ = [
    "EvaluationResult",
    "bits_per_byte",
    "check_tokenizer",
    "evaluate",
    "open_data",
    "perplexity",
    "score",
    "token_lengths",
    "uniform_baseline",
    "unigram_baseline",
    "xz_bits_per_byte",
]


def evaluate(
    run: str | os.PathLike[str] | Run,
    *,
    data: Any = None,
    protocol: str | Protocol = "disjoint",
    checkpoint: str | int = "best",
    n_tokens: int | None = None,
    sequence_length: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    per_document: str | os.PathLike[str] | None = None,
    save_scores: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> EvaluationResult:
    """Return the scores of a run's model on text; this module's text says what is counted.

    Arguments:
        run: a run's folder, one of its checkpoints, or a published model in Hugging Face's layout;
            a :class:`lslm.checkpoint.Run` keeps the checkpoint and device it was opened with.
        data: a dataset, a folder with a ``validation`` dataset in it, text (a path or a
            :class:`lslm.Corpus`), several of these, or a mapping from names to them. None: the
            validation sets of the run.
        protocol: a name that :func:`lslm.protocol.parse_protocol` reads, or a
            :class:`lslm.protocol.Protocol`.
        checkpoint: best, last or a step.
        n_tokens: score a sample of about so many tokens instead: whole documents, stratified by
            source, the same ones each time.
        sequence_length: the window in tokens; the model's length at most, and by default.
        batch_size: windows per batch. The result depends neither on it nor on the number of
            torchrun's processes, up to the order of float32 sums.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: float32, bfloat16 or float64; auto is bfloat16 on cuda.
        per_document: file to write, one JSON object a document.
        save_scores: folder to write, a score table for :func:`lslm.open_scores`.
        progress: see :class:`lslm.Progress`.

    Raises:
        MismatchError: a dataset is of another tokenizer.
        ValueError: there is no token to score.
        FormatError: a shard is damaged, with file and byte.
        FloatingPointError: the model's loss is not finite.

    """
    check_counts(n_tokens=n_tokens, sequence_length=sequence_length, batch_size=batch_size)
    subject = Subject.open(run, checkpoint, device, dtype)
    vocabulary = subject.vocabulary
    chosen = parse_protocol(protocol, checked_window(subject.model, sequence_length, batch_size))
    sets = open_data(subject.run, data, vocabulary)
    with (
        process_group(subject.device) as group,
        autocast(subject.device, subject.dtype),
        contextlib.ExitStack() as stack,
    ):
        reporter = stack.enter_context(reporting(progress if group.first else False))
        writer = line = None
        if save_scores is not None and group.first:
            n_ids = len(vocabulary.lengths)
            writer = stack.enter_context(ScoreWriter(save_scores, vocab_size=n_ids))
        if per_document is not None and group.first:
            line = stack.enter_context(_json_lines(Path(per_document)))
        result = score(
            subject.model,
            sets,
            vocabulary,
            chosen,
            n_tokens=n_tokens,
            batch_size=batch_size,
            dtype=subject.dtype,
            fingerprints=subject.fingerprints(),
            writer=writer,
            each=line,
            reporter=reporter,
        )
        if writer is not None:
            facts = {"dtype": subject.dtype, "step": subject.run.step, "sample": result.sample}
            writer.finish(protocol=chosen, fingerprints=dict(result.fingerprints), **facts)
    return result


@dataclass(frozen=True)
class Subject:
    """A model that is ready to be evaluated."""

    run: Run
    model: Transformer
    """That of the run, or a copy in float64."""
    device: str
    dtype: str
    vocabulary: Vocabulary

    @classmethod
    def open(
        cls, run: str | os.PathLike[str] | Run, checkpoint: str | int, device: str, dtype: str
    ) -> Subject:
        """Return the model of ``run``; the arguments are those of :func:`evaluate`."""
        opened = run if isinstance(run, Run) else open_run(run, checkpoint, resolve_device(device))
        device, model = str(next(opened.model.parameters()).device), opened.model
        dtype = resolve_dtype(dtype, device)
        if dtype not in {"float32", "bfloat16", "float64"}:
            raise ValueError(f"dtype = {dtype!r}: choose auto, float32, bfloat16 or float64")
        if dtype == "float64":
            model = copy.deepcopy(model).double()
        vocabulary = Vocabulary.of(opened.tokenizer, bos_id=opened.bos_id, eos_ids=opened.eos_ids)
        return cls(opened, model, device, dtype, vocabulary)

    def fingerprints(self) -> dict[str, str]:
        """Return the identities of the tokenizer and of the weights, hexadecimal."""
        return model_fingerprints(self.run)


def score(
    model: Transformer,
    data: Sequence[EvaluationData],
    vocabulary: Vocabulary,
    protocol: Protocol,
    *,
    n_tokens: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    dtype: str = "",
    fingerprints: Mapping[str, str] | None = None,
    writer: ScoreWriter | None = None,
    each: Callable[[DocumentScores], object] | None = None,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Return the scores of ``model`` on the documents of ``data``, or on a sample of them.

    ``n_tokens`` and ``seed`` choose the sample. Under torchrun the processes share the work, and
    all of them return the same. ``each`` is called with each document's scores. Nothing to score is
    a ``ValueError`` that names the data.
    """
    totals, samples = Totals(), samples_of(data, n_tokens, seed)
    is_sample = n_tokens is not None and any(sample is not None for sample in samples)
    scorer = DocumentScorer(
        model,
        vocabulary,
        protocol,
        batch_size=batch_size,
        writer=writer,
        advance=progress_of(reporter, n_tokens if is_sample else _n_tokens(data)),
    )
    for one, sample in zip(data, samples, strict=True):
        for document in scorer.scores(one, sample):
            totals.add(document)
            if each is not None:
                each(document)
    if not totals.all.n_tokens:
        names = ", ".join(one.name for one in data)
        raise ValueError(
            f"{names} has {counted(scorer.n_unscored, 'token')}, and protocol {protocol.name} can "
            f"score none of them: evaluate other data, or tokenize with more held-out text"
        )
    known = dict(fingerprints or {}) | {"protocol": protocol.fingerprint}
    return totals.result(
        n_unscored=scorer.n_unscored,
        sample={"n_tokens": n_tokens, "seed": seed} if is_sample else None,
        protocol=protocol.as_dict(),
        dtype=dtype,
        fingerprints=known | {f"data {one.name}": one.fingerprint for one in data},
        notes=tuple(note for one in data for note in one.notes),
    )


def checked_window(model: Transformer, sequence_length: int | None, batch_size: int | None) -> int:
    """Return the window in tokens; ``ValueError`` if the model or a batch cannot have it."""
    T = model.config.sequence_length if sequence_length is None else sequence_length
    if not 1 <= T <= model.config.sequence_length:
        raise ValueError(
            f"sequence_length = {T}: must be from 1 to the model's, {model.config.sequence_length}"
        )
    check_batch(batch_size or 1, T)
    return T


def _n_tokens(data: Sequence[EvaluationData]) -> int | None:
    """Return the tokens of all of ``data``, or None if that is not known."""
    counts = [one.n_tokens for one in data]
    return None if None in counts else sum(count for count in counts if count is not None)


def samples_of(
    data: Sequence[EvaluationData], n_tokens: int | None, seed: int = 0
) -> list[Mapping[int, int] | None]:
    """Return the sample of each of ``data`` that has its share of ``n_tokens``; None: everything.

    Where it is not known how many tokens there are, each has ``n_tokens``.
    """
    total = _n_tokens(data)
    if n_tokens is None or (total is not None and total <= n_tokens):
        return [None] * len(data)
    shares = [
        n_tokens if total is None else max(1, n_tokens * (one.n_tokens or 0) // total)
        for one in data
    ]
    return [one.sample(share, seed) for one, share in zip(data, shares, strict=True)]


def progress_of(reporter: Reporter | None, expected: int | None) -> Callable[[int], object]:
    """Return a function that reports so many more tokens of ``expected`` (None: unknown)."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if reporter is not None:
            shown = None if expected is None else max(expected, done)
            reporter.update("evaluate", done, shown, "tokens")

    return advance


@contextlib.contextmanager
def _json_lines(path: Path) -> Iterator[Callable[[DocumentScores], object]]:
    """Yield a function that appends a line to ``path``, which appears when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:

            def write(document: DocumentScores) -> None:
                file.write(json.dumps(document.as_dict(), ensure_ascii=False) + "\n")

            yield write
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
