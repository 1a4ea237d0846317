"""Token datasets as batches: the loader, mixtures, and datasets from tokens made elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np

from lslm import progress as _progress
from lslm._lslm import DatasetWriter, LoaderCore, TokenDataset
from lslm.exceptions import MismatchError
from lslm.feed import Batch, CudaFeed

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

__all__ = ["Batch", "Document", "Mixture", "TokenLoader", "write_dataset"]

_STATE_VERSION = 1


class Mixture:
    """Several datasets, in given proportions of tokens.

    ``datasets`` is a mapping from dataset to weight, or a sequence beside ``weights``. A dataset is
    a path or a :class:`lslm.TokenDataset`. Weights need not sum to one; without them each dataset
    counts by its tokens. After each block of samples (1,024, more for very small weights) every
    dataset's count is less than one sample from its share; inside a block the order is random. Each
    dataset has epochs of its own, each in a new order.
    """

    def __init__(
        self,
        datasets: Mapping[Any, float] | Sequence[str | os.PathLike[str] | TokenDataset],
        *,
        weights: Sequence[float] | None = None,
    ) -> None:
        if isinstance(datasets, Mapping):
            if weights is not None:
                raise ValueError("weights: the mapping has them already")
            weights = [float(weight) for weight in datasets.values()]
        self.datasets = [_open(dataset) for dataset in datasets]
        self.weights = None if weights is None else [float(weight) for weight in weights]

    def __repr__(self) -> str:
        names = ", ".join(repr(str(dataset.path)) for dataset in self.datasets)
        return f"Mixture([{names}], weights={self.weights})"


class TokenLoader:
    """Batches of a tokenized dataset, for ever or for ``epochs``, with exact resume.

    A sample is ``sequence_length`` inputs and as many targets, moved by one, cut from the
    documents one behind the other. Samples are read by a thread that fills ``prefetch`` batches
    ahead; no process is started. The sequence of samples depends on the data, ``seed``,
    ``shuffle`` and ``sequence_length`` only, so ``state_dict`` of any rank resumes on any number of
    ranks, at any step, with other batch sizes.

    Arguments:
        data: a dataset (path or :class:`lslm.TokenDataset`) or a :class:`Mixture`.
        batch_size: rows that this rank yields per step.
        sequence_length: inputs, and targets, per row.
        seed: decides the order; 0 to 2**64 - 1.
        rank, world_size: this process among those that share the batches. They win over the
            environment variables RANK and WORLD_SIZE, which torchrun sets and which are wrong where
            several ranks need the same rows, as under tensor parallelism.
        global_batch_size: rows of all ranks between two updates of the model, a multiple of
            ``batch_size * world_size``, which is the default. With ``epochs``, the last incomplete
            one is left out.
        epochs: passes over the data; None for endless. A loop over a loader that has ended begins
            the passes that follow, in new orders. A mixture has no passes.
        shuffle: samples in random order, from another first token each epoch; else in file order.
        output: "torch" or "numpy".
        device: where torch tensors go; None for the CPU. To CUDA, batches are copied in compact
            form, ahead of their use, on a stream of their own.
        prefetch: batches filled ahead; 0 for none, without a thread.
        pin_memory: page-locked memory, for copies that do not wait; by default for CUDA.
        verify: check the checksum of each block of 1 MiB before its first use.
        access: "map" reads through memory maps: fastest, but what was read counts as this
            process's memory, and a file that is cut meanwhile ends the process. "call" reads each
            sample with one system call: for large data and network file systems. "auto" maps up to
            256 MiB.

    """

    def __init__(
        self,
        data: str | os.PathLike[str] | TokenDataset | Mixture,
        *,
        batch_size: int,
        sequence_length: int,
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
        datasets = mixture.datasets if mixture else [_open(data)]
        if output not in ("torch", "numpy"):
            raise ValueError(f"output = {output!r}: choose 'torch' or 'numpy'")
        if output == "numpy" and (device is not None or pin_memory):
            raise ValueError("device and pin_memory need output='torch'")
        self._arguments: dict[str, Any] = {
            "data": mixture or datasets[0],
            "batch_size": batch_size,
            "sequence_length": sequence_length,
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
        counts = {"batch_size": batch_size, "sequence_length": sequence_length, "epochs": epochs}
        counts |= {"global_batch_size": global_batch_size, "world_size": world_size}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value}: must be at least 1")
        for name, value in {"seed": seed, "rank": rank, "prefetch": prefetch}.items():
            if value is not None and not 0 <= value < 2**64:
                raise ValueError(f"{name} = {value}: must be 0 or more")
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
            sequence_length=sequence_length,
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
        self._samples, self._round = self._core.position
        self._feed: CudaFeed | None = None

    def __iter__(self) -> Iterator[Batch]:
        """Go on behind the last batch; after the end, with the epochs that follow."""
        self._core.restart()
        self._round = self._core.position[1]
        return self

    def __next__(self) -> Batch:
        if self._on_cuda:
            return self._next_on_cuda()
        item = self._core.next()
        if item is None:
            raise StopIteration
        inputs, targets, self._samples = item
        if self._arguments["output"] == "numpy":
            return Batch(inputs, targets)
        return self._as_tensors(inputs, targets)

    def _as_tensors(self, inputs: Any, targets: Any) -> Batch:
        import torch

        tensors = torch.from_numpy(inputs), torch.from_numpy(targets)
        if self._arguments["pin_memory"]:
            tensors = tensors[0].pin_memory(), tensors[1].pin_memory()
        device = self._arguments["device"]
        if device is not None:
            tensors = tensors[0].to(device), tensors[1].to(device)
        return Batch(*tensors)

    def _next_on_cuda(self) -> Batch:
        if self._feed is None:
            pin = self._arguments["pin_memory"] is not False
            self._feed = CudaFeed(self._core, self._arguments["device"], pin)
        item = self._feed.next()
        if item is None:
            raise StopIteration
        batch, self._samples = item
        return batch

    def __len__(self) -> int:
        """Return the number of batches of all epochs; an endless loader has no length."""
        batches = self._core.n_batches
        if batches is None:
            raise TypeError("an endless loader has no length; give epochs=")
        return batches

    @property
    def samples(self) -> int:
        """How many samples all ranks together have used, up to the last batch yielded."""
        return self._samples

    @property
    def samples_per_epoch(self) -> int | None:
        """How many samples one pass over the data has; None for a mixture."""
        return self._core.samples_per_epoch

    @property
    def global_batch_size(self) -> int:
        """Rows of all ranks between two updates of the model."""
        return self._core.global_batch_size

    @property
    def left_out(self) -> dict[str, int]:
        """What is not used.

        ``tokens``: in no sample of an epoch, summed over a mixture's datasets (before the first
        and behind the last window); ``samples``: at the end of all epochs, since they do not fill
        a global batch.
        """
        tokens, samples = self._core.left_out
        return {"tokens": tokens, "samples": samples}

    @property
    def fingerprint(self) -> str:
        """Identifies the data: the dataset's fingerprint, or one over a mixture's."""
        return self._core.fingerprint

    def locate(self, sample: int) -> tuple[int, int, int]:
        """Say where global sample ``sample`` lies: dataset, epoch, position of its first token."""
        return self._core.locate(sample)

    def state_dict(self) -> dict[str, Any]:
        """Return the position behind the last batch yielded, as plain values for JSON.

        Equal on all ranks; below 2 KB whatever the data.
        """
        return {
            "version": _STATE_VERSION,
            "fingerprint": self.fingerprint,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "sequence_length": self.sequence_length,
            "global_batch_size": self.global_batch_size,
            "samples": self._samples,
            "round": self._round,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the position of ``state``; the next batch is the one that followed it.

        The rank, the world size and the batch sizes may differ from the loader that made it. Other
        data, another seed, order or sequence length is a :class:`lslm.MismatchError`.
        """
        version = state.get("version")
        if version != _STATE_VERSION:
            raise MismatchError(
                f"the state of a loader has version {version}, this lslm reads {_STATE_VERSION}"
            )
        names = ("fingerprint", "sequence_length", "seed", "shuffle")
        missing = [name for name in (*names, "samples", "round") if name not in state]
        if missing:
            raise ValueError(f"the state of a loader lacks {', '.join(missing)}")
        if state["samples"] < 0 or state["round"] < 0:
            raise ValueError(f"samples = {state['samples']}: must be 0 or more")
        self._core.check(*(state[name] for name in names))
        self._core.seek(state["samples"], state["round"])
        self._samples, self._round = self._core.position
        self._feed = None

    def __getstate__(self) -> dict[str, Any]:
        return {"arguments": self._arguments, "state": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arguments = dict(state["arguments"])
        TokenLoader.__init__(self, arguments.pop("data"), **arguments)
        self.load_state_dict(state["state"])

    def __repr__(self) -> str:
        mixture = self._arguments["data"]
        data = mixture if isinstance(mixture, Mixture) else str(self.datasets[0].path)
        return (
            f"TokenLoader({data!r}, batch_size={self.batch_size}, "
            f"sequence_length={self.sequence_length}, rank={self.rank}, "
            f"world_size={self.world_size}, global_batch_size={self.global_batch_size}, "
            f"seed={self.seed}, shuffle={self.shuffle}, epochs={self._arguments['epochs']}, "
            f"samples={self.samples})"
        )


class Document(NamedTuple):
    """A tokenized document for :func:`write_dataset`."""

    tokens: ArrayLike
    """Its ids, with those that open and close it."""
    n_bytes: int = 0
    """Bytes of its text in UTF-8, without special tokens; 0 if not known."""
    source: str | None = None
    """The name of the input it is from."""
    id: str | None = None
    """Its name in that input."""


class _Tokenizer(Protocol):
    @property
    def vocab_size(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...
    def save(self, path: Any) -> object: ...


def write_dataset(
    path: str | os.PathLike[str],
    documents: Iterable[ArrayLike | Document],
    *,
    vocab_size: int | None = None,
    tokenizer: _Tokenizer | None = None,
    eos_id: int | None = None,
    bos_id: int | None = None,
    split: str | None = None,
    shard_bytes: int = 1 << 28,
    progress: Any = None,
) -> TokenDataset:
    """Write documents that are tokenized already as a dataset in the new folder ``path``.

    ``documents`` are one-dimensional arrays of ids, or :class:`Document` where more is known. Each
    id must be below ``vocab_size``, by default that of ``tokenizer``, which is saved beside the
    shards. ``eos_id`` and ``bos_id`` state what closes and opens every document; they are checked,
    not added. A new shard begins once one has ``shard_bytes``. The memory needed does not grow with
    the tokens. Nothing has the name of a dataset before all is written.
    """
    if vocab_size is None:
        if tokenizer is None:
            raise ValueError("vocab_size: needed where no tokenizer is given")
        vocab_size = tokenizer.vocab_size
    if not 1 <= vocab_size < 2**32:
        raise ValueError(f"vocab_size = {vocab_size}: must be at least 1 and below 2**32")
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes = {shard_bytes}: must be at least 1")
    path = Path(path)
    writer = DatasetWriter(
        path,
        vocab_size=vocab_size,
        shard_bytes=shard_bytes,
        eos_id=eos_id,
        bos_id=bos_id,
        split=split,
        tokenizer_file="tokenizer.json" if tokenizer is not None else None,
        tokenizer_fingerprint=tokenizer.fingerprint if tokenizer is not None else None,
    )
    reporter = _progress.resolve(progress)
    total = len(documents) if isinstance(documents, Sequence) else None
    completed = False
    try:
        if tokenizer is not None:
            tokenizer.save(path / "tokenizer.json")
        count, shown = 0, 0.0
        for item in documents:
            document = item if isinstance(item, Document) else Document(item)
            tokens = _ids(document.tokens, count)
            for name, expected, place in (("eos_id", eos_id, -1), ("bos_id", bos_id, 0)):
                if expected is not None and (not tokens.size or tokens[place] != expected):
                    side = "end" if place else "begin"
                    raise ValueError(
                        f"document {count} does not {side} with {name} = {expected}; leave "
                        f"{name} out if documents have none"
                    )
            writer.push(tokens, document.n_bytes, document.source, document.id)
            count += 1
            if reporter is not None and time.monotonic() - shown > 0.05:
                shown = time.monotonic()
                reporter.update("write", count, total, "documents")
        writer.finish()
        if reporter is not None:
            reporter.update("write", count, count, "documents")
        completed = True
    finally:
        writer.close()
        if reporter is not None:
            reporter.close(completed)
    return TokenDataset(path)


def _ids(tokens: ArrayLike, index: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    array = np.asarray(tokens)
    if array.size == 0:
        array = array.astype(np.uint32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"document {index}: a one-dimensional array of ids is needed, not {array.ndim} "
            f"dimensions of {array.dtype}"
        )
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise ValueError(f"document {index}: id {array.min()} is negative")
    if array.dtype.itemsize == 8 and array.size and array.max() >= 2**32:
        raise ValueError(f"document {index}: id {array.max()} does not fit in 32 bits")
    return np.ascontiguousarray(array, dtype=np.uint32)


def _open(dataset: Any) -> TokenDataset:
    return dataset if isinstance(dataset, TokenDataset) else TokenDataset(dataset)


def _is_cuda(device: str | torch.device) -> bool:
    return str(device).split(":", maxsplit=1)[0] == "cuda"


def _from_environment(name: str, default: int) -> int:
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise ValueError(
            f"environment variable {name} = {text!r}: not a number; give {name.lower()}="
        )
    return value
