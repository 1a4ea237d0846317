"""Training: forward, backward, update, until the steps are done.

A run is a function of its configuration and data: it can be stopped at any step and resumed, and
goes on with the very same numbers (on the same machine and number of threads, on a CPU). What
decides a step is the saved weights and optimizer state, the loader's position, and the step itself:
the learning rate and the seed of dropout are functions of it.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import math
import os
import signal
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lslm import checkpoint as checkpoints
from lslm import progress as progress_module
from lslm.config import Config, keys, replace, to_toml
from lslm.config import load as load_config
from lslm.evaluation import check_tokenizer, score, token_lengths
from lslm.exceptions import MismatchError
from lslm.loss import IGNORE
from lslm.model import Transformer
from lslm.optim import build_optimizers, learning_rate_factor
from lslm.parallel import Ranks, autocast, process_group, ranks, resolve_device, resolve_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lslm import TokenDataset, Tokenizer

__all__ = ["TrainResult", "train", "train_step"]

FREE = {
    *("data.path", "data.validation", "train.out", "train.steps", "train.minutes"),
    *("train.stop_after", "train.micro_batch_size", "train.device", "train.compile"),
    *("train.threads", "train.log_every", "train.validate_every", "train.validation_tokens"),
    *("train.checkpoint_every", "train.keep_last", "train.keep_best", "train.keep_every"),
}
"""What may change when a run is resumed; anything else would make it another run."""
RESOLVED = {"model.vocab_size": 0, "train.dtype": "auto", "optim.newton_schulz_steps": 0}
"""What the run's own configuration has another value for."""


