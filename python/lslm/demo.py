"""Everything on one machine: raw text to a measured language model, and a report of it."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from rich.console import Console
from rich.table import Table

import lslm
from lslm import evaluation, report
from lslm.config import Config, load_config, replace
from lslm.files import write_atomically
from lslm.generation import generate
from lslm.limits import (
    MAX_COUNT,
    MAX_MINUTES,
    MAX_THREADS,
    check_counts,
    check_number,
    check_seed,
    whole_number,
)
from lslm.results import counted
from lslm.training import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from lslm.corpus import Inputs
    from lslm.progress import Progress
    from lslm.report import Sample
    from lslm.scores import EvaluationResult

__all__ = ["CONFIG", "demo", "library_sources"]

CONFIG: dict[str, Any] = {
    "sequence_length": 128,
    "width": 192,
    "layers": 3,
    "heads": 3,
    "token_shift": True,
    "lr": 0.04,
    "embedding_lr": 0.1,
    "vector_lr": 0.05,
    "batch_size": 16,
    "validation_tokens": 16_384,
}
"""The model that the demo trains: settings that suit some minutes on a few cores (docs/log.md)."""
HELD_OUT_BYTES = 1_000_000
"""Text to hold out, about: enough for two digits, little enough to be scored in seconds."""
MIN_FILES = 50
"""With fewer documents than this, files are split at blank lines, so that some can be held out."""
GENERATED_TOKENS = 200
"""Length of a sample of generated text."""
MARKER = ".lslm-demo"
"""The file that says that a folder was made by the demo, and may be made anew."""

N_BYTES = 256
"""Tokens that every vocabulary begins with; an end-of-text token is the next."""

T = TypeVar("T")


def demo(
    corpus: Inputs | None = None,
    *,
    output: str | os.PathLike[str] = "demo",
    minutes: float = 3.0,
    steps: int | None = None,
    cleaner: str | lslm.Cleaner | None = None,
    vocab_size: int = 4096,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> EvaluationResult:
    """Clean, learn a tokenizer, tokenize, train, evaluate, generate; write ``report.html``.

    Returns the scores on documents that the model never saw, and prints a table of everything.
    ``corpus`` is what :func:`lslm.clean` reads; None: the sources of the running Python's own
    library. Paths to fewer than MIN_FILES documents are split at blank lines.
    ``cleaner`` is a :class:`lslm.Cleaner` or the name of a profile; None: ``code`` for the library,
    ``default`` for other text. Training takes ``minutes``, or ``steps`` updates.
    ``output`` is a new folder, or one that an earlier demo made, which is replaced.

    Raises ``ValueError`` if ``output`` holds something else, or if there is too little text.
    """
    check_number("minutes", minutes, 0, MAX_MINUTES)
    check_counts(steps=steps)
    check_seed(seed)
    whole_number("vocab_size", vocab_size, N_BYTES + 1, MAX_COUNT)
    if threads is not None:
        whole_number("threads", threads, 1, MAX_THREADS)
    stages = _Stages(
        corpus=_listed(corpus),
        output=Path(output),
        cleaner=("code" if corpus is None else "default") if cleaner is None else cleaner,
        vocab_size=vocab_size,
        seed=seed,
        threads=threads,
        progress=progress,
    )
    inputs = stages.open_corpus()
    stages.prepare_output()
    cleaned = stages.clean(inputs)
    tokenizer, measured = stages.train_tokenizer(cleaned)
    datasets = stages.tokenize(cleaned, tokenizer)
    config = stages.train(minutes, steps)
    result = stages.evaluate()
    samples = stages.generate(tokenizer)
    metrics = report.read_metrics(stages.run / "metrics.jsonl")
    results = report.DemoResults(
        corpus=stages.name,
        folder=str(stages.output),
        funnel=cleaned.funnel,
        stages=stages.figures,
        tokenizer=stages.tokenizer_figures(tokenizer, measured),
        metrics=metrics,
        evaluation=result,
        baselines=stages.baselines(tokenizer),
        samples=samples,
        commands=stages.commands(cleaned),
        model=_model_facts(config),
        facts=_machine_facts(seed),
    )
    write_atomically(stages.output / "report.html", report.demo_report(results))
    (stages.output / MARKER).write_text("finished\n", encoding="utf-8")
    _print_summary(stages, cleaned, datasets, results)
    return result


def library_sources() -> list[Path]:
    """Return the source files of the running Python's standard library, sorted."""
    root = Path(sysconfig.get_path("stdlib"))
    installed = {"site-packages", "dist-packages", "__pycache__"}
    files = [p for p in root.rglob("*.py") if not installed & set(p.relative_to(root).parts)]
    if not files:
        raise ValueError(f"{root} has no source files of Python's library: give --corpus")
    return sorted(files)


