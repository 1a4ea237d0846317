"""Where a model errs: slices, calibration, worst tokens and coloured text, from its score table.

``slices`` divides tokens, ``sums`` adds them up with clustered errors, ``passages`` chooses
documents to show and looks up the model's alternatives, ``findings`` is what comes out.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lslm.analysis.findings import (
    Analysis,
    CalibrationBin,
    Shown,
    SliceRow,
    TokenRow,
    WorstToken,
)
from lslm.analysis.passages import choose_passages, find_alternatives
from lslm.analysis.slices import Chunk, Slicer, read_chunks
from lslm.exceptions import MismatchError
from lslm.files import write_atomically
from lslm.progress import reporting

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lslm import ScoreTable, Tokenizer
    from lslm.checkpoint import Run
    from lslm.progress import Progress

__all__ = ["Analysis", "SliceRow", "analyze"]

ENTROPY_BINS = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10)
"""Bounds of the bins of entropy, nats."""
N_PROBABILITY_BINS = 10
N_WORST = 100
"""Tokens with the highest loss to list."""
N_TOKENS = 40
"""Ids to list."""
CONTEXT_BEFORE, CONTEXT_AFTER = 24, 8
"""Tokens around a worst one."""


def analyze(
    run: str | os.PathLike[str],
    other: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    data: Any = None,
    protocol: str = "disjoint",
    n_tokens: int | None = None,
    checkpoint: str | int = "best",
    device: str = "auto",
    language: str = "en",
    progress: Progress = None,
) -> Analysis:
    """Return where the model of ``run`` errs on ``data``, and write a page of it.

    ::

        lslm.analyze("runs/first", data="data/web/validation", output="analysis/first")

    The model is run once and its score table kept in ``output/scores``; a table that is there and
    of this model, these data and this protocol is used as it is. ``other`` is a second run or
    checkpoint with the same tokenizer: its scores are compared token by token. ``data``,
    ``protocol``, ``n_tokens`` and ``checkpoint`` are those of :func:`lslm.evaluate`. ``language``
    of the page is "en" or "zh".

    Writes ``report.html``, ``slices.jsonl``, ``tokens.jsonl`` and ``worst.jsonl``. Raises
    ``MismatchError`` if the runs have different tokenizers.
    """
    from lslm.checkpoint import open_run
    from lslm.parallel import resolve_device
    from lslm.report.analysis import analysis_report
    from lslm.report.language import words

    say, folder = words(language), Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    options = {"data": data, "protocol": protocol, "n_tokens": n_tokens, "progress": progress}
    opened = open_run(run, checkpoint, resolve_device(device))
    table = _scores(opened, folder / "scores", options)
    second = second_table = None
    if other is not None:
        second = open_run(other, checkpoint, resolve_device(device))
        if second.tokenizer.fingerprint != opened.tokenizer.fingerprint:
            raise MismatchError(
                f"{other} has another tokenizer than {run}: their tokens cannot be compared"
            )
        second_table = _scores(second, folder / "scores-other", options)
        _check_same_tokens(table, second_table)
    with reporting(progress) as reporter:
        found = _read(table, second_table, opened, reporter)
        shown = _passages(table, second_table, opened, second)
    result = _result(folder, table, found, shown, opened, second=second)
    _write_rows(folder, result)
    write_atomically(folder / "report.html", analysis_report(result, shown, opened.tokenizer, say))
    return result


def _scores(opened: Run, folder: Path, options: dict[str, Any]) -> ScoreTable:
    """Return the table in ``folder`` if it is of this model and data, else write it there."""
    import shutil

    from lslm import evaluate, open_scores

    if (folder / "scores.json").is_file():
        table = open_scores(folder)
        if _is_current(table, opened, options):
            return table
    shutil.rmtree(folder, ignore_errors=True)
    evaluate(opened, **options, save_scores=folder)
    return open_scores(folder)


def _is_current(table: ScoreTable, opened: Run, options: dict[str, Any]) -> bool:
    """Return whether evaluating would write ``table`` again; texts and samples are scored anew."""
    from lslm.evaluation import Subject, checked_window, open_data
    from lslm.evaluation_data import DatasetDocuments
    from lslm.protocol import parse_protocol

    if table.manifest.get("sample") or options["n_tokens"]:
        return False
    chosen = parse_protocol(options["protocol"], checked_window(opened.model, None, None))
    subject = Subject.open(opened, "best", "auto", "auto")
    wanted = subject.fingerprints() | {"protocol": chosen.fingerprint}
    for one in open_data(opened, options["data"], subject.vocabulary):
        if not isinstance(one, DatasetDocuments):
            return False
        wanted[f"data {one.name}"] = one.fingerprint
    return table.fingerprints == wanted


def _check_same_tokens(one: ScoreTable, other: ScoreTable) -> None:
    if len(one) != len(other) or any(
        (a.id != b.id).any() or (a.document != b.document).any()
        for a, b in zip(one.chunks(), other.chunks(), strict=True)
    ):
        raise MismatchError(f"{one.path} and {other.path} have scores of different tokens")


class _Found:
    """What one pass over the table adds up."""

    def __init__(self, slicer: Slicer, vocab_size: int, n_documents: int) -> None:
        self.slicer = slicer
        self.count = np.zeros(vocab_size, np.int64)
        self.nats = np.zeros(vocab_size)
        self.bins = np.zeros((3, len(ENTROPY_BINS) + 1))
        self.worst: NDArray[np.float64] = np.empty((2, 0))
        self.difference = np.zeros(n_documents)

    def add(self, chunk: Chunk, other: NDArray[np.float64] | None) -> None:
        """Add one chunk; ``other`` are the nats of the second model."""
        nats, entropy = chunk.rows.nats.astype(np.float64), chunk.rows.entropy.astype(np.float64)
        values = [nats, entropy] + ([] if other is None else [other - nats])
        self.slicer.add(chunk, *values)
        self.count += np.bincount(chunk.ids, minlength=len(self.count))
        self.nats += np.bincount(chunk.ids, nats, len(self.nats))
        bins = np.searchsorted(ENTROPY_BINS, entropy, "right")
        for k, weights in enumerate((None, entropy, nats)):
            self.bins[k] += np.bincount(bins, weights, self.bins.shape[1])
        if other is not None:
            first = int(chunk.rows.document[0])
            sums = np.bincount(chunk.rows.document.astype(np.int64) - first, other - nats)
            self.difference[first : first + len(sums)] += sums
        rows = np.stack([nats, chunk.first_row + np.arange(len(nats))])
        both = np.concatenate([self.worst, rows], axis=1)
        self.worst = both[:, np.argsort(-both[0], kind="stable")[:N_WORST]]


def _read(table: ScoreTable, other: ScoreTable | None, opened: Run, reporter: Any) -> _Found:
    """Return what one pass over the table, and the other, adds up."""
    slicer = Slicer(
        table,
        opened.tokenizer,
        _training_frequency(opened),
        n_values=2 if other is None else 3,
    )
    found = _Found(slicer, opened.tokenizer.vocab_size, table.n_documents)
    for chunk in read_chunks(table):
        nats = None
        if other is not None:
            stop = chunk.first_row + len(chunk.rows)
            nats = other.columns["nats"][chunk.first_row : stop].astype(np.float64)
        found.add(chunk, nats)
        if reporter is not None:
            done = chunk.first_row + len(chunk.rows)
            reporter.update("analyze", done, len(table), "tokens")
    return found


def _training_frequency(opened: Run) -> NDArray[np.int64] | None:
    """Return how often each id occurs in the training data of a run; None if they are not there."""
    from lslm import TokenDataset

    where = opened.config.data
    if not where.path or not where.train_path().exists():
        return None
    dataset = TokenDataset(where.train_path())
    counts = np.zeros(opened.tokenizer.vocab_size, np.int64)
    size = 1 << 22
    for start in range(0, dataset.n_tokens, size):
        ids = dataset.tokens(start, min(start + size, dataset.n_tokens))
        counts += np.bincount(ids, minlength=len(counts))
    return counts


def _passages(
    table: ScoreTable, other: ScoreTable | None, opened: Run, second: Run | None
) -> list[Shown]:
    """Return the passages to show, with alternatives."""
    difference = None
    if other is not None:
        difference = np.array(other.documents["nats"]) - np.array(table.documents["nats"])
    passages = choose_passages(table, difference)
    own = find_alternatives(opened, table, passages)
    others = None
    if other is not None and second is not None:
        others = find_alternatives(second, other, passages)
    shown = []
    for k, (passage, alternatives) in enumerate(zip(passages, own, strict=True)):
        part = slice(passage.start, passage.stop)
        shown.append(
            Shown(
                passage,
                table.columns["id"][part].tolist(),
                table.columns["nats"][part].tolist(),
                alternatives,
                None if other is None else other.columns["nats"][part].tolist(),
                None if others is None else others[k],
            )
        )
    return shown


def _result(
    folder: Path,
    table: ScoreTable,
    found: _Found,
    shown: Sequence[Shown],
    opened: Run,
    *,
    second: Run | None,
) -> Analysis:
    """Return all findings as plain values."""
    by_kind = found.slicer.sums["kind"]
    whole = _whole(table)
    n, nats = len(table), float(by_kind.totals[0].sum())
    n_bytes = int(table.documents["n_bytes"].sum())
    probability_bins, probability_error = _first_choices(shown)
    entropy_bins = _entropy_bins(found)
    difference_error = other_loss = None
    if second is not None:
        other_loss = (nats + float(by_kind.totals[2].sum())) / n
        difference_error = _difference_error(found, table)
    return Analysis(
        output=folder,
        run=str(opened.path),
        other="" if second is None else str(second.path),
        n_tokens=n,
        n_documents=table.n_documents,
        loss=nats / n,
        loss_error=whole,
        entropy=float(by_kind.totals[1].sum()) / n,
        bits_per_byte=nats / math.log(2) / n_bytes if n_bytes else math.nan,
        other_loss=other_loss,
        difference_error=difference_error,
        slices=_slice_rows(found.slicer, nats, n),
        expected_loss_error=sum(b.n_tokens * abs(b.observed - b.expected) for b in entropy_bins)
        / n,
        entropy_bins=entropy_bins,
        probability_bins=probability_bins,
        probability_error=probability_error,
        top_tokens=_token_rows(found, shown, opened.tokenizer, np.argsort(-found.nats)[:N_TOKENS]),
        repeated=_repeated(found, shown, opened.tokenizer),
        worst=_worst(found, table, shown, opened.tokenizer),
        protocol=table.protocol.name,
        dtype=str(table.manifest["dtype"]),
        rerun_difference=max((one.alternatives.difference for one in shown), default=0.0),
    )


def _whole(table: ScoreTable) -> float | None:
    """Return the standard error of the loss of the whole table."""
    x, t = np.array(table.documents["nats"]), table.documents["n_tokens"].astype(np.float64)
    if len(x) < 2:
        return None
    squares = ((x - x.sum() / t.sum() * t) ** 2).sum()
    return float(math.sqrt(squares * len(x) / (len(x) - 1)) / t.sum())


def _difference_error(found: _Found, table: ScoreTable) -> float | None:
    x, t = found.difference, table.documents["n_tokens"].astype(np.float64)
    if len(x) < 2:
        return None
    squares = ((x - x.sum() / t.sum() * t) ** 2).sum()
    return float(math.sqrt(squares * len(x) / (len(x) - 1)) / t.sum())


def _slice_rows(slicer: Slicer, all_nats: float, n_tokens: int) -> tuple[SliceRow, ...]:
    """Return all slices that have tokens; in each dimension those with most to win first."""
    rows: list[SliceRow] = []
    for dimension, names in slicer.names.items():
        sums, errors = slicer.sums[dimension], slicer.sums[dimension].errors()
        own = []
        for k, name in enumerate(names):
            t, x = int(sums.n_tokens[k]), float(sums.totals[0, k])
            if not t:
                continue
            others = (all_nats - x) / (n_tokens - t) if n_tokens > t else x / t
            has_other = len(sums.totals) > 2
            own.append(
                SliceRow(
                    dimension=dimension,
                    name=name,
                    n_tokens=t,
                    nats=x,
                    n_documents=int(sums.n_documents[k]),
                    loss=x / t,
                    loss_error=_finite(errors[0, k]),
                    entropy=float(sums.totals[1, k]) / t,
                    share=x / all_nats if all_nats else 0.0,
                    excess=max(0.0, x - others * t),
                    difference=float(sums.totals[2, k]) / t if has_other else None,
                    difference_error=_finite(errors[2, k]) if has_other else None,
                )
            )
        rows += sorted(own, key=lambda row: (-row.excess, -row.nats))
    return tuple(rows)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _entropy_bins(found: _Found) -> tuple[CalibrationBin, ...]:
    bounds = (0.0, *ENTROPY_BINS, math.inf)
    return tuple(
        CalibrationBin(
            low=bounds[k],
            high=bounds[k + 1],
            n_tokens=int(n),
            expected=float(entropy / n),
            observed=float(nats / n),
        )
        for k, (n, entropy, nats) in enumerate(found.bins.T)
        if n
    )


def _first_choices(shown: Sequence[Shown]) -> tuple[tuple[CalibrationBin, ...], float]:
    """Return how often the first choice is right by its probability, and the calibration error."""
    if not shown:
        return (), math.nan
    p = np.concatenate([one.alternatives.probabilities[:, 0] for one in shown])
    right = np.concatenate([one.alternatives.ids[:, 0] == np.array(one.ids) for one in shown])
    index = np.minimum((p * N_PROBABILITY_BINS).astype(int), N_PROBABILITY_BINS - 1)
    bins = tuple(
        CalibrationBin(
            low=k / N_PROBABILITY_BINS,
            high=(k + 1) / N_PROBABILITY_BINS,
            n_tokens=int((index == k).sum()),
            expected=float(p[index == k].mean()),
            observed=float(right[index == k].mean()),
        )
        for k in range(N_PROBABILITY_BINS)
        if (index == k).any()
    )
    return bins, sum(b.n_tokens * abs(b.observed - b.expected) for b in bins) / len(p)


def _token_rows(
    found: _Found, shown: Sequence[Shown], tokenizer: Tokenizer, ids: NDArray[np.int64]
) -> tuple[TokenRow, ...]:
    predicted, occurs = _choices(found, shown)
    return tuple(
        TokenRow(
            id=int(i),
            token=visible(tokenizer, int(i)),
            n_tokens=int(found.count[i]),
            nats=float(found.nats[i]),
            loss=float(found.nats[i] / max(found.count[i], 1)),
            predicted=int(predicted[i]),
            shown=int(occurs[i]),
        )
        for i in ids
        if found.count[i] or predicted[i]
    )


def _choices(found: _Found, shown: Sequence[Shown]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how often each id is the first choice in the passages, and how often it occurs."""
    size = len(found.count)
    first = [one.alternatives.ids[:, 0] for one in shown]
    predicted = np.bincount(np.concatenate(first), minlength=size) if first else np.zeros(size, int)
    ids = [np.array(one.ids, np.int64) for one in shown]
    occurs = np.bincount(np.concatenate(ids), minlength=size) if ids else np.zeros(size, int)
    return predicted, occurs


