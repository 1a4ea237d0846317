"""Texts from what holds them: iterables of str, and Arrow arrays and columns."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Arrow"]


class ArrowArray(Protocol):
    """Exports one array through Arrow's PyCapsule interface."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> object: ...


class ArrowStream(Protocol):
    """Exports a stream of arrays through Arrow's PyCapsule interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


Arrow: TypeAlias = ArrowArray | ArrowStream
"""An Arrow array or column."""


_ROWS = 65_536
"""Rows of an Arrow array that are Python objects at a time: some 100 MB of web documents."""


def iterate(texts: Any) -> Iterator[Any]:
    """Return an iterator over ``texts``: an iterable, or an Arrow array or column.

    Arrow data has ``__arrow_c_array__`` or ``__arrow_c_stream__`` (the PyCapsule interface): arrays
    of pyarrow, Series of polars and pandas, and others. A single text and a table of columns are a
    ``TypeError``; a missing value comes as None or nan.
    """
    if isinstance(texts, str | bytes | bytearray | memoryview):
        raise TypeError("texts is a single text: put it in a list")
    columns = getattr(texts, "column_names", None)
    columns = getattr(texts, "columns", None) if columns is None else columns
    if columns is not None:
        names = [str(name) for name in columns]
        raise TypeError(
            f"texts is a table with the columns {names}: choose one, e.g. texts['text']"
        )
    if hasattr(texts, "__arrow_c_array__") or hasattr(texts, "__arrow_c_stream__"):
        return iter(_arrow(texts))
    return iter(texts)


def _arrow(texts: Any) -> Iterable[Any]:
    """Return the values of an Arrow array or column as Python objects."""
    if not hasattr(texts, "to_pylist"):
        # a Series of polars or pandas iterates over Python's own values
        return texts if hasattr(texts, "__iter__") else _arrow(_with_pyarrow(texts))
    if not hasattr(texts, "slice"):
        return texts.to_pylist()  # type: ignore[no-any-return]
    starts = range(0, len(texts), _ROWS)
    return (text for start in starts for text in texts.slice(start, _ROWS).to_pylist())


def _with_pyarrow(texts: Any) -> Any:
    """Return Arrow data that cannot be iterated over as an array of pyarrow."""
    try:
        pa = import_module("pyarrow")
    except ImportError as error:
        raise TypeError(
            f"texts is Arrow data of type {type(texts).__name__}, which needs pyarrow: "
            f"pip install pyarrow, or give a list"
        ) from error
    whole = hasattr(texts, "__arrow_c_array__")
    return pa.array(texts) if whole else pa.chunked_array(texts)
