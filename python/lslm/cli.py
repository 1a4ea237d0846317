"""The command line: one verb for each step from text to a measured language model.

Every command is one call of a public function, so that whatever can be done here can be done from
Python with the same names.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

import lslm

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["app"]

app = typer.Typer(
    name="lslm",
    help="Raw text to a measured language model: clean, tokenize, train, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The options that several verbs share.
Inputs = Annotated[
    list[str],
    typer.Argument(help="Files, folders, globs, or - for standard input.", show_default=False),
]
Threads = Annotated[int | None, typer.Option(help="Threads; all cores if not given.")]
TextKey = Annotated[str, typer.Option(help="The field or column that holds the text.")]
IdKey = Annotated[str, typer.Option(help="The field or column that holds a document's id.")]
Separator = Annotated[
    str | None,
    typer.Option(
        help="In plain text, the line that ends a document; a file is one document if not given."
    ),
]
ZstdLong = Annotated[
    int, typer.Option(help="The largest window of zstd data, as in zstd --long=31.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TokenizerPath = Annotated[
    Path, typer.Option("--tokenizer", "-t", help="tokenizer.json, or a folder that holds one.")
]


_FILES = 10
_UNUSED = 8


def _version(asked: bool) -> None:
    if asked:
        print(f"lslm {lslm.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: lslm clean 'raw/*.jsonl.zst' -o clean --profile fineweb")
def clean(
    inputs: Inputs,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    profile: Annotated[
        str, typer.Option(help="The rules: " + ", ".join(lslm.Cleaner.profiles()) + ".")
    ] = "default",
    dedup: Annotated[
        str | None, typer.Option(help="exact: keep only the first of equal documents.")
    ] = None,
    redact: Annotated[bool, typer.Option(help="Mask e-mail addresses and the like.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A rule's value, such as length.min_chars=100; repeatable."),
    ] = None,
    text_key: TextKey = "text",
    id_key: IdKey = "id",
    separator: Separator = None,
    zstd_long: ZstdLong = 27,
    threads: Threads = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the funnel as an HTML page too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Clean documents: files to files, with a reason for every one that is dropped."""
    result = lslm.clean(
        inputs,
        output=output,
        profile=profile,
        dedup=dedup,
        redact=redact,
        overrides=_overrides(set_ or []),
        text_key=text_key,
        id_key=id_key,
        separator=separator,
        zstd_long=zstd_long,
        threads=threads,
    )
    if report is not None:
        from lslm.report import Funnel, clean_report, write

        facts = {"Inputs": " ".join(inputs), "Profile": profile, "Output": str(output)}
        write(report, clean_report(Funnel.of(result["funnel"]), facts=facts))
    if as_json:
        _print_json(result)
    else:
        _print_reading(result["reading"])
        _print_funnel(result["funnel"])
        print(f"{output}: {result['n_documents']:,} documents in {len(result['files'])} files")


