"""What the stage ``dedup`` costs: CPU time and memory of ``clean`` with and without it.

    python benches/dedup.py [MEGABYTES]

Each job runs in a process of its own, on one thread; the result is compared with a set of strings
before a figure counts.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import lslm

KINDS: dict[str, object] = {
    "none": False,
    "documents": True,
    "documents, lines": {"parts": "lines"},
    "documents, lines, normalised": {"parts": "lines", "normalise": True},
}


def write_corpus(path: Path, megabytes: float) -> int:
    """Write documents of 20 lines, a tenth of them copies, a fifth of the lines frequent ones."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(20_000)]
    frequent = [" ".join(rng.choices(words, k=8)) for _ in range(500)]
    documents: list[str] = []
    size = 0
    with path.open("w") as file:
        while size < megabytes * 1e6:
            if documents and rng.random() < 0.1:
                text = rng.choice(documents)
            else:
                own = [" ".join(rng.choices(words, k=12)) for _ in range(16)]
                lines = own + rng.choices(frequent, k=4)
                rng.shuffle(lines)
                text = "\n".join(lines)
                documents = [*documents[-999:], text]
            size += file.write(json.dumps({"text": text}) + "\n")
    return size


def expected(path: Path) -> int:
    """Return the number of distinct documents."""
    with path.open() as file:
        return len({json.loads(line)["text"] for line in file})


def run(path: Path, output: Path, settings: object) -> dict[str, float]:
    """Clean ``path`` and return the number of documents, seconds of CPU time and megabytes."""
    cleaner = lslm.Cleaner("none", dedup=settings)
    made = lslm.clean(path, output=output, cleaner=cleaner, threads=1, progress=False)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "n_documents": made.n_documents,
        "seconds": usage.ru_utime,
        "megabytes": usage.ru_maxrss / 1e3,
    }


def main() -> None:
    """Print a row for each kind."""
    if len(sys.argv) == 4:
        path, output, kind = sys.argv[1:]
        print(json.dumps(run(Path(path), Path(output), KINDS[kind])))
        return
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 200.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "raw.jsonl"
        size = write_corpus(path, megabytes)
        n_distinct = expected(path)
        for kind, settings in KINDS.items():
            output = Path(folder) / kind.replace(", ", "-")
            command = [sys.executable, __file__, str(path), str(output), kind]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(printed)
            if settings is True and found["n_documents"] != n_distinct:
                sys.exit(f"{kind}: {found['n_documents']} documents, {n_distinct} are distinct")
            speed = size / 1e6 / found["seconds"]
            print(f"{kind:30} {speed:6.1f} MB/s of CPU time {found['megabytes']:8.0f} MB of memory")


if __name__ == "__main__":
    main()
