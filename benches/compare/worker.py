"""One measurement in a fresh process: a job as JSON on standard input, its figures on the output.

Run by the Python of the environment whose package is measured. Imports come first and are not
timed; the text is read before a clock starts, as new ``str`` objects.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compare import corpora, encoders, trainers


def peak_memory() -> int:
    """Return the most bytes that were resident since this process began."""
    status = Path("/proc/self/status")
    if status.exists():
        # Unlike getrusage it forgets the process that started this one.
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def share(began: tuple[float, float]) -> float:
    """Return processor time over time since ``began``: below 1 a thread, others had the core."""
    wall, processor = began
    return (time.process_time() - processor) / (time.perf_counter() - wall)


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def sha(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, dtype="<u4")).hexdigest()


def ready(job: dict) -> encoders.Encoder:
    """Return the package with its encoding loaded and one word encoded by the call for many.

    What a package sets up at its first call is thus no part of what is timed afterwards.
    """
    encoder = made(job)
    encoder.load()
    encoder.encode(["a"])
    return encoder


def made(job: dict) -> encoders.Encoder:
    package = encoders.ENCODERS[job["peer"]]
    return package(Path(job["vocabularies"]), job["encoding"], job["threads"])


def load(job: dict) -> dict:
    """Seconds from the file to the first token."""
    encoder = made(job)

    def work() -> None:
        encoder.load(job["file"])
        encoder.encode_one("a")

    return {"load": timed(work)[1]}


def encode(job: dict) -> dict:
    """Seconds for texts after loading (cold), for others (steady), for the first again (replay)."""
    first, second = ([*corpora.read(Path(path))] for path in job["texts"])
    encoder = ready(job)
    began = clocks()
    cold_result, cold = timed(lambda: encoder.encode(first))
    steady_result, steady = timed(lambda: encoder.encode(second))
    _, replay = timed(lambda: encoder.encode(first))
    had = share(began)
    ids = [encoder.ids(result) for result in (cold_result, steady_result)]
    return {
        "cold": cold,
        "steady": steady,
        "replay": replay,
        "share": had,
        "ids": [sha(part) for part in ids],
        "tokens": [len(part) for part in ids],
        "peak_memory": peak_memory(),
    }


def decode(job: dict) -> dict:
    """Seconds to decode many documents, after a tenth of them: the first and a second time."""
    ids, offsets = (np.load(path) for path in job["ids"])
    documents = [ids[a:b] for a, b in itertools.pairwise(offsets)]
    if job["peer"] == "memcpy":
        texts = [text.encode() for text in corpora.read(Path(job["texts"][0]))]
        views = [memoryview(text) for text in texts]
        work: encoders.Decode = lambda: [bytes(view) for view in views]  # noqa: E731
    else:
        encoder = ready(job)
        encoder.decoding(documents[: len(documents) // 10])()
        work = encoder.decoding(documents)
    began = clocks()
    result, cold = timed(work)
    _, steady = timed(work)
    had = share(began)
    digest = hashlib.sha256()
    for text in result:
        digest.update(text.encode() if isinstance(text, str) else text)
    return {"cold": cold, "steady": steady, "share": had, "ids": [digest.hexdigest()]}


def tokenize(job: dict) -> dict:
    """Seconds from files to shards, and the most memory."""
    import lslm

    tok = ready(job).tok
    result, seconds = timed(
        lambda: lslm.tokenize(
            job["inputs"],
            output=job["output"],
            tokenizer=tok,
            validation_fraction=0,
            eos_token="<|endoftext|>",
            threads=job["threads"],
            progress=False,
        )
    )
    return {
        "seconds": seconds,
        "tokens": [result.train.n_tokens],
        "peak_memory": peak_memory(),
    }


def read(job: dict) -> dict:
    """Seconds of a pass of the same reader over the same files that does nothing with them."""
    import lslm

    found, seconds = timed(lambda: lslm.Corpus(job["inputs"]).count_documents(progress=False))
    return {"seconds": seconds, "documents": found.n_documents, "bytes": found.n_bytes}


def encode_all(job: dict) -> dict:
    """Seconds to encode all documents of a file, held as a list, in one call."""
    texts = [*corpora.read(Path(job["texts"][0]))] * job["copies"]
    encoder = ready(job)
    result, seconds = timed(lambda: encoder.encode(texts))
    return {"seconds": seconds, "tokens": [len(result[0])]}


def train(job: dict) -> dict:
    """Seconds and processor seconds to learn a vocabulary, and the most memory."""
    trainer = trainers.TRAINERS[job["peer"]](job)
    before = peak_memory()
    processor = time.process_time()
    result, seconds = timed(trainer.train)
    processor = time.process_time() - processor
    peak = peak_memory()
    tokens = trainer.tokens(result)
    Path(job["output"]).write_text(json.dumps([token.hex() for token in tokens]))
    return {
        "seconds": seconds,
        "processor_seconds": processor,
        "memory_before": before,
        "peak_memory": peak,
        "tokens": [len(tokens)],
        "ids": [hashlib.sha256(b"".join(t.hex().encode() + b"\n" for t in tokens)).hexdigest()],
    }


def main() -> None:
    job = json.load(sys.stdin)
    if job.get("core") is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {job["core"]})
    print(json.dumps(globals()[job["work"]](job)))


if __name__ == "__main__":
    main()
