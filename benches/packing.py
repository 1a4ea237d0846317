"""How fast documents are packed, and how much padding is left: best-fit decreasing in Rust.

    python benches/packing.py                          # 10 million documents, log-normal lengths
    python benches/packing.py --dataset data/web/train # the documents of a dataset, with --length

Prints million documents a minute of one core, by CPU time, with reading their lengths from the
shards, and the share of the places in all rows that is padding.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from lslm import TokenDataset
from lslm.data import TokenLoader, write_dataset


def write_documents(folder: Path, n: int) -> Path:
    """Write ``n`` documents of log-normal lengths, median 40: many, in little room."""
    lengths = np.random.default_rng(0).lognormal(np.log(40), 1.0, n).astype(np.int64).clip(1)
    offsets = np.concatenate([[0], lengths.cumsum()])
    ids = np.zeros(int(offsets[-1]), np.uint16)
    write_dataset(folder / "data", ids, offsets=offsets, vocab_size=16, eos_id=0)
    return folder / "data"


def main() -> None:
    """Open loaders of each packing and print time and padding."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--length", type=int, action="append")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.dataset or write_documents(Path(folder), arguments.documents)
        dataset = TokenDataset(path)
        for length in arguments.length or [512, 2048, 8192]:
            for packing in ("best_fit", "document"):
                start = time.process_time()
                loader = TokenLoader(
                    dataset, batch_size=1, sequence_length=length, packing=packing, prefetch=0,
                    output="numpy",
                )  # fmt: skip
                seconds, counts = time.process_time() - start, loader.packed
                padding = counts["n_padding"] / (counts["n_rows"] * (length + 1))
                print(
                    f"{packing:8} {length:6} {len(dataset) / seconds * 60e-6:8.0f} million "
                    f"documents/min, {counts['n_rows']:,} rows, {padding:.4%} padding, "
                    f"{counts['n_cut']:,} cut"
                )


if __name__ == "__main__":
    main()
