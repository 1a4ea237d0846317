"""Reading a run's metrics.jsonl."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm.exceptions import FormatError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["MetricRow", "count_parameters", "read_metrics"]


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """The values of one step in ``metrics.jsonl``; None where the step has none."""

    step: int
    n_tokens: int | None = None
    """Targets trained on so far."""
    loss: float | None = None
    """Nats per token."""
    validation_loss: float | None = None
    validation_bits_per_byte: float | None = None
    validation_by_source: Mapping[str, float] = field(default_factory=dict)
    """Loss of the sources with the most tokens, those first; empty with one source."""
    learning_rate: float | None = None
    """Of the matrices."""
    gradient_norm: float | None = None
    """Of all parameters together, before it was limited."""
    tokens_per_second: float | None = None


def read_metrics(path: str | os.PathLike[str]) -> list[MetricRow]:
    """Return the rows of a ``metrics.jsonl``, one per step, in order of steps.

    The rows of one step, such as of training and validation, are merged. A last line without its
    line end is still being written and is left out; any other line that is not a JSON object with a
    step raises ``FormatError`` with its number.
    """
    content = Path(path).read_bytes()
    rows: dict[int, dict[str, Any]] = {}
    offset = 0
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
            rows.setdefault(_metric_row(row).step, {}).update(row)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(
                f"{path}: line {number} is not a row of metrics ({error}): remove the line, or "
                "train again",
                str(path),
                offset,
            ) from None
        offset += len(line) + 1
    return [_metric_row(row) for _, row in sorted(rows.items())]


def _metric_row(row: Mapping[str, Any]) -> MetricRow:
    def number(name: str) -> float | None:
        return None if row.get(name) is None else float(row[name])

    tokens = number("tokens")
    return MetricRow(
        step=int(row["step"]),
        n_tokens=None if tokens is None else int(tokens),
        loss=number("loss"),
        validation_loss=number("validation_loss"),
        validation_bits_per_byte=number("validation_bits_per_byte"),
        validation_by_source={
            str(name): float(loss)
            for name, loss in row.get("validation_loss_by_source", {}).items()
            if loss is not None
        },
        learning_rate=number("lr"),
        gradient_norm=number("gradient_norm"),
        tokens_per_second=number("tokens_per_second"),
    )


def count_parameters(run: str | os.PathLike[str]) -> int:
    """Return the number of values in the last checkpoint of ``run``; 0 without one."""
    checkpoints = sorted(Path(run).glob("checkpoints/step-*/state.json"))
    if not checkpoints:
        return 0
    n_values = 0
    for file in checkpoints[-1].parent.glob("model*.safetensors"):
        with file.open("rb") as content:
            header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        n_values += sum(math.prod(shape) for shape in shapes)
    return n_values