@dataclass(kw_only=True)
class _Stages:
    """The stages of the demo, one method each, and the time and amount of each."""

    corpus: lslm.Corpus | list[str] | None
    output: Path
    cleaner: str | lslm.Cleaner
    vocab_size: int
    seed: int
    threads: int | None
    progress: Progress
    console: Console = field(default_factory=Console)
    figures: list[report.StageFigure] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What the corpus is called in the report."""
        if self.corpus is None:
            return f"the library of Python {platform.python_version()}"
        names = self.corpus if isinstance(self.corpus, list) else self.corpus.inputs
        return " ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")

    @property
    def rules(self) -> str:
        """What the cleaning rules are called."""
        named = isinstance(self.cleaner, str)
        return f"the profile {self.cleaner!r}" if named else "rules of its own"

    @property
    def run(self) -> Path:
        """The folder of the training run."""
        return self.output / "run"

    @property
    def held_out(self) -> Path:
        """The validation dataset."""
        return self.output / "data" / "validation"

    def prepare_output(self) -> None:
        """Make the output folder, or empty it if an earlier demo made it."""
        if self.output.exists() and any(self.output.iterdir()):
            if not (self.output / MARKER).exists():
                raise ValueError(
                    f"{self.output} holds files that are not of a demo: choose another output"
                )
            for part in ("clean", "data", "run"):
                shutil.rmtree(self.output / part, ignore_errors=True)
            for file in ("tokenizer.json", "report.html"):
                (self.output / file).unlink(missing_ok=True)
        self.output.mkdir(parents=True, exist_ok=True)
        (self.output / MARKER).write_text("begun\n", encoding="utf-8")

    def open_corpus(self) -> lslm.Corpus:
        """Return the corpus; an error names what is missing."""
        inputs = library_sources() if self.corpus is None else self.corpus
        return inputs if isinstance(inputs, lslm.Corpus) else lslm.Corpus(inputs)

    def clean(self, corpus: lslm.Corpus) -> lslm.CleanResult:
        """Write the cleaned documents."""
        found = corpus.count_documents(progress=self.progress)
        if isinstance(self.corpus, list) and found.n_documents < MIN_FILES:
            corpus = lslm.Corpus(self.corpus, split="blank-lines")
        cleaned = self._timed(
            "clean",
            self.output / "clean",
            lambda: lslm.clean(
                corpus,
                output=self.output / "clean",
                cleaner=self.cleaner,
                dedup="exact",
                threads=self.threads,
                progress=self.progress,
            ),
            amount=found.n_bytes,
        )
        if cleaned.n_documents < 2:
            raise ValueError(
                f"{self.name}: {counted(cleaned.n_documents, 'document')} left after cleaning with "
                f"{self.rules}, and two are needed: give more text, or another profile"
            )
        return cleaned

    def train_tokenizer(
        self, cleaned: lslm.CleanResult
    ) -> tuple[lslm.Tokenizer, lslm.TokenizerReport]:
        """Learn a vocabulary from all but the held-out documents, save it, and measure it."""
        path = self.output / "tokenizer.json"
        shared: dict[str, Any] = {
            "validation_fraction": _held_out_fraction(cleaned),
            "threads": self.threads,
            "progress": self.progress,
        }
        tokenizer = self._timed(
            "train-tokenizer",
            path,
            lambda: lslm.train_tokenizer([cleaned.output], vocab_size=self.vocab_size, **shared),
            amount=cleaned.n_bytes,
        )
        tokenizer.save(path)
        return tokenizer, lslm.measure_tokenizer([cleaned.output], tokenizer=tokenizer, **shared)

    def tokenize(self, cleaned: lslm.CleanResult, tokenizer: lslm.Tokenizer) -> lslm.TokenizeResult:
        """Write the datasets of tokens: training and validation."""
        datasets = self._timed(
            "tokenize",
            self.output / "data",
            lambda: lslm.tokenize(
                [cleaned.output],
                output=self.output / "data",
                tokenizer=tokenizer,
                validation_fraction=_held_out_fraction(cleaned),
                threads=self.threads,
                progress=self.progress,
            ),
            amount=cleaned.n_bytes,
        )
        if datasets.validation is None or not datasets.validation.n_tokens:
            raise ValueError(f"{self.name}: no document was held out: give more text")
        return datasets

    def train(self, minutes: float, steps: int | None) -> Config:
        """Train the model; return the configuration it was trained with."""
        settings = CONFIG | {"data": self.output / "data", "out": self.run, "seed": self.seed}
        settings |= {"minutes": minutes} if steps is None else {"steps": steps}
        if self.threads is not None:
            settings["train__threads"] = self.threads
        config = replace(Config(), **settings)
        result = self._timed(
            "train", self.run, lambda: train(config, progress=self.progress), unit="tokens"
        )
        self.figures[-1] = dataclasses.replace(self.figures[-1], amount=result.n_tokens)
        return load_config(self.run / "config.toml")

    def evaluate(self) -> EvaluationResult:
        """Return the model's scores on the held-out documents."""
        return self._timed(
            "evaluate",
            self.held_out,
            lambda: evaluation.evaluate(self.run, data=self.held_out, progress=self.progress),
            amount=lslm.TokenDataset(self.held_out).n_tokens,
            unit="tokens",
        )

    def generate(self, tokenizer: lslm.Tokenizer) -> list[Sample]:
        """Return texts that the model generates after beginnings of code, or of held-out texts."""
        prompts = ["def ", "class ", "import "]
        if self.corpus is not None:
            ds = lslm.TokenDataset(self.held_out)
            first = range(min(3, ds.n_documents))
            prompts = [tokenizer.decode(ds.document(i)[:12]) for i in first]

        def sample(prompt: str) -> Sample:
            options: dict[str, Any] = {"max_tokens": GENERATED_TOKENS, "top_p": 0.95}
            text = generate(self.run, prompt=prompt, seed=self.seed, **options)
            return report.Sample(prompt=prompt, text=text, note="temperature 0.8, top-p 0.95")

        return self._timed(
            "generate",
            self.run,
            lambda: [sample(prompt) for prompt in prompts],
            amount=GENERATED_TOKENS * len(prompts),
            unit="tokens",
        )

    def baselines(self, tokenizer: lslm.Tokenizer) -> report.Baselines:
        """Return what models without context, and xz, score on the held-out documents."""
        held_out = lslm.TokenDataset(self.held_out)
        training = lslm.TokenDataset(self.output / "data" / "train")
        return report.Baselines(
            uniform=evaluation.uniform_baseline(held_out, tokenizer),
            unigram=evaluation.unigram_baseline(training, held_out, tokenizer),
            xz_bits_per_byte=evaluation.xz_bits_per_byte(held_out, tokenizer),
        )

    def tokenizer_figures(
        self, tokenizer: lslm.Tokenizer, measured: lslm.TokenizerReport
    ) -> report.TokenizerFigures:
        """Return the figures of the tokenizer, with the beginning of a held-out document."""
        text = tokenizer.decode(lslm.TokenDataset(self.held_out).document(0)[:300])
        return report.TokenizerFigures.of(tokenizer, report=measured, sample=text)

    def commands(self, cleaned: lslm.CleanResult) -> list[report.Command]:
        """Return the command line of each stage."""
        source = " ".join(self.corpus) if isinstance(self.corpus, list) else "FILES"
        output, fraction = self.output, f"{_held_out_fraction(cleaned):.4g}"
        lines = {
            "Clean the documents": f"lslm clean {source} -o {output}/clean"
            f" --profile {self.cleaner if isinstance(self.cleaner, str) else 'PROFILE --set …'}"
            " --dedup exact",
            "Learn a vocabulary": f"lslm train-tokenizer {output}/clean -o {output}/tokenizer.json"
            f" --vocab-size {self.vocab_size} --validation-fraction {fraction}",
            "Turn documents into tokens": f"lslm tokenize {output}/clean -o {output}/data"
            f" -t {output}/tokenizer.json --validation-fraction {fraction}",
            "Train": f"lslm train {output}/run/config.toml data={output}/data out={output}/again",
            "Measure": f"lslm eval {output}/run",
            "Generate text": f"lslm generate {output}/run --prompt 'def '",
        }
        return [report.Command(purpose=purpose, line=line) for purpose, line in lines.items()]

    def _timed(
        self,
        name: str,
        output: Path,
        work: Callable[[], T],
        *,
        amount: float = 0,
        unit: str = "bytes",
    ) -> T:
        """Print ``name``, return ``work()``, and record its time and ``amount``."""
        self.console.rule(f"[bold]{name}", align="left", style="dim")
        start = time.perf_counter()
        value = work()
        seconds = time.perf_counter() - start
        self.figures.append(
            report.StageFigure(
                name=name, seconds=seconds, amount=amount, unit=unit, output=str(output)
            )
        )
        return value


