"""The verbs that move weights between lslm and Hugging Face's layout: export, import."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import lslm
from lslm.cli import show
from lslm.cli.options import AsJson, Output, expand_options, parse_size, require_torch

__all__ = ["verbs"]

verbs = typer.Typer()


@verbs.command("export", epilog="Example: lslm export runs/first -o published")
@expand_options
def export_model(
    run: Annotated[Path, typer.Argument(help="Run or checkpoint.")],
    *,
    output: Output,
    to: Annotated[  # noqa: ARG001  (one layout so far; naming it is documentation)
        Literal["hf"],
        typer.Option(help="Layout; hf: of Hugging Face, for transformers, vLLM and llama.cpp."),
    ] = "hf",
    checkpoint: Annotated[str, typer.Option(help="Checkpoint: best, last or a step.")] = "best",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Type of the weights; auto: the one that they have."),
    ] = "auto",
    shard: Annotated[str, typer.Option(help="Largest size of one file of weights.")] = "5GB",
    as_json: AsJson = False,
) -> None:
    """Write a run's model as a folder that other programs load."""
    require_torch()
    result = lslm.export_model(
        run, output=output, checkpoint=checkpoint, dtype=dtype, shard_bytes=parse_size(shard)
    )
    _show(result, as_json)


@verbs.command("import", epilog="Example: lslm import published -o runs/imported")
@expand_options
def import_model(
    folder: Annotated[Path, typer.Argument(help="Folder in Hugging Face's layout.")],
    *,
    output: Output,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", "-t", help="tokenizer.json, where the folder has none."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a run of a published model: GPT-2, Llama, Mistral, Qwen2.5, Qwen3, Arcee."""
    require_torch()
    _show(lslm.import_model(folder, output=output, tokenizer=tokenizer), as_json)


def _show(result: lslm.ImportResult | lslm.ExportResult, as_json: bool) -> None:
    """Print a result; its notes go to standard error."""
    if as_json:
        show.print_json(result.as_dict())
        return
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    facts = result.summary()
    del facts["notes"]
    show.print_facts(facts.pop("folder" if "folder" in facts else "run"), facts)
