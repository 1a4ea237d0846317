"""A study in Optuna's storage: slots to fill, attempts to fill them, and results.

A *slot* is one configuration to measure: the configuration of the study, one that the sampler
draws, or a repetition with another seed. All slots exist before work begins, so their number is
exact with any number of workers. An *attempt* is a trial of Optuna; a slot whose attempt died gets
another one with the same values, which continues from the run's last checkpoint:

    claim:   under the lock of the study
             for each running attempt of a worker that is dead:  attempt → failed
             for each slot whose last attempt failed:            add an attempt
             first waiting attempt → running, mine

A worker is alive while it holds the lock of its folder, which the operating system releases when
the process ends, however it ends. Workers on other machines show it by Optuna's heartbeat.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import uuid
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from lslm.files import lock
from lslm.tuning.locks import is_held, wait_for_lock
from lslm.tuning.plan import STUDY_NAME
from lslm.tuning.slot import Slot, slot_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Storage", "Worker"]

HEARTBEAT_SECONDS = 10
"""Time between two signs of life of a worker, for workers on other machines."""
GRACE_SECONDS = 120
"""Age of the last sign of life at which an attempt on another machine counts as dead."""
MAX_DEATHS = 5
"""Attempts in a row that die without a new checkpoint before the slot counts as lost: a
configuration that needs more memory than the machine has kills its process each time."""
SQLITE_WAIT_SECONDS = 60
"""How long a worker waits for another one's write."""
_WITH_RESULT = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of an attempt that has a result; one that died, or was given up, is FAIL."""


class Worker:
    """A process that works on a study, as a context; alive while it holds its folder."""

    def __init__(self, study: Path) -> None:
        self.id = f"{platform.node()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._folder = study / "workers" / self.id
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(lock(self._folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@dataclass
class Storage:
    """The study in ``folder``, and its trials in the database at ``url``."""

    folder: Path
    url: str
    sampler_of: Any = None
    """Returns Optuna's sampler for a slot, so that draws depend on the slot and not on workers."""
    pruner: optuna.pruners.BasePruner | None = None
    name: str = STUDY_NAME
    """Of the study in the database."""
    study: optuna.Study = field(init=False)

    def __post_init__(self) -> None:
        self._is_sqlite = self.url.startswith("sqlite")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _quiet(), wait_for_lock(self.folder):
            self._database = optuna.storages.RDBStorage(
                self.url,
                engine_kwargs={"connect_args": {"timeout": SQLITE_WAIT_SECONDS}}
                if self._is_sqlite
                else {},
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
            )
            self._storage = optuna.storages.get_storage(self._database)  # the study's own cache
            self.study = optuna.create_study(
                storage=self._storage,
                study_name=self.name,
                direction="minimize",
                load_if_exists=True,
                pruner=self.pruner or optuna.pruners.NopPruner(),
            )
        self._study_id = self._storage.get_study_id_from_name(self.name)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return all attempts, or those in ``states``, oldest first."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False, states=states or None)

    def attempts(self) -> dict[str, list[FrozenTrial]]:
        """Return the attempts of each slot, oldest first."""
        found: dict[str, list[FrozenTrial]] = {}
        for trial in self.trials():
            found.setdefault(slot_of(trial).name, []).append(trial)
        return found

    def results(self) -> dict[str, FrozenTrial]:
        """Return the attempt with the result of each slot that has one."""
        return {
            name: done[0]
            for name, attempts in self.attempts().items()
            if (done := [trial for trial in attempts if trial.state in _WITH_RESULT])
        }

    def add(self, slots: list[Slot]) -> None:
        """Add the slots that the study does not have."""
        with wait_for_lock(self.folder):
            known = self.attempts()
            for slot in slots:
                if slot.name not in known:
                    self._enqueue(slot, slot.values or {})

    def claim(self, worker: Worker) -> optuna.Trial | None:
        """Return an attempt that this worker now runs; None if none is waiting."""
        with wait_for_lock(self.folder):
            self._fail_dead()
            self._retry_failed()
            seen: set[tuple[str, int]] = set()
            for trial in self.trials():
                key = (slot_of(trial).name, trial.user_attrs["attempt"])
                is_waiting = trial.state == TrialState.WAITING
                if is_waiting and key in seen:  # two machines added it at the same moment
                    self._finish(trial._trial_id, TrialState.FAIL)
                elif is_waiting and self._start(trial._trial_id):
                    self._storage.set_trial_user_attr(trial._trial_id, "worker", worker.id)
                    if self.sampler_of is not None:
                        self.study.sampler = self.sampler_of(slot_of(trial))
                    return optuna.Trial(self.study, trial._trial_id)
                seen.add(key)
        return None

    def finish(self, trial: optuna.Trial, outcome: str, value: float | None) -> None:
        """Record the result of an attempt.

        With ``value`` None, as after running out of memory, the state is PRUNED, which samplers
        learn from, unlike FAIL.
        """
        self.note(trial, outcome=outcome)
        if value is None:
            self._finish(trial._trial_id, TrialState.PRUNED)
        else:
            self._finish(trial._trial_id, TrialState.COMPLETE, value)

    def release(self, trial: optuna.Trial) -> None:
        """Give an attempt up, so that another one continues it."""
        self._finish(trial._trial_id, TrialState.FAIL)

    def note(self, trial: optuna.Trial, **facts: Any) -> None:
        """Record facts of an attempt: plain data."""
        for name, value in facts.items():
            self._storage.set_trial_user_attr(trial._trial_id, name, value)

    @contextlib.contextmanager
    def heartbeat(self, trial: optuna.Trial) -> Iterator[None]:
        """Show signs of life of an attempt as a context."""
        ended = threading.Event()

        def beat() -> None:
            while True:
                # a sign that comes late is no reason to stop training
                with contextlib.suppress(optuna.exceptions.StorageInternalError):
                    self._database.record_heartbeat(trial._trial_id)
                if ended.wait(HEARTBEAT_SECONDS):
                    return

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _fail_dead(self) -> None:
        """Fail the running attempts whose worker is dead."""
        with _quiet():
            optuna.storages.fail_stale_trials(self.study)
        for trial in self.trials(TrialState.RUNNING):
            # without a name: killed between starting the attempt and writing its name, under the
            # lock that this process now has, if there is one database for one machine
            name = trial.user_attrs.get("worker")
            is_local = name.startswith(f"{platform.node()}-") if name else self._is_sqlite
            if is_local and not (name and is_held(self.folder / "workers" / name)):
                self._finish(trial._trial_id, TrialState.FAIL)

    def _retry_failed(self) -> None:
        """Add an attempt to each slot whose last one failed without a result."""
        for attempts in self.attempts().values():
            last = attempts[-1]
            if last.state != TrialState.FAIL:
                continue
            steps = [trial.user_attrs.get("saved_step", 0) for trial in attempts]
            if len(steps) >= MAX_DEATHS and len(set(steps[-MAX_DEATHS:])) == 1:
                self._give_up(last)
            else:
                # half a draw is drawn anew, so that a seed gives the same values
                values = last.params if last.user_attrs.get("drawn") else slot_of(last).values or {}
                self._enqueue(slot_of(last), values, attempt=last.user_attrs["attempt"] + 1)

    def _give_up(self, last: FrozenTrial) -> None:
        """Add the result of a slot whose attempts all died."""
        facts = {**last.user_attrs, "attempt": last.user_attrs["attempt"] + 1, "outcome": "died"}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED,
                params=last.params,
                distributions=last.distributions,
                user_attrs=facts,
            )
        )

    def _enqueue(self, slot: Slot, values: Mapping[str, Any], *, attempt: int = 0) -> None:
        facts = {"slot": slot.as_dict(), "attempt": attempt}
        self.study.enqueue_trial(json.loads(json.dumps(dict(values))), user_attrs=facts)

    def _start(self, trial_id: int) -> bool:
        """Return whether the attempt was waiting, and now runs."""
        try:
            return self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False

    def _finish(self, trial_id: int, state: TrialState, value: float | None = None) -> None:
        """End an attempt; one that others ended already, having taken it for dead, stays so."""
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self._storage.set_trial_state_values(
                trial_id, state, None if value is None else [value]
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ignore Optuna's warnings that an interface may change; CI runs with the newest version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
