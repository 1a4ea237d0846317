"""Train letters of tinyshakespeare by `lslm train char` and by nanoGPT's own script, interleaved.

    git clone … nanoGPT            # or any copy of its sources; it is not part of this repository
    python benches/char.py nanoGPT                  # a record with every seed, in benches/record
    python benches/char.py nanoGPT --print-only --rounds 1 --iterations 20   # a trial

The text is split as nanoGPT does: the first nine tenths to train on, the rest to score. A round
runs nanoGPT's script once, with the arguments of its README for a CPU, and `lslm train char` once
for each seed. Both are processes of their own; what counts is their CPU time, with imports and
checkpoints, and with the sampled validations of nanoGPT's script; `char` has no validation set.
Then each model is scored on the whole validation text in windows of 64 letters, which is not timed.
Shorter runs of both sides, of a half, a quarter and an eighth of the steps, make the curves of the
picture. The settings of `char` were chosen on the training text alone (docs/log.md), and its seeds
named before it was run: 101 to 105.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from machine import DATA, record_path, write_record

import lslm
from lslm.checkpoint import open_run
from lslm.config import load_config

SEEDS = (101, 102, 103, 104, 105)
"""Named beforehand."""
WINDOW = 64
"""Letters that both models see at once."""
SHARES = (2, 4, 8)
"""What the steps are divided by for the shorter runs."""
SHORTER_SEEDS = SEEDS[:3]
"""Of `char`; nanoGPT's script runs once for each share."""
ARGUMENTS = {
    "device": "cpu", "compile": "False", "eval_iters": 20, "log_interval": 100,
    "block_size": WINDOW, "batch_size": 12, "n_layer": 4, "n_head": 4, "n_embd": 128,
    "dropout": 0.0,
}  # fmt: skip
"""Those of nanoGPT's README for a CPU, but for the number of lines that it prints."""


def timed(command, folder):
    """Run ``command``; return the CPU seconds of its process."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_data(text, peer, folder):
    """Write the text's two parts as nanoGPT reads them, and as datasets of bytes."""
    cut = int(0.9 * len(text))
    letters = sorted(set(text))
    ids = {letter: k for k, letter in enumerate(letters)}
    there = peer / "data" / "shakespeare_char"
    there.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", text[:cut]), ("val", text[cut:])):
        np.array([ids[letter] for letter in part], dtype=np.uint16).tofile(there / f"{name}.bin")
        (folder / f"{name}.txt").write_text(part, encoding="utf-8", newline="")
    meta = {"vocab_size": len(letters), "itos": dict(enumerate(letters)), "stoi": ids}
    (there / "meta.pkl").write_bytes(pickle.dumps(meta))
    tokenizer = lslm.train_tokenizer([folder / "train.txt"], vocab_size=257, progress=False)
    for name in ("train", "val"):
        lslm.tokenize(
            [folder / f"{name}.txt"],
            output=folder / name,
            tokenizer=tokenizer,
            validation_fraction=0,
            progress=False,
        )


def run_peer(peer, iterations, seed):
    """Train nanoGPT's model; return its CPU seconds and loss over the validation text."""
    options = ARGUMENTS | {"max_iters": iterations, "lr_decay_iters": iterations, "out_dir": "out"}
    words = [f"--{name}={value}" for name, value in options.items()]
    # the model of the last iteration, whatever its sampled estimate
    words += ["--always_save_checkpoint=True", f"--eval_interval={min(250, iterations)}"]
    script = (peer / "train.py").read_text(encoding="utf-8")
    seeded = peer / "train_seeded.py"  # its seed is a constant in the source
    seeded.write_text(script.replace("torch.manual_seed(1337", f"torch.manual_seed({seed}"))
    seconds = timed([sys.executable, seeded, "config/train_shakespeare_char.py", *words], peer)
    sys.path.insert(0, str(peer))
    from model import GPT, GPTConfig

    saved = torch.load(peer / "out" / "ckpt.pt", map_location="cpu", weights_only=False)
    model = GPT(GPTConfig(**saved["model_args"]))
    model.load_state_dict(saved["model"])
    model.eval()
    held_out = torch.from_numpy(
        np.fromfile(peer / "data/shakespeare_char/val.bin", dtype=np.uint16).astype(np.int64)
    )
    n = (len(held_out) - 1) // WINDOW
    inputs, targets = (held_out[k : k + n * WINDOW].view(n, WINDOW) for k in (0, 1))
    with torch.no_grad():
        pairs = zip(inputs.split(100), targets.split(100), strict=True)
        nats = sum(model(x, y)[1].item() * y.numel() for x, y in pairs)
    values = sum(p.numel() for p in model.parameters())
    return {"seed": seed, "cpu": seconds, "loss": nats / targets.numel(), "parameters": values}


