"""Token datasets as batches: the loader and mixtures; writing them is in :mod:`lslm.writing`."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    Required,
    TypeAlias,
    TypedDict,
    Unpack,
    cast,
    overload,
)

from lslm._lslm import LoaderCore, TokenDataset
from lslm.bin_files import open_bin
from lslm.feed import (
    ArrayT,
    Batch,
    BatchOrigin,
    CudaFeed,
    as_signed,
    refuse_workers,
    register_iterable,
    widen,
)
from lslm.limits import MAX_COUNT, check_counts, check_seed, whole_number
from lslm.writing import TokenizedDocument, write_dataset

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["Batch", "Mixture", "TokenLoader", "TokenizedDocument", "open_bin", "write_dataset"]

DatasetLike: TypeAlias = "str | os.PathLike[str] | TokenDataset"
"""A dataset, or the path of one, or of a folder with ``train`` in it."""

Weights: TypeAlias = "Mapping[str, float] | Mapping[Path, float] | Mapping[TokenDataset, float]"
"""Datasets and their weights."""

OnChange: TypeAlias = Literal["refuse", "new segment"]
"""What happens to a state that was saved with other sources, weights or lengths."""


class Mixture:
    """Several datasets, mixed in given proportions of tokens.

    ``datasets`` is a mapping from dataset to weight, or a sequence beside ``weights``. Weights need
    not sum to one; without them a dataset counts by its tokens. After each run of samples (1,024,
    more for very small weights) every dataset's count is within one sample of its share; the order
    inside a run is random. Each dataset has its own epochs, each in a new order.

    ``names`` decide the orders: one for each dataset, by default its content. So weights times a
    factor and datasets in another order are the same mixture, and a dataset that is added moves no
    other. A name lets a dataset grow: see :meth:`TokenLoader.load_state_dict`.
    """

    def __init__(
        self,
        datasets: Weights | Sequence[DatasetLike],
        *,
        weights: Sequence[float] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if isinstance(datasets, Mapping):
            if weights is not None:
                raise ValueError("weights: the mapping of datasets has them; leave weights out")
            weights = [float(weight) for weight in datasets.values()]
        self.datasets = [_open(dataset) for dataset in datasets]
        self.weights = None if weights is None else [float(weight) for weight in weights]
        self.names = None if names is None else list(names)
        for what, given in (("weights", self.weights), ("names", self.names)):
            if given is not None and len(given) != len(self.datasets):
                raise ValueError(
                    f"{len(given)} {what} for {len(self.datasets)} datasets: give one per dataset"
                )

    def __repr__(self) -> str:
        paths = ", ".join(repr(str(dataset.path)) for dataset in self.datasets)
        names = "" if self.names is None else f", names={self.names}"
        return f"Mixture([{paths}], weights={self.weights}{names})"


class _LoaderOptions(TypedDict, total=False):
    """The options of :class:`TokenLoader` besides ``output``, for its overloads."""

    batch_size: Required[int]
    sequence_length: Required[int]
    max_sequence_length: int | None
    seed: int
    rank: int | None
    world_size: int | None
    global_batch_size: int | None
    epochs: int | None
    shuffle: bool
    device: str | torch.device | None
    prefetch: int
    pin_memory: bool | None
    verify: bool
    access: Literal["auto", "map", "call"]


class TokenLoader(Generic[ArrayT]):
    """Batches of a tokenized dataset, endless or for ``epochs``, with exact resume.

    ::

        loader = TokenLoader("data/web/train", batch_size=16, sequence_length=1024)
        for batch in loader:
            loss = model(batch.inputs, batch.targets)

    A sample is ``sequence_length`` inputs and as many targets, one token later, from the
    concatenation of the documents. A thread reads ``prefetch`` batches ahead; no process is
    started. The sequence of samples depends on the data, ``seed``, ``shuffle`` and
    ``sequence_length`` only, so the ``state_dict`` of any rank resumes on any number of ranks, at
    any step, with other batch sizes. A batch carries the state after it and the documents of its
    rows: :class:`Batch`.

    torch's tools take it as an ``IterableDataset`` whose items are whole batches:
    ``DataLoader(loader, batch_size=None)``. DataLoader's workers are refused: each would yield
    every batch, and the position of this loader would not move.

    Arguments:
        data: a dataset (path or :class:`lslm.TokenDataset`) or a :class:`Mixture`. Of a folder that
            :func:`lslm.tokenize` wrote, which holds the datasets ``train`` and ``validation``, it
            is ``train``.
        batch_size: rows that this rank yields per step.
        sequence_length: inputs, and targets, per row.
        max_sequence_length: the longest ``sequence_length`` that this run will have, a multiple of
            it; None: the same. It is the unit that is shuffled, so a run that begins with shorter
            rows keeps its order; the rows of one unit follow each other.
        seed: decides the order; 0 to 2**64 - 1.
        rank, world_size: this process among those that share the batches. They win over the
            environment variables RANK and WORLD_SIZE, which torchrun sets and which are wrong where
            several ranks need the same rows, as under tensor parallelism.
        global_batch_size: rows of all ranks between two updates of the model, a multiple of
            ``batch_size * world_size``, which is the default. With ``epochs``, the last incomplete
            one is dropped.
        epochs: passes over the data; None: endless. Iterating again after the end continues with
            the next passes, in new orders. A mixture has no passes.
        shuffle: samples in random order, from another first token each epoch; else in file order.
        output: "torch" or "numpy".
        device: where torch tensors go; None: the CPU. To CUDA, batches are copied in compact form,
            ahead of their use, on a separate stream.
        prefetch: batches filled ahead; 0: none, without a thread.
        pin_memory: page-locked memory, for asynchronous copies; None: for CUDA only.
        verify: check the checksum of each MiB before its first use.
        access: "map" reads through memory maps: fastest, but what was read counts as this
            process's memory, and a file that is truncated meanwhile kills the process. "call" reads
            each sample with one system call: for large data and network file systems. "auto" maps
            up to 256 MiB.

    """

    @overload
    def __init__(
        self: TokenLoader[torch.Tensor],
        data: DatasetLike | Mixture,
        *,
        output: Literal["torch"] = "torch",
        **options: Unpack[_LoaderOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: TokenLoader[NDArray[np.int64]],
        data: DatasetLike | Mixture,
        *,
        output: Literal["numpy"],
        **options: Unpack[_LoaderOptions],
    ) -> None: ...
    def __init__(  # noqa: PLR0913  (the options of a loader, all by keyword)
        self,
        data: DatasetLike | Mixture,
        *,
        batch_size: int,
        sequence_length: int,
        max_sequence_length: int | None = None,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        global_batch_size: int | None = None,
        epochs: int | None = None,
        shuffle: bool = True,
        output: Literal["torch", "numpy"] = "torch",
        device: str | torch.device | None = None,
        prefetch: int = 2,
        pin_memory: bool | None = None,
        verify: bool = False,
        access: Literal["auto", "map", "call"] = "auto",
    ) -> None:
        mixture = data if isinstance(data, Mixture) else None
        datasets = data.datasets if isinstance(data, Mixture) else [_open(data)]
        if output not in ("torch", "numpy"):
            raise ValueError(f"output = {output!r}: choose 'torch' or 'numpy'")
        if output == "numpy" and (device is not None or pin_memory):
            raise ValueError("device and pin_memory need output='torch'")
        self._arguments: dict[str, Any] = {
            "data": mixture or datasets[0],
            "batch_size": batch_size,
            "sequence_length": sequence_length,
            "max_sequence_length": max_sequence_length,
            "seed": seed,
            "rank": rank,
            "world_size": world_size,
            "global_batch_size": global_batch_size,
            "epochs": epochs,
            "shuffle": shuffle,
            "output": output,
            "device": device,
            "prefetch": prefetch,
            "pin_memory": pin_memory,
            "verify": verify,
            "access": access,
        }
        _check_ranges(self._arguments)
        self.datasets: list[TokenDataset] = datasets
        self.batch_size = batch_size
        self.sequence_length = sequence_length
        self.seed = seed
        self.shuffle = shuffle
        self.rank = _from_environment("RANK", 0) if rank is None else rank
        self.world_size = _from_environment("WORLD_SIZE", 1) if world_size is None else world_size
        self._on_cuda = device is not None and _is_cuda(device)
        self._core = LoaderCore(
            datasets,
            mixture.weights if mixture else None,
            mixture.names if mixture else None,
            sequence_length=sequence_length,
            max_sequence_length=max_sequence_length,
            seed=seed,
            shuffle=shuffle,
            verify=verify,
            batch_size=batch_size,
            rank=self.rank,
            world_size=self.world_size,
            global_batch_size=global_batch_size,
            epochs=epochs,
            prefetch=prefetch,
            rows=self._on_cuda,
            access=access,
        )
        self._feed: CudaFeed | None = None
        self._note_position()
        register_iterable(type(self), needs_torch=output == "torch")

    def __iter__(self) -> Iterator[Batch[ArrayT]]:
        """Continue after the last batch; after the end, with the next ``epochs``."""
        refuse_workers()
        self._core.restart()
        self._round = self._core.position[1]
        return self

    def __next__(self) -> Batch[ArrayT]:
        item = self._feed_item() if self._on_cuda else self._core.next()
        if item is None:
            raise StopIteration
        inputs, targets, self._samples = item
        return self._batch(inputs, targets, self._samples)

    def _batch(self, inputs: Any, targets: Any, samples: int) -> Batch[ArrayT]:
        """Return the batch of these arrays, after which ``samples`` samples are used."""
        origin = BatchOrigin(self._core, self._schedule, samples, self._round, self._as_array)
        arrays = (inputs, targets)
        if not self._on_cuda:
            arrays = (self._as_array(inputs), self._as_array(targets))
        return Batch.of(*arrays, cast("BatchOrigin[ArrayT]", origin))

    def _as_array(self, array: NDArray[Any]) -> Any:
        """Return ``array`` as this loader yields arrays: numpy, or a tensor where it belongs."""
        if self._arguments["output"] == "numpy":
            return array
        import torch

        tensor, device = torch.from_numpy(array), self._arguments["device"]
        if self._arguments["pin_memory"] and not self._on_cuda:
            tensor = tensor.pin_memory()
        return tensor if device is None else tensor.to(device)

    def _feed_item(self) -> tuple[torch.Tensor, torch.Tensor, int] | None:
        if self._feed is None:
            pin = self._arguments["pin_memory"] is not False
            self._feed = CudaFeed(self._core, self._arguments["device"], pin)
        return self._feed.next()

    def batch_at(self, step: int) -> Batch[ArrayT]:
        """Return this rank's batch of step ``step``, from 0, without moving.

        Steps are counted with this loader's batch sizes, from the first sample of the run, through
        all segments of its schedule.

        >>> bool((loader.batch_at(2).inputs == loader.batch_at(2).inputs).all())
        True
        """
        if step < 0:
            raise ValueError(f"step = {step}: must be 0 or more")
        inputs, targets, samples = self._core.batch_at(step * self._core.samples_per_step)
        if targets is None:
            import torch

            tensor, mask = as_signed(inputs)
            device = torch.device(self._arguments["device"])
            inputs, targets = widen(tensor.to(device), mask)  # type: ignore[assignment]
        return self._batch(inputs, targets, samples)

    def __len__(self) -> int:
        """Return the number of batches of all epochs; ``TypeError`` for an endless loader."""
        batches = self._core.n_batches
        if batches is None:
            raise TypeError("an endless loader has no length: give epochs=")
        return batches

    @property
    def n_samples(self) -> int:
        """Samples that all ranks together have used, up to the last batch yielded."""
        return self._samples

    @property
    def samples_per_epoch(self) -> int | None:
        """Samples in one pass over the data; None for a mixture."""
        return self._core.samples_per_epoch

    @property
    def global_batch_size(self) -> int:
        """Rows of all ranks between two updates of the model."""
        return self._core.global_batch_size

    @property
    def left_out(self) -> dict[str, int]:
        """What is not used.

        ``n_tokens``: in no sample of an epoch, before the first and after the last window, summed
        over a mixture's datasets; ``n_samples``: at the end of all epochs, where they do not fill
        a global batch.
        """
        n_tokens, n_samples = self._core.left_out
        return {"n_tokens": n_tokens, "n_samples": n_samples}

    @property
    def fingerprint(self) -> str:
        """Identifies the data: the dataset's fingerprint, or one over a mixture's."""
        return self._core.fingerprint

    def locate(self, sample: int) -> tuple[int, int, int]:
        """Return where global sample ``sample`` is: dataset, epoch, position of its first token."""
        return self._core.locate(sample)

    def steps_of(self, document: int, dataset: int = 0, *, steps: int | None = None) -> list[int]:
        """Return the steps, from 0, in which document ``document`` of a dataset is read.

        ``dataset`` is an index into ``datasets``. The first ``steps`` steps are looked through;
        None: those up to the last batch yielded. A step reads a document if one of its tokens is
        among the inputs or targets of any rank. Steps are counted as by :meth:`batch_at`.
        """
        start, stop = self.datasets[dataset].document_span(document)
        n = self._core.samples_per_step
        until = self._samples if steps is None else steps * n
        found = self._core.samples_of(dataset, start, stop, until)
        return sorted({sample // n for sample, _ in found})

    @property
    def schedule(self) -> list[dict[str, Any]]:
        """What the run reads: segments, each with ``from``, ``sequence_length`` and ``weights``.

        ``from`` is the first sample; ``weights`` are shares by name, or by path without one.
        """
        labels = {name: self._label(name, at) for name, at, _ in self._core.served(0)}
        return [
            {
                "from": first,
                "sequence_length": length,
                "weights": {labels[name]: share for name, share in shares},
            }
            for first, length, shares in self._core.schedule
        ]

    def served(self) -> dict[str, int]:
        """Return how many samples each dataset has given, up to the last batch yielded.

        By name, or by path without one; in samples of ``max_sequence_length``, begun ones included.
        """
        served = self._core.served(self._samples)
        return {self._label(name, at): count for name, at, count in served}

    def _label(self, name: str, dataset: int | None) -> str:
        data = self._arguments["data"]
        has_names = isinstance(data, Mixture) and data.names is not None
        return name if has_names or dataset is None else str(self.datasets[dataset].path)

    def _note_position(self) -> None:
        """Take over position and schedule of the core."""
        self._samples, self._round = self._core.position
        self._schedule = json.loads(self._core.state())
        self._feed = None

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch yielded, as plain values for JSON.

        Equal on all ranks; below 2 KB for 20 datasets and 10 segments. ``docs/format.md`` describes
        it. A loop that fetches ahead saves the ``state`` of the batch it has trained on instead.
        """
        position = {"samples": self._samples, "round": self._round}
        return copy.deepcopy(self._schedule | position)

    def load_state_dict(self, state: Mapping[str, Any], *, on_change: OnChange = "refuse") -> None:
        """Move to the position of ``state``: the next batch is the one after it.

        Rank, world size and batch sizes may differ from those of the loader that saved it. Another
        seed or order raise :class:`lslm.MismatchError`; so do other datasets, weights or another
        sequence length, unless ``on_change`` is "new segment": then they apply from this position
        on, and the schedule of the state keeps both. A dataset is recognised by its name, else by
        its content. One that has got more shards is a change too: the pass under way ends without
        them, and the next one has them.
        """
        if on_change not in ("refuse", "new segment"):
            raise ValueError(f"on_change = {on_change!r}: choose 'refuse' or 'new segment'")
        try:
            text = json.dumps(dict(state), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the state of a loader: {error}; give what state_dict returned"
            ) from None
        self._core.resume(text, on_change == "new segment")
        self._note_position()

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": self._arguments, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arguments = dict(state["arguments"])
        TokenLoader.__init__(cast("Any", self), arguments.pop("data"), **arguments)
        self.load_state_dict(state["state"])

    def __repr__(self) -> str:
        mixture = self._arguments["data"]
        data = mixture if isinstance(mixture, Mixture) else str(self.datasets[0].path)
        return (
            f"TokenLoader({data!r}, batch_size={self.batch_size}, "
            f"sequence_length={self.sequence_length}, rank={self.rank}, "
            f"world_size={self.world_size}, global_batch_size={self.global_batch_size}, "
            f"seed={self.seed}, shuffle={self.shuffle}, epochs={self._arguments['epochs']}, "
            f"n_samples={self.n_samples})"
        )