def train_step(
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    inputs: Tensor,
    targets: Tensor,
    *,
    micro_batch_size: int = 0,
    clip: float = 0.0,
    dtype: str = "float32",
) -> tuple[float, float]:
    """Forward, backward, update; return the step's loss and the norm of its gradient.

    ``inputs`` and ``targets`` (B, T) are this process's rows. The loss is the mean over the targets
    of all micro-batches of all processes: their sum, divided once. A loss or gradient that is not
    finite is a ``FloatingPointError``, raised before anything has moved.
    """
    group, rows = ranks(), micro_batch_size or len(inputs)
    tokens, sums = group.sum((targets != IGNORE).sum()), []
    for start in range(0, len(inputs), rows):
        part = slice(start, start + rows)
        # DDP adds up gradients in the last backward pass, and divides them by the processes
        wait = start + rows < len(inputs) and isinstance(model, DistributedDataParallel)
        with model.no_sync() if wait else contextlib.nullcontext():  # type: ignore[operator]
            with autocast(inputs.device.type, dtype):
                loss = model(inputs[part], targets[part], reduction="sum")
            (loss * (group.world_size / tokens)).backward()
        sums.append(loss.detach())
    mean = (group.sum(torch.stack(sums).cpu().double().sum()) / tokens.cpu()).item()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if not (math.isfinite(mean) and math.isfinite(norm.item())):
        raise FloatingPointError(f"loss {mean}, norm of the gradient {norm.item()}")
    if clip:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return mean, norm.item()


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What :func:`train` has done."""

    run: Path
    step: int
    """Updates made so far, those before a resume too."""
    loss: float
    """Training loss of the last step."""
    validation: dict[str, float] | None
    """The last validation, as :meth:`lslm.evaluation.EvaluationResult.as_dict`."""
    tokens: int
    """Targets learned from so far."""
    seconds: float
    """Time in steps so far, without validations and checkpoints."""

    @property
    def tokens_per_second(self) -> float:
        """Speed of the steps alone."""
        return self.tokens / self.seconds if self.seconds else math.nan


def train(config: Config, *, resume: bool = False, progress: Any = None) -> TrainResult:
    """Train a model as ``config`` says, in the run folder ``config.train.out``.

    ``resume`` goes on from the last checkpoint there, if any; what the configuration then asks for
    must be what the run was started with. Ctrl-C and SIGTERM save a checkpoint after the current
    step and raise ``KeyboardInterrupt``; a second Ctrl-C stops at once. Under torchrun all
    processes train together.
    """
    if not config.train.out:
        raise ValueError("no folder for the run: give out=RUN")
    run = Path(config.train.out)
    device = resolve_device(_adopt(config, run, resume).train.device)
    threads = torch.get_num_threads()
    with process_group(device) as group, contextlib.ExitStack() as stack:
        if group.first:
            stack.enter_context(checkpoints.lock(run))
        stack.callback(torch.set_num_threads, threads)
        stop = stack.enter_context(_Stop())
        reporter = progress_module.resolve(progress) if group.first else None
        completed = False
        try:
            result = _train(
                config,
                run,
                device=device,
                group=group,
                stop=stop,
                reporter=reporter,
                resume=resume,
            )
            completed = True
        finally:
            if reporter is not None:
                reporter.close(completed)
        return result


def _train(
    config: Config,
    run: Path,
    *,
    device: str,
    group: Ranks,
    stop: _Stop,
    reporter: progress_module.Reporter | None,
    resume: bool,
) -> TrainResult:
    from lslm.data import TokenLoader

    begin = time.monotonic()
    config = _adopt(config, run, resume)  # again, now that nobody else can begin a run here
    train_path, dataset, validation, tokenizer = _open_data(config)
    config = _resolve(config, tokenizer, device)
    settings, T = config.train, config.model.sequence_length
    torch.set_num_threads(settings.threads)
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    if settings.batch_size % group.world_size:
        raise ValueError(
            f"train.batch_size = {settings.batch_size} does not divide over "
            f"{group.world_size} processes"
        )

    model = Transformer(config.model, settings.seed).to(device)
    optimizers = build_optimizers(model, config.optim)
    trained: nn.Module = model
    if settings.compile:
        model.compile_layers()
    if group.world_size > 1:
        trained = DistributedDataParallel(trained)
    loader = TokenLoader(
        dataset,
        batch_size=settings.batch_size // group.world_size,
        sequence_length=T,
        seed=settings.seed,
        rank=group.rank,
        world_size=group.world_size,
        device=None if device == "cpu" else device,
    )
    lengths = token_lengths(tokenizer)

    step, tokens, seconds, loss = 0, 0, 0.0, math.nan
    validated: dict[str, float] | None = None
    saved = checkpoints.find(run) if resume and checkpoints.checkpoints(run) else None
    if saved is not None:
        state = checkpoints.load(saved, model, optimizers)
        for what, mine in (("dataset", dataset), ("tokenizer", tokenizer)):
            if state[what] != mine.fingerprint:
                raise MismatchError(f"{saved} was trained with another {what} than {train_path}")
        loader.load_state_dict(state["loader"])
        step, tokens, seconds = state["step"], state["tokens"], state["seconds"]
        validated, loss = state["validation"], state["loss"]
    elif not settings.steps:
        steps = _fitting_steps(
            config, trained, optimizers, begin=begin, device=device, validation=validation
        )
        optimizers = build_optimizers(model, config.optim)
        config = replace(config, steps=steps)
    config = _with_cadence(config)
    settings = config.train
    if group.first:
        _write_run(run, config, tokenizer, step)
    group.wait()

    last = min(settings.steps, settings.stop_after or settings.steps)
    batches = iter(loader)
    stopping = False
    with _Metrics(run, group.first) as metrics, _no_garbage_collection(device):
        while step < last and not stopping:
            factor = learning_rate_factor(config.schedule, step, settings.steps)
            for parameters in (g for optimizer in optimizers for g in optimizer.param_groups):
                parameters["lr"] = parameters["peak_lr"] * factor
            torch.manual_seed(_seed(settings.seed, step, group.rank))
            start = time.monotonic()
            batch = next(batches)
            try:
                loss, norm = train_step(
                    trained,
                    optimizers,
                    batch.inputs,
                    batch.targets,
                    micro_batch_size=settings.micro_batch_size,
                    clip=settings.clip,
                    dtype=settings.dtype,
                )
            except FloatingPointError as error:
                raise FloatingPointError(
                    f"step {step + 1} of {run}: {error}; stopped before the update: begin a run "
                    f"with a lower optim.lr than {config.optim.lr}, or look at this step's data"
                ) from None
            step += 1
            took = time.monotonic() - start
            tokens += settings.batch_size * T
            seconds += took
            if step % settings.log_every == 0 or step == settings.steps:
                row = {"step": step, "loss": loss, "gradient_norm": norm}
                row |= {"lr": config.optim.lr * factor, "tokens": tokens, "seconds": seconds}
                metrics.write(row | {"tokens_per_second": settings.batch_size * T / took})
            if reporter is not None:
                reporter.update("train", step, settings.steps, f"steps, loss {loss:.3f}")
            stopping, fresh = stop.asked(group), None
            if validation is not None and (step % settings.validate_every == 0 or step == last):
                with autocast(device, settings.dtype), _not_compiled(settings.compile):
                    result = score(model, validation, lengths, tokens=settings.validation_tokens)
                fresh = validated = result.as_dict()
                names = ("loss", "perplexity", "bits_per_byte")
                metrics.write({"step": step} | {f"validation_{n}": fresh[n] for n in names})
            if step % settings.checkpoint_every == 0 or step == last or stopping:
                if group.first:
                    metrics.sync()
                    state = {
                        "tokens": tokens,
                        "seconds": seconds,
                        "loss": loss,
                        "validation": fresh,
                        "loader": loader.state_dict(),
                        "dataset": dataset.fingerprint,
                        "tokenizer": tokenizer.fingerprint,
                    }
                    checkpoints.save(run, step, model, optimizers, state)
                    checkpoints.prune(
                        run,
                        last=settings.keep_last,
                        best=settings.keep_best,
                        every=settings.keep_every,
                    )
                group.wait()
    if step < last:
        raise KeyboardInterrupt(
            f"stopped after step {step} of {settings.steps}; saved in {run}: resume to go on"
        )
    return TrainResult(
        run=run, step=step, loss=loss, validation=validated, tokens=tokens, seconds=seconds
    )


def _adopt(config: Config, run: Path, resume: bool) -> Config:
    """The configuration to train with: the run's own when there is one, else ``config``."""
    path = run / "config.toml"
    if not path.is_file():
        return config
    if not resume:
        raise ValueError(f"{run} already holds a run: resume it, or choose another out=")
    stored, plain, changes = load_config(path), Config(), {}
    given = {key: _get(config, key) for key in keys()}
    bare = all(value == _get(plain, key) for key, value in given.items() if key not in FREE)
    for key, value in given.items():
        kept = _get(stored, key)
        if key in FREE:
            if value != _get(plain, key):
                changes[key.replace(".", "__")] = value
        elif not bare and value != kept and value != RESOLVED.get(key, kept):
            raise MismatchError(
                f"{run} was started with {key} = {kept!r}, not {value!r}: leave it, or start "
                f"another run"
            )
    return replace(stored, **changes)


