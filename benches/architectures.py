"""Compare shapes that export with the default one, by runs that share seed and data order.

    python benches/architectures.py DATA [--config tiny|char] [--steps 400] [--seeds 5] [--json F]

DATA is a folder that ``lslm tokenize`` wrote. For each seed the default and every variant are
trained on the same batches and scored on the whole validation set; what counts is the difference
within a seed. The table has its mean in bits per byte and the standard error over seeds. A variant
replaces the default where it costs less than 0.005 (docs/design.md). Runs that are already in the
JSON file are not repeated, so a machine may be given back in between.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

import lslm
from lslm.config import load_config, replace
from lslm.huggingface import exports_as

CHAR = {"width": 128, "layers": 2, "heads": 4, "sequence_length": 64, "batch_size": 12}
CONFIGS = {"tiny": {}, "char": CHAR}
VARIANTS = {
    "default": {},
    "norm_eps": {"norm_eps": 1e-6},
    "arcee": {"qk_norm": False},
    "qwen3, swiglu": {"activation": "swiglu"},
    "qwen3": {"activation": "swiglu", "norm_eps": 1e-6, "qk_norm_weight": True},
    "llama": {"activation": "swiglu", "qk_norm": False},
}


def bits_per_byte(options, variant, seed):
    """Return the score of one run on the whole validation set, and what it exports as."""
    settings = CONFIGS[options.config] | VARIANTS[variant]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        config = replace(
            load_config("tiny"),
            data=options.data, out=run, seed=seed, steps=options.steps, minutes=0,
            validate_every=options.steps, checkpoint_every=options.steps, **settings,
        )  # fmt: skip
        lslm.train(config, progress=False)
        shape = load_config(run / "config.toml").model
        return lslm.evaluate(run, progress=False).bits_per_byte, exports_as(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data")
    parser.add_argument("--config", choices=CONFIGS, default="tiny")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    known = options.json is not None and options.json.exists()
    done = json.loads(options.json.read_text()) if known else {}
    for seed in range(options.seeds):
        for variant in VARIANTS:
            key = f"{options.config} {options.steps} {variant} {seed}"
            if key not in done:
                done[key] = bits_per_byte(options, variant, seed)
                if options.json is not None:
                    options.json.write_text(json.dumps(done, indent=1))
            print(f"{key}: {done[key][0]:.4f} bits per byte", flush=True)
    for variant in VARIANTS:
        scores, base = (
            [done[f"{options.config} {options.steps} {v} {s}"] for s in range(options.seeds)]
            for v in (variant, "default")
        )
        differences = [a[0] - b[0] for a, b in zip(scores, base, strict=True)]
        error = statistics.stdev(differences) / math.sqrt(len(differences)) if scores[1:] else 0.0
        mean = statistics.mean(differences)
        print(f"{variant:14} {mean:+.4f} ± {error:.4f} bits per byte; exports as {scores[0][1]}")


if __name__ == "__main__":
    main()
