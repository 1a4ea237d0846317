"""Measure `lslm.clean` from JSONL.zst to JSONL.zst, by one thread and by two.

    pip install zstandard
    python benches/clean_files.py ../shared/data

The corpus is the web sample, repeated to about 64 MB of JSONL in eight files. Prints MB of JSONL a
CPU second and a second of the clock, the best of three rounds; two threads must write the same
bytes. The ratio of two threads to one needs two idle cores.
"""

import sys
import tempfile
import time
from pathlib import Path

import zstandard

import lslm

ROUNDS = 3
N_FILES = 8
MAX_BYTES = 64_000_000


def write_corpus(data: Path, folder: Path) -> int:
    """Write the files; return their bytes before compression."""
    lines = (
        zstandard.ZstdDecompressor().stream_reader((data / "web/c4.jsonl.zst").open("rb")).read()
    )
    repeats = max(MAX_BYTES // N_FILES // len(lines), 1)
    for number in range(N_FILES):
        packed = zstandard.compress(lines * repeats)
        (folder / f"{number}.jsonl.zst").write_bytes(packed)
    return len(lines) * repeats * N_FILES


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a finished job."""
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


def main() -> None:
    """Print a line for each profile and number of threads."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw").mkdir()
        size = write_corpus(Path(sys.argv[1]), folder / "raw")
        for profile in ("none", "fineweb"):
            written, clock = [], {}
            for threads in (1, 2):
                cpu, clock[threads] = float("inf"), float("inf")
                for number in range(ROUNDS):
                    out = folder / f"{profile}-{threads}-{number}"
                    start = time.process_time(), time.perf_counter()
                    lslm.clean(
                        folder / "raw", output=out, cleaner=profile, threads=threads, progress=False
                    )
                    cpu = min(cpu, time.process_time() - start[0])
                    clock[threads] = min(clock[threads], time.perf_counter() - start[1])
                written.append(content(out))
                print(
                    f"{profile}, {threads} threads: {size / cpu / 1e6:.1f} MB a CPU second, "
                    f"{size / clock[threads] / 1e6:.1f} a second"
                )
            if written[0] != written[1]:
                sys.exit(f"{profile}: two threads write other bytes")
            print(f"{profile}: two threads are {clock[1] / clock[2]:.2f} times as fast")


if __name__ == "__main__":
    main()
