"""One model's scores: its table and its alternatives, from files where they are there already.

The model is loaded only to fill what is missing. Whether a table is of this model, these data and
this protocol follows from fingerprints, which need neither the model nor torch.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lslm.analysis.passages import Alternatives
from lslm.checkpoint import RunFiles, find_run, open_run
from lslm.evaluation_data import DatasetDocuments, Vocabulary
from lslm.evaluation_inputs import model_fingerprints, open_data
from lslm.exceptions import FormatError
from lslm.files import write_atomically
from lslm.protocol import parse_protocol
from lslm.score_table import MANIFEST, open_scores

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from lslm.analysis.passages import Passage
    from lslm.checkpoint import Run
    from lslm.evaluation_data import EvaluationData
    from lslm.progress import Progress
    from lslm.score_table import ScoreTable

__all__ = ["Request", "ScoredModel"]

ALTERNATIVES = "alternatives.npz"
"""The alternatives of the passages shown, in the folder of the table."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be scored and how; the fields are arguments of :func:`lslm.analyze`."""

    data: Any
    protocol: str
    n_tokens: int | None
    device: str
    progress: Progress


class ScoredModel:
    """The model of a checkpoint with its score table in ``folder``, which is written if need be."""

    def __init__(
        self,
        run: str | os.PathLike[str],
        checkpoint: str | int,
        folder: Path,
        request: Request,
    ) -> None:
        self._given, self._request = Path(run), request
        names = ("config.toml", "state.json")
        is_own = any((self._given / name).is_file() for name in names)
        # a published model has no record of what it is: it is opened to find out
        self.facts: Run | RunFiles = find_run(run, checkpoint) if is_own else self.opened
        self.table = self._table(folder)

    @cached_property
    def opened(self) -> Run:
        """The run with its model, on the device."""
        from lslm.parallel import resolve_device

        device = resolve_device(self._request.device)
        if "facts" in vars(self) and isinstance(self.facts, RunFiles):
            return open_run(self.facts.checkpoint, device=device)
        return open_run(self._given, device=device)

    def alternatives(self, passages: Sequence[Passage]) -> list[Alternatives]:
        """Return the alternatives of each passage; the model runs if they are not stored."""
        path = self.table.path / ALTERNATIVES
        found = _stored(path, passages)
        if found is None:
            from lslm.analysis.alternatives import find_alternatives

            prefixes = {one.name: one.prefix for one in self._data()}
            found = find_alternatives(self.opened, self.table, passages, prefixes)
            _store(path, passages, found)
        return found

    def _data(self) -> Sequence[EvaluationData]:
        """Return the data that are scored, open."""
        run = self.facts
        vocabulary = Vocabulary.of(run.tokenizer, bos_id=run.bos_id, eos_ids=run.eos_ids)
        return open_data(run, self._request.data, vocabulary)

    def _table(self, folder: Path) -> ScoreTable:
        """Return the table in ``folder`` if it is of this model and data, else write it there."""
        if (folder / MANIFEST).is_file():
            with contextlib.suppress(FormatError):  # damaged, or of an earlier format
                table = open_scores(folder)
                if self._is_current(table):
                    return table
        _clear(folder)
        from lslm.evaluation import evaluate

        request = self._request
        evaluate(
            self.opened,
            data=request.data,
            protocol=request.protocol,
            n_tokens=request.n_tokens,
            progress=request.progress,
            save_scores=folder,
        )
        return open_scores(folder)

    def _is_current(self, table: ScoreTable) -> bool:
        """Return whether evaluating would write ``table`` again; texts and samples are not."""
        run, request = self.facts, self._request
        if table.manifest.get("sample") or request.n_tokens:
            return False
        chosen = parse_protocol(request.protocol, run.config.model.sequence_length)
        wanted = model_fingerprints(run) | {"protocol": chosen.fingerprint}
        for one in self._data():
            if not isinstance(one, DatasetDocuments):
                return False
            wanted[f"data {one.name}"] = one.fingerprint
        return table.fingerprints == wanted


def _clear(folder: Path) -> None:
    """Remove a score table, also one that was not finished; ``ValueError`` for anything else."""
    if not folder.exists():
        return
    own = {MANIFEST, ALTERNATIVES, "tokens", "spans", "documents"}
    others = sorted(path.name for path in folder.iterdir() if path.name not in own)
    if others:
        raise ValueError(
            f"{folder} has {others[0]}, which is not of a score table: choose another output"
        )
    shutil.rmtree(folder)


def _stored(path: Path, passages: Sequence[Passage]) -> list[Alternatives] | None:
    """Return the alternatives in ``path`` if they are of ``passages``, else None."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            if file["rows"].tolist() != [[one.start, one.stop] for one in passages]:
                return None
            ends = np.cumsum([one.stop - one.start for one in passages])[:-1]
            parts = (np.split(file[name], ends) for name in ("ids", "probabilities"))
            return [
                Alternatives(ids, probabilities, float(difference))
                for ids, probabilities, difference in zip(*parts, file["difference"], strict=True)
            ]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):  # cut off, or of another lslm
        return None


def _store(path: Path, passages: Sequence[Passage], found: Sequence[Alternatives]) -> None:
    """Write the alternatives of ``passages`` for :func:`_stored`."""
    if not found:
        return
    file = io.BytesIO()
    np.savez_compressed(
        file,
        rows=np.array([[one.start, one.stop] for one in passages], np.int64),
        ids=np.concatenate([one.ids for one in found]),
        probabilities=np.concatenate([one.probabilities for one in found]),
        difference=np.array([one.difference for one in found]),
    )
    write_atomically(path, file.getvalue())