def run_own(folder, seed, steps):
    """Train `char`; return its CPU seconds and loss over the validation text."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    words = [f"data={folder / 'train'}", f"out={run}", f"seed={seed}", "device=cpu"]
    words += ["checkpoint_every=1000000", f"steps={steps}"]  # the last one alone is saved
    seconds = timed([sys.executable, "-m", "lslm", "train", "char", *words], folder)
    scores = lslm.evaluate(run, data=folder / "val/train", checkpoint="last", progress=False)
    values = open_run(run).model.n_parameters()
    return {"seed": seed, "cpu": seconds, "loss": scores.loss, "parameters": values}


def run_shorter(peer, folder, iterations, steps):
    """Return the shorter runs of both sides, each with the share of the steps that it made."""
    rows: dict[str, list] = {"nanogpt": [], "lslm": []}
    for share in SHARES:
        rows["nanogpt"].append({"share": share} | run_peer(peer, iterations // share, 1337))
        for seed in SHORTER_SEEDS:
            rows["lslm"].append({"share": share} | run_own(folder, seed, steps // share))
        print("shorter", share, rows["nanogpt"][-1], rows["lslm"][-1], flush=True)
    return rows


def summary(rows):
    """Return what both sides needed, and how many times as much nanoGPT did."""
    theirs, mine = rows["nanogpt"], rows["lslm"]
    peer = statistics.median(row["cpu"] for row in theirs)
    goal = statistics.median(row["loss"] for row in theirs)
    shares = sorted(row["cpu"] / peer for row in mine)
    return {
        "goal": round(goal, 4),
        "reached": f"{sum(row['loss'] <= goal for row in mine)} of {len(mine)}",
        "worst loss": round(max(row["loss"] for row in mine), 4),
        "CPU seconds, nanoGPT": round(peer, 1),
        "CPU seconds, lslm": round(statistics.median(row["cpu"] for row in mine), 1),
        "times less, median": round(1 / statistics.median(shares), 1),
        "times less, worst": round(1 / shares[-1], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("peer", type=Path, help="folder of nanoGPT's sources")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--iterations", type=int, default=2000, help="of nanoGPT")
    parser.add_argument("--steps", type=int, default=0, help="of lslm; 0: those of char")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-curve", action="store_true", help="without the shorter runs")
    parser.add_argument("--print-only", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = None if options.print_only else record_path("char")
    text = (DATA / "english" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    rows: dict[str, list] = {"nanogpt": [], "lslm": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = shutil.copytree(options.peer, folder / "nanogpt")
        write_data(text, peer, folder)
        steps = options.steps or load_config("char").train.steps
        for number in range(options.rounds):
            rows["nanogpt"].append(run_peer(peer, options.iterations, 1337 + number))
            print("nanoGPT", rows["nanogpt"][-1], flush=True)
            for seed in SEEDS[: options.seeds]:
                rows["lslm"].append(run_own(folder, seed, steps))
                print("lslm   ", rows["lslm"][-1], flush=True)
        shorter = {} if options.no_curve else run_shorter(peer, folder, options.iterations, steps)
    found = summary(rows)
    for label, value in found.items():
        print(f"{label:24} {value}")
    if path is not None:
        settings = {"threads": options.threads, "rounds": options.rounds}
        content = {"settings": settings, "summary": found, "runs": rows, "shorter": shorter}
        write_record(path, content)


if __name__ == "__main__":
    main()
