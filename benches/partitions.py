"""Time and memory of a job with very many partitions, as JSON lines.

Run ``python benches/partitions.py [N]``. For one large file, and for N small files, it measures in
a process of its own each: opening the corpus and dividing it into N partitions; computing a slice
that has one of them; and, with ``--finish``, all of them and ``lslm.finish``.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINE = json.dumps({"text": "a line of some two hundred bytes " * 6}) + "\n"


def write_corpus(folder, kind, n):
    """Write N lines into one file, or N files; return the bytes of a partition."""
    folder.mkdir()
    if kind == "one file":
        (folder / "a.jsonl").write_text(LINE * n)
    else:
        for number in range(n):
            (folder / f"{number:06}.jsonl").write_text(LINE)
    return len(LINE)


def measure(folder, out, partition_bytes, steps):
    """Print seconds and the largest memory so far after each of ``steps``, in this process."""
    import lslm

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for step in steps:
        begin, cpu = time.perf_counter(), time.process_time()
        if step == "plan":
            corpus = lslm.Corpus(folder)
            n = corpus.n_partitions(partition_bytes)
        elif step == "slice":
            options = {"output": out, "partition_bytes": partition_bytes, "progress": False}
            lslm.clean(corpus, cleaner="none", partitions=f"7/{n}", **options)
        elif step == "all":
            options |= {"output": f"{out}-all"}
            lslm.clean(corpus, cleaner="none", partitions="1/1", **options)
        else:
            lslm.finish(f"{out}-all", progress=False)
        row = {
            "step": step,
            "partitions": n,
            "seconds": round(time.perf_counter() - begin, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
            "max_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "mb_before": round(before, 1),
        }
        print(json.dumps(row), flush=True)


def main():
    """Measure both kinds of corpora, each in a process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n", type=int, nargs="?", default=100_000)
    parser.add_argument("--finish", action="store_true", help="compute all partitions and finish")
    parser.add_argument("--in-process", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.in_process:
        folder, out, partition_bytes, steps = given.in_process
        measure(folder, out, int(partition_bytes), steps.split(","))
        return
    steps = "plan,slice,all,finish" if given.finish else "plan,slice"
    for kind in ("one file", "small files"):
        with tempfile.TemporaryDirectory() as folder:
            corpus, out = Path(folder, "raw"), Path(folder, "out")
            size = write_corpus(corpus, kind, given.n)
            print(json.dumps({"corpus": kind}), flush=True)
            words = [__file__, "--in-process", corpus, out, size, steps]
            subprocess.run([sys.executable, *map(str, words)], check=True)


if __name__ == "__main__":
    main()