def _repeated(found: _Found, shown: Sequence[Shown], tokenizer: Tokenizer) -> tuple[TokenRow, ...]:
    """Return the ids that are the first choice much more often than they occur."""
    predicted, occurs = _choices(found, shown)
    surplus = predicted - occurs
    order = np.argsort(-surplus, kind="stable")[: N_TOKENS // 2]
    return _token_rows(found, shown, tokenizer, order[surplus[order] > 0])


def _worst(
    found: _Found, table: ScoreTable, shown: Sequence[Shown], tokenizer: Tokenizer
) -> tuple[WorstToken, ...]:
    first = {
        one.passage.start + k: int(choice)
        for one in shown
        for k, choice in enumerate(one.alternatives.ids[:, 0])
    }
    rows = []
    ids, documents = table.columns["id"], table.documents
    ends = np.cumsum(documents["n_tokens"].astype(np.int64))
    for nats, place in found.worst.T:
        row = int(place)
        document = int(np.searchsorted(ends, row, "right"))
        begin = int(ends[document - 1]) if document else 0
        before = ids[max(begin, row - CONTEXT_BEFORE) : row]
        after = ids[row + 1 : min(int(ends[document]), row + 1 + CONTEXT_AFTER)]
        rows.append(
            WorstToken(
                row=row,
                document=document,
                nats=float(nats),
                token=visible(tokenizer, int(ids[row])),
                before=_text(tokenizer, before),
                after=_text(tokenizer, after),
                best=visible(tokenizer, first[row]) if row in first else "",
            )
        )
    return tuple(rows)


def _text(tokenizer: Tokenizer, ids: NDArray[Any]) -> str:
    special = set(tokenizer.special_tokens.values())
    plain = [int(i) for i in ids if int(i) not in special]
    return tokenizer.decode_bytes(plain).decode("utf-8", "replace")


def visible(tokenizer: Tokenizer, token: int) -> str:
    """Return a token on one line, white space visible and bytes beyond UTF-8 as ⟨e4⟩."""
    for name, special in tokenizer.special_tokens.items():
        if token == special:
            return name
    from lslm.report.vocabulary import visible_token

    try:
        return visible_token(tokenizer.token_bytes(token))
    except KeyError:
        return f"⟨unused id {token}⟩"


def _write_rows(folder: Path, result: Analysis) -> None:
    """Write what the page shows as JSONL."""
    plain = result.as_dict()
    files = {
        "slices": plain["slices"],
        "tokens": plain["top_tokens"] + plain["repeated"],
        "worst": plain["worst"],
    }
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(folder / f"{name}.jsonl", text)
