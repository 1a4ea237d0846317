"""Checks of numbers that callers give: an error has the argument's name and value."""

from __future__ import annotations

import numbers
import operator

from lslm._lslm import MAX_BATCH_TOKENS

__all__ = [
    "FAMILY_SIZES",
    "MAX_COUNT",
    "MAX_MINUTES",
    "MAX_SEED",
    "MAX_THREADS",
    "MAX_WORKERS",
    "check_batch",
    "check_counts",
    "check_number",
    "check_seed",
    "whole_number",
]

MAX_COUNT = 2**63 - 1
"""Largest count: that of int64, which torch, numpy and file sizes use."""

MAX_SEED = 2**64 - 1
"""Largest seed: seeds have 64 bits."""

MAX_THREADS = 4096
"""Largest number of threads, the limit of the compiled part."""

MAX_MINUTES = 60 * 24 * 365
"""Longest training in minutes: a year, beyond which a number is a mistake."""


FAMILY_SIZES = (3, 12)
"""Smallest and largest number of model sizes that a law is fitted to."""

MAX_WORKERS = 1024
"""Largest number of processes of one call, beyond which a number is a mistake."""


def check_counts(**counts: int | None) -> None:
    """Raise an error unless each of ``counts`` is a whole number from 1 to 2**63 - 1, or None.

    Of a wrong type: ``TypeError``; out of range: ``ValueError``.
    """
    for name, value in counts.items():
        if value is not None:
            whole_number(name, value, 1, MAX_COUNT)


def check_seed(seed: int) -> None:
    """Raise an error unless ``seed`` is a whole number from 0 to 2**64 - 1."""
    whole_number("seed", seed, 0, MAX_SEED)


def check_batch(batch_size: int, sequence_length: int) -> None:
    """Raise ``ValueError`` for more tokens in a batch than a loader would fill."""
    if batch_size * sequence_length > MAX_BATCH_TOKENS:
        raise ValueError(
            f"batch_size = {batch_size}: with sequence_length = {sequence_length} that is "
            f"{batch_size * sequence_length} tokens, and a batch has at most {MAX_BATCH_TOKENS}"
        )


def check_number(name: str, value: float, at_least: float, at_most: float) -> None:
    """Raise an error unless ``value`` is a number in the range, which NaN is not."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {value!r}: must be a number")
    if not at_least <= value <= at_most:
        raise ValueError(f"{name} = {value}: must be from {at_least:g} to {at_most:g}")


def whole_number(name: str, value: object, at_least: int, at_most: int) -> int:
    """Return ``value`` as an int, or raise an error with the argument's name and the value.

    ``TypeError`` for what is not a whole number, ``ValueError`` for one that is out of range. The
    compiled part reads its arguments with it.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} = {value!r}: must be a whole number") from None
    if at_least <= number <= at_most:
        return number
    if at_most < MAX_COUNT:
        raise ValueError(f"{name} = {value}: must be from {at_least:,} to {at_most:,}")
    limit = f"at least {at_least}" if number < at_least else f"at most {at_most}"
    raise ValueError(f"{name} = {value}: must be {limit}")
