"""Checks on the files that a verb writes, made before its work begins."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import lslm

__all__ = ["Force", "check_output_file"]

Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]


def check_output_file(
    path: Path, *, option: str, corpus: lslm.Corpus | None = None, force: bool
) -> None:
    """Check that ``path``, given by ``option``, can be written and is not an input.

    Raises ``ValueError`` with the reason, also for a file that exists unless ``force`` is set.
    """
    if str(path) == "-":
        raise ValueError(
            f"{option} -: standard output shows the result; name a file (./- for one of this name)"
        )
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder: name a file in it")
    if path.exists():
        for name in () if corpus is None else corpus.inputs:
            # a pipe is gone once it was read
            if name != "-" and Path(name).exists() and path.samefile(name):
                raise ValueError(f"{option} {path} is the input {name}: name another file")
        if not force:
            raise ValueError(
                f"{option} {path} exists: name another file, or replace it with --force"
            )
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"{option} {path} cannot be written: {folder} is not a writable folder"
        ) from error
