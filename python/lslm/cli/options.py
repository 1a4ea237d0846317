"""Options that several verbs share, each defined once.

Single options are annotations. Options that belong together are a frozen dataclass, one field for
each option, with a method that returns what they describe. A verb declares one parameter of that
class, and :func:`expand_options` replaces it by the fields::

    @verbs.command()
    @expand_options
    def tokenize(inputs: Inputs, *, read: ReadOptions, rules: CleanOptions) -> None: ...
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import math
from collections.abc import Callable
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

import lslm
from lslm.files import not_found
from lslm.limits import MAX_COUNT, MAX_MINUTES, MAX_THREADS
from lslm.progress import to_stderr

__all__ = [
    "MAX_MINUTES",
    "MAX_VOCAB_SIZE",
    "AsJson",
    "CleanOptions",
    "DedupOptions",
    "Inputs",
    "Output",
    "RankOptions",
    "ReadOptions",
    "SliceOptions",
    "Threads",
    "TokenizerPath",
    "between",
    "expand_options",
    "parse_count",
    "parse_share",
    "parse_size",
    "refuse_options",
    "require_torch",
]

NO_TOKENIZER = (
    "no such file: give a tokenizer.json, a folder that holds one, or a rank file of tiktoken; "
    "lslm train-tokenizer learns one"
)
"""What is missing, and what there may be instead."""

_context: ContextVar[typer.Context] = ContextVar("_context")
"""Of the verb that runs: where the value of each of its options is from."""

MAX_VOCAB_SIZE = 2**32 - 1
"""Largest number of tokens: ids have 32 bits."""


def between(smallest: float, largest: float = MAX_COUNT) -> Callable[[float | None], float | None]:
    """Return the callback of an option whose numbers are ``smallest`` to ``largest``.

    typer's own ``min`` and ``max`` let NaN pass, and print their limits into the help.
    """

    def check(value: float | None) -> float | None:
        if value is not None and not smallest <= value <= largest:  # true of NaN
            limit = (
                f"at least {smallest}"
                if largest == MAX_COUNT and value < smallest
                else (f"{smallest:,} to {largest:,}")
            )
            raise typer.BadParameter(f"{value} is out of range: use {limit}")
        return value

    return check


Inputs = Annotated[
    list[str],
    typer.Argument(metavar="INPUT", help="Files, folders, globs, or - for standard input."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")]
Threads = Annotated[
    int | None,
    typer.Option(callback=between(1, MAX_THREADS), help="Number of threads; all cores by default."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
TokenizerPath = Annotated[
    Path,
    typer.Option(
        "--tokenizer",
        "-t",
        help="tokenizer.json, a folder that holds one, or a rank file (.tiktoken): under its "
        "published name, such as o200k_base.tiktoken, or with --pattern.",
    ),
]

_read_option = functools.partial(typer.Option, rich_help_panel="Reading documents")
_rank_option = functools.partial(typer.Option, rich_help_panel="Rank files")
_clean_option = functools.partial(typer.Option, rich_help_panel="Cleaning")
_slice_option = functools.partial(typer.Option, rich_help_panel="Several processes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How inputs become documents: the options of every verb that reads text."""

    text_key: Annotated[str, _read_option(help="Field or column that holds the text.")] = "text"
    id_key: Annotated[str, _read_option(help="Field or column that holds a document's id.")] = "id"
    split: Annotated[
        Literal["file", "line", "blank-lines"],
        _read_option(help="What a document of plain text is; blank-lines: the text between them."),
    ] = "file"
    separator: Annotated[
        str | None, _read_option(help="In plain text, the line that ends a document.")
    ] = None
    extension: Annotated[
        list[str] | None,
        _read_option(help="Extension of the files to read in a folder; repeatable."),
    ] = None
    utf8: Annotated[
        Literal["replace", "refuse"],
        _read_option(
            help="Replace bytes that are not UTF-8 by U+FFFD, or refuse documents with them."
        ),
    ] = "replace"
    encoding: Annotated[
        str | None,
        _read_option(
            help="Character encoding of the text, such as gb18030 or windows-1251;"
            " detected for each file by default."
        ),
    ] = None
    on_bad_file: Annotated[
        Literal["error", "skip"],
        _read_option(help="Stop at a broken file, or list it and read the others."),
    ] = "error"
    zstd_long: Annotated[
        int,
        _read_option(
            callback=between(10, 31),
            help="Largest window of zstd data as a power of two, as in zstd --long=31.",
        ),
    ] = 27

    def corpus(self, inputs: list[str]) -> lslm.Corpus:
        """Return the corpus of ``inputs`` that these options describe."""
        return lslm.Corpus(
            inputs,
            text_key=self.text_key,
            id_key=self.id_key,
            split=self.split,
            separator=self.separator,
            extensions=self.extension,
            utf8=self.utf8,
            encoding=self.encoding,
            on_bad_file=self.on_bad_file,
            zstd_long=self.zstd_long,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleanOptions:
    """Which cleaning rules apply: the options of every verb that can clean."""

    profile: Annotated[
        str | None,
        _clean_option(
            "--profile",
            "--clean",
            help=f"Cleaning profile: {', '.join(lslm.Cleaner.profiles())}.",
            autocompletion=lslm.Cleaner.profiles,
        ),
    ] = None
    assignments: Annotated[
        list[str] | None,
        _clean_option(
            "--set",
            metavar="RULE.KEY=VALUE",
            help="Value of a rule, such as length.min_chars=100; repeatable.",
        ),
    ] = None
    redact: Annotated[
        bool, _clean_option("--redact", help="Mask e-mail addresses, phone numbers and the like.")
    ] = False

    def name_or_cleaner(self) -> str | lslm.Cleaner | None:
        """Return the profile's name if nothing else was given, else :meth:`cleaner`."""
        is_plain = not self.assignments and not self.redact
        return self.profile if is_plain else self.cleaner()

    def cleaner(self) -> lslm.Cleaner | None:
        """Return the cleaner that these options describe, None without ``--profile``."""
        if self.profile is not None:
            overrides = parse_assignments(self.assignments or [])
            if self.redact:
                overrides.setdefault("redact", True)
            return lslm.Cleaner(self.profile, **overrides)
        for option, value in (("--set", self.assignments), ("--redact", self.redact)):
            if value:
                raise ValueError(
                    f"{option} changes a cleaning profile and none is given: add --profile NAME, "
                    "or --profile none to start without any rule"
                )
        return None


def _check_dedup(value: str | None) -> str | None:
    """Return ``value``, or raise an error that says what there is."""
    if value not in {None, "exact", "lines", "paragraphs"}:
        raise typer.BadParameter(
            f"{value!r}: choose exact, lines or paragraphs; near-duplicates are removed by other "
            "programs, such as datatrove, before or after"
        )
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class DedupOptions:
    """What is compared to find duplicates: the options of every verb that sees all documents."""

    dedup: Annotated[
        str | None,
        _clean_option(
            callback=_check_dedup,
            metavar="exact|lines|paragraphs",
            help="Keep the first of equal documents; lines, paragraphs: of these too.",
        ),
    ] = None
    dedup_against: Annotated[
        Path | None,
        _clean_option(
            metavar="INDEX|DOCUMENTS",
            help="Index that an earlier job saved, its folder, or documents: what is there counts "
            "as seen.",
        ),
    ] = None
    save_index: Annotated[
        bool,
        _clean_option("--save-index", help="Save an index of what was seen, _dedup.index."),
    ] = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that say what is compared with, and whether an index is saved."""
        return {"dedup_against": self.dedup_against, "save_index": self.save_index}

    def cleaner(self, rules: lslm.Cleaner | None) -> lslm.Cleaner | None:
        """Return ``rules`` with the stage that ``--dedup`` asks for; without rules, it alone."""
        if self.dedup is None:
            return rules
        config: dict[str, Any] = {"profile": "none"} if rules is None else rules.config
        # settings of --set stay
        settings = dict(config.get("dedup") or {}) | {"documents": True}
        if self.dedup != "exact":
            settings["parts"] = self.dedup
        return lslm.Cleaner(config.pop("profile"), **(config | {"dedup": settings}))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankOptions:
    """What a rank file lacks: the options of every verb that reads a tokenizer."""

    pattern: Annotated[
        str | None,
        _rank_option(
            help="Pre-tokenization pattern: a published name, such as o200k_base, or a regex."
        ),
    ] = None
    special_token: Annotated[
        list[str] | None,
        _rank_option(
            metavar="NAME[=ID]",
            help="A special token, with the next id after the ranks by default; repeatable.",
        ),
    ] = None

    def load(self, path: Path) -> lslm.Tokenizer:
        """Return the tokenizer in ``path``.

        Raises ``ValueError`` for options that its file does not need.
        """
        if not path.exists():
            raise not_found(path, NO_TOKENIZER)
        if self.pattern is None and not self.special_token:
            return lslm.Tokenizer.load(path)
        if path.suffix != ".tiktoken":
            option = "--special-token" if self.pattern is None else "--pattern"
            raise ValueError(f"{option} is for rank files (.tiktoken), and {path} has its own")
        if self.pattern is None:
            raise ValueError("--special-token without --pattern: give the pattern too")
        tokenizer = lslm.Tokenizer.from_tiktoken(path, pattern=self.pattern)
        special, free = {}, tokenizer.vocab_size
        for given in self.special_token or []:
            name, equals, number = given.rpartition("=")
            has_id = bool(equals) and number.isdecimal()
            token_id = int(number) if has_id else free
            if token_id >= MAX_VOCAB_SIZE:
                raise ValueError(f"--special-token {given}: ids are below {MAX_VOCAB_SIZE}")
            special[name if has_id else given] = token_id
            free = max(free, token_id + 1)
        return lslm.Tokenizer.from_tiktoken(path, pattern=self.pattern, special_tokens=special)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceOptions:
    """How several processes divide a job: the options of the verbs that have partitions."""

    partitions: Annotated[
        str | None,
        _slice_option(
            metavar="I/N",
            help="Slice of the partitions, such as 3/16, beside other processes; lslm finish ends "
            "the job.",
        ),
    ] = None

    def function(self, verb: Literal["clean", "tokenize"]) -> Callable[..., Any]:
        """Return the function of ``verb``, with the arguments that these options give it."""
        return functools.partial(getattr(lslm, verb), partitions=self.partitions)


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress; only results, warnings and errors.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="More messages, such as each file left out.")
]


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` with each parameter that is a dataclass replaced by its fields.

    The default of such a parameter, an instance of the class, gives the defaults of its fields.
    The options ``--quiet`` and ``--verbose`` are added, and what they choose is in force while
    ``command`` runs.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {}
    parameters: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind, default = hints[name], parameter.default
        if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
            fields = {name: (kind, default)}
        else:
            groups[name] = kind
            values = kind() if default is parameter.empty else default
            kinds = get_type_hints(kind, include_extras=True)
            fields = {
                field.name: (kinds[field.name], getattr(values, field.name))
                for field in dataclasses.fields(kind)
            }
        for field_name, (annotation, value) in fields.items():
            parameters[field_name] = inspect.Parameter(
                field_name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=annotation
            )

    for name, option in (("quiet", Quiet), ("verbose", Verbose)):
        parameters[name] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option
        )

    @functools.wraps(command)
    def expanded(*, context: typer.Context, quiet: bool, verbose: bool, **values: Any) -> None:
        _context.set(context)
        for name, kind in groups.items():
            fields = {field.name: values.pop(field.name) for field in dataclasses.fields(kind)}
            values[name] = kind(**fields)
        with to_stderr(quiet=quiet, verbose=verbose):
            command(**values)

    expanded.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    expanded.__signature__ = inspect.Signature([*parameters.values(), context])  # type: ignore[attr-defined]
    return expanded


def refuse_options(reason: str, *names: str) -> None:
    """Raise an error for the first of the options ``names`` that the command line gives.

    They would have no effect, for ``reason``: nothing that a person says is ignored.
    """
    context = _context.get()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"{parameter.opts[0]} has no effect {reason}: leave it out")


def parse_size(text: str) -> int:
    """Return the number of bytes of a size such as ``2GB``, ``500 MB`` or ``1000000``."""
    number = text.strip().upper().removesuffix("B").rstrip()
    unit = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(number[-1:], 1)
    try:
        size = float(number.rstrip("KMGT")) * unit
    except ValueError:
        size = math.nan
    if not 0 <= size <= MAX_COUNT:  # true of NaN
        raise ValueError(f"{text!r} is not a size: use e.g. 500MB or 2GB")
    return int(size)


def parse_count(text: str) -> int:
    """Return the number of a count such as ``124M``, ``1.5B`` or ``250_000``."""
    number = text.strip().upper()
    unit = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}.get(number[-1:], 1)
    try:
        count = float(number.rstrip("KMGBT")) * unit
    except ValueError:
        count = math.nan
    if not 1 <= count <= MAX_COUNT:  # true of NaN
        raise ValueError(f"{text!r} is not a count: use e.g. 124M or 1.5B")
    return round(count)


def parse_share(text: str) -> float:
    """Return the number of a share such as ``1%`` or ``0.01``."""
    number = text.strip()
    is_percent = number.endswith("%")
    try:
        share = float(number.rstrip("% ")) / (100 if is_percent else 1)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:  # true of NaN
        raise ValueError(f"{text!r} is not a share: use e.g. 1% or 0.01, up to 100%")
    return share


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Return ``["a.b=1"]`` as ``{"a": {"b": 1}}``; a value that is not JSON is a string."""
    nested: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set {assignment}: use rule.key=value, e.g. length.min_chars=100")
        *parents, key = path.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        try:
            inner[key] = json.loads(value)
        except ValueError:
            inner[key] = value
    return nested


def require_torch() -> None:
    """Raise ``ImportError`` with the command that installs what models need."""
    for name in ("torch", "safetensors"):
        if find_spec(name) is None:
            raise ImportError(f"this needs {name}: pip install 'lslm[train]'")
