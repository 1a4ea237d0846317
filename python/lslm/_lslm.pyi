import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

__version__: str

@final
class TokenDataset:
    """A tokenized dataset, mapped into memory.

    Opening reads the manifest and one page a shard, whatever the size. Tokens are numpy arrays of
    the stored type, uint16 or uint32, and are copies. ``len(ds)`` is the number of documents,
    ``ds[i]`` the tokens of one; negative indices count from the end. Pickled by its path.
    """

    def __new__(cls, path: str | os.PathLike[str]) -> TokenDataset:
        """Open the dataset in the folder ``path``.

        FileNotFoundError if it or a shard is missing; :class:`lslm.FormatError` with file and byte
        if something is not as ``docs/format.md`` says.
        """

    @property
    def path(self) -> Path:
        """The folder, as it was given."""
    @property
    def n_tokens(self) -> int:
        """How many tokens there are."""
    @property
    def n_documents(self) -> int:
        """How many documents there are."""
    @property
    def n_bytes(self) -> int | None:
        """How many bytes of text (UTF-8) the documents have; None if not known."""
    @property
    def vocab_size(self) -> int:
        """Each id is below this."""
    @property
    def dtype(self) -> str:
        """The type of the ids as stored: "uint16" or "uint32"."""
    @property
    def eos_id(self) -> int | None:
        """The id that ends each document, or None."""
    @property
    def bos_id(self) -> int | None:
        """The id that begins each document, or None."""
    @property
    def fingerprint(self) -> str:
        """Identifies the content, in hexadecimal: equal for equal tokens in equal shards."""
    @property
    def tokenizer_fingerprint(self) -> str | None:
        """The fingerprint of the tokenizer, in hexadecimal, or None if not known."""
    @property
    def tokenizer_path(self) -> Path | None:
        """The tokenizer's file in the dataset's folder, or None."""
    @property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json says."""
    def document(self, index: int) -> NDArray[Any]:
        """Return the tokens of document ``index``; IndexError if there is none."""
    def document_span(self, index: int) -> tuple[int, int]:
        """Return where document ``index`` begins and ends, in tokens of the dataset."""
    def tokens(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return the tokens at positions ``start`` to ``stop`` (default: the end).

        They go on across documents and shards. ValueError if the dataset has no such positions.
        """
    def document_bytes(self, index: int) -> int | None:
        """Return how many bytes of text document ``index`` has; None if not known."""
    def source(self, index: int) -> str | None:
        """Return the name of the input that document ``index`` is from, or None."""
    def document_id(self, index: int) -> str | None:
        """Return the name of document ``index`` in its input, or None."""
    def verify(
        self,
        *,
        threads: int | None = None,
        progress: bool | Callable[[str, int, int | None, str], object] | None = None,
    ) -> int:
        """Read everything and check it; return the number of bytes checked.

        A fault is a :class:`lslm.FormatError` with file and byte.
        """
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> NDArray[Any]: ...
    def __reduce__(self) -> tuple[Any, tuple[Path]]: ...

@final
class DatasetWriter:
    """Writes a dataset document by document; see :func:`lslm.data.write_dataset`."""

    def __new__(
        cls,
        path: str | os.PathLike[str],
        *,
        vocab_size: int,
        shard_bytes: int,
        eos_id: int | None = None,
        bos_id: int | None = None,
        split: str | None = None,
        tokenizer_file: str | None = None,
        tokenizer_fingerprint: str | None = None,
    ) -> DatasetWriter: ...
    def push(
        self,
        tokens: NDArray[np.uint32],
        n_bytes: int = 0,
        source: str | None = None,
        id: str | None = None,
    ) -> None:
        """Add a document."""
    def finish(self) -> dict[str, Any]:
        """Write the last shard and the manifest, which makes the folder a dataset."""
    def close(self) -> None:
        """Drop what was written, unless it is finished."""

@final
class LoaderCore:
    """The part of :class:`lslm.data.TokenLoader` that reads."""

    def __new__(
        cls,
        datasets: Sequence[TokenDataset],
        weights: Sequence[float] | None,
        *,
        sequence_length: int,
        seed: int,
        shuffle: bool,
        verify: bool,
        batch_size: int,
        rank: int,
        world_size: int,
        global_batch_size: int | None,
        epochs: int | None,
        prefetch: int,
        rows: bool,
        access: str,
    ) -> LoaderCore: ...
    def next(self) -> tuple[NDArray[Any], NDArray[Any] | None, int] | None:
        """Return inputs, targets (None for rows) and the position behind them; None at the end."""
    def seek(self, samples: int, round: int) -> None:
        """Go to a position."""
    def restart(self) -> None:
        """Begin again after the end; otherwise do nothing."""
    def check(self, fingerprint: str, sequence_length: int, seed: int, shuffle: bool) -> None:
        """Raise a MismatchError if a saved state belongs to another sequence of samples."""
    @property
    def position(self) -> tuple[int, int]:
        """Samples that all ranks have used, and how often a loader that ends has begun again."""
    @property
    def fingerprint(self) -> str:
        """Identifies the data, in hexadecimal."""
    @property
    def samples_per_epoch(self) -> int | None:
        """Samples of one epoch; None for a mixture."""
    @property
    def global_batch_size(self) -> int:
        """Rows of all ranks between two updates."""
    @property
    def n_batches(self) -> int | None:
        """Batches of all epochs; None for an endless loader."""
    @property
    def left_out(self) -> tuple[int, int]:
        """Tokens of an epoch in no sample, and samples of all epochs that fill no batch."""
    def locate(self, sample: int) -> tuple[int, int, int]:
        """Return dataset, epoch and first token of a sample."""