def _get(config: Config, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def _open_data(config: Config) -> tuple[Path, TokenDataset, TokenDataset | None, Tokenizer]:
    """The training set with its path, the validation set if there is one, and their tokenizer."""
    from lslm import TokenDataset, Tokenizer

    if not config.data.path:
        raise ValueError("no data to train on: give data=DATASET, a folder that tokenize has made")
    path = config.data.train_path()
    dataset = TokenDataset(path)
    if dataset.tokenizer_path is None:
        raise ValueError(f"{path} came without its tokenizer: a run needs it to write text")
    tokenizer = Tokenizer.load(dataset.tokenizer_path)
    check_tokenizer(dataset, tokenizer, path)
    beside = config.data.validation_path()
    if beside is None:
        return path, dataset, None, tokenizer
    validation = TokenDataset(beside)
    check_tokenizer(validation, tokenizer, beside)
    return path, dataset, validation if validation.n_tokens else None, tokenizer


def _resolve(config: Config, tokenizer: Tokenizer, device: str) -> Config:
    """``config`` with the values that follow from the data and the machine written out."""
    size = config.model.vocab_size or tokenizer.vocab_size
    if size < tokenizer.vocab_size:
        raise MismatchError(
            f"model.vocab_size = {size}, but the tokenizer has {tokenizer.vocab_size} ids"
        )
    if not config.train.steps and not config.train.minutes:
        raise ValueError("how long? give steps= or minutes=")
    return replace(
        config,
        vocab_size=size,
        dtype=resolve_dtype(config.train.dtype, device),
        newton_schulz_steps=config.optim.newton_schulz_steps or (3 if device == "cpu" else 5),
        threads=config.train.threads or torch.get_num_threads(),
    )


def _with_cadence(config: Config) -> Config:
    tenth = math.ceil(config.train.steps / 10)
    return replace(
        config,
        validate_every=config.train.validate_every or tenth,
        checkpoint_every=config.train.checkpoint_every or tenth,
    )


def _fitting_steps(
    config: Config,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    *,
    begin: float,
    device: str,
    validation: TokenDataset | None,
) -> int:
    """How many steps fit into ``train.minutes``, by trying a few; the model is left as it was."""
    group, settings, T = ranks(), config.train, config.model.sequence_length
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows, budget = settings.batch_size // group.world_size, 60 * settings.minutes
    drawn = torch.randint(config.model.vocab_size, (rows, T + 1)).to(device)
    inputs, targets = drawn[:, :-1].contiguous(), drawn[:, 1:].contiguous()
    times: list[float] = []
    start = time.monotonic()
    for parameters in (g for optimizer in optimizers for g in optimizer.param_groups):
        parameters["lr"] = 0.0
    while len(times) < 4 or (time.monotonic() - start < min(0.03 * budget, 10) and len(times) < 50):
        moment = time.monotonic()
        train_step(
            model,
            optimizers,
            inputs,
            targets,
            micro_batch_size=settings.micro_batch_size,
            clip=settings.clip,
            dtype=settings.dtype,
        )
        times.append(time.monotonic() - moment)
    model.load_state_dict(before)
    one = statistics.median(times[1:])
    reserve = 0.02 * budget  # checkpoints, and the start
    if validation is not None:  # ten of them; a forward pass is a third of a step
        part = min(settings.validation_tokens or validation.n_tokens, validation.n_tokens)
        reserve += 10 * part * one / (3 * settings.batch_size * T)
    left = budget - (time.monotonic() - begin) - min(reserve, budget / 2)
    # all processes must come to the same number
    steps = group.sum(torch.tensor(left / one, dtype=torch.float64)).item() / group.world_size
    return max(10, int(steps))


def _write_run(run: Path, config: Config, tokenizer: Tokenizer, step: int) -> None:
    checkpoints.write_atomically(run / "config.toml", to_toml(config))
    if not (run / "tokenizer.json").is_file():
        tokenizer.save(run / "tokenizer.json")
    metrics = run / "metrics.jsonl"
    if metrics.is_file():  # rows of steps that the restored checkpoint does not have
        rows = []
        for line in metrics.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # cut short by a kill
                if json.loads(line)["step"] <= step:
                    rows.append(line + "\n")
        checkpoints.write_atomically(metrics, "".join(rows))


def _seed(seed: int, step: int, rank: int) -> int:
    """A seed for the dropout of one step on one process."""
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class _Metrics:
    """Appends rows to metrics.jsonl; nothing on processes but the first."""

    def __init__(self, run: Path, write: bool) -> None:
        self._file = (run / "metrics.jsonl").open("a", encoding="utf-8") if write else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, row: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def sync(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())


class _Stop:
    """Whether Ctrl-C or SIGTERM came; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: object) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self._asked and os.isatty(2):
            os.write(2, b"\nsaving after this step; Ctrl-C again stops at once\n")
        self._asked = True

    def asked(self, group: Ranks) -> bool:
        """Whether any process was asked to stop; all of them get the same answer."""
        if group.world_size == 1:
            return self._asked
        return bool(group.sum(torch.tensor(float(self._asked))).item())


def _not_compiled(compiled: bool) -> contextlib.AbstractContextManager[object]:
    """The context of a validation: batches of another shape, which are not worth compiling for."""
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()


@contextlib.contextmanager
def _no_garbage_collection(device: str) -> Iterator[None]:
    """Keep Python's collector from halting the processes of a GPU one after the other."""
    enabled = gc.isenabled()
    if device.startswith("cuda"):
        gc.collect()
        gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
