"""The verbs from raw text to token ids: clean, train-tokenizer, tokenize, encode, decode."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import lslm
from lslm.cli import show
from lslm.cli.explain import (
    explain_document,
    print_explanation,
    print_losses,
    warn_of_nothing_left,
)
from lslm.cli.options import (
    MAX_VOCAB_SIZE,
    AsJson,
    CleanOptions,
    DedupOptions,
    Inputs,
    Output,
    RankOptions,
    ReadOptions,
    SliceOptions,
    Threads,
    TokenizerPath,
    between,
    expand_options,
    parse_share,
    parse_size,
    refuse_options,
)
from lslm.cli.outputs import Force, check_output_file

__all__ = ["show_cleaned", "show_tokenized", "verbs", "write_clean_report"]

verbs = typer.Typer()

MAX_SAMPLE_LETTERS = 1500
"""Of a document to show in its tokens."""

_DEFAULT_PROFILE = CleanOptions(profile="default")

ValidationFraction = Annotated[
    float,
    typer.Option(callback=between(0, 1), help="Share of the documents to hold out for validation."),
]
HoldOut = Annotated[
    Literal["auto", "documents", "stretches"],
    typer.Option(
        help="Hold out whole documents, or stretches of long ones; auto: stretches if there are "
        "too few documents for two parts."
    ),
]


@verbs.command(epilog="Example: lslm clean 'raw/*.jsonl.zst' -o clean --profile fineweb")
@expand_options
def clean(
    inputs: Inputs,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder to write; not needed with --dry-run or --explain."
        ),
    ] = None,
    *,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="Extension of the files to write: jsonl or txt, with .gz or .zst, or parquet.",
        ),
    ] = "jsonl.zst",
    dedup: DedupOptions,
    report: Annotated[
        Path | None, typer.Option(help="HTML page to write with the documents dropped, by reason.")
    ] = None,
    dropped: Annotated[
        Path | None,
        typer.Option(help="Folder for what is dropped, documents and lines, each with its reason."),
    ] = None,
    annotate: Annotated[
        bool,
        typer.Option("--annotate", help="Keep every document; add verdict, reason and signals."),
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:ID", help="Print every measure of one document, by its id or number."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Clean a sample and print the funnel; write nothing.")
    ] = False,
    sample: Annotated[
        str, typer.Option(help="Share of the documents for --dry-run, such as 1% or 0.01.")
    ] = "1%",
    force: Force = False,
    rules: CleanOptions = _DEFAULT_PROFILE,
    read: ReadOptions,
    slices: SliceOptions,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Clean documents, files to files, and count the dropped ones by reason."""
    if not dry_run:
        refuse_options("without --dry-run", "sample")
    if dry_run or explain is not None:
        refuse_options("with --dry-run or --explain", "partitions")
    corpus = read.corpus(inputs)
    cleaner = dedup.cleaner(rules.cleaner() or lslm.Cleaner()) or lslm.Cleaner()
    if report is not None:
        check_output_file(report, option="--report", corpus=corpus, force=force)
    if explain is not None:
        explanation = explain_document(corpus, cleaner, explain)
        (show.print_json if as_json else print_explanation)(explanation)
        return
    split = read.split if read.separator is None else "separator"
    if dry_run:
        share = parse_share(sample)
        preview = lslm.preview_clean(
            corpus, cleaner=cleaner, sample=share, signals=report is not None, threads=threads
        )
        if report is not None:
            write_clean_report(report, preview, cleaner, {"Inputs": " ".join(inputs)})
        warn_of_nothing_left(preview, is_annotated=False, split=split)
        show_cleaned(corpus, cleaner, preview, as_json=as_json)
        return
    if output is None:
        raise typer.BadParameter("name the folder to write: -o FOLDER")
    result = slices.function("clean")(
        corpus,
        output=output,
        cleaner=cleaner,
        **dedup.arguments(),
        dropped=dropped,
        annotate=annotate,
        signals=report is not None,
        format=format_,
        threads=threads,
    )
    if report is not None:
        facts = {"Inputs": " ".join(inputs), "Output": str(output)}
        _write_page_at_the_end(report, result, cleaner, facts)
    if result.slice is None:
        warn_of_nothing_left(result, is_annotated=annotate, split=split)
    show_cleaned(corpus, cleaner, result, as_json=as_json)


