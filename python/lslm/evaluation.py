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
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm.baselines import uniform_baseline, unigram_baseline, xz_bits_per_byte
from lslm.checkpoint import Run, find_checkpoint, open_run, read_state
from lslm.config import missing_data
from lslm.data import find_part
from lslm.evaluation_data import (
    DatasetDocuments,
    EvaluationData,
    TextDocuments,
    Vocabulary,
    check_tokenizer,
    token_lengths,
)
from lslm.inspection import kind_of
from lslm.limits import check_batch, check_counts
from lslm.parallel import autocast, process_group, resolve_device, resolve_dtype
from lslm.progress import reporting
from lslm.protocol import Protocol, parse_protocol
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
        run: a run's folder or one of its checkpoints; a :class:`lslm.checkpoint.Run` keeps the
            checkpoint and device it was opened with.
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
    opened = run if isinstance(run, Run) else open_run(run, checkpoint, resolve_device(device))
    device = str(next(opened.model.parameters()).device)
    dtype, model = resolve_dtype(dtype, device), opened.model
    if dtype == "float64":
        model = copy.deepcopy(model).double()
    vocabulary = Vocabulary.of(opened.tokenizer)
    chosen = parse_protocol(protocol, checked_window(model, sequence_length, batch_size))
    sets = open_data(opened, data, vocabulary)
    with (
        process_group(device) as group,
        autocast(device, dtype),
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
            model,
            sets,
            vocabulary,
            chosen,
            n_tokens=n_tokens,
            batch_size=batch_size,
            dtype=dtype,
            fingerprints=_fingerprints(opened),
            writer=writer,
            each=line,
            reporter=reporter,
        )
        if writer is not None:
            facts = {"dtype": dtype, "step": opened.step, "sample": result.sample}
            writer.finish(protocol=chosen, fingerprints=dict(result.fingerprints), **facts)
    return result


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
    totals, total = Totals(), _n_tokens(data)
    is_sample = n_tokens is not None and (total is None or total > n_tokens)
    done, expected = 0, n_tokens if is_sample else total

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if reporter is not None:
            shown = None if expected is None else max(expected, done)
            reporter.update("evaluate", done, shown, "tokens")

    scorer = DocumentScorer(
        model, vocabulary, protocol, batch_size=batch_size, writer=writer, advance=advance
    )
    for one in data:
        sample = one.sample(_share(one, total, n_tokens), seed) if is_sample else None
        for document in scorer.scores(one, sample):
            totals.add(document)
            if each is not None:
                each(document)
    if not totals.all.n_tokens:
        names = ", ".join(one.name for one in data)
        raise ValueError(
            f"{names} has {scorer.n_unscored:,} tokens, and protocol {protocol.name} can score "
            f"none of them: evaluate other data, or tokenize with more held-out text"
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


def _share(one: EvaluationData, total: int | None, n_tokens: int | None) -> int:
    """Return how many tokens of a sample of ``n_tokens`` are from ``one``."""
    assert n_tokens is not None
    if total is None or one.n_tokens is None:
        return n_tokens
    return max(1, n_tokens * one.n_tokens // total)


def open_data(run: Run, data: Any, vocabulary: Vocabulary) -> list[EvaluationData]:
    """Return what ``data`` of :func:`evaluate` means, each with a name."""
    if data is None:
        data = own_validation(run)
    if isinstance(data, dict):
        named = data
    elif isinstance(data, list | tuple):
        named = {str(getattr(one, "path", one)): one for one in data}
        if len(named) < len(data):
            raise ValueError("data: the same name twice; give a mapping from names to data")
    else:
        named = {str(getattr(data, "path", data)): data}
    if not named:
        raise ValueError("data is empty: give a dataset or text to evaluate on")
    return [_open_one(one, name, vocabulary) for name, one in named.items()]


def _open_one(data: Any, name: str, vocabulary: Vocabulary) -> EvaluationData:
    """Return one dataset or text as evaluation data."""
    import lslm

    if isinstance(data, lslm.Corpus):
        return TextDocuments(data, vocabulary, name if "Corpus" not in name else "text")
    if isinstance(data, lslm.TokenDataset):
        check_tokenizer(data, vocabulary.tokenizer, data.path)
        return DatasetDocuments(data, vocabulary, name)
    path = Path(data)
    kind = "documents" if str(data) == "-" or any(c in str(data) for c in "*?[") else kind_of(path)
    if kind in {"run", "tokenizer"}:
        raise ValueError(f"{path} is a {kind}, not data: give a dataset or text to evaluate on")
    if kind == "documents":
        return TextDocuments(lslm.Corpus(str(data)), vocabulary, name)
    return _open_one(lslm.TokenDataset(find_part(path, "validation") or path), name, vocabulary)


def own_validation(run: Run) -> Any:
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


def _fingerprints(run: Run) -> dict[str, str]:
    """Return the identities of the model's weights and of its tokenizer."""
    found = {"tokenizer": run.tokenizer.fingerprint}
    with contextlib.suppress(OSError, ValueError):
        files = read_state(find_checkpoint(run.path, run.step))["files"]
        weights = sorted((n, file["sha256"]) for n, file in files.items() if n.startswith("model"))
        found["model"] = hashlib.sha256(json.dumps(weights).encode()).hexdigest()
    return found


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
