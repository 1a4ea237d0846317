"""Measure a study: whether it beats what it starts from, and what trials cost beyond training.

    python benches/study.py --data DATASET --output studies/tiny          # 30 trials of 400k tokens
    python benches/study.py --data DATASET --output studies/kills --space rates --budget 100k \
        --trials 12 --top 1 --seeds 2 --kills 20
    python benches/study.py --data DATASET --output studies/overhead --budget 200k --overhead 3

Into benches/record/DATE-MACHINE-study.json (-kills, -overhead); of a study also its page, beside
it. The folders of --output stay, and the first command continues a study that was stopped. The
answer is that of docs/tuning.md: the best trial beats the configuration by more than 2 σ of fresh
seeds; or the 95 % interval of the difference excludes that; or neither, and more seeds would tell.

With --overhead, one trial and the same run by lslm.train are timed in that many interleaved rounds.
With --kills, workers are killed at random moments, and a study without kills (sampler random) must
be equal to it, trial by trial.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
import statistics
import threading
import time
from pathlib import Path

from machine import record_path, write_record

import lslm
from lslm.config import load_config
from lslm.progress import to_stderr
from lslm.tuning.locks import is_held
from lslm.tuning.plan import DEFAULT

GOAL = 2
"""Advantage over the configuration, in σ, that a study should find or exclude."""
MIN_AGE_SECONDS = 1
"""Age of a worker that may be killed: before, it may not yet hold its folder."""


def answer(result):
    """Return the difference of the best repeated trial from the configuration, and what it says."""
    others = [row for row in result.compared if row.name != DEFAULT]
    if not others or not result.sigma > 0:
        return {"answer": "not measured"}
    row = others[0]
    in_sigmas = [x / result.sigma for x in (row.difference, *row.interval)]
    said = "neither: more seeds would tell"
    if in_sigmas[0] < -GOAL and in_sigmas[2] < 0:
        said = f"beats the configuration by more than {GOAL} σ"
    elif in_sigmas[1] > -GOAL:
        said = f"the interval excludes an advantage of {GOAL} σ"
    return {"trial": row.name, "difference_and_interval_in_sigma": in_sigmas, "answer": said}


def find(options, folder):
    """Return the study in ``folder``, from its start or continued, with its answer and page."""
    if (folder / "study.json").exists():
        result = lslm.tune(output=folder, resume=True, n_workers=options["n_workers"])
    else:
        result = lslm.tune(output=folder, **options)
    best = (folder / "best.toml").read_text(encoding="utf-8")
    return {"answer": answer(result), "best.toml": best, "study": result.as_dict()}


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


def overhead(options, folder, n_rounds):
    """Return the seconds of one trial and of the same run by lslm.train, interleaved and warm.

    The share is that of CPU time, medians over the rounds after a first that is not counted.
    """
    options = options | {"n_trials": 1, "top": 0, "n_workers": 1}
    rounds = []
    for index in range(n_rounds + 1):
        output = folder / f"study-{index}"
        study = functools.partial(lslm.tune, output=output, **options)
        seconds = {"study": seconds_of(study)}
        trial, out = output / "trials/default/config.toml", folder / f"plain-{index}"
        train = functools.partial(lslm.train, trial, out=out, progress=False)
        rounds.append(seconds | {"train": seconds_of(train)})
        print(f"round {index}: {rounds[-1]}", flush=True)
    study, train = (
        statistics.median(row[name]["cpu"] for row in rounds[1:]) for name in ("study", "train")
    )
    return {"rounds": rounds[1:], "share": study / train - 1}


def kill_one(study, rng):
    """Kill one living worker of a study; return whether there was one."""
    now = time.time()
    workers = [
        int(folder.name.rsplit("-", 2)[1])
        for folder in study.glob("workers/*")
        if now - folder.stat().st_mtime > MIN_AGE_SECONDS and is_held(folder)
    ]
    if workers:
        os.kill(rng.choice(workers), signal.SIGKILL)
    return bool(workers)


def killed(options, folder, n_kills):
    """Return whether a study whose workers are killed equals one whose workers are not.

    The kills are spread over half of the time that the study without kills took, so that their
    moments fall anywhere in a trial on a machine of any speed and load.
    """
    options = options | {"sampler": "random", "pruner": "none", "train__threads": 1}
    start = time.monotonic()
    undisturbed = lslm.tune(output=folder / "undisturbed", **options)
    longest = (time.monotonic() - start) / n_kills
    ended, kills, rng = threading.Event(), 0, random.Random(0)

    def kill():
        nonlocal kills
        while kills < n_kills and not ended.wait(rng.uniform(0, longest)):
            kills += kill_one(folder / "killed", rng)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        disturbed = lslm.tune(output=folder / "killed", **options)
    finally:
        ended.set()
        killer.join()
    return {
        "kills": kills,
        "trials_continued": sum(trial.n_attempts > 1 for trial in disturbed.trials),
        "trials": len(disturbed.trials),
        "is_equal": outcomes(disturbed) == outcomes(undisturbed),
        "same_best": disturbed.best == undisturbed.best,
        "verdicts": [undisturbed.verdict, disturbed.verdict],
    }


def without_folders(text, given):
    """Return ``text`` with the names of the dataset and the study instead of their paths."""
    for path in (given.output, Path(given.data)):
        for spelled in (path.resolve(), path.absolute(), path):
            text = text.replace(f"{spelled}", path.name)
    return text


def main():
    """Run the study and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", nargs="*", help="KEY=VALUE, as for lslm tune")
    parser.add_argument("--data", required=True, help="dataset, as for lslm tune")
    parser.add_argument("--output", required=True, type=Path, help="folder of the study or studies")
    parser.add_argument("--config", default="tiny")
    parser.add_argument("--space", default="default")
    parser.add_argument("--budget", default="400k")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--top", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--overhead", type=int, default=0, metavar="ROUNDS")
    given = parser.parse_args()
    name = "kills" if given.kills else "overhead" if given.overhead else "study"
    path = record_path(name)  # before the work: it exits if there is such a record
    options = {"config": load_config(given.config, given.settings), "data": given.data}
    options |= {"space": given.space, "budget": given.budget, "n_trials": given.trials}
    options |= {"top": given.top, "n_seeds": given.seeds, "n_workers": given.workers}
    with to_stderr():
        if given.kills:
            figures = killed(options, given.output, given.kills)
        elif given.overhead:
            figures = overhead(options, given.output, given.overhead)
        else:
            figures = find(options, given.output)
    command = {key: str(value) for key, value in vars(given).items()}
    content = json.dumps({"command": command, name: figures})
    write_record(path, {"figures": json.loads(without_folders(content, given))})
    if name == "study":
        page = (given.output / "report.html").read_text(encoding="utf-8")
        path.with_suffix(".html").write_text(without_folders(page, given), encoding="utf-8")


if __name__ == "__main__":
    main()
