"""Checks of numbers that callers give: an error has the argument's name and value."""

from __future__ import annotations

import operator

from lslm._lslm import MAX_BATCH_TOKENS

__all__ = ["MAX_COUNT", "MAX_MINUTES", "MAX_THREADS", "check_batch", "check_counts", "check_seed"]

MAX_COUNT = 2**63 - 1
"""Largest count: that of int64, which torch, numpy and file sizes use."""

MAX_THREADS = 4096
"""Largest number of threads, the limit of the compiled part."""

MAX_MINUTES = 60 * 24 * 365
"""Longest training in minutes: a year, beyond which a number is a mistake."""


def check_counts(**counts: int | None) -> None:
    """Raise an error unless each of ``counts`` is a whole number from 1 to 2**63 - 1, or None.

    Of a wrong type: ``TypeError``; out of range: ``ValueError``.
    """
    for name, value in counts.items():
        if value is not None:
            _check(name, value, at_least=1, at_most=MAX_COUNT)


def check_seed(seed: int) -> None:
    """Raise an error unless ``seed`` is a whole number from 0 to 2**64 - 1."""
    _check("seed", seed, at_least=0, at_most=2**64 - 1)


def check_batch(batch_size: int, sequence_length: int) -> None:
    """Raise ``ValueError`` for more tokens in a batch than a loader would fill."""
    if batch_size * sequence_length > MAX_BATCH_TOKENS:
        raise ValueError(
            f"batch_size = {batch_size}: with sequence_length = {sequence_length} that is "
            f"{batch_size * sequence_length} tokens, and a batch has at most {MAX_BATCH_TOKENS}"
        )


def _check(name: str, value: int, *, at_least: int, at_most: int) -> None:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} = {value!r}: must be a whole number") from None
    if number < at_least:
        raise ValueError(f"{name} = {value}: must be at least {at_least}")
    if number > at_most:
        raise ValueError(f"{name} = {value}: must be at most {at_most}")
