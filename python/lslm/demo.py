"""Everything on one machine: raw text to a measured language model, and a report of it."""

from __future__ import annotations

import os
import platform
import shutil
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

import lslm
from lslm import config as configuration
from lslm import evaluation, report
from lslm.generation import generate
from lslm.training import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from lslm.config import Config
    from lslm.evaluation import EvaluationResult

__all__ = ["CONFIG", "demo", "library_sources"]

CONFIG: dict[str, Any] = {
    "sequence_length": 128,
    "width": 192,
    "layers": 3,
    "heads": 3,
    "batch_size": 16,
    "validation_tokens": 16_384,
}
"""What the demo trains: values of the configuration that suit some minutes on a few cores."""

_MARKER = ".lslm-demo"
_HELD_OUT_BYTES = 1_000_000
"""About how much text is held out: enough for two digits, little enough to be scored in seconds."""


def demo(
    corpus: list[str] | None = None,
    *,
    output: str | Path = "demo",
    minutes: float = 3.0,
    steps: int | None = None,
    profile: str = "code",
    vocab_size: int = 4096,
    seed: int = 0,
    threads: int | None = None,
    progress: bool | Callable[..., object] | None = None,
) -> EvaluationResult:
    """Clean, learn a tokenizer, tokenize, train, evaluate, generate, write ``report.html``.

    ``corpus`` are files or folders; None stands for the sources of the running Python's own
    library. Training takes ``minutes``, or ``steps`` updates. ``output`` is a new folder, or one
    that an earlier demo made, which is begun anew. Returns the evaluation on the documents that the
    model never saw, and prints a table of everything.

    Raises ``ValueError`` for a folder that holds something else, or too little text.
    """
    console = Console()
    output = Path(output)
    _begin(output)
    inputs = [str(path) for path in library_sources()] if corpus is None else list(corpus)
    name = (
        f"the library of Python {platform.python_version()}" if corpus is None else " ".join(corpus)
    )
    stages = _Stages(console)

    # a corpus of few files is cut at empty lines, so that some documents can be held out
    found = lslm.Corpus(inputs).count_documents(progress=False)
    corpus_read = lslm.Corpus(inputs, split="file" if found.n_documents >= 50 else "blank-lines")
    common: dict[str, Any] = {"threads": threads, "progress": progress}
    cleaned = stages.run(
        "clean",
        found.n_bytes,
        lambda: lslm.clean(
            corpus_read, output=output / "clean", cleaner=profile, dedup="exact", **common
        ),
        output / "clean",
    )
    if cleaned.n_documents < 2:
        raise ValueError(
            f"{name}: {cleaned.n_documents} documents are left after cleaning with the profile "
            f"{profile!r}; give more text or another profile"
        )
    files = str(output / "clean")
    fraction = min(0.2, max(0.005, _HELD_OUT_BYTES / max(cleaned.n_bytes, 1)))
    tokenizer = stages.run(
        "train-tokenizer",
        cleaned.n_bytes,
        lambda: lslm.train_tokenizer(
            [files], vocab_size=vocab_size, validation_fraction=fraction, **common
        ),
        output / "tokenizer.json",
    )
    tokenizer.save(output / "tokenizer.json")
    measured = lslm.measure_tokenizer(
        [files], tokenizer=tokenizer, validation_fraction=fraction, **common
    )
    datasets = stages.run(
        "tokenize",
        cleaned.n_bytes,
        lambda: lslm.tokenize(
            [files],
            output=output / "data",
            tokenizer=tokenizer,
            validation_fraction=fraction,
            **common,
        ),
        output / "data",
    )
    if not (datasets.validation and datasets.validation.n_tokens):
        raise ValueError(f"{name}: no document was held out; give more text")

    settings = _settings(output, minutes, steps, seed, threads)
    run = output / "run"
    stages.run("train", 0, lambda: train(settings, progress=progress), run)
    metrics = report.read_metrics(run / "metrics.jsonl")
    trained = max((row.n_tokens or 0 for row in metrics), default=0)
    stages.amount(trained, "tokens")
    held_out = output / "data/validation"
    result: EvaluationResult = stages.run(
        "evaluate",
        datasets.validation.n_tokens,
        lambda: evaluation.evaluate(run, data=held_out, progress=progress),
        held_out,
        unit="tokens",
    )
    prompts = _prompts(corpus is None, tokenizer, held_out)
    samples = stages.run(
        "generate",
        200 * len(prompts),
        lambda: [
            report.Sample(
                prompt=prompt,
                text=generate(run, prompt=prompt, max_tokens=200, top_p=0.95, seed=seed),
                note="temperature 0.8, top-p 0.95",
            )
            for prompt in prompts
        ],
        run,
        unit="tokens",
    )
    validation = lslm.TokenDataset(held_out)
    training = lslm.TokenDataset(output / "data/train")
    baselines = report.Baselines(
        uniform=evaluation.uniform_baseline(validation, tokenizer),
        unigram=evaluation.unigram_baseline(training, validation, tokenizer),
        xz_bits_per_byte=evaluation.xz_bits_per_byte(validation, tokenizer),
    )
    page = report.demo_report(
        report.DemoResults(
            corpus=name,
            folder=str(output),
            funnel=report.Funnel.of(cleaned.funnel),
            stages=stages.figures,
            tokenizer=report.TokenizerFigures.of(
                tokenizer,
                measured=measured,
                sample=tokenizer.decode(validation.document(0)[:300]),
            ),
            metrics=metrics,
            evaluation=result,
            baselines=baselines,
            samples=samples,
            commands=_commands(inputs if corpus else None, output, profile, vocab_size, fraction),
            model=_model_facts(settings, run),
            facts=_machine_facts(seed),
        )
    )
    report.write(output / "report.html", page)
    (output / _MARKER).write_text("finished\n", encoding="utf-8")
    _summary(console, output, cleaned, datasets, stages.figures, result, baselines, samples)
    return result


