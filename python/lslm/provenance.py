"""What a step of a run read: its rows, decoded, with their documents and sources.

step → samples (from the nearest checkpoint) → windows of the data → documents
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lslm.checkpoint import find_run, list_checkpoints, read_state
from lslm.results import Result
from lslm.run_loader import run_loader

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray

    from lslm._lslm import TokenDataset, Tokenizer

__all__ = ["RowDocument", "StepRow", "StepRows", "read_step"]


@dataclass(frozen=True, kw_only=True, repr=False)
class RowDocument(Result):
    """A document, or a part of one, in a row."""

    document: int
    """Its number in the dataset."""
    source: str | None = None
    """The input it comes from."""
    id: str | None = None
    """Its id in that input."""
    n_tokens: int
    """Inputs of the row that are its tokens."""
    is_whole: bool
    """Whether the row has all of it; its last token may be a target only."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StepRow(Result):
    """A row of a step."""

    row: int
    position: int
    """The position of its first token in the dataset."""
    documents: tuple[RowDocument, ...]
    text: str
    """Its inputs, decoded."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StepRows(Result):
    """What a step of a run read."""

    path: Path
    """The run."""
    step: int
    """The step, from 1, as in metrics.jsonl."""
    data: Path
    """The dataset."""
    n_samples: int
    """Rows that the run had read before."""
    rows: tuple[StepRow, ...]

    def summary(self) -> dict[str, str]:
        """Return run, step, dataset and the counts of rows and documents."""
        documents = {document.document for row in self.rows for document in row.documents}
        return {
            "run": str(self.path),
            "step": f"{self.step:,}",
            "data": str(self.data),
            "rows": f"{len(self.rows):,}",
            "rows before": f"{self.n_samples:,}",
            "documents": f"{len(documents):,}",
        }


def read_step(run: str | os.PathLike[str], step: int) -> StepRows:
    """Return the rows that step ``step`` of a run read, of all processes, with their documents.

    Steps count from 1, as in ``metrics.jsonl``. The rows follow from the position that the nearest
    checkpoint has stored, so a run that went back and left data out is shown as it was.

    Raises:
        ValueError: the run is not so far.
        MismatchError: the data are not those of the run.
    """
    state = _nearest(run, step)
    files = find_run(run, state["step"])
    settings, data = files.config.train, files.config.data.train_path()
    if step > settings.steps > 0:
        raise ValueError(f"step = {step}: the run {files.path} has {settings.steps} steps")
    loader = run_loader(files.config, data, prefetch=0, output="numpy")
    loader.load_state_dict(state["loader"])
    first = loader.n_samples + (step - 1 - state["step"]) * settings.batch_size
    loader.load_state_dict(state["loader"] | {"samples": first, "round": 0})
    batch, dataset = next(loader), loader.datasets[0]
    rows = zip(batch.inputs, batch.document_ids, batch.starts, strict=True)
    return StepRows(
        path=files.path,
        step=step,
        data=dataset.path,
        n_samples=first,
        rows=tuple(
            StepRow(
                row=number,
                position=int(start),
                documents=tuple(_documents(dataset, ids, int(start))),
                text=_decoded(files.tokenizer, inputs[ids >= 0]),
            )
            for number, (inputs, ids, start) in enumerate(rows)
        ),
    )


def _nearest(run: str | os.PathLike[str], step: int) -> dict[str, Any]:
    """Return the state of the first checkpoint at ``step`` or after it, else of the last one."""
    if step < 1:
        raise ValueError(f"step = {step}: steps count from 1")
    states = [read_state(checkpoint) for checkpoint in list_checkpoints(Path(run))]
    states = [state for state in states if "loader" in state]
    if not states:
        raise ValueError(f"{run} has no checkpoint with a position in the data")
    later = [state for state in states if state["step"] >= step]
    return later[0] if later else states[-1]


def _documents(dataset: TokenDataset, ids: NDArray[np.int64], start: int) -> list[RowDocument]:
    """Return the documents of a row, in its order, whose first token is ``start``.

    ``ids`` are those of its inputs; the row has one more token, the last target.
    """
    counts, found = Counter(ids[ids >= 0].tolist()), []
    for document, count in counts.items():
        first, stop = dataset.document_span(document)
        has_begin = start <= first or len(counts) > 1
        is_last = document == ids[-1]
        found.append(
            RowDocument(
                document=document,
                source=dataset.source(document),
                id=dataset.document_id(document),
                n_tokens=count,
                is_whole=has_begin and count + is_last >= stop - first,
            )
        )
    return found


def _decoded(tokenizer: Tokenizer, ids: Any) -> str:
    """Return the text of ``ids``; ids of the padded vocabulary are left out."""
    known = [int(token) for token in ids if token < tokenizer.vocab_size]
    return tokenizer.decode(known)
