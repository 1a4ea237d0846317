"""The verbs that need torch: train, generate, demo; eval has a module of its own."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lslm
from lslm.cli import dialogue, show
from lslm.cli.options import (
    MAX_MINUTES,
    MAX_VOCAB_SIZE,
    AsJson,
    CleanOptions,
    ReadOptions,
    Threads,
    between,
    expand_options,
    parse_count,
    refuse_options,
    require_torch,
)
from lslm.cli.outputs import Force

if TYPE_CHECKING:
    from lslm.config import Config

__all__ = ["verbs"]

verbs = typer.Typer()

Run = Annotated[Path, typer.Argument(help="Run or checkpoint.")]


@verbs.command(epilog="Example: lslm train tiny data=data/web out=runs/first steps=120")
@expand_options
def train(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG|KEY=VALUE",
            help="TOML file, or char, tiny, small or gpt2-124m; and values that override it.",
        ),
    ],
    *,
    depth: Annotated[
        int | None,
        typer.Option(
            callback=between(1),
            help="Layers, from which width, batch and steps follow where KEY=VALUE says no other.",
        ),
    ] = None,
    parameters: Annotated[
        str | None,
        typer.Option(help="The same from about how many parameters, such as 124M."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Run or folder in Hugging Face's layout whose weights to start from."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last checkpoint.")
    ] = False,
    skip_steps: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST:LAST",
            help="Resume before these steps, and train on without the data that they read.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Estimate parameters, FLOPs, memory and time; do not train."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train a language model on a dataset.

    Idle threads of OpenMP sleep soon; OMP_WAIT_POLICY=active lets them spin.
    """
    require_torch()
    from lslm.config import load_config, replace
    from lslm.files import write_atomically
    from lslm.report import run_report

    first = Path(settings[0])
    path = first if "=" not in settings[0] or first.is_file() else None
    overrides = settings if path is None else settings[1:]
    config = load_config(path, overrides)
    if depth is not None or parameters is not None:
        config = _sized(config, overrides, depth, parameters, new=not resume and init is None)
    if init is not None:
        config = replace(config, init_from=init)
    if dry_run:
        refuse_options("with --dry-run", "resume", "skip_steps")
        from lslm.planning import estimate

        needed = estimate(config)
        if as_json:
            show.print_json(needed.as_dict())
        else:
            show.print_facts(f"{path or 'defaults'}: estimate", needed.summary())
        return

    def redraw(reached: lslm.TrainResult) -> None:
        if os.environ.get("RANK", "0") == "0":
            write_atomically(reached.run / "report.html", run_report(reached.run))

    steps = None if skip_steps is None else _step_range(skip_steps)
    result = lslm.train(config, resume=resume, skip_steps=steps, on_validation=redraw)
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun only the first process prints
    write_atomically(result.run / "report.html", run_report(result.run))
    if as_json:
        show.print_json(result.as_dict())
        return
    print(f"{result.run}: step {result.step:,}, training loss {result.loss:.3f}", end="")
    if result.validation is not None:
        print(f", validation loss {result.validation.loss:.3f}", end="")
    print(f", {result.tokens_per_second:,.0f} tokens/s; next: lslm eval {result.run}")


def _sized(
    config: Config, overrides: list[str], depth: int | None, parameters: str | None, *, new: bool
) -> Config:
    """Return ``config`` with the size that one number decides; ``overrides`` stay as given."""
    from lslm.config import load_config
    from lslm.sizing import for_depth, for_parameters

    if not new:
        refuse_options("with --resume or --init, which have a shape", "depth", "parameters")
    keep = load_config(None, overrides).given
    if depth is None:
        return for_parameters(config, parse_count(parameters or ""), keep)
    refuse_options("with --depth", "parameters")
    return for_depth(config, depth, keep)


def _step_range(text: str) -> tuple[int, int]:
    """Return the first and the last step of ``FIRST:LAST``, or of a single one."""
    first, _, last = text.partition(":")
    if not (first.isdecimal() and (last or first).isdecimal()):
        raise typer.BadParameter(f"--skip-steps {text!r}: give FIRST:LAST, such as 1230:1240")
    return int(first), int(last or first)


