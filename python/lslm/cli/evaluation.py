"""The verb eval: a model on text, or two models beside each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import lslm
from lslm.cli import show
from lslm.cli.options import AsJson, ReadOptions, between, expand_options, require_torch
from lslm.cli.outputs import Force

__all__ = ["verbs"]

verbs = typer.Typer()


@verbs.command("eval", epilog="Example: lslm eval runs/first --protocol document")
@expand_options
def evaluate(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN [RUN]", help="Run, checkpoint or published model; two to compare."
        ),
    ],
    *,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DATASET|TEXT",
            help="Dataset, or text to encode; repeatable. By default the run's validation data.",
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="What is scored, with which context: disjoint, stride:N, document, lm-eval, "
            "hf-stride or llama.cpp."
        ),
    ] = "disjoint",
    tokens: Annotated[
        int | None,
        typer.Option(
            callback=between(1),
            help="Score a sample of about so many tokens: whole documents of every source.",
        ),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="best, last or a step.")] = "best",
    sequence_length: Annotated[
        int | None,
        typer.Option(callback=between(1), help="Window in tokens; the model's by default."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(callback=between(1), help="Windows per batch.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float64"],
        typer.Option(help="Number type of the forward pass; auto: bfloat16 on cuda."),
    ] = "auto",
    per_document: Annotated[
        Path | None, typer.Option(help="JSONL file to write, a line for each document.")
    ] = None,
    save_scores: Annotated[
        Path | None, typer.Option(help="Folder to write, a table of every token's score.")
    ] = None,
    force: Force = False,
    read: ReadOptions,
    as_json: AsJson = False,
) -> None:
    """Measure a model on text, or compare two: perplexity, bits per byte, standard errors."""
    require_torch()
    options: dict[str, Any] = {
        "data": _data(data, read),
        "protocol": protocol,
        "checkpoint": checkpoint,
        "n_tokens": tokens,
        "sequence_length": sequence_length,
        "batch_size": batch_size,
        "device": device,
        "dtype": dtype,
    }
    if len(runs) > 2:
        raise ValueError(f"{len(runs)} runs: give one to measure, or two to compare")
    if len(runs) == 2:
        for option, value in (("--per-document", per_document), ("--save-scores", save_scores)):
            if value is not None:
                raise ValueError(f"{option} is for one run: evaluate each run by itself")
        _compare(runs, options, as_json=as_json)
        return
    if per_document is not None:
        check_new_file(per_document, force=force)
    result = lslm.evaluate(runs[0], per_document=per_document, save_scores=save_scores, **options)
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun only the first process prints
    _write_report(runs[0], result)
    if as_json:
        show.print_json(result.as_dict())
    else:
        show.print_evaluation(str(runs[0]), result)


def _compare(runs: list[Path], options: dict[str, Any], *, as_json: bool) -> None:
    """Compare two runs and print the result."""
    result = lslm.compare(*runs, **options)
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        show.print_json(result.as_dict())
    else:
        show.print_comparison(result)


def _data(given: list[str] | None, read: ReadOptions) -> dict[str, Any] | None:
    """Return the data by name: text as a corpus with the options of ``read``."""
    from lslm.evaluation_inputs import is_text

    if not given:
        return None
    found: dict[str, Any] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            name = path = text
        if name in found:
            raise ValueError(f"--data {name}: given twice; name each, as in --data a={path}")
        found[name] = read.corpus([path]) if is_text(path) else Path(path)
    return found


def check_new_file(path: Path, *, force: bool) -> None:
    """Check that a file can be written at ``path``; ``ValueError`` if not."""
    if path.is_dir():
        raise ValueError(f"--per-document {path} is a folder: name a file in it")
    if path.exists() and not force:
        raise ValueError(f"--per-document {path} exists: name another, or replace it with --force")


def _write_report(run: Path, result: lslm.EvaluationResult) -> None:
    """Write the run's report.html with ``result`` in it, if the run has metrics."""
    from lslm import report
    from lslm.files import write_atomically

    folder = run.parent.parent if (run / "state.json").is_file() else run
    if (folder / "metrics.jsonl").is_file() and os.access(folder, os.W_OK):
        write_atomically(folder / "report.html", report.run_report(folder, evaluation=result))