def library_sources() -> list[Path]:
    """Return the source files of the running Python's standard library, sorted."""
    root = Path(sysconfig.get_path("stdlib"))
    installed = {"site-packages", "dist-packages", "__pycache__"}
    files = [p for p in root.rglob("*.py") if not installed & set(p.relative_to(root).parts)]
    if not files:
        raise ValueError(f"{root} holds no sources of the library; name a --corpus")
    return sorted(files)


def _begin(output: Path) -> None:
    """Make ``output``, or empty it if an earlier demo made it."""
    if output.exists() and any(output.iterdir()):
        if not (output / _MARKER).exists():
            raise ValueError(f"{output}: holds something else; choose another --output")
        for part in ("clean", "data", "run"):
            shutil.rmtree(output / part, ignore_errors=True)
        for file in ("tokenizer.json", "report.html"):
            (output / file).unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    (output / _MARKER).write_text("begun\n", encoding="utf-8")


class _Stages:
    """Runs the stages and keeps what each took."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.figures: list[report.StageFigure] = []

    def run(
        self, name: str, amount: float, work: Callable[[], Any], output: Path, unit: str = "bytes"
    ) -> Any:
        self.console.rule(f"[bold]{name}", align="left", style="dim")
        start = time.perf_counter()
        value = work()
        self.figures.append(
            report.StageFigure(
                name=name,
                seconds=time.perf_counter() - start,
                amount=amount,
                unit=unit,
                output=str(output),
            )
        )
        return value

    def amount(self, amount: float, unit: str) -> None:
        """Say how much went through the last stage, where it is known only afterwards."""
        last = self.figures[-1]
        self.figures[-1] = report.StageFigure(
            name=last.name, seconds=last.seconds, amount=amount, unit=unit, output=last.output
        )


def _settings(
    output: Path, minutes: float, steps: int | None, seed: int, threads: int | None
) -> Config:
    values = CONFIG | {"data": output / "data", "out": output / "run", "seed": seed}
    values |= {"minutes": minutes} if steps is None else {"steps": steps}
    if threads is not None:
        values["train__threads"] = threads
    return configuration.replace(configuration.Config(), **values)


def _prompts(python: bool, tokenizer: lslm.Tokenizer, held_out: Path) -> list[str]:
    """Return beginnings to go on from: of Python, or of documents that were held out."""
    if python:
        return ["def ", "class ", "import "]
    ds = lslm.TokenDataset(held_out)
    return [tokenizer.decode(ds.document(i)[:12]) for i in range(min(3, ds.n_documents))]


def _commands(
    corpus: list[str] | None, output: Path, profile: str, vocab_size: int, fraction: float
) -> list[report.Command]:
    source = "FILES" if corpus is None else " ".join(corpus)
    lines = {
        "Clean the documents": f"lslm clean {source} -o {output}/clean --profile {profile}"
        " --dedup exact",
        "Learn a vocabulary": f"lslm train-tokenizer {output}/clean -o {output}/tokenizer.json"
        f" --vocab-size {vocab_size} --validation-fraction {fraction:.4g}",
        "Turn documents into tokens": f"lslm tokenize {output}/clean -o {output}/data"
        f" -t {output}/tokenizer.json --validation-fraction {fraction:.4g}",
        "Train": f"lslm train {output}/run/config.toml data={output}/data out={output}/again",
        "Measure": f"lslm eval {output}/run",
        "Write text": f"lslm generate {output}/run --prompt 'def '",
    }
    return [report.Command(purpose=purpose, line=line) for purpose, line in lines.items()]


def _model_facts(settings: Config, run: Path) -> dict[str, str]:
    resolved = configuration.load_config(run / "config.toml")
    model = resolved.model
    return {
        "Layers × width": f"{model.layers} × {model.width}, {model.heads} heads",
        "Context": f"{model.sequence_length} tokens",
        "Optimizer": f"{resolved.optim.name}, {resolved.train.steps:,} steps of "
        f"{resolved.train.batch_size} × {model.sequence_length} tokens",
        "Time asked for": f"{settings.train.minutes:g} minutes"
        if settings.train.minutes
        else f"{settings.train.steps:,} steps",
    }


def _machine_facts(seed: int) -> dict[str, str]:
    return {
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "Versions": f"lslm {lslm.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}",
        "Seed": str(seed),
    }


def _summary(
    console: Console,
    output: Path,
    cleaned: lslm.CleanResult,
    datasets: lslm.TokenizeResult,
    stages: list[report.StageFigure],
    result: EvaluationResult,
    baselines: report.Baselines,
    samples: list[report.Sample],
) -> None:
    """Print what came of it, beside what it means."""
    funnel = cleaned.funnel
    table = Table(show_header=False, title="What came of it", title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")

    def row(name: str, value: str) -> None:
        table.add_row(name, value)

    row("documents", f"{funnel.n_documents:,} in, {cleaned.n_documents:,} kept")
    for reason, dropped in funnel.dropped.items():
        row(f"  dropped: {reason}", f"{dropped.n_documents:,}")
    parts = [part for part in (datasets.train, datasets.validation) if part is not None]
    tokens = sum(part.n_tokens for part in parts)
    n_bytes = sum(part.n_bytes for part in parts)
    row("tokens", f"{tokens:,}, {n_bytes / tokens:.2f} bytes each")
    for stage in stages:
        rate = stage.amount / max(stage.seconds, 1e-9)
        shown = f"{rate / 1e6:,.1f} MB/s" if stage.unit == "bytes" else f"{rate:,.0f} tokens/s"
        row(stage.name, f"{stage.seconds:,.1f} s, {shown}")
    row("validation loss", f"{result.loss:.3f} nats per token")
    row("perplexity", f"{result.perplexity:,.1f}: as unsure as among so many equal choices")
    row("[bold green]bits per byte", f"[bold green]{result.bits_per_byte:.3f}")
    unigram = baselines.unigram
    row(
        "  a uniform model",
        f"{baselines.uniform.bits_per_byte:.3f}: knows the vocabulary only",
    )
    if unigram is not None:
        row(
            "  a unigram model",
            f"{unigram.bits_per_byte:.3f}: knows how frequent each token is",
        )
    row("  xz -9", f"{baselines.xz_bits_per_byte:.3f}: the same text, compressed")
    console.print(table)
    if samples:
        console.rule("[bold]a sample", align="left", style="dim")
        print(samples[0].prompt + samples[0].text)
    console.rule("[bold]where all of it lies", align="left", style="dim")
    for name, what in (
        ("report.html", "the report: open it in a browser"),
        ("clean", "the cleaned documents"),
        ("tokenizer.json", "the tokenizer"),
        ("data", "the tokens"),
        ("run", "the model, its metrics and checkpoints"),
    ):
        print(f"{output / name}: {what}")
