"""All that the page shows, as JSONL; and as Parquet where pyarrow is installed."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lslm.analysis.rows import visible
from lslm.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lslm import Tokenizer
    from lslm.analysis.findings import Analysis, Shown
    from lslm.analysis.passages import Alternatives

__all__ = ["FILES", "has_parquet", "write_files"]

FILES = ("summary", "slices", "tokens", "worst", "calibration", "passages", "training")
"""The names of the files, without their endings; the last only of several checkpoints."""


def has_parquet() -> bool:
    """Return whether Parquet is written: pyarrow is installed."""
    return importlib.util.find_spec("pyarrow") is not None


def write_files(
    folder: Path, result: Analysis, shown: Sequence[Shown], tokenizer: Tokenizer
) -> None:
    """Write the rows of ``result`` and of the passages ``shown`` into ``folder``."""
    plain = result.as_dict()
    kinds = {"entropy": plain.pop("entropy_bins"), "first choice": plain.pop("probability_bins")}
    rows: dict[str, list[dict[str, Any]]] = {
        "slices": plain.pop("slices"),
        "tokens": plain.pop("top_tokens") + plain.pop("repeated"),
        "worst": plain.pop("worst"),
        "calibration": [{"kind": kind, **row} for kind, bins in kinds.items() for row in bins],
        "passages": list(_passage_rows(shown, tokenizer)),
        "training": [
            {"token": curve["token"], "id": curve["id"], "n_tokens": curve["n_tokens"], **point}
            for curve in plain.pop("curves")
            for point in curve["points"]
        ],
        "summary": [plain],
    }
    for name in FILES:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[name])
        _write_or_remove(folder / f"{name}.jsonl", text, rows[name])
        if has_parquet():
            _write_or_remove(folder / f"{name}.parquet", _parquet(rows[name]), rows[name])


def _write_or_remove(path: Path, content: str | bytes, rows: Sequence[object]) -> None:
    """Write ``content``; without rows, remove what an earlier analysis left there."""
    if rows:
        write_atomically(path, content)
    else:
        path.unlink(missing_ok=True)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    """Return ``rows`` as a Parquet file."""
    file = io.BytesIO()
    table = import_module("pyarrow").Table.from_pylist(rows)
    import_module("pyarrow.parquet").write_table(table, file, compression="zstd")
    return file.getvalue()


def _passage_rows(shown: Sequence[Shown], tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    """Yield each token of the passages with its alternatives, as the page's panel has them."""
    names: dict[int, str] = {}

    def name(token: int) -> str:
        if token not in names:
            names[token] = visible(tokenizer, token)
        return names[token]

    def listed(alternatives: Alternatives, k: int) -> list[dict[str, Any]]:
        ids, p = alternatives.ids[k].tolist(), alternatives.probabilities[k].tolist()
        return [{"id": i, "token": name(i), "probability": q} for i, q in zip(ids, p, strict=True)]

    for number, one in enumerate(shown):
        facts = dataclasses.asdict(one.passage)
        known = {key: facts[key] for key in ("document", "source", "why")}
        for k, (token, nats) in enumerate(zip(one.ids, one.nats, strict=True)):
            row = {"passage": number, **known, "row": one.passage.start + k, "id": token}
            row |= {"token": name(token), "nats": nats}
            row["alternatives"] = listed(one.alternatives, k)
            if one.other_nats is not None and one.other_alternatives is not None:
                row["other_nats"] = one.other_nats[k]
                row["other_alternatives"] = listed(one.other_alternatives, k)
            yield row
