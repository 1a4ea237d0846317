"""Text on a terminal: one continuation as it comes, or a dialogue of prompts."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TYPE_CHECKING, Any

import lslm

if TYPE_CHECKING:
    from lslm.checkpoint import Run

__all__ = ["converse", "print_text"]


def print_text(run: Run, prompt: str, *, seed: int, **options: Any) -> None:
    """Print ``prompt`` and its continuation, in parts as they come."""
    print(prompt, end="", flush=True)
    is_ended = False

    def end_line(_: logging.LogRecord) -> bool:
        """End the text's line before the speed is logged."""
        nonlocal is_ended
        if not is_ended:
            print(flush=True)
            is_ended = True
        return True

    logger = logging.getLogger("lslm.generation")
    logger.addFilter(end_line)
    try:
        lslm.complete(run, [prompt], seeds=[seed], stream=_print_part, **options)
    finally:
        logger.removeFilter(end_line)
    if not is_ended:
        print()


def converse(run: Run, *, seed: int, **options: Any) -> None:
    """Ask for prompts and continue each, with a new seed each time, until Ctrl-D or Ctrl-C."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (gives input() a history and editing)
    print("Type the beginning of a text; Ctrl-D ends.", file=sys.stderr)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            print_text(run, input("> "), seed=seed, **options)
            seed += 1
    print()


def _print_part(text: str) -> None:
    print(text, end="", flush=True)
