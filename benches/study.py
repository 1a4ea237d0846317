"""Measure a study: whether it beats what it starts from, and what trials cost beyond training.

    python benches/study.py --data DATASET                  # tiny, 30 trials of 1M tokens
    python benches/study.py --data DATASET --budget 200k --overhead 3
    python benches/study.py --data DATASET --workers 2 --kills 20

Into benches/record/DATE-MACHINE-study.json (-overhead, -kills). With --overhead, one trial and the
same run by lslm.train are timed in that many interleaved rounds. With --kills, workers are killed
at random moments, and a study without kills (sampler random) must be equal to it, trial by trial.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import random
import signal
import statistics
import tempfile
import threading
from pathlib import Path

from machine import record_path, write_record

import lslm


def outcomes(result):
    """Return what does not depend on time and place, by trial."""
    return {
        trial.name: (trial.outcome, trial.bits_per_byte, dict(trial.values), dict(trial.curve))
        for trial in result.trials
    }


def seconds_of(function):
    """Return the wall and CPU seconds of a call, those of its child processes included."""
    start = os.times()
    function()
    end = os.times()
    cpu = sum(end[:4]) - sum(start[:4])
    return {"wall": end.elapsed - start.elapsed, "cpu": cpu}


def overhead(folder, options, n_rounds):
    """Return the seconds of one trial and of the same run by lslm.train, interleaved and warm.

    The share is that of CPU time, medians over the rounds after a first that is not counted.
    """
    rounds = []
    for index in range(n_rounds + 1):
        output = folder / f"overhead-{index}"
        study = functools.partial(lslm.tune, output=output, n_trials=1, top=0, **options)
        seconds = {"study": seconds_of(study)}
        trial, out = output / "trials/default/config.toml", folder / f"plain-{index}"
        train = functools.partial(lslm.train, trial, out=out, progress=False)
        rounds.append(seconds | {"train": seconds_of(train)})
    study, train = (
        statistics.median(row[name]["cpu"] for row in rounds[1:]) for name in ("study", "train")
    )
    return {"rounds": rounds[1:], "share": study / train - 1}


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
    parser.add_argument("--overhead", type=int, default=0, metavar="ROUNDS")
    given = parser.parse_args()
    shared = {"config": given.config, "data": given.data, "budget": given.budget}
    shared |= {"space": given.space, "progress": None}
    figures = {"command": vars(given) | {"data": Path(given.data).name}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.kills:
            options = shared | {"n_trials": given.trials, "top": 0}
            figures["kills"] = killed(folder, options, given.workers, given.kills)
        elif given.overhead:
            figures["overhead"] = overhead(folder, shared, given.overhead)
        else:
            result = lslm.tune(output=folder / "study", n_trials=given.trials, **shared)
            figures["study"] = result.as_dict()
            figures["best.toml"] = (folder / "study/best.toml").read_text(encoding="utf-8")
    name = "kills" if given.kills else "overhead" if given.overhead else "study"
    write_record(record_path(name), {"figures": figures})


if __name__ == "__main__":
    main()
