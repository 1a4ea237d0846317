"""The verb that ends a job whose partitions several processes computed: finish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

import lslm
from lslm.cli.explain import warn_of_nothing_left
from lslm.cli.options import AsJson, Threads, expand_options
from lslm.cli.outputs import Force, check_output_file
from lslm.cli.text import show_cleaned, show_tokenized, write_clean_report

__all__ = ["verbs"]

verbs = typer.Typer()


@verbs.command(epilog="Example: lslm finish web-clean")
@expand_options
def finish(
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="Folder that the slices were written to.")
    ],
    *,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML page of clean to write; its slices had --report too."),
    ] = None,
    force: Force = False,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """End a job of clean or tokenize whose slices (--partitions) are computed."""
    call = _call_of(output)
    if report is not None:
        _check_report(report, call, force=force)
    result = lslm.finish(output, threads=threads)
    if isinstance(result, lslm.TokenizeResult):
        show_tokenized(result, output, as_json=as_json)
        return
    config = json.loads((output / "_clean.json").read_text(encoding="utf-8"))["config"]
    cleaner = lslm.Cleaner(config.pop("profile"), **config)
    if report is not None:
        facts = {"Inputs": " ".join(call["inputs"]), "Output": str(output)}
        write_clean_report(report, result, cleaner, facts)
    split = "file" if call["reading"]["split"] == "file" else "line"
    warn_of_nothing_left(result, is_annotated=call["options"]["clean"]["annotate"], split=split)
    show_cleaned(None, cleaner, result, as_json=as_json)


def _call_of(output: Path) -> dict[str, Any]:
    """Return the call that the slices in ``output`` repeat; {} if there is none."""
    path = output / ".progress/call.json"
    call: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return call


def _check_report(report: Path, call: dict[str, Any], *, force: bool) -> None:
    """Raise ``ValueError`` if the page ``report`` cannot be written of the job of ``call``."""
    check_output_file(report, option="--report", force=force)
    options = call.get("options", {})
    if "tokenize" in options:
        raise ValueError("--report is the page of clean, and this job is of tokenize: leave it out")
    if "clean" in options and not options["clean"]["signals"]:
        raise ValueError(
            "--report: the slices were computed without it, so the values of the rules are "
            "missing: leave it out, or start again with --report on every slice"
        )
