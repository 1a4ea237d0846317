"""Runs rows in rounds, and keeps what is done so that an interrupted comparison goes on."""

from __future__ import annotations

import json
from pathlib import Path

from compare import environments
from compare.rows import Row

# The least part of a core that a run on one thread has when nothing else uses it.
ALONE = 0.95


class Session:
    """Measurements of one commit on one machine; ``folder`` keeps each finished row as a file."""

    def __init__(self, folder: Path, rounds: int, peers: list[str] | None) -> None:
        self.folder, self.rounds, self.peers = folder, rounds, peers
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '~')}.json"

    def finished(self, name: str) -> dict | None:
        """Return the row ``name`` if it was measured before."""
        path = self.path(name)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def measure(self, row: Row) -> dict:
        """Run all sides of a row, one after the other in each round, and keep the runs."""
        sides = [side for side in row.jobs if self.wanted(side, row)]
        # The reference runs first, since no figure counts before its result is compared.
        sides.sort(key=lambda side: side != row.reference)
        runs: list[dict] = []
        given_up: set[str] = set()
        for number in range(self.rounds):
            for side in sides:
                if number >= row.rounds[side] or side in given_up:
                    continue
                result = environments.run(row.environments[side], row.jobs[side])
                row.after()
                if "failed" in result:
                    given_up.add(side)
                runs.append({"side": side, "round": number, **result})
                print(f"  {row.name} {side}: {_short(result)}", flush=True)
                if row.facts.get("threads") == 1 and result.get("share", 1) < ALONE:
                    print("    others used this core: the record will say so", flush=True)
        measured = {**row.facts, "reference": row.reference, "runs": runs, **self.alike(row, runs)}
        part = self.path(row.name).with_suffix(".part")
        part.write_text(json.dumps(measured, indent=1, ensure_ascii=False), encoding="utf-8")
        part.rename(self.path(row.name))
        return measured

    def wanted(self, side: str, row: Row) -> bool:
        known = side in ("lslm", row.reference) or row.environments[side] == "lslm"
        return self.peers is None or known or side in self.peers

    def alike(self, row: Row, runs: list[dict]) -> dict:
        """Return which sides gave what the reference gave; learned tokens also by how far."""
        results: dict[str, list] = {}
        for run in runs:
            if "ids" in run:
                results.setdefault(run["side"], []).append(run["ids"])
        if row.reference not in results:
            return {}
        expected = results[row.reference][0]
        same = {side: all(ids == expected for ids in of) for side, of in results.items()}
        if not row.name.startswith("train/"):
            return {"same": same}
        learned = {side: json.loads(Path(row.jobs[side]["output"]).read_text()) for side in results}
        others = learned[row.reference]
        return {
            "same": same,
            "in_order": {side: _prefix(tokens, others) for side, tokens in learned.items()},
            "in_common": {side: len({*tokens} & {*others}) for side, tokens in learned.items()},
        }


def _prefix(tokens: list[str], others: list[str]) -> int:
    """Return how many tokens are equal before the first that differs."""
    pairs = zip(tokens, others, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(tokens), len(others)))


def _short(result: dict) -> str:
    if "failed" in result:
        return result["failed"][:150]
    return " ".join(f"{k} {v:.3f}" for k, v in result.items() if isinstance(v, float))