def _write_page_at_the_end(
    path: Path, result: lslm.CleanResult, cleaner: lslm.Cleaner, facts: dict[str, str]
) -> None:
    """Write the page of a cleaning; of a slice, print which command writes it."""
    if result.slice is None:
        write_clean_report(path, result, cleaner, facts)
    else:
        print(f"{path}: lslm finish {result.output} --report {path} writes it", file=sys.stderr)


def write_clean_report(
    path: Path,
    result: lslm.CleanResult | lslm.CleanPreview,
    cleaner: lslm.Cleaner,
    facts: dict[str, str],
) -> None:
    """Write the page of a cleaning, or of a dry run."""
    from lslm.files import write_atomically
    from lslm.report import clean_report

    facts |= {
        "Profile": show.profile_name(cleaner),
        "Stages": ", ".join(cleaner.config["stages"]),
    }
    title = "Cleaning"
    if isinstance(result, lslm.CleanPreview):
        title, facts["Sample"] = "Cleaning: a sample", f"{result.sample:.2%} of the documents"
    against = result.against if isinstance(result, lslm.CleanResult) else None
    page = clean_report(
        result.funnel,
        title=title,
        facts=facts,
        reading=result.reading,
        losses=result.losses,
        against=against,
    )
    write_atomically(path, page)


def show_cleaned(
    corpus: lslm.Corpus | None,
    cleaner: lslm.Cleaner,
    result: lslm.CleanResult | lslm.CleanPreview,
    *,
    as_json: bool,
) -> None:
    """Print what was read, the funnel, the sources that lose much, the output; or all as JSON."""
    if as_json:
        show.print_json(result.as_dict())
        return
    if corpus is not None:
        show.print_skipped(corpus)
    show.print_reading(result.reading)
    if isinstance(result, lslm.CleanResult):
        show.print_against(result.against)
    print_losses(result)
    print(f"profile {show.profile_name(cleaner)}: {', '.join(cleaner.config['stages'])}")
    show.print_funnel(result.funnel)
    if isinstance(result, lslm.CleanPreview):
        return
    if result.slice is not None:
        show.print_slice(result.output, result.slice)
        return
    n_files = show.counted(len(result.files), "file")
    print(f"{result.output}: {show.counted(result.n_documents, 'document')} in {n_files}")


def _refuse_partitions(value: str | None) -> None:
    """Raise an error for ``--partitions``, which counting words does not have."""
    if value is not None:
        raise typer.BadParameter(
            "one process counts the words of all documents: --sample-bytes 2GB learns from a "
            "sample of them, --memory 2GB bounds what it takes"
        )


