"""Measure a study: whether it beats what it starts from, and what trials cost beyond training.

    python benches/study.py --data DATASET                  # tiny, 30 trials of 1M tokens
    python benches/study.py --data DATASET --workers 2 --kills 20

Into benches/record/DATE-MACHINE-study.json. With --kills, workers are killed at random moments, and
a study without kills (sampler random) must be equal to it, trial by trial.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from pathlib import Path

from machine import record_path, write_record

import lslm


def outcomes(result):
    """Return what does not depend on time and place, by trial."""
    return {
        trial.name: (trial.outcome, trial.bits_per_byte, dict(trial.values), dict(trial.curve))
        for trial in result.trials
    }


def overhead(folder, options):
    """Return the seconds of one trial, and of the same run by lslm.train, in one warm process."""
    seconds = {}
    for name in ("warm", "measured"):
        start = time.monotonic()
        study = lslm.tune(output=folder / name, n_trials=1, top=0, **options)
        seconds["study"] = time.monotonic() - start
        trial = study.study / "trials/default/config.toml"
        start = time.monotonic()
        lslm.train(trial, out=folder / f"{name}-plain", progress=False)
        seconds["train"] = time.monotonic() - start
    return seconds | {"share": seconds["study"] / seconds["train"] - 1}


def killed(folder, options, n_workers, n_kills):
    """Return whether a study whose workers are killed equals one whose workers are not."""
    options = options | {"sampler": "random", "pruner": "none", "train__threads": 1}
    undisturbed = lslm.tune(output=folder / "undisturbed", **options)
    ended, kills, rng = threading.Event(), 0, random.Random(0)

    def kill():
        nonlocal kills
        while kills < n_kills and not ended.wait(rng.uniform(2, 10)):
            workers = multiprocessing.active_children()
            if workers:
                os.kill(rng.choice(workers).pid, signal.SIGKILL)
                kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    disturbed = lslm.tune(output=folder / "killed", n_workers=n_workers, **options)
    ended.set()
    killer.join()
    return {"kills": kills, "is_equal": outcomes(disturbed) == outcomes(undisturbed)}


def main():
    """Run the study and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="dataset, as for lslm tune")
    parser.add_argument("--config", default="tiny")
    parser.add_argument("--space", default="default")
    parser.add_argument("--budget", default="1M")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    given = parser.parse_args()
    shared = {"config": given.config, "data": given.data, "budget": given.budget}
    shared |= {"space": given.space, "progress": None}
    figures = {"command": vars(given)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.kills:
            options = shared | {"n_trials": given.trials, "top": 0}
            figures["kills"] = killed(folder, options, given.workers, given.kills)
        else:
            figures["overhead"] = overhead(folder, shared)
            result = lslm.tune(output=folder / "study", n_trials=given.trials, **shared)
            figures["study"] = result.as_dict()
            figures["best.toml"] = (folder / "study/best.toml").read_text(encoding="utf-8")
    write_record(record_path("kills" if given.kills else "study"), {"figures": figures})


if __name__ == "__main__":
    main()
