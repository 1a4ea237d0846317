"""Check the learning rate of models sized by `--depth`: is a half or double of it better?

    python benches/sizes.py                     # depths 1 to 3: half an hour on two idle cores
    python benches/sizes.py --depths 1 --print-only

Letters of tinyshakespeare: a part of the training text to train on, which the sizes read four
times, and the training text's last tenth to score; the validation text is not looked at. Each depth
is trained with factors of the configured rate of the matrices and several seeds. The derived rate
holds if its mean loss is within one standard deviation of a run of the best factor's.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

import torch
from machine import DATA, record_path, write_record

import lslm
from lslm.config import load_config, replace
from lslm.sizing import for_depth

FACTORS = (0.5, 1.0, 2.0)
SEEDS = (0, 1, 2)
N_BYTES = 250_000
"""Of the text to train on: four passes are a million tokens."""
SHAPE = ["sequence_length=64", "device=cpu", "validate_every=1000000", "checkpoint_every=1000000"]


def write_data(folder):
    """Write the two parts of the training text as datasets of bytes; return the first."""
    text = (DATA / "english" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    text = text[: int(0.9 * len(text))]
    parts = {"train": text[:N_BYTES], "validation": text[int(0.9 * len(text)) :]}
    for name, part in parts.items():
        (folder / f"{name}.txt").write_text(part, encoding="utf-8", newline="")
    tokenizer = lslm.train_tokenizer([folder / "train.txt"], vocab_size=257, progress=False)
    for name in parts:
        lslm.tokenize(
            [folder / f"{name}.txt"],
            output=folder / name,
            tokenizer=tokenizer,
            validation_fraction=0,
            progress=False,
        )
    return folder / "train"


def verdict(losses):
    """Return the mean loss by factor, σ of a run, and whether the derived rate holds."""
    means = {factor: statistics.mean(runs) for factor, runs in losses.items()}
    sigma = statistics.mean(statistics.stdev(runs) for runs in losses.values())
    return {"means": means, "sigma": sigma, "holds": means[1.0] <= min(means.values()) + sigma}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--print-only", action="store_true")
    options = parser.parse_args()
    path = None if options.print_only else record_path("sizes")
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_data(folder)
        validation, run = folder / "validation", folder / "run"
        for depth in options.depths:
            given = [*SHAPE, f"data={data}", f"train.threads={options.threads}"]
            config = for_depth(load_config("tiny", given), depth)
            losses = {factor: [] for factor in FACTORS}
            for seed in SEEDS:
                for factor, runs in losses.items():
                    shutil.rmtree(run, ignore_errors=True)
                    rate = config.optim.lr * factor
                    one = replace(config, lr=rate, seed=seed, out=run, data__validation=validation)
                    result = lslm.train(one, progress=False)
                    runs.append(result.validation.loss)
                    print(f"depth {depth} lr {rate:g} seed {seed}: {runs[-1]:.4f}", flush=True)
            found[depth] = {"steps": config.train.steps, "batch": config.train.batch_size}
            found[depth] |= {"lr": config.optim.lr, "losses": losses, **verdict(losses)}
            print(f"depth {depth}: {found[depth]}", flush=True)
    if path is not None:
        write_record(path, {"depths": found})


if __name__ == "__main__":
    main()
