"""Evaluation beside training: tokens a second, the cost of a score table, and memory.

    python benches/evaluation.py                 # a small shape for a CPU
    python benches/evaluation.py --width 768 --layers 12 --vocab 50304 --length 1024 --rows 16
    python benches/evaluation.py --memory 10000000 --width 32 --layers 1 --vocab 1024

Checks first that the sums of a score table are those of the result, and that they do not depend on
the batch. Rounds are interleaved; CPU seconds (process_time) and wall, medians. With --memory
nothing is timed: that many tokens go to a score table, and the peak memory is compared with that of
a table of 40,000.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import lslm
from lslm.data import write_dataset
from lslm.evaluation import score
from lslm.evaluation_data import DatasetDocuments, Vocabulary
from lslm.model import ModelConfig, Transformer
from lslm.protocol import parse_protocol
from lslm.score_table import ScoreWriter
from lslm.training.environment import memory_bytes


class NoTokenizer:
    """Stands in for a tokenizer, so that what is timed is not decoding."""

    def decode(self, _ids):
        return ""


def dataset(folder, vocab, n_tokens):
    """Write a dataset of random documents of some hundred tokens."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 1500, n_tokens // 700)
    documents = (rng.integers(0, vocab, size, dtype=np.uint32) for size in sizes)
    return write_dataset(folder, documents, vocab_size=vocab)


def timed(run):
    """Return CPU and wall seconds of ``run()``."""
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - cpu, time.perf_counter() - wall


def compare(jobs, n_tokens, rounds):
    """Run ``jobs`` interleaved and print their speeds and ratios."""
    rows = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, run in jobs.items():
            rows[name].append(timed(run))
    speeds = {}
    for name, times in rows.items():
        cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
        speeds[name] = (n_tokens[name] / cpu, n_tokens[name] / wall)
        print(
            f"{name:12} {speeds[name][0]:12,.0f} tokens/s by CPU {speeds[name][1]:12,.0f} by wall"
        )
    for name in ("evaluate", "with table"):
        ratios = [a / b for a, b in zip(speeds[name], speeds["train"], strict=True)]
        print(f"{name:12} {ratios[0]:.2f} x train by CPU, {ratios[1]:.2f} by wall")
    cost = speeds["evaluate"][0] / speeds["with table"][0] - 1
    print(f"score table  {cost:+.1%} CPU time")


def options_given():
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("width", 256), ("layers", 4), ("vocab", 8192), ("length", 256)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", type=int, default=0, metavar="TOKENS")
    return parser.parse_args()


def main() -> None:
    """Check, then measure."""
    options = options_given()
    T, V = options.length, options.vocab
    shape = ModelConfig(
        vocab_size=V,
        sequence_length=T,
        width=options.width,
        layers=options.layers,
        heads=max(1, options.width // 64),
    )
    model = Transformer(shape).to(options.device)
    with torch.no_grad():
        model.head.weight.normal_(0, 0.05)
    vocabulary = Vocabulary(NoTokenizer(), np.ones(V, np.int64))
    protocol = parse_protocol("disjoint", T)
    n_steps = max(1, options.tokens // (options.rows * T))
    batch = torch.randint(V, (options.rows, T), device=options.device)

    with tempfile.TemporaryDirectory() as folder:
        data = [DatasetDocuments(dataset(Path(folder, "set"), V, options.tokens), vocabulary, "")]
        count = [0]

        def evaluate(table=False, batch_size=None):
            if not table:
                return score(model, data, vocabulary, protocol, batch_size=batch_size)
            count[0] += 1
            with ScoreWriter(Path(folder, f"s{count[0]}"), vocab_size=V) as writer:
                result = score(model, data, vocabulary, protocol, writer=writer)
                writer.finish(protocol=protocol, fingerprints={})
            return result

        def train():
            for _ in range(n_steps):
                model(batch, batch).backward()
                model.zero_grad()
            if options.device != "cpu":
                torch.cuda.synchronize()

        result = evaluate(table=True)
        table = lslm.open_scores(Path(folder, "s1"))
        assert np.isclose(table.columns["nats"].sum(dtype=float), result.nats, rtol=1e-12)
        assert np.isclose(evaluate(batch_size=3).nats, result.nats, rtol=1e-6)
        if options.memory:
            before = memory_bytes("cpu")
            large = dataset(Path(folder, "large"), V, options.memory)
            data[:] = [DatasetDocuments(large, vocabulary, "")]
            n_tokens = evaluate(table=True).n_tokens
            grown = (memory_bytes("cpu") - before) / 1e6
            print(f"{n_tokens:,} tokens to a score table: {grown:.0f} MB more")
            return
        before = memory_bytes("cpu")
        jobs = {"train": train, "evaluate": evaluate, "with table": lambda: evaluate(table=True)}
        n_tokens = dict.fromkeys(jobs, result.n_tokens) | {"train": n_steps * options.rows * T}
        print(f"{model.n_parameters():,} parameters, T {T}, V {V}, {options.device}")
        compare(jobs, n_tokens, options.rounds)
        grown = (memory_bytes("cpu") - before) / 1e6
        print(f"memory       {grown:.0f} MB more at the end than after the checks")


if __name__ == "__main__":
    main()
