"""Workers: processes that claim trials of a study and run them, one after the other, warm."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lslm.config import replace
from lslm.exceptions import Interrupted
from lslm.progress import amount_of
from lslm.results import counted
from lslm.tuning.plan import without_password
from lslm.tuning.slot import slot_of
from lslm.tuning.storage import Storage, Worker

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from lslm.progress import Reporter
    from lslm.tuning.plan import Plan

__all__ = ["open_storage", "work", "work_with_processes"]

IDLE_SECONDS = 0.5
"""Time between two looks for a trial while other workers run the last ones."""
_logger = logging.getLogger("lslm.tuning")


def open_storage(folder: Path, plan: Plan) -> Storage:
    """Return the storage of the study in ``folder``.

    Raises ``ValueError`` if the server of ``plan.url`` cannot be used.
    """
    from sqlalchemy.exc import SQLAlchemyError

    options = (plan.build_sampler, plan.build_pruner(), plan.name_in_database)
    if not plan.url:
        return Storage(folder, f"sqlite:///{folder.absolute() / 'study.db'}", *options)
    try:
        return Storage(folder, plan.url, *options)
    except (ImportError, SQLAlchemyError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise ValueError(
            f"{without_password(plan.url)}: {reason}: give storage= with a password, or set "
            f"PGPASSWORD, and install the driver that the URL names"
        ) from None


def work(
    folder: Path, plan: Plan, *, deadline: float | None = None, reporter: Reporter | None = None
) -> None:
    """Run trials of the study in ``folder`` until all have results, or to ``deadline``.

    ``deadline`` is a ``time.monotonic()`` after which no trial is begun. A signal saves the trial
    that runs and gives it back.
    """
    storage = open_storage(folder, plan)
    storage.add(plan.slots())
    with Worker(folder) as worker:
        while deadline is None or time.monotonic() < deadline:
            trial = storage.claim(worker)
            if trial is None:
                if _is_complete(storage, plan):
                    return
                time.sleep(IDLE_SECONDS)
                continue
            try:
                run_one(plan, storage, trial, reporter)
            except BaseException:
                storage.release(trial)
                raise


def run_one(plan: Plan, storage: Storage, trial: object, reporter: Reporter | None) -> None:
    """Run one claimed trial, with its progress."""
    from lslm.tuning.trial import run_trial

    done, total = len(storage.results()), len(storage.attempts())
    name = slot_of(trial).name  # type: ignore[arg-type]

    def show(step: int, steps: int | None, text: str) -> None:
        if reporter is not None:
            inner = amount_of(step, steps, text)
            reporter.update("tune", done, total, f"trials, {name}: {inner}")

    run_trial(plan, storage, trial, show)  # type: ignore[arg-type]
    result = storage.results().get(name)
    if result is not None:
        bits = result.user_attrs.get("bits_per_byte")
        shown = "" if bits is None else f", {bits:.4f} bits per byte"
        _logger.info("trial %s: %s%s", name, result.user_attrs.get("outcome"), shown)


def _is_complete(storage: Storage, plan: Plan) -> bool:
    """Return whether all slots have results; add the repetitions once all others have."""
    results, slots = storage.results(), storage.attempts()
    if len(results) < len(slots):
        return False
    repetitions = plan.repetitions(results)
    if all(slot.name in slots for slot in repetitions):
        return True
    storage.add(repetitions)
    return False


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What a worker process is started with."""

    folder: Path
    plan: Plan
    seconds: float | None

    def run(self) -> None:
        """Work, in a new process; the exit code says how it ended."""
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, _interrupt)
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        try:
            work(self.folder, self.plan, deadline=deadline)
        except KeyboardInterrupt as reason:
            os._exit(128 + getattr(reason, "signal_number", signal.SIGINT))


def _interrupt(number: int, _: object) -> None:
    raise Interrupted("stopped", number)


def work_with_processes(
    folder: Path,
    plan: Plan,
    n_workers: int,
    *,
    deadline: float | None = None,
    reporter: Reporter | None = None,
) -> None:
    """Run trials with ``n_workers`` processes; one that is killed is replaced.

    Raises ``RuntimeError`` if a worker ends with an error, which it has printed.
    """
    context = _warm_context()
    threads = max(1, (os.cpu_count() or 1) // n_workers)
    if not plan.config.train.threads:
        plan = _with_threads(plan, threads)
    storage = open_storage(folder, plan)
    storage.add(plan.slots())

    def start() -> BaseProcess:
        left = None if deadline is None else deadline - time.monotonic()
        process = context.Process(target=_Call(folder=folder, plan=plan, seconds=left).run)
        process.start()
        return process

    workers = [start() for _ in range(n_workers)]
    try:
        while workers:
            time.sleep(IDLE_SECONDS)
            if reporter is not None:
                done, slots = storage.results(), storage.attempts()
                reporter.update(
                    "tune", len(done), len(slots), f"trials, {counted(len(workers), 'worker')}"
                )
            for process in [one for one in workers if one.exitcode is not None]:
                workers.remove(process)
                if process.exitcode and process.exitcode > 0:
                    _raise_for(process.exitcode)
                if process.exitcode:  # killed
                    _logger.warning(
                        "a worker was killed (signal %d): another one starts", -process.exitcode
                    )
                    workers.append(start())
    finally:
        for process in workers:
            process.terminate()
        for process in workers:
            process.join()


def _warm_context() -> ForkServerContext | SpawnContext:
    """Return how to start processes: from one that has loaded torch already, where that exists."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lslm.tuning.trial"])
    return context


def _raise_for(exitcode: int) -> None:
    """Raise for a worker that ended by itself with ``exitcode``."""
    if exitcode > 128:
        raise Interrupted("stopped", exitcode - 128)
    raise RuntimeError("a worker ended with the error above")


def _with_threads(plan: Plan, threads: int) -> Plan:
    import dataclasses

    return dataclasses.replace(plan, config=replace(plan.config, train__threads=threads))