def _listed(inputs: Inputs | None) -> lslm.Corpus | list[str] | None:
    """Return paths as a list of names, anything else as it is."""
    if inputs is None or isinstance(inputs, lslm.Corpus):
        return inputs
    paths = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    return [os.fspath(path) for path in paths]


def _held_out_fraction(cleaned: lslm.CleanResult) -> float:
    """Return the share of the documents to hold out: about HELD_OUT_BYTES, 0.5 to 20 %."""
    return min(0.2, max(0.005, HELD_OUT_BYTES / max(cleaned.n_bytes, 1)))


def _model_facts(config: Config) -> dict[str, str]:
    """Return the shape of the model and its training as rows of the report."""
    model, settings = config.model, config.train
    length = f"{settings.minutes:g} minutes" if settings.minutes else f"{settings.steps:,} steps"
    return {
        "Layers × width": f"{model.layers} × {model.width}, {model.heads} heads",
        "Context": f"{model.sequence_length} tokens",
        "Optimizer": f"{config.optim.name}, {settings.steps:,} steps of "
        f"{settings.batch_size} × {model.sequence_length} tokens",
        "Training length given": length,
    }


def _machine_facts(seed: int) -> dict[str, str]:
    """Return machine, versions and seed as rows of the report."""
    return {
        "Machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "Versions": f"lslm {lslm.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}",
        "Seed": str(seed),
    }


