"""Token datasets as batches: the loader and mixtures; writing them is in :mod:`lslm.writing`."""

from __future__ import annotations

import copy
import json
import logging
from typing import TYPE_CHECKING, Any, Generic, Literal, Unpack, cast, overload

from lslm._lslm import LoaderCore
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
from lslm.loader_options import (
    LoaderOptions,
    OnChange,
    Packing,
    check_ranges,
    from_environment,
)
from lslm.mixture import DatasetLike, Mixture, open_dataset
from lslm.writing import TokenizedDocument, write_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from lslm._lslm import TokenDataset

__all__ = [
    "Batch",
    "Mixture",
    "TokenLoader",
    "TokenizedDocument",
    "open_bin",
    "write_dataset",
]

_logger = logging.getLogger("lslm.data")


class TokenLoader(Generic[ArrayT]):
    """Batches of a tokenized dataset, endless or for ``epochs``, with exact resume.

    ::

        loader = TokenLoader("data/web/train", batch_size=16, sequence_length=1024)
        for batch in loader:
            loss = model(batch.inputs, batch.targets)

    A sample is ``sequence_length`` inputs and as many targets, one token later, from the
    concatenation of the documents, or with ``packing`` from whole documents. A thread reads
    ``prefetch`` batches ahead; no process is started. The sequence of samples depends on the data,
    ``seed``, ``shuffle``, ``packing`` and ``sequence_length`` only, so the ``state_dict`` of any
    rank resumes on any number of ranks, at any step, with other batch sizes. A batch carries the
    state after it and the documents of its rows: :class:`Batch`.

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
        packing: what a row holds. "concat": a window over all documents, one after the other.
            "best_fit": whole documents, as many as fit, planned once from their lengths; one longer
            than a row is cut. "document": one document, or a part of it. Packed rows are filled up
            with the id that ends documents; ``packed`` counts that, and its targets are -100.
        mask_borders: make the first token of a document after another one in its row a target of
            -100, which is not to be counted.
        seed: decides the order; 0 to 2**64 - 1.
        rank, world_size: this process among those that share the batches. They win over the
            environment variables RANK and WORLD_SIZE, which torchrun sets and which are wrong where
            several ranks need the same rows, as under tensor parallelism.
        global_batch_size: rows of all ranks between two updates of the model, a multiple of
            ``batch_size * world_size``, which is the default. With ``epochs``, the last incomplete
            one is dropped.
        epochs: passes over the data; None: endless. Iterating again after the end continues with
            the next passes, in new orders. A mixture has no passes.
        steps: batches of this rank, from the first sample of the run, instead of ``epochs``: a
            length for tools that read ahead where there is none, such as Lightning.
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
        **options: Unpack[LoaderOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: TokenLoader[NDArray[np.int64]],
        data: DatasetLike | Mixture,
        *,
        output: Literal["numpy"],
        **options: Unpack[LoaderOptions],
    ) -> None: ...
    def __init__(  # noqa: PLR0913  (the options of a loader, all by keyword)
        self,
        data: DatasetLike | Mixture,
        *,
        batch_size: int,
        sequence_length: int,
        max_sequence_length: int | None = None,
        packing: Packing = "concat",
        mask_borders: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        global_batch_size: int | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        shuffle: bool = True,
        output: Literal["torch", "numpy"] = "torch",
        device: str | torch.device | None = None,
        prefetch: int = 2,
        pin_memory: bool | None = None,
        verify: bool = False,
        access: Literal["auto", "map", "call"] = "auto",
    ) -> None:
        mixture = data if isinstance(data, Mixture) else None
        datasets = data.datasets if isinstance(data, Mixture) else [open_dataset(data)]
        if output not in ("torch", "numpy"):
            raise ValueError(f"output = {output!r}: choose 'torch' or 'numpy'")
        if steps is not None and epochs is not None:
            raise ValueError("steps and epochs: give one of them")
        if output == "numpy" and (device is not None or pin_memory):
            raise ValueError("device and pin_memory need output='torch'")
        self._arguments: dict[str, Any] = {
            "data": mixture or datasets[0],
            "batch_size": batch_size,
            "sequence_length": sequence_length,
            "max_sequence_length": max_sequence_length,
            "packing": packing,
            "mask_borders": mask_borders,
            "seed": seed,
            "rank": rank,
            "world_size": world_size,
            "global_batch_size": global_batch_size,
            "epochs": epochs,
            "steps": steps,
            "shuffle": shuffle,
            "output": output,
            "device": device,
            "prefetch": prefetch,
            "pin_memory": pin_memory,
            "verify": verify,
            "access": access,
        }
        check_ranges(self._arguments)
        self.datasets: list[TokenDataset] = datasets
        self.batch_size = batch_size
        self.sequence_length = sequence_length
        self.seed = seed
        self.shuffle = shuffle
        self.rank = from_environment("RANK", 0) if rank is None else rank
        self.world_size = from_environment("WORLD_SIZE", 1) if world_size is None else world_size
        self._on_cuda = device is not None and _is_cuda(device)
        self._core = LoaderCore(
            datasets,
            mixture.weights if mixture else None,
            mixture.names if mixture else None,
            sequence_length=sequence_length,
            max_sequence_length=max_sequence_length,
            packing=packing,
            mask_borders=mask_borders,
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
        self._end = None if steps is None else steps * self._core.samples_per_step
        self._feed: CudaFeed | None = None
        self._samples = 0
        self._note_position()
        register_iterable(type(self), needs_torch=output == "torch")

    def __iter__(self) -> Iterator[Batch[ArrayT]]:
        """Continue after the last batch; after the end, with the next ``epochs``."""
        refuse_workers()
        self._core.restart()
        self._round = self._core.position[1]
        return self

    def __next__(self) -> Batch[ArrayT]:
        is_over = self._end is not None and self._samples >= self._end
        item = None if is_over else self._next_item()
        if item is None:
            raise StopIteration
        inputs, targets, *_, self._samples = item
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

    def _next_item(self) -> tuple[Any, ...] | None:
        if not self._on_cuda:
            return self._core.next()
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
        first = step * self._core.samples_per_step
        inputs, targets, ignored, samples = self._core.batch_at(first)
        if targets is None:
            import torch

            tensor, mask = as_signed(inputs)
            device = torch.device(self._arguments["device"])
            inputs, targets = widen(tensor.to(device), mask, ignored)  # type: ignore[assignment]
        return self._batch(inputs, targets, samples)

    def __len__(self) -> int:
        """Return the number of batches of all epochs; ``TypeError`` for an endless loader."""
        steps: int | None = self._arguments["steps"]
        batches = steps or self._core.n_batches
        if batches is None:
            raise TypeError("an endless loader has no length: give epochs= or steps=")
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
    def packed(self) -> dict[str, int]:
        """What ``packing`` came to, summed over a mixture's datasets; all 0 for "concat".

        ``n_rows``: rows of a pass; ``n_padding``: places in them, of sequence_length + 1 each,
        that no token fills; ``n_cut``: documents longer than a row.
        """
        return dict(zip(("n_rows", "n_padding", "n_cut"), self._core.packing_counts, strict=True))

    def skip(self, first: int, last: int) -> None:
        """Leave out the batches of steps ``first`` to ``last``, from 0, both included.

        Step ``first`` reads what would have come after them. The schedule keeps it, so a state
        saved later resumes without them too. Steps are counted as by :meth:`batch_at`;
        ``ValueError`` for one that was read, and before a later change of the schedule.
        """
        if not 0 <= first <= last:
            raise ValueError(f"steps {first} to {last}: give the first and the last, from 0")
        n = self._core.samples_per_step
        self._core.skip(first * n, (last - first + 1) * n)
        self._note_position()

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
        """What the run reads: segments, each a dictionary.

        ``from``: the first sample; ``skipped``: samples that :meth:`skip` leaves out before it;
        ``sequence_length``, ``packing`` and ``mask_borders``; ``unread``: targets that the change
        from the segment before left unread, because a unit of which some rows were read counts as
        read, and another packing begins a new pass; ``weights``: shares by name, or by path without
        one.
        """
        labels = {name: self._label(name, at) for name, at, _ in self._core.served(0)}
        names = ("from", "skipped", "sequence_length", "packing", "mask_borders", "unread")
        return [
            dict(zip(names, values, strict=True))
            | {"weights": {labels[name]: share for name, share in shares}}
            for *values, shares in self._core.schedule
        ]

    def served(self) -> dict[str, int]:
        """Return how many samples each dataset has given, up to the last batch yielded.

        By name, or by path without one; in samples of ``max_sequence_length``, begun ones included,
        or in packed rows.
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
        them, and the next one has them. Another packing begins a new pass; what a change leaves
        unread is in ``schedule``, and a warning.
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
        last = self._core.schedule[-1]
        if on_change == "new segment" and last[0] == self._samples and last[5]:
            _logger.warning("the change at sample %d leaves %d targets unread", last[0], last[5])

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


def _is_cuda(device: str | torch.device) -> bool:
    return str(device).split(":", maxsplit=1)[0] == "cuda"
