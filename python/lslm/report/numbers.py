"""Numbers as text for readers: sizes, times, shares."""

from __future__ import annotations

import math

__all__ = ["compact", "duration", "fixed", "number", "percent", "plus_minus", "size"]


def size(n_bytes: float) -> str:
    """Return a number of bytes in decimal units: 12345678 as "12.3 MB"."""
    value, units = float(n_bytes), ("bytes", "kB", "MB", "GB", "TB", "PB")
    for unit in units[:-1]:
        if abs(value) < 999.5:
            if unit == "bytes":
                return "1 byte" if value == 1 else f"{value:,.0f} bytes"
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} {units[-1]}"


def duration(seconds: float) -> str:
    """Return a time: "0.8 s", "12.3 s", "3 min 05 s", "2 h 04 min"; "n/a" if not finite."""
    if not math.isfinite(seconds):
        return "n/a"
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{1000 * seconds:.1f} ms"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def compact(value: float) -> str:
    """Return ``value`` in at most about six letters: 1.5k, 2M, 3e-4."""
    size = abs(value)
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= limit:
            return f"{value / limit:.4g}{letter}"
    if 0 < size < 1e-2:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    return f"{value:.4g}"


def percent(part: float, whole: float) -> str:
    """Return ``part`` as a share of ``whole``: "12.5 %"; "n/a" of nothing."""
    return f"{100 * part / whole:.1f} %" if whole else "n/a"


def number(value: float) -> str:
    """Return a number with two decimals below 1000, and none above."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def fixed(value: float | None) -> str:
    """Return a loss with four decimals; "n/a" for None."""
    return "n/a" if value is None else f"{value:.4f}"


def plus_minus(error: float | None, digits: int = 3) -> str:
    """Return a standard error as text after its figure; "" for None."""
    return "" if error is None else f" ± {error:.{digits}f}"
