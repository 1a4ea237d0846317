"""The verbs that look at what other verbs have written: inspect, verify."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from lslm.cli import show
from lslm.cli.options import AsJson, ReadOptions, between, expand_options, refuse_options

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
    step: Annotated[
        int | None,
        typer.Option(
            callback=between(1), help="Of a run: the rows that this step read, with documents."
        ),
    ] = None,
    read: ReadOptions,
    as_json: AsJson = False,
) -> None:
    """Print what a file or folder is, with samples; or what a step of a run read."""
    from lslm import inspection

    if step is not None:
        _inspect_step(path, step, as_json=as_json)
        return
    kind = inspection.kind_of(path)
    if kind != "documents":
        refuse_options(f"on a {kind}", *(field.name for field in dataclasses.fields(read)))
    what = read.corpus([str(path)]) if kind == "documents" else path
    found = inspection.inspect(what, n_samples=samples)
    if as_json:
        shown = [one.as_dict() for one in found]
        show.print_json(shown[0] if len(shown) == 1 else shown)
        return
    for one in found:
        facts = one.summary()
        show.print_facts(facts.pop("what"), facts)
        for number, sample in enumerate(one.samples):
            print(f"--- document {number}\n{sample}")


def _inspect_step(run: Path, step: int, *, as_json: bool) -> None:
    """Print the rows of a step of a run, each after its documents."""
    from lslm import inspection

    if inspection.kind_of(run) != "run":
        raise ValueError(f"{run} is not a run: --step shows what a step of a run read")
    from lslm.provenance import read_step

    found = read_step(run, step)
    if as_json:
        show.print_json(found.as_dict())
        return
    show.print_facts("step", found.summary())
    for row in found.rows:
        print(f"--- row {row.row}, from token {row.position:,}")
        for one in row.documents:
            part = "whole" if one.is_whole else "part"
            size = show.counted(one.n_tokens, "token")
            where = " ".join(name for name in (one.source, one.id) if name)
            print(f"    document {one.document:,} ({part}, {size}) {where}")
        print(row.text)


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