@app.command(epilog="Example: lslm train-tokenizer clean -o tokenizer.json --vocab-size 32768")
def train_tokenizer(
    inputs: Inputs,
    output: Annotated[Path, typer.Option("--output", "-o", help="The tokenizer.json to write.")],
    vocab_size: Annotated[
        int, typer.Option(help="How many tokens, special ones included.")
    ] = 32_768,
    pattern: Annotated[
        str, typer.Option(help="How text is split: a published pattern's name or a regex.")
    ] = "o200k_base",
    special_token: Annotated[
        list[str] | None, typer.Option(help="A special token; repeatable.")
    ] = None,
    special_first: Annotated[
        bool, typer.Option("--special-first", help="Special tokens have the first ids.")
    ] = False,
    min_frequency: Annotated[int, typer.Option(help="The fewest occurrences a merge needs.")] = 2,
    max_token_length: Annotated[
        int | None, typer.Option(help="Tokens stay shorter than this many bytes.")
    ] = None,
    clean: Annotated[str | None, typer.Option(help="A cleaning profile to apply first.")] = None,
    validation_fraction: Annotated[
        float, typer.Option(help="The share of documents that nothing is learned from.")
    ] = 0.0,
    sample_bytes: Annotated[
        str | None, typer.Option(help="Learn from a sample of this size, such as 2GB.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="Learn in about this much memory, such as 2GB.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the sample and what is held out.")] = 0,
    report: Annotated[
        bool, typer.Option(help="Read the documents again and say what became of them.")
    ] = True,
    text_key: TextKey = "text",
    separator: Separator = None,
    zstd_long: ZstdLong = 27,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Learn a BPE vocabulary from documents, and report what it makes of them."""
    shared: dict[str, Any] = {
        "clean": clean,
        "validation_fraction": validation_fraction,
        "seed": seed,
        "text_key": text_key,
        "separator": separator,
        "zstd_long": zstd_long,
        "threads": threads,
    }
    tokenizer = lslm.train_tokenizer(
        inputs,
        vocab_size=vocab_size,
        pattern=pattern,
        special_tokens=["<|endoftext|>"] if special_token is None else special_token,
        special_first=special_first,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        sample_bytes=None if sample_bytes is None else _size(sample_bytes),
        memory=None if memory is None else _size(memory),
        **shared,
    )
    tokenizer.save(output)
    from lslm.inspection import tokenizer_facts

    facts = tokenizer_facts(tokenizer)
    measured = None
    if report and "-" not in inputs:  # a stream cannot be read again
        measured = lslm.measure_tokenizer(inputs, tokenizer=tokenizer, **shared)
    if as_json:
        _print_json(facts | {"report": measured})
        return
    _print_facts(str(output), facts)
    if measured is not None:
        _print_measured(tokenizer, measured)


@app.command(epilog="Example: lslm tokenize clean -o data/web --tokenizer tokenizer.json")
def tokenize(
    inputs: Inputs,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")],
    tokenizer: TokenizerPath,
    clean: Annotated[str | None, typer.Option(help="A cleaning profile to apply first.")] = None,
    validation_fraction: Annotated[
        float, typer.Option(help="The share of documents held out for validation.")
    ] = 0.005,
    seed: Annotated[int, typer.Option(help="Chooses which documents are held out.")] = 0,
    eos_token: Annotated[
        str | None, typer.Option(help="Ends each document; the tokenizer's own if not given.")
    ] = None,
    bos_token: Annotated[str | None, typer.Option(help="Begins each document, if given.")] = None,
    text_key: TextKey = "text",
    id_key: IdKey = "id",
    separator: Separator = None,
    zstd_long: ZstdLong = 27,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Turn documents into a dataset of tokens, with a validation part."""
    result = lslm.tokenize(
        inputs,
        output=output,
        tokenizer=lslm.Tokenizer.load(tokenizer),
        clean=clean,
        validation_fraction=validation_fraction,
        seed=seed,
        eos_token=eos_token,
        bos_token=bos_token,
        text_key=text_key,
        id_key=id_key,
        separator=separator,
        zstd_long=zstd_long,
        threads=threads,
    )
    if as_json:
        _print_json(result)
        return
    _print_reading(result["reading"])
    if clean is not None:
        _print_funnel(result["funnel"])
    for split in ("train", "validation"):
        part = result[split]
        if part is not None:
            print(
                f"{output / split}: {part['tokens']:,} tokens, {part['documents']:,} documents,"
                f" {part['bytes'] / max(part['tokens'], 1):.2f} bytes per token"
            )


@app.command(epilog="Example: echo 'Hello world' | lslm encode -t tokenizer.json --pieces")
def encode(
    tokenizer: TokenizerPath,
    input_: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="The text; standard input if not given.")
    ] = Path("-"),
    special: Annotated[
        str, typer.Option(help="Special tokens in the text: none, all or raise.")
    ] = "none",
    pieces: Annotated[bool, typer.Option(help="Show each token's text beside its id.")] = False,
    count: Annotated[bool, typer.Option(help="Print only how many tokens there are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Text to token ids, on one line."""
    tok = lslm.Tokenizer.load(tokenizer)
    text = sys.stdin.buffer.read() if str(input_) == "-" else input_.read_bytes()
    if count and special == "none":
        print(tok.count(text))
        return
    ids = tok.encode(text, special=special).tolist()
    if count:
        print(len(ids))
    elif as_json:
        shown = [tok.token_bytes(i).decode("utf-8", "backslashreplace") for i in ids]
        _print_json({"ids": ids, "pieces": shown} if pieces else {"ids": ids})
    elif pieces:
        for i in ids:
            print(f"{i}\t{_shown(tok.token_bytes(i))}")
    else:
        print(*ids)


@app.command(epilog="Example: echo '39 72 0' | lslm decode -t tokenizer.json")
def decode(
    tokenizer: TokenizerPath,
    input_: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="The ids; standard input if not given.")
    ] = Path("-"),
) -> None:
    """Token ids, separated by white space, to text."""
    tok = lslm.Tokenizer.load(tokenizer)
    written = sys.stdin.read() if str(input_) == "-" else input_.read_text(encoding="utf-8")
    ids = []
    for word in written.replace(",", " ").split():
        if not word.isdecimal():
            raise ValueError(f"{word!r} is not a token id: give whole numbers from 0")
        ids.append(int(word))
    sys.stdout.flush()
    sys.stdout.buffer.write(tok.decode_bytes(ids))
    sys.stdout.buffer.flush()


@app.command(epilog="Example: lslm inspect data/web/train")
def inspect(
    path: Annotated[Path, typer.Argument(help="A tokenizer, dataset, run, or file of documents.")],
    samples: Annotated[int, typer.Option(help="How many samples to show.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Say what a file or folder is, with samples."""
    from lslm.inspection import inspect

    found = inspect(path, n_samples=samples)
    if as_json:
        shown = [{"kind": f.kind, "path": f.path, **f.facts, "samples": f.samples} for f in found]
        _print_json(shown[0] if len(shown) == 1 else shown)
        return
    for one in found:
        _print_facts(f"{one.kind} {one.path}", one.facts)
        for number, sample in enumerate(one.samples):
            print(f"--- document {number}\n{sample}")


@app.command(epilog="Example: lslm verify data/web")
def verify(
    path: Annotated[Path, typer.Argument(help="A dataset, a folder of them, a run, a checkpoint.")],
) -> None:
    """Check every checksum; the first damaged file is named."""
    from lslm.inspection import verify

    for checked in verify(path):
        print(f"{checked}: ok")


@app.command(epilog="Example: lslm train configs/tiny.toml data=data/web out=runs/first steps=120")
def train(
    settings: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONFIG] KEY=VALUE...",
            help="A TOML file such as configs/tiny.toml, and values that win over it.",
        ),
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print parameters, FLOPs, memory and time; train not.")
    ] = False,
) -> None:
    """Train a language model on a dataset."""
    _need_torch()
    from dataclasses import asdict

    from lslm import report
    from lslm.config import load

    first = Path(settings[0])
    config = first if "=" not in settings[0] or first.is_file() else None
    resolved = load(config, settings if config is None else settings[1:])
    if dry_run:
        from lslm.planning import estimate

        _print_facts(f"{config or 'defaults'}: estimate", asdict(estimate(resolved)))
        return
    result = lslm.train(resolved, resume=resume)
    if os.environ.get("RANK", "0") != "0":
        return  # under torchrun the first process speaks for all
    report.write(result.run / "report.html", report.run_report(result.run))
    print(f"{result.run}: step {result.step}, training loss {result.loss:.3f}", end="")
    if result.validation is not None:
        print(f", validation loss {result.validation['loss']:.3f}", end="")
    print(f", {result.tokens_per_second:,.0f} tokens/s; next: lslm eval {result.run}")


@app.command("eval", epilog="Example: lslm eval runs/first")
def eval_(
    run: Annotated[Path, typer.Argument(help="A run or a checkpoint.")],
    data: Annotated[
        Path | None, typer.Option(help="A dataset; the run's own validation part if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a whole dataset: loss, perplexity, bits per byte."""
    _need_torch()
    result = lslm.evaluate(run, data=data)
    facts = result.as_dict()
    if as_json:
        _print_json(facts)
    else:
        _print_facts(str(run), facts)


@app.command(epilog="Example: lslm generate runs/first --prompt 'def main' --seed 1")
def generate(
    run: Annotated[Path, typer.Argument(help="A run or a checkpoint.")],
    prompt: Annotated[str, typer.Option(help="The text to go on from.")] = "",
    max_tokens: Annotated[int, typer.Option(help="The most tokens to write.")] = 200,
    temperature: Annotated[float, typer.Option(help="0: always the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(help="Choose among the k likeliest; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Choose among this share of probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = 0,
) -> None:
    """Write text with a model, as it comes."""
    _need_torch()
    print(prompt, end="", flush=True)
    lslm.generate(
        run,
        prompt=prompt,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stream=lambda piece: print(piece, end="", flush=True),
    )
    print()


@app.command(epilog="Example: lslm demo --minutes 3")
def demo(
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Files or folders; the running Python's own library if not given."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.")] = Path(
        "demo"
    ),
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 3.0,
    steps: Annotated[int | None, typer.Option(help="Train this many steps instead.")] = None,
    profile: Annotated[str, typer.Option(help="The cleaning profile.")] = "code",
    vocab_size: Annotated[int, typer.Option(help="Tokens in the vocabulary.")] = 4096,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run of steps.")] = 0,
    threads: Threads = None,
) -> None:
    """Everything on this machine: clean, learn, tokenize, train, evaluate, write a report."""
    _need_torch()
    from lslm.demo import demo as run_demo

    run_demo(
        corpus,
        output=output,
        minutes=minutes,
        steps=steps,
        profile=profile,
        vocab_size=vocab_size,
        seed=seed,
        threads=threads,
    )


# Output for people and machines.


def _need_torch() -> None:
    """Say how to install what training needs, if it is missing."""
    from importlib.util import find_spec

    for name in ("torch", "safetensors"):
        if find_spec(name) is None:
            raise ImportError(f"this needs {name}: pip install 'lslm[train]'")


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def _print_facts(title: str, facts: Mapping[str, Any]) -> None:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        table.add_row(
            name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)
        )
    Console().print(table)


def _print_reading(reading: Mapping[str, Any]) -> None:
    """Say on standard error what could not be read as it is: bad documents, ill-formed UTF-8."""
    for reason, bad in reading["bad"].items():
        first = bad["examples"][0]
        print(
            f"left out: {bad['documents']:,} bad documents ({reason}); the first is in "
            f"{first['source']} at {first['position']:,}: {first['detail']}",
            file=sys.stderr,
        )
    if reading["replaced_documents"]:
        print(
            f"not UTF-8: {reading['replaced_sequences']:,} places in "
            f"{reading['replaced_documents']:,} documents were replaced by U+FFFD",
            file=sys.stderr,
        )


def _print_funnel(funnel: Mapping[str, Any]) -> None:
    """Print documents and bytes in, dropped by reason, and kept; then what was changed."""
    table = Table(title="funnel", title_justify="left")
    table.add_column("", overflow="fold")
    table.add_column("documents", justify="right")
    table.add_column("MB", justify="right")
    rows = [("in", funnel["documents"], funnel["bytes"])]
    rows += [(f"  {why}", row["documents"], row["bytes"]) for why, row in funnel["dropped"].items()]
    rows += [("kept", funnel["documents_kept"], funnel["bytes_kept"])]
    for name, documents, n_bytes in rows:
        table.add_row(name, f"{documents:,}", f"{n_bytes / 1e6:,.2f}")
    Console().print(table)
    if funnel["changes"]:
        changes = Table(title="changes", title_justify="left")
        for column in ("rule", "documents", "changes"):
            changes.add_column(column, justify="left" if column == "rule" else "right")
        for rule, change in funnel["changes"].items():
            changes.add_row(rule, f"{change['documents']:,}", f"{change['amount']:,}")
        Console().print(changes)


def _print_measured(tokenizer: lslm.Tokenizer, measured: Mapping[str, Any]) -> None:
    """Print what a vocabulary makes of its documents: the largest files, all, the held-out part."""
    table = Table(title="what it makes of the text", title_justify="left")
    table.add_column("", overflow="fold")
    for column in ("MB", "tokens", "bytes/token", "tokens/word", "one-token words"):
        table.add_column(column, justify="right")

    def row(name: str, figures: Mapping[str, Any]) -> None:
        table.add_row(
            name,
            f"{figures['bytes'] / 1e6:,.2f}",
            f"{figures['tokens']:,}",
            f"{figures['bytes_per_token']:.3f}",
            f"{figures['tokens_per_word']:.3f}",
            f"{figures['whole_word_share']:.1%}",
        )

    files = sorted(measured["files"], key=lambda figures: -figures["bytes"])
    for figures in files[:_FILES]:
        row(figures["file"], figures)
    if len(files) > _FILES:
        table.add_row(f"… {len(files) - _FILES:,} more files")
    table.add_section()
    row("all documents", measured["total"])
    if measured["held_out"] is not None:
        row("held out", measured["held_out"])
    console = Console()
    console.print(table)
    unused = measured["unused"]
    place = "the text" if measured["held_out"] is None else "the held-out text"
    examples = " ".join(_shown(tokenizer.token_bytes(i)) for i in unused[-_UNUSED:])
    line = f"{len(unused):,} of {tokenizer.vocab_size:,} tokens are never used in {place}"
    console.print(f"{line}; the last of them: {examples}" if unused else line, markup=False)


def _shown(piece: bytes) -> str:
    """Return a token's text on one line, with white space visible and bad bytes escaped."""
    return repr(piece.decode("utf-8", "backslashreplace"))


def _size(text: str) -> int:
    """Return the bytes of a size such as ``2GB``, ``500 MB`` or ``1000000``."""
    number = text.strip().upper().removesuffix("B").rstrip()
    unit = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(number[-1:], 1)
    try:
        return int(float(number.rstrip("KMGT")) * unit)
    except ValueError:
        raise ValueError(f"{text!r} is no size: give it as 500MB or 2GB") from None


def _overrides(assignments: list[str]) -> dict[str, Any]:
    """Return ``["a.b=1"]`` as ``{"a": {"b": 1}}``; values are JSON where they can be."""
    nested: dict[str, Any] = {}
    for assignment in assignments:
        path, found, value = assignment.partition("=")
        if not found:
            raise ValueError(f"--set {assignment}: give it as rule.option=value")
        *parents, key = path.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        try:
            inner[key] = json.loads(value)
        except ValueError:
            inner[key] = value
    return nested
