"""The verbs that look at what other verbs have written: inspect, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lslm.cli import show
from lslm.cli.options import AsJson, ReadOptions, between, expand_options

__all__ = ["verbs"]

verbs = typer.Typer()


@verbs.command(epilog="Example: lslm inspect data/web/train")
@expand_options
def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="Tokenizer, dataset, run, score table, or file or folder of documents."
        ),
    ],
    *,
    samples: Annotated[
        int, typer.Option(callback=between(0), help="Number of samples to print.")
    ] = 2,
    read: ReadOptions,
    as_json: AsJson = False,
) -> None:
    """Print what a file or folder is, with samples."""
    from lslm import inspection

    documents = inspection.kind_of(path) == "documents"
    what = read.corpus([str(path)]) if documents else path
    found = inspection.inspect(what, n_samples=samples)
    if as_json:
        shown = [one.as_dict() for one in found]
        show.print_json(shown[0] if len(shown) == 1 else shown)
        return
    for one in found:
        show.print_facts(f"{one.kind} {one.path}", one.facts)
        for number, sample in enumerate(one.samples):
            print(f"--- document {number}\n{sample}")


@verbs.command(epilog="Example: lslm verify data/web")
@expand_options
def verify(
    path: Annotated[
        Path,
        typer.Argument(help="Dataset, folder of datasets, run, checkpoint or score table."),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Check every checksum; the first damaged file is an error."""
    from lslm import inspection

    checked = inspection.verify(path)
    if as_json:
        show.print_json({"verified": checked})
        return
    for name in checked:
        print(f"{name}: ok")
