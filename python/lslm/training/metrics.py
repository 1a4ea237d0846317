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

    def write(self, step: int, row: Mapping[str, float | str]) -> None:
        """Append the row of ``step``; a number that is not finite becomes null: JSON has none."""
        if self._file is not None:
            known = {
                k: None if isinstance(v, float) and not math.isfinite(v) else v
                for k, v in row.items()
            }
            self._file.write(json.dumps({"step": step} | known) + "\n")
            self._file.flush()
            for listener in self._listeners:
                listener({"step": step} | known)

    def write_validation(
        self, step: int, result: EvaluationResult, prefix: str = "validation"
    ) -> None:
        """Append the row of a validation after ``step``; of several sets, also that of each.

        The keys are ``validation_loss``, and of the set ``web`` ``validation_loss.web``.
        """
        names = ("loss", "perplexity", "bits_per_byte")
        row = {f"{prefix}_{name}": getattr(result, name) for name in names}
        for dataset, scores in result.by_dataset.items():
            row |= {f"{prefix}_{name}.{dataset}": getattr(scores, name) for name in names}
        self.write(step, row)

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