@verbs.command(epilog="Example: lslm train-tokenizer clean -o tokenizer.json --vocab-size 32768")
@expand_options
def train_tokenizer(
    inputs: Inputs,
    output: Annotated[Path, typer.Option("--output", "-o", help="tokenizer.json to write.")],
    *,
    vocab_size: Annotated[
        int,
        typer.Option(
            callback=between(1, MAX_VOCAB_SIZE), help="Number of tokens, special tokens included."
        ),
    ] = 32_768,
    pattern: Annotated[
        str, typer.Option(help="Pre-tokenization pattern: a published name or a regex.")
    ] = "o200k_base",
    special_token: Annotated[
        list[str] | None,
        typer.Option(help="A special token; repeatable.", show_default="<|endoftext|>"),
    ] = None,
    special_tokens_first: Annotated[
        bool, typer.Option("--special-tokens-first", help="Give special tokens the first ids.")
    ] = False,
    min_frequency: Annotated[
        int, typer.Option(callback=between(0), help="Occurrences that a merge needs.")
    ] = 2,
    max_token_length: Annotated[
        int | None,
        typer.Option(callback=between(0), help="Length in bytes that every token stays below."),
    ] = None,
    sample_bytes: Annotated[
        str | None, typer.Option(help="Size of a sample to learn from, such as 2GB.")
    ] = None,
    memory: Annotated[str | None, typer.Option(help="Memory to use, about, such as 2GB.")] = None,
    validation_fraction: ValidationFraction = 0.0,
    hold_out: HoldOut = "auto",
    seed: Annotated[
        int, typer.Option(callback=between(0), help="Seed of the sample and of what is held out.")
    ] = 0,
    force: Force = False,
    report: Annotated[
        bool, typer.Option(help="Read the documents again and measure the tokenizer on them.")
    ] = True,
    page: Annotated[Path | None, typer.Option(help="HTML file to write the measure to.")] = None,
    _partitions: Annotated[
        str | None, typer.Option("--partitions", hidden=True, callback=_refuse_partitions)
    ] = None,
    rules: CleanOptions,
    read: ReadOptions,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Learn a BPE vocabulary from documents, and measure it on them."""
    corpus = read.corpus(inputs)
    check_output_file(output, option="-o", corpus=corpus, force=force)
    if page is not None:
        check_output_file(page, option="--page", corpus=corpus, force=force)
    documents: dict[str, Any] = {
        "cleaner": rules.cleaner(),
        "validation_fraction": validation_fraction,
        "hold_out": hold_out,
        "seed": seed,
        "threads": threads,
    }
    tokenizer = lslm.train_tokenizer(
        corpus,
        vocab_size=vocab_size,
        pattern=pattern,
        special_tokens=["<|endoftext|>"] if special_token is None else special_token,
        special_tokens_first=special_tokens_first,
        min_frequency=min_frequency,
        max_token_length=max_token_length,
        sample_bytes=None if sample_bytes is None else parse_size(sample_bytes),
        memory=None if memory is None else parse_size(memory),
        **documents,
    )
    tokenizer.save(output)
    from lslm.inspection import Inspection, tokenizer_facts

    facts = tokenizer_facts(tokenizer)
    measured = None
    if report and "-" not in inputs:  # standard input cannot be read twice
        measured = lslm.measure_tokenizer(corpus, tokenizer=tokenizer, **documents)
    if page is not None:
        _write_page(page, tokenizer, measured, corpus)
    if as_json:
        show.print_json(facts | {"report": measured and measured.as_dict()})
        return
    show.print_skipped(corpus)
    shown = Inspection(kind="tokenizer", path=output, facts=facts).summary()
    show.print_facts(shown.pop("what"), shown)
    if measured is not None:
        show.print_tokenizer_report(tokenizer, measured)


def _write_page(
    page: Path,
    tokenizer: lslm.Tokenizer,
    measured: lslm.TokenizerReport | None,
    corpus: lslm.Corpus,
) -> None:
    """Write the page of a vocabulary, with the beginning of the first document in its tokens."""
    from lslm.files import write_atomically
    from lslm.report import TokenizerFigures, tokenizer_report

    # what was measured could be read twice, so it can be read again
    first = next(iter(corpus), None) if measured is not None else None
    sample = "" if first is None else first.text[:MAX_SAMPLE_LETTERS]
    figures = TokenizerFigures.of(tokenizer, report=measured, sample=sample)
    inputs = ", ".join(str(name) for name in corpus.inputs)
    write_atomically(page, tokenizer_report(figures, facts={"Documents": inputs}))


@verbs.command(epilog="Example: lslm tokenize clean -o data/web --tokenizer tokenizer.json")
@expand_options
def tokenize(
    inputs: Inputs,
    output: Output,
    tokenizer: TokenizerPath,
    *,
    validation_fraction: ValidationFraction = 0.005,
    hold_out: HoldOut = "auto",
    seed: Annotated[
        int, typer.Option(callback=between(0), help="Seed of the choice of what is held out.")
    ] = 0,
    eos_token: Annotated[
        str | None,
        typer.Option(help="Token after each document; the tokenizer's own by default."),
    ] = None,
    bos_token: Annotated[
        str | None, typer.Option(help="Token before each document; none by default.")
    ] = None,
    ranks: RankOptions,
    rules: CleanOptions,
    dedup: DedupOptions,
    read: ReadOptions,
    slices: SliceOptions,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Turn documents into a dataset of tokens, with a validation part."""
    corpus, cleaner = read.corpus(inputs), dedup.cleaner(rules.cleaner())
    result = slices.function("tokenize")(
        corpus,
        output=output,
        tokenizer=ranks.load(tokenizer),
        cleaner=cleaner,
        **dedup.arguments(),
        validation_fraction=validation_fraction,
        hold_out=hold_out,
        seed=seed,
        eos_token=eos_token,
        bos_token=bos_token,
        threads=threads,
    )
    if not as_json:
        show.print_skipped(corpus)
    show_tokenized(result, output, as_json=as_json)


def show_tokenized(result: lslm.TokenizeResult, output: Path, *, as_json: bool) -> None:
    """Print what was read, the funnel, and the size of both parts; or all of it as JSON."""
    if as_json:
        show.print_json(result.as_dict())
        return
    show.print_reading(result.reading)
    show.print_against(result.against)
    if result.funnel.n_documents:
        show.print_funnel(result.funnel)
    for part in (result.train, result.validation):
        if part is not None:
            ratio = f", {part.n_bytes / part.n_tokens:.2f} bytes per token" if part.n_tokens else ""
            print(
                f"{part.path}: {show.counted(part.n_tokens, 'token')},"
                f" {show.counted(part.n_documents, 'document')}{ratio}"
            )
    if result.held_out is not None and result.held_out.n_divided_documents:
        divided = show.counted(result.held_out.n_divided_documents, "document")
        print(f"held out: stretches of {divided}; --hold-out documents keeps documents whole")
    if result.slice is not None:
        show.print_slice(output, result.slice)


@verbs.command(epilog="Example: echo 'Hello world' | lslm encode -t tokenizer.json --tokens")
@expand_options
def encode(
    tokenizer: TokenizerPath,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File of text; standard input by default.")
    ] = Path("-"),
    *,
    special: Annotated[
        Literal["none", "all", "raise"],
        typer.Option(
            help="Special tokens in the text: plain text (none), one id (all), or refused."
        ),
    ] = "none",
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Print each token's text after its id.")
    ] = False,
    count: Annotated[
        bool, typer.Option("--count", help="Print the number of tokens only.")
    ] = False,
    ranks: RankOptions,
    as_json: AsJson = False,
) -> None:
    """Encode text as token ids, on one line."""
    tok = ranks.load(tokenizer)
    text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    if count:
        n_tokens = tok.count(text) if special == "none" else len(tok.encode(text, special=special))
        if as_json:
            show.print_json({"n_tokens": n_tokens})
        else:
            print(n_tokens)
        return
    ids = tok.encode(text, special=special).tolist()
    if as_json:
        spelled = [tok.token_bytes(i).decode("utf-8", "backslashreplace") for i in ids]
        show.print_json({"ids": ids, "tokens": spelled} if tokens else {"ids": ids})
    elif tokens:
        for i in ids:
            print(f"{i}\t{show.quoted(tok.token_bytes(i))}")
    else:
        print(*ids)


@verbs.command(epilog="Example: echo '39 72 0' | lslm decode -t tokenizer.json")
@expand_options
def decode(
    tokenizer: TokenizerPath,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File of ids; standard input by default.")
    ] = Path("-"),
    *,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print JSON instead of text; bytes that are not UTF-8 become U+FFFD."
        ),
    ] = False,
    ranks: RankOptions,
) -> None:
    """Decode token ids, separated by white space or commas, to text."""
    tok = ranks.load(tokenizer)
    written = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    ids = []
    for word in written.replace(",", " ").split():
        if not word.isdecimal():
            raise ValueError(f"{word!r} is not a token id: use whole numbers from 0")
        if len(word) > 20 or int(word) > MAX_VOCAB_SIZE:
            raise ValueError(f"{word} is not a token id: the largest is {tok.vocab_size - 1}")
        ids.append(int(word))
    if as_json:
        show.print_json({"text": tok.decode(ids)})
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(tok.decode_bytes(ids))
    sys.stdout.buffer.flush()