@verbs.command(epilog="Example: lslm report runs/first")
@expand_options
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="One run, or several.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Page to write; RUN/report.html of one run."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw the page of a run, also while it trains, or several runs in one figure."""
    from lslm.files import not_found, write_atomically
    from lslm.report import compare_runs, run_report

    if len(runs) > 1 and output is None:
        raise ValueError(f"{len(runs)} runs: name the page to write, -o PAGE.html")
    path = runs[0] / "report.html" if output is None else output
    if output is not None and output.exists() and not force:
        raise ValueError(f"-o {output} exists: name another file, or replace it with --force")
    for run in runs:
        if not (run / "metrics.jsonl").is_file():
            what = "this is not a run: it has no metrics.jsonl" if run.exists() else "no such run"
            raise not_found(run, f"{what}; give the folder that lslm train wrote")
    write_atomically(path, run_report(runs[0]) if len(runs) == 1 else compare_runs(runs))
    if as_json:
        show.print_json({"report": path})
    else:
        print(path)


@verbs.command(epilog="Example: lslm generate runs/first --prompt 'def main' --seed 1")
@expand_options
def generate(
    run: Run,
    *,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Text to continue; repeatable. On a terminal asked for if missing."),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(callback=between(0), help="Number of tokens to generate at most.")
    ] = 200,
    temperature: Annotated[
        float,
        typer.Option(
            callback=between(0, 1_000_000),
            help="Sampling temperature; 0: always the most likely token.",
        ),
    ] = 0.8,
    top_k: Annotated[
        int,
        typer.Option(
            callback=between(0), help="Sample from the k most likely tokens; 0: from all."
        ),
    ] = 0,
    top_p: Annotated[
        float,
        typer.Option(
            callback=between(0, 1),
            help="Sample from the most likely tokens of this total probability.",
        ),
    ] = 1.0,
    min_p: Annotated[
        float,
        typer.Option(
            callback=between(0, 1),
            help="Sample from tokens of at least this share of the largest probability.",
        ),
    ] = 0.0,
    repetition_penalty: Annotated[
        float,
        typer.Option(
            callback=between(0.01, 100), help="Above 1: makes tokens that occurred less likely."
        ),
    ] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option(help="String that ends the text; repeatable.")
    ] = None,
    seed: Annotated[
        int, typer.Option(callback=between(0), help="Seed; the same seed gives the same text.")
    ] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Generate text with a model, printed as it comes; without a prompt, a dialogue."""
    require_torch()
    from lslm.checkpoint import open_run
    from lslm.next_token import Sampling
    from lslm.parallel import resolve_device

    sampling = Sampling(
        temperature=temperature,
        top_k=top_k or None,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
    )
    opened = open_run(run, device=resolve_device(device))
    options: dict[str, Any] = {"max_tokens": max_tokens, "sampling": sampling, "stop": stop or []}
    if prompt is None and sys.stdin.isatty() and not as_json:
        dialogue.converse(opened, seed=seed, **options)
        return
    prompts = prompt or [""]
    if len(prompts) == 1 and not as_json:
        dialogue.print_text(opened, prompts[0], seed=seed, **options)
        return
    texts = lslm.complete(opened, prompts, seeds=[seed] * len(prompts), **options)
    if as_json:
        results = [text.as_dict() for text in texts]
        show.print_json(results[0] if len(results) == 1 else results)
        return
    for number, text in enumerate(texts):
        print("---\n" * bool(number) + text.prompt + text.text)


@verbs.command(epilog="Example: lslm demo --minutes 3")
@expand_options
def demo(
    *,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Files or folders; Python's own standard library by default."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("demo"),
    minutes: Annotated[
        float, typer.Option(callback=between(0, MAX_MINUTES), help="Minutes to train.")
    ] = 3.0,
    steps: Annotated[
        int | None, typer.Option(callback=between(1), help="Steps to train, instead of minutes.")
    ] = None,
    vocab_size: Annotated[
        int,
        typer.Option(
            callback=between(1, MAX_VOCAB_SIZE), help="Number of tokens in the vocabulary."
        ),
    ] = 4096,
    seed: Annotated[
        int, typer.Option(callback=between(0), help="Seed of training and sampling.")
    ] = 0,
    rules: CleanOptions,
    read: ReadOptions,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Do everything on this machine: clean, tokenize, train, evaluate, write a report."""
    require_torch()
    from lslm.demo import demo as run_demo

    # without read options the demo chooses how files are split
    inputs = corpus if corpus is None or read == ReadOptions() else read.corpus(corpus)
    # with --json the tables for people go to standard error
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        result = run_demo(
            inputs,
            output=output,
            minutes=minutes,
            steps=steps,
            cleaner=rules.name_or_cleaner(),
            vocab_size=vocab_size,
            seed=seed,
            threads=threads,
        )
    if as_json:
        show.print_json({"output": output, "report": output / "report.html", **result.as_dict()})
