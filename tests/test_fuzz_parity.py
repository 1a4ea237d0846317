"""A short run of the differential fuzzer: LSLM_FUZZ_BYTES (2,000,000) bytes, a new seed each day."""

from __future__ import annotations

import datetime
import os
import random

import pytest

import fuzz_parity
import fuzz_texts

BYTES = int(float(os.environ.get("LSLM_FUZZ_BYTES", "2e6")))
SEED = int(os.environ.get("LSLM_FUZZ_SEED", datetime.datetime.now(datetime.UTC).strftime("%Y%m%d")))


@pytest.mark.timeout(120 + BYTES / 100_000)
def test_ids_equal_those_of_the_references(tmp_path, capsys):
    def report(line):
        with capsys.disabled():
            print(line, flush=True)

    # below this, starting processes takes longer than one process takes for all
    processes = (os.cpu_count() or 1) if BYTES > 20_000_000 else 1
    done, failures = fuzz_parity.run(
        BYTES,
        seed=SEED,
        real=min(3_000_000, BYTES // 10),
        processes=processes,
        tmp=tmp_path,
        report=report,
    )
    assert not failures, "\n".join(failures)
    assert done.total() >= BYTES


def test_a_batch_is_a_function_of_its_number(tmp_path):
    one, other = (fuzz_parity.Worker(5, 20_000, tmp_path) for _ in range(2))
    assert one.batch(3) == other.batch(3)
    assert one.batch(3) != one.batch(4)
    assert {one.batch(number)[0] for number in range(60)} > {"o200k_base", "qwen2_5"}


def test_a_difference_is_found_and_shrunk(tmp_path):
    """A reference that is wrong about one character after a line end: the report shows these."""
    worker = fuzz_parity.Worker(1, 20_000, tmp_path)
    pair = worker.pair("gpt2")

    def wrong(texts, special):
        ids = [list(part) for part in pair.ids(texts, special)]
        return [
            [*part, 0] if "\n\u0301" in text else part
            for text, part in zip(texts, ids, strict=True)
        ]

    worker.pairs["gpt2"] = fuzz_parity.Pair("gpt2", pair.tok, wrong, changes_text=False)
    failures = []
    for number in range(200):
        if worker.batch(number)[0] == "gpt2":
            failures.append(worker.check(number)[2])
            if failures[-1]:
                break
    assert "'\\n\u0301' (2 characters" in failures[-1]


def test_a_shrunk_text_still_fails():
    text = "x" * 500 + "needle" + "\n" * 300 + "7"
    assert (
        fuzz_parity.shrink(text, lambda part: "needle" in part and part.endswith("7")) == "needle7"
    )


@pytest.mark.parametrize("kind", ["damaged", "real_slice", "runs", "mixture", "noise", "short"])
def test_every_kind_of_text_is_valid_and_varied(kind):
    real = fuzz_texts.real_texts(20_000)
    make = getattr(fuzz_texts, kind)
    texts = [make(random.Random(i), real) for i in range(40)]
    assert len(set(texts)) > 20
    for text in texts:
        text.encode()  # no lone surrogates