def _print_summary(
    stages: _Stages,
    cleaned: lslm.CleanResult,
    datasets: lslm.TokenizeResult,
    results: report.DemoResults,
) -> None:
    """Print the results as a table, a sample, and where the files are."""
    table = Table(show_header=False, title="Results", title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = [
        *_text_rows(cleaned, datasets, stages.rules),
        *_stage_rows(stages.figures),
        *_score_rows(results),
    ]
    for row in rows:
        table.add_row(*row)
    stages.console.print(table)
    if results.samples:
        stages.console.rule("[bold]sample", align="left", style="dim")
        print(results.samples[0].prompt + results.samples[0].text)
    stages.console.rule("[bold]files", align="left", style="dim")
    for name, what in (
        ("report.html", "the report: open it in a browser"),
        ("clean", "the cleaned documents"),
        ("tokenizer.json", "the tokenizer"),
        ("data", "the tokens"),
        ("run", "the model, its metrics and checkpoints"),
    ):
        print(f"{stages.output / name}: {what}")


def _text_rows(
    cleaned: lslm.CleanResult, datasets: lslm.TokenizeResult, rules: str
) -> list[tuple[str, str]]:
    """Return documents in, by which rules they were dropped or kept, and the tokens."""
    funnel = cleaned.funnel
    rows = [("documents", f"{funnel.n_documents:,} in, {cleaned.n_documents:,} kept")]
    rows += [("  rules", rules)]
    rows += [(f"  dropped: {why}", f"{row.n_documents:,}") for why, row in funnel.dropped.items()]
    parts = [part for part in (datasets.train, datasets.validation) if part is not None]
    n_tokens = sum(part.n_tokens for part in parts)
    n_bytes = sum(part.n_bytes for part in parts)
    return [*rows, ("tokens", f"{n_tokens:,}, {n_bytes / n_tokens:.2f} bytes each")]


def _stage_rows(stages: list[report.StageFigure]) -> list[tuple[str, str]]:
    """Return time and speed of each stage."""
    rows = []
    for stage in stages:
        rate = stage.amount / max(stage.seconds, 1e-9)
        shown = f"{rate / 1e6:,.1f} MB/s" if stage.unit == "bytes" else f"{rate:,.0f} tokens/s"
        rows.append((stage.name, f"{stage.seconds:,.1f} s, {shown}"))
    return rows


def _score_rows(results: report.DemoResults) -> list[tuple[str, str]]:
    """Return the scores of the model, and those of the baselines."""
    result, baselines = results.evaluation, results.baselines
    rows = [
        ("validation loss", f"{result.loss:.3f} nats per token"),
        ("perplexity", f"{result.perplexity:,.1f} equally likely choices per token"),
        ("[bold green]bits per byte", f"[bold green]{result.bits_per_byte:.3f}"),
        (
            "  uniform model",
            f"{baselines.uniform.bits_per_byte:.3f}: every token equally likely",
        ),
    ]
    if baselines.unigram is not None:
        bits = f"{baselines.unigram.bits_per_byte:.3f}"
        rows.append(("  unigram model", f"{bits}: each token as likely as it is frequent"))
    return [*rows, ("  xz -9", f"{baselines.xz_bits_per_byte:.3f}: the same text, compressed")]