def _check_ranges(arguments: Mapping[str, Any]) -> None:
    """Raise an error for a loader's argument that is out of its range."""
    lengths = ("sequence_length", "max_sequence_length")
    counts = (*lengths, "batch_size", "epochs", "global_batch_size", "world_size")
    check_counts(**{name: arguments[name] for name in counts})
    check_seed(arguments["seed"])
    for name in ("rank", "prefetch"):
        if arguments[name] is not None:
            whole_number(name, arguments[name], 0, MAX_COUNT)


def _open(dataset: DatasetLike) -> TokenDataset:
    """Return the dataset at a path, or the ``train`` in it if it is a folder of both parts."""
    if isinstance(dataset, TokenDataset):
        return dataset
    return TokenDataset(find_part(dataset, "train") or dataset)


def find_part(folder: str | os.PathLike[str], part: Literal["train", "validation"]) -> Path | None:
    """Return the dataset ``part`` in ``folder``, or None if there is none."""
    inner = Path(folder) / part
    return inner if (inner / "manifest.json").is_file() else None


def _is_cuda(device: str | torch.device) -> bool:
    return str(device).split(":", maxsplit=1)[0] == "cuda"


def _from_environment(name: str, default: int) -> int:
    """Return the number in environment variable ``name``; ``default`` where it is not set."""
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise ValueError(
            f"environment variable {name} = {text!r} is not a number: give {name.lower()}="
        )
    return value
