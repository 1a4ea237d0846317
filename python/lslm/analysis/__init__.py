"""Where a model errs: slices, calibration, worst tokens and coloured text, from its score table.

``scored`` has the tables, ``slices`` divides tokens, ``sums`` adds them up with clustered errors,
``table_sums`` is the pass over a table and ``rows`` what follows from it, ``passages`` chooses
documents to show and ``alternatives`` looks up what the model would have written there,
``training_curves`` follows ids over checkpoints; ``findings`` is what comes out, and ``files``
writes it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lslm.analysis.files import write_files
from lslm.analysis.findings import Analysis, LossCurve, Shown, SliceRow
from lslm.analysis.passages import choose_passages
from lslm.analysis.rows import (
    calibration_error,
    clustered_error,
    entropy_bins,
    first_choice_bins,
    repeated_rows,
    slice_rows,
    top_rows,
    worst_rows,
)
from lslm.analysis.scored import Request, ScoredModel
from lslm.analysis.table_sums import TableSums, sum_table
from lslm.analysis.training_curves import checkpoint_steps, chosen_ids, loss_curves
from lslm.exceptions import MismatchError
from lslm.files import write_atomically
from lslm.limits import check_counts
from lslm.progress import reporting

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from lslm import ScoreTable
    from lslm.progress import Progress

__all__ = ["Analysis", "SliceRow", "analyze"]


def analyze(
    run: str | os.PathLike[str],
    other: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str],
    data: Any = None,
    protocol: str = "disjoint",
    n_tokens: int | None = None,
    checkpoint: str | int = "best",
    checkpoints: Sequence[int] | str = (),
    tokens: Sequence[str] = (),
    device: str = "auto",
    language: str = "en",
    progress: Progress = None,
) -> Analysis:
    """Return where the model of ``run`` errs on ``data``, and write a page of it.

    ::

        lslm.analyze("runs/first", data="data/web/validation", output="analysis/first")

    The model is run once and its score table kept in ``output/scores``; a table that is there and
    of this model, these data and this protocol is used as it is, without loading the model.
    ``other`` is a second run or checkpoint with the same tokenizer: its scores are compared token
    by token. ``checkpoints`` of ``run``, a list of steps or "all", are scored as well: the page
    then has the loss over training of the ``tokens``, texts of one token each (the six with the
    most loss by default). ``data``, ``protocol``, ``n_tokens`` and ``checkpoint`` are those of
    :func:`lslm.evaluate`. ``language`` of the page is "en" or "zh".

    Writes ``report.html`` and all that it shows as JSONL, and as Parquet if pyarrow is installed.
    Raises ``MismatchError`` if the runs have different tokenizers.
    """
    from lslm.report.analysis import analysis_report
    from lslm.report.language import words

    check_counts(n_tokens=n_tokens)
    say, folder = words(language), Path(output)
    steps = checkpoint_steps(run, checkpoints) if checkpoints else []
    if tokens and not steps:
        raise ValueError("tokens are for a curve over training: give checkpoints as well")
    request = Request(
        data=data, protocol=protocol, n_tokens=n_tokens, device=device, progress=progress
    )
    first = ScoredModel(run, checkpoint, folder / "scores", request)
    second = None
    if other is not None:
        second = ScoredModel(other, checkpoint, folder / "scores-other", request)
        if second.facts.tokenizer.fingerprint != first.facts.tokenizer.fingerprint:
            raise MismatchError(
                f"{other} has another tokenizer than {run}: their tokens cannot be compared"
            )
        _check_same_tokens(first.table, second.table)
    tokenizer = first.facts.tokenizer
    with reporting(progress) as reporter:
        second_table = None if second is None else second.table
        found = sum_table(first.table, second_table, tokenizer, first.facts.config, reporter)
    shown = _passages(first, second)
    curves: tuple[LossCurve, ...] = ()
    if steps:
        ids = chosen_ids(tokenizer, tokens, found.nats)
        curves = loss_curves(_tables(steps, first, folder, request), ids, tokenizer)
    result = _result(folder, first, second, found, shown=shown, curves=curves)
    write_files(folder, result, shown, tokenizer)
    write_atomically(folder / "report.html", analysis_report(result, shown, tokenizer, say))
    return result


def _tables(
    steps: Sequence[int], first: ScoredModel, folder: Path, request: Request
) -> dict[int, ScoreTable]:
    """Return the table of each of the checkpoints ``steps``; that of ``first`` is there."""
    tables = {first.facts.step: first.table}
    for step in steps:
        if step not in tables:
            name = f"scores-{step:06d}"
            tables[step] = ScoredModel(first.facts.path, step, folder / name, request).table
            _check_same_tokens(first.table, tables[step])
    return {step: tables[step] for step in steps}


def _check_same_tokens(one: ScoreTable, other: ScoreTable) -> None:
    if len(one) != len(other) or any(
        (a.id != b.id).any() or (a.document != b.document).any()
        for a, b in zip(one.chunks(), other.chunks(), strict=True)
    ):
        raise MismatchError(f"{one.path} and {other.path} have scores of different tokens")


def _passages(first: ScoredModel, second: ScoredModel | None) -> list[Shown]:
    """Return the passages to show, with alternatives."""
    table, difference = first.table, None
    if second is not None:
        mine, theirs = (one.documents["nats"] for one in (table, second.table))
        difference = np.array(theirs) - np.array(mine)
    passages = choose_passages(table, difference)
    own = first.alternatives(passages)
    others = None if second is None else second.alternatives(passages)
    shown = []
    for k, (passage, alternatives) in enumerate(zip(passages, own, strict=True)):
        part = slice(passage.start, passage.stop)
        shown.append(
            Shown(
                passage,
                table.columns["id"][part].tolist(),
                table.columns["nats"][part].tolist(),
                alternatives,
                None if second is None else second.table.columns["nats"][part].tolist(),
                None if others is None else others[k],
            )
        )
    return shown


def _result(
    folder: Path,
    first: ScoredModel,
    second: ScoredModel | None,
    found: TableSums,
    *,
    shown: Sequence[Shown],
    curves: tuple[LossCurve, ...],
) -> Analysis:
    """Return all findings as plain values."""
    table, tokenizer = first.table, first.facts.tokenizer
    by_kind, documents = found.slicer.sums["kind"], table.documents
    n, nats = len(table), float(by_kind.totals[0].sum())
    n_bytes = int(documents["n_bytes"].sum())
    first_choices, by_entropy = first_choice_bins(found), entropy_bins(found)
    difference_error = other_loss = None
    if second is not None:
        other_loss = (nats + float(by_kind.totals[2].sum())) / n
        difference_error = clustered_error(found.difference, documents["n_tokens"])
    return Analysis(
        output=folder,
        run=str(first.facts.path),
        other="" if second is None else str(second.facts.path),
        n_tokens=n,
        n_documents=table.n_documents,
        loss=nats / n,
        loss_error=clustered_error(documents["nats"], documents["n_tokens"]),
        entropy=float(by_kind.totals[1].sum()) / n,
        bits_per_byte=nats / math.log(2) / n_bytes if n_bytes else math.nan,
        other_loss=other_loss,
        difference_error=difference_error,
        slices=slice_rows(found.slicer, nats, n),
        expected_loss_error=calibration_error(by_entropy),
        entropy_bins=by_entropy,
        probability_bins=first_choices,
        probability_error=calibration_error(first_choices),
        top_tokens=top_rows(found, shown, tokenizer),
        repeated=repeated_rows(found, shown, tokenizer),
        worst=worst_rows(found, table, shown, tokenizer),
        curves=curves,
        protocol=table.protocol.name,
        dtype=str(table.manifest["dtype"]),
        rerun_difference=max((one.alternatives.difference for one in shown), default=0.0),
    )
