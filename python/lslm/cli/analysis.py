"""The verb that looks at a model's errors: analyze."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import lslm
from lslm.cli import show
from lslm.cli.options import AsJson, between, expand_options, require_torch

__all__ = ["verbs"]

verbs = typer.Typer()


@verbs.command(epilog="Example: lslm analyze runs/first -o analysis/first")
@expand_options
def analyze(
    run: Annotated[Path, typer.Argument(help="Run or checkpoint.")],
    other: Annotated[
        Path | None,
        typer.Argument(help="Run or checkpoint to compare with, of the same tokenizer."),
    ] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    data: Annotated[
        list[str] | None,
        typer.Option(help="Dataset or text; the run's own validation part by default; repeatable."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="What is scored with which context, as for eval.")
    ] = "disjoint",
    tokens: Annotated[
        int | None,
        typer.Option(callback=between(1), help="Score a sample of about so many tokens."),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            help="Checkpoints of RUN for the loss over training: all, or steps as 100,200."
        ),
    ] = None,
    token: Annotated[
        list[str] | None,
        typer.Option(
            help="Text of a token to follow over training; those with the most loss by default; "
            "repeatable."
        ),
    ] = None,
    lang: Annotated[Literal["en", "zh"], typer.Option(help="Language of the page.")] = "en",
    as_json: AsJson = False,
) -> None:
    """Show where a model errs: a page of slices, coloured text, worst tokens, calibration."""
    require_torch()
    result = lslm.analyze(
        run,
        other,
        output=output,
        data=data or None,
        protocol=protocol,
        n_tokens=tokens,
        checkpoints=_steps(checkpoints),
        tokens=token or (),
        language=lang,
    )
    if as_json:
        show.print_json(result.as_dict())
    else:
        show.print_facts(str(run), result.summary())


def _steps(text: str | None) -> list[int] | str:
    """Return the option --checkpoints as :func:`lslm.analyze` takes it."""
    if text is None or text == "all":
        return text or []
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"--checkpoints {text}: give all, or steps such as 100,200")
    return [int(part) for part in parts]
