"""metrics.jsonl: one JSON object per logged step, one per validation, one per step back."""

from __future__ import annotations

import contextlib
import json
import math
import os
from typing import TYPE_CHECKING, Any, Self

from lslm.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lslm.scores import EvaluationResult
    from lslm.training.loggers import Logger

__all__ = ["MetricsFile", "drop_rows_after"]


MAX_SOURCES = 8
"""Sources with a loss of their own in each row of a validation: those with the most tokens."""


class MetricsFile:
    """Appends rows to a run's metrics.jsonl, as a context; without ``write``, does nothing."""

    def __init__(self, run: Path, listeners: Sequence[Logger] = (), *, write: bool = True) -> None:
        """``listeners`` are called with each row that was appended."""
        self._run, self._listeners = run, listeners
        self._file = (run / "metrics.jsonl").open("a", encoding="utf-8") if write else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, step: int, row: Mapping[str, float | str], **more: Mapping[str, float]) -> None:
        """Append the row of ``step``; a number that is not finite becomes null: JSON has none.

        ``more`` are tables of values by name; listeners get those as ``name.key``.
        """
        if self._file is not None:
            known = {"step": step} | _known(row)
            tables = {name: _known(table) for name, table in more.items()}
            self._file.write(json.dumps(known | tables) + "\n")
            self._file.flush()
            flat = {
                f"{name}.{key}": v for name, table in tables.items() for key, v in table.items()
            }
            for listener in self._listeners:
                listener(known | flat)

    def write_validation(
        self, step: int, result: EvaluationResult, prefix: str = "validation"
    ) -> None:
        """Append the row of a validation after ``step``; of several sets, also that of each.

        The keys are ``validation_loss``, and of the set ``web`` ``validation_loss.web``; of several
        sources, ``validation_loss_by_source`` has the loss of those with the most tokens by name.
        """
        names = ("loss", "perplexity", "bits_per_byte")
        row = {f"{prefix}_{name}": getattr(result, name) for name in names}
        for dataset, scores in result.by_dataset.items():
            row |= {f"{prefix}_{name}.{dataset}": getattr(scores, name) for name in names}
        largest = sorted(result.by_source, key=lambda name: -result.by_source[name].n_tokens)
        losses = {name: result.by_source[name].loss for name in largest[:MAX_SOURCES]}
        by_source = {f"{prefix}_loss_by_source": losses} if len(losses) > 1 else {}
        self.write(step, row, **by_source)

    def sync(self) -> None:
        """Sync the rows to the disk, as far as a checkpoint is about to."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def drop_rows_after(self, step: int) -> None:
        """Remove the rows after ``step``, which the run goes back to."""
        if self._file is not None:
            self._file.close()
            drop_rows_after(self._run, step)
            self._file = (self._run / "metrics.jsonl").open("a", encoding="utf-8")


def _known(row: Mapping[str, float | str]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def drop_rows_after(run: Path, step: int, *, validation_due: bool = False) -> None:
    """Remove the rows of ``run`` after ``step``, and what a killed process left of one.

    With ``validation_due`` also the validation of ``step``, which is made again.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            row: dict[str, Any] = json.loads(line)
            again = validation_due and row["step"] == step and "loss" not in row
            if row["step"] <= step and not (again and any("validation" in key for key in row)):
                kept.append(line + "\n")
    write_atomically(path, "".join(kept))
