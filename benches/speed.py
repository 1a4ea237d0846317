"""Compare steps of lslm with steps of nanoGPT's model on a CPU, in turns in one process.

    git clone … nanoGPT            # or any copy of its sources; it is not part of this repository
    python benches/speed.py nanoGPT                  # a record, in benches/record
    python benches/speed.py nanoGPT --print-only --rounds 1 --steps 3    # a trial

Both sides get the same drawn ids and make whole steps: forward, backward, clipping where nanoGPT
clips, update. nanoGPT's model and optimizer are its own, as its script calls them. lslm runs once
with nanoGPT's architecture and AdamW, and once with its defaults and Muon. What counts is the CPU
time of the process; the wall time is in the record too. A round is some steps of each side.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from pathlib import Path

import torch
from machine import record_path, write_record

from lslm.model import ModelConfig, Transformer
from lslm.optim import OptimConfig, build_optimizers
from lslm.training.step import launch_step

SHAPES = {
    "letters": {"vocab_size": 65, "sequence_length": 64, "width": 128, "layers": 4, "heads": 4},
    "words": {"vocab_size": 8192, "sequence_length": 256, "width": 256, "layers": 6, "heads": 4},
}
ROWS = {"letters": 12, "words": 16}
GOALS = {("letters", "gpt2"): 1.1, ("words", "gpt2"): 1.4, ("letters", "muon"): 0.9,
         ("words", "muon"): 1.25}  # fmt: skip
"""Times nanoGPT's tokens a second."""
MAX_GRAD_NORM = 1.0
"""nanoGPT's own."""


class NanoGPT:
    """nanoGPT's model and optimizer, as its script makes and calls them."""

    def __init__(self, sources, shape):
        spec = importlib.util.spec_from_file_location("nanogpt_model", sources / "model.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = module.GPTConfig(
            block_size=shape["sequence_length"],
            vocab_size=shape["vocab_size"],
            n_layer=shape["layers"],
            n_head=shape["heads"],
            n_embd=shape["width"],
            dropout=0.0,
            bias=False,
        )
        self.model = module.GPT(config)
        self.optimizer = self.model.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")

    def step(self, inputs, targets):
        _, loss = self.model(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Own:
    """lslm's model with the optimizer ``name``."""

    def __init__(self, config, name):
        self.model, self.clip = Transformer(config), MAX_GRAD_NORM if name == "adamw" else None
        rate = 1e-3 if name == "adamw" else 0.02
        self.optimizers = build_optimizers(self.model, OptimConfig(name=name, lr=rate))

    def step(self, inputs, targets):
        launch_step(self.model, self.optimizers, inputs, targets, max_grad_norm=self.clip).read()


def sides(sources, shape):
    """Return what makes the steps of each side by name."""
    return {
        "nanogpt": NanoGPT(sources, shape),
        "gpt2": Own(ModelConfig.gpt2(**shape, bias=False), "adamw"),
        "muon": Own(ModelConfig(**shape), "muon"),
    }


def measured(shape, name, options):
    """Return CPU and wall seconds of a step of each side, for each round."""
    torch.manual_seed(0)
    made = sides(options.peer, shape)
    ids = torch.randint(shape["vocab_size"], (ROWS[name], shape["sequence_length"] + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    for side in made.values():
        side.step(inputs, targets)  # the first allocates
    rows = {side: [] for side in made}
    for _ in range(options.rounds):
        for side, steps in rows.items():
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(options.steps):
                made[side].step(inputs, targets)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            steps.append({"cpu": cpu / options.steps, "wall": wall / options.steps})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("peer", type=Path, help="folder of nanoGPT's sources")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="of a side in a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--print-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = None if options.print_only else record_path("speed")
    found = {}
    for name, shape in SHAPES.items():
        rows = measured(shape, name, options)
        tokens = ROWS[name] * shape["sequence_length"]
        for clock in ("cpu", "wall"):
            middle = {s: statistics.median(row[clock] for row in rows[s]) for s in rows}
            for side, seconds in middle.items():
                ratio = middle["nanogpt"] / seconds
                goal = f", goal {GOALS[name, side]}" if side != "nanogpt" else ""
                shown = f"{tokens / seconds:8,.0f} tokens/s of {clock} time, {ratio:.2f} ×{goal}"
                print(f"{name:8} {side:8} {shown}", flush=True)
        found[name] = {"shape": shape, "rows": ROWS[name], "steps": rows}
    if path is not None:
        settings = {key: getattr(options, key) for key in ("rounds", "steps", "threads")}
        write_record(path, {"settings": settings, "shapes": found})


if __name__ == "__main__":
    main()
