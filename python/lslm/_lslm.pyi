"""The compiled part of lslm; import the names from ``lslm`` and ``lslm.data``."""

import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, TypeVar, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = [
    "CleanResult",
    "Cleaner",
    "DatasetWriter",
    "LoaderCore",
    "StreamDecoder",
    "TokenDataset",
    "Tokenizer",
    "__version__",
    "clean",
    "documents",
    "measure_tokenizer",
    "tokenize",
    "train_tokenizer",
]

__version__: str

_Path: TypeAlias = str | os.PathLike[str]
_Inputs: TypeAlias = _Path | Iterable[_Path]
_Progress: TypeAlias = bool | Callable[[str, int, int | None, str], object] | None

class _Measure(TypedDict):
    """One measure of a text beside its limit."""

    name: str
    value: float
    limit: float
    passed: bool

@final
class CleanResult:
    """What became of one text."""

    @property
    def text(self) -> str:
        """The text after all normalisers and, if it is kept, redactors.

        It is the very object that was given if nothing changed.
        """
    @property
    def keep(self) -> bool:
        """Whether the text passed every filter."""
    @property
    def reason(self) -> str | None:
        """The first filter that it failed, such as "gopher_repetition.top_2_gram"; else None."""
    @property
    def measured(self) -> tuple[float, float] | None:
        """What that filter measured, and its limit; None for a text that is kept."""
    @property
    def changes(self) -> dict[str, int]:
        """How much each rule changed: characters for normalisers, finds for redactors.

        Rules that changed nothing are not listed.
        """

@final
class Cleaner:
    """Normalises, judges and redacts texts by the rules of a named profile.

    The same text and configuration give the same result on every machine and in every thread.
    Normalising a text that was normalised changes nothing. Pickling, copying and sharing between
    threads work.

    Profiles: "none" (no rule), "default" (normalises; drops what is empty or lost in decoding),
    "code" (keeps every space; drops generated, minified and data files), "gopher" and "fineweb"
    (English web text, equal to datatrove's filters up to the segmentation of words), "chinese"
    (Chinese web text by the character, after FineWeb2).
    """

    def __new__(cls, profile: str = "default", /, **overrides: Any) -> Cleaner:
        """Take a profile and change it.

        ``overrides`` are rules by name: False or None switches one off, True on, a dict on with
        the settings it names; a setting of None takes that limit away. ``redact=True`` switches on
        all redactors (email, ipv4, resident_id, mobile_phone); ``unit`` is "word" or "char", what
        counts as a word of Chinese and Japanese.

        Raises:
            ValueError: an unknown profile, rule or setting (the message names the nearest), or a
                value of the wrong type or out of range.
            TypeError: a value that is not plain data.

        >>> cleaner = Cleaner("fineweb", redact=True, length={"min_chars": 200})
        """
    @staticmethod
    def profiles() -> list[str]:
        """Return the names of all profiles."""
    def clean(self, text: str) -> CleanResult:
        """Clean one text.

        Raises:
            UnicodeEncodeError: ``text`` has lone surrogates, which no UTF-8 can hold.
        """
    def clean_batch(self, texts: Sequence[str], *, threads: int | None = None) -> list[CleanResult]:
        """Clean many texts, in their order, on ``threads`` threads (None: all cores).

        Ctrl-C ends it within a text per thread.
        """
    def explain(self, text: str) -> list[_Measure]:
        """Return every measure of ``text`` after normalisation, in the order of the filters.

        :meth:`clean` ends at the first measure that is not passed; this goes on.
        """
    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration: profile, unit, and each rule with all settings or False.

        ``Cleaner(config.pop("profile"), **config)`` is an equal cleaner.
        """
    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that decides the result, 64 hexadecimal digits.

        That is the unit and the name, version and settings of each rule that is on. It goes into
        the manifest of what is made with it.
        """
    def __eq__(self, value: object, /) -> bool:
        """Whether both have the same fingerprint."""
    def __hash__(self) -> int:
        """A hash of the fingerprint."""
    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        """What pickle and deepcopy make an equal cleaner of."""

_Bytes: TypeAlias = bytes | bytearray | memoryview
_Text = TypeVar("_Text", str, bytes)
_Special: TypeAlias = Literal["none", "all", "raise"] | AbstractSet[str] | Sequence[str]
_Surrogates: TypeAlias = Literal["replace", "strict"]
_Ids: TypeAlias = NDArray[np.integer[Any]] | Sequence[int]

@final
class Tokenizer:
    """A byte-level BPE tokenizer: text to ids and back, without loss.

    Made by :meth:`load`, :meth:`from_tiktoken`, :meth:`from_pretrained`, :meth:`from_json` or
    :func:`lslm.train_tokenizer`. It never changes, so it can be shared by threads, pickled, copied
    and used after a fork. Two are equal when their :attr:`fingerprint` is.

    Ids are equal to those of the reference: tiktoken for its encodings, Hugging Face's tokenizers
    for its files. ``decode_bytes(encode(x)) == x`` for every byte string, unless the file asks for
    a normaliser or drops text.

    In all methods a text is a str, or bytes in any state: a byte that is not UTF-8 is cut like
    U+FFFD and keeps its value. ``errors`` says what a lone surrogate in a str becomes: "replace"
    makes it U+FFFD, as tiktoken does; "strict" raises UnicodeEncodeError.

    ``special`` says which control tokens in a text become their ids: "none" (they are ordinary
    text; the default), "all", "raise" (a ValueError names the first one found), or a set of names
    (KeyError for one that is unknown). Control tokens are those of :attr:`special_tokens`.

    >>> tok = lslm.Tokenizer.load("tokenizer.json")
    >>> tok.decode(tok.encode("Hello, world!"))
    'Hello, world!'
    """

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Tokenizer:
        """Return the tokenizer in ``path``.

        ``path`` is a Hugging Face ``tokenizer.json``, a folder that holds one, or ``vocab.json`` or
        ``merges.txt`` lying next to each other. Raises FileNotFoundError, and
        :class:`lslm.FormatError` for a file that is broken or of a kind that is not supported; the
        message names what it is.
        """

    @staticmethod
    def from_json(text: str) -> Tokenizer:
        """Return the tokenizer that ``text``, the content of a ``tokenizer.json``, describes.

        Raises :class:`lslm.FormatError` as :meth:`load` does.
        """

    @staticmethod
    def from_tiktoken(
        path: str | os.PathLike[str],
        *,
        pattern: str,
        special_tokens: dict[str, int] | None = None,
    ) -> Tokenizer:
        """Return the tokenizer of a tiktoken rank file.

        The file has a line for each token, its bytes in base64 and its rank, which is its id.
        ``pattern`` cuts texts before merging: the name of a published one ("gpt2", "cl100k_base",
        "o200k_base", …) or a regular expression. ``special_tokens`` maps names to ids.

        Raises FileNotFoundError, :class:`lslm.FormatError` (with the byte offset) for a broken
        file, ValueError for an unknown pattern or an id that is taken.

        >>> lslm.Tokenizer.from_tiktoken(
        ...     "o200k_base.tiktoken",
        ...     pattern="o200k_base",
        ...     special_tokens={"<|endoftext|>": 199999},
        ... )
        Tokenizer(vocab_size=200000, pattern="o200k_base", special_tokens=1)
        """

    @staticmethod
    def from_pretrained(name: str, *, revision: str | None = None) -> Tokenizer:
        """Return the tokenizer of the model ``name`` on the Hugging Face hub.

        Goes through the package ``huggingface_hub`` and its cache; ``revision`` is a branch, tag or
        commit. Raises ImportError when the package is missing, OSError when the file cannot be had
        (offline, no such model), and as :meth:`load` does.
        """

    def encode(
        self,
        text: str | _Bytes,
        *,
        special: _Special = "none",
        template: bool = False,
        errors: _Surrogates = "replace",
        dtype: DTypeLike = "uint32",
    ) -> NDArray[Any]:
        """Return the ids of ``text``: a one-dimensional array of ``dtype``.

        ``dtype`` is uint32 (the default), int32 or int64. No ids are added at the ends, unless
        ``template`` asks for those that the file's post-processor puts there, such as the
        beginning of the text; then ValueError names a post-processor that is not supported.

        >>> tok.encode("Hello, world!")
        array([13225,    11,  2375,     0], dtype=uint32)
        """

    def encode_batch(
        self,
        texts: Iterable[str | _Bytes],
        *,
        special: _Special = "none",
        template: bool = False,
        errors: _Surrogates = "replace",
        dtype: DTypeLike = "uint32",
        threads: int | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the ids of all ``texts`` end to end, and the offsets of the texts in them.

        ``ids[offsets[i]:offsets[i + 1]]`` are those of text ``i``; ``offsets`` is int64 with one
        entry more than there are texts. The result is the same for any number of ``threads``;
        None means all cores. ``template`` is as in :meth:`encode`, for each text.
        """

    def count(
        self,
        text: str | _Bytes,
        *,
        special: _Special = "none",
        errors: _Surrogates = "replace",
    ) -> int:
        """Return the number of ids of ``text``."""

    def encode_with_offsets(
        self,
        text: str | _Bytes,
        *,
        unit: Literal["byte", "char"] = "byte",
        special: _Special = "none",
        errors: _Surrogates = "replace",
        dtype: DTypeLike = "uint32",
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the ids of ``text`` and, for each, where it begins and ends in it.

        The second array is int64 of shape (number of ids, 2), counted in bytes of UTF-8 or in
        characters. In characters, a token that holds a part of one covers it whole. Where a
        normaliser has changed the text, a token covers all that its bytes came from.
        """

    def truncate(self, text: _Text, n: int, *, special: _Special = "none") -> _Text:
        """Return the longest start of ``text`` that ends with a token and has at most ``n`` ids.

        ``count(truncate(text, n)) <= n``. A str is never cut inside a character.
        """

    def decode(self, ids: _Ids, *, errors: str = "replace") -> str:
        """Return the text of ``ids``.

        ``ids`` is an integer array or sequence of one dimension. ``errors`` is for bytes that are
        not UTF-8 and means what it means in :meth:`bytes.decode`. Raises KeyError for an id that
        no token has.
        """

    def decode_bytes(self, ids: _Ids) -> bytes:
        """Return the bytes of ``ids``; KeyError for an id that no token has."""

    def decode_batch(
        self,
        ids: _Ids,
        offsets: NDArray[np.integer[Any]] | Sequence[int],
        *,
        errors: str = "replace",
        threads: int | None = None,
    ) -> list[str]:
        """Return the texts of the sequences that lie end to end in ``ids``.

        ``offsets`` are as :meth:`encode_batch` returns them; ValueError when they do not ascend
        from 0 to the number of ids.
        """

    def decoder(self) -> StreamDecoder:
        """Return a decoder that takes ids as they come and gives out whole characters."""

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes that ``id`` stands for; KeyError when no token has it."""

    def token_id(self, token: str | _Bytes) -> int | None:
        """Return the id that stands for exactly the bytes of ``token``, or None."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id: the rows that a model's embedding needs."""

    @property
    def special_tokens(self) -> dict[str, int]:
        """The control tokens with their ids.

        Those that the file marks as special, and those that look like markup, ``<…>`` or ``[…]``.
        Other added tokens are ordinary vocabulary and always found in a text.
        """

    @property
    def eos_id(self) -> int | None:
        """The id that ends a document; None when no or more than one token is usual for that."""

    @property
    def pattern(self) -> str:
        """The name of the pattern that cuts texts, or its regular expression if it has none."""

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over everything that decides ids.

        Equal for the same tokenizer whatever file it came from.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """What the file asks for that encoding does not do, one sentence each.

        Post-processors that add ids, truncation and padding are not applied.
        """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer, atomically.

        A name in ``.tiktoken`` gives tiktoken's rank file (ValueError when ranks cannot express the
        tokenizer), any other a ``tokenizer.json`` that loads here and in Hugging Face's library
        with equal ids.
        """

    def to_json(self) -> str:
        """Return the text of a ``tokenizer.json``."""

    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Tokenizer: ...
    def __deepcopy__(self, memo: Any, /) -> Tokenizer: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...

@final
class StreamDecoder:
    """Decodes ids as they come; made by :meth:`Tokenizer.decoder`.

    >>> decoder = tok.decoder()
    >>> "".join(decoder.push(id) for id in tok.encode("Größe")) + decoder.finish()
    'Größe'
    """

    def push(self, ids: int | _Ids) -> str:
        """Return the text that ``ids``, one or several, complete.

        The start of a character is held back until the rest of it has come. Raises KeyError for an
        id that no token has; the decoder is then as it was before.
        """

    def finish(self) -> str:
        """Return what is still held back: U+FFFD for a character that never came to its end."""

@final
class TokenDataset:
    """A tokenized dataset, mapped into memory.

    Opening reads the manifest and one page a shard, whatever the size. Tokens are numpy arrays of
    the stored type, uint16 or uint32, and are copies. ``len(ds)`` is the number of documents,
    ``ds[i]`` the tokens of one; negative indices count from the end. Pickled by its path.
    """

    def __new__(cls, path: str | os.PathLike[str]) -> TokenDataset:
        """Open the dataset in the folder ``path``.

        FileNotFoundError if it or a shard is missing; :class:`lslm.FormatError` with file and byte
        if something is not as ``docs/format.md`` says.
        """

    @property
    def path(self) -> Path:
        """The folder, as it was given."""
    @property
    def n_tokens(self) -> int:
        """How many tokens there are."""
    @property
    def n_documents(self) -> int:
        """How many documents there are."""
    @property
    def n_bytes(self) -> int | None:
        """How many bytes of text (UTF-8) the documents have; None if not known."""
    @property
    def vocab_size(self) -> int:
        """Each id is below this."""
    @property
    def dtype(self) -> str:
        """The type of the ids as stored: "uint16" or "uint32"."""
    @property
    def eos_id(self) -> int | None:
        """The id that ends each document, or None."""
    @property
    def bos_id(self) -> int | None:
        """The id that begins each document, or None."""
    @property
    def fingerprint(self) -> str:
        """Identifies the content, in hexadecimal: equal for equal tokens in equal shards."""
    @property
    def tokenizer_fingerprint(self) -> str | None:
        """The fingerprint of the tokenizer, in hexadecimal, or None if not known."""
    @property
    def tokenizer_path(self) -> Path | None:
        """The tokenizer's file in the dataset's folder, or None."""
    @property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json says."""
    def document(self, index: int) -> NDArray[Any]:
        """Return the tokens of document ``index``; IndexError if there is none."""
    def document_span(self, index: int) -> tuple[int, int]:
        """Return where document ``index`` begins and ends, in tokens of the dataset."""
    def tokens(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Return the tokens at positions ``start`` to ``stop`` (default: the end).

        They go on across documents and shards. ValueError if the dataset has no such positions.
        """
    def document_bytes(self, index: int) -> int | None:
        """Return how many bytes of text document ``index`` has; None if not known."""
    def source(self, index: int) -> str | None:
        """Return the name of the input that document ``index`` is from, or None."""
    def document_id(self, index: int) -> str | None:
        """Return the name of document ``index`` in its input, or None."""
    def verify(
        self,
        *,
        threads: int | None = None,
        progress: bool | Callable[[str, int, int | None, str], object] | None = None,
    ) -> int:
        """Read everything and check it; return the number of bytes checked.

        A fault is a :class:`lslm.FormatError` with file and byte.
        """
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> NDArray[Any]: ...
    def __reduce__(self) -> tuple[Any, tuple[Path]]: ...

@final
class DatasetWriter:
    """Writes a dataset document by document; see :func:`lslm.data.write_dataset`."""

    def __new__(
        cls,
        path: str | os.PathLike[str],
        *,
        vocab_size: int,
        shard_bytes: int,
        eos_id: int | None = None,
        bos_id: int | None = None,
        split: str | None = None,
        tokenizer_file: str | None = None,
        tokenizer_fingerprint: str | None = None,
    ) -> DatasetWriter: ...
    def push(
        self,
        tokens: NDArray[np.uint32],
        n_bytes: int = 0,
        source: str | None = None,
        id: str | None = None,
    ) -> None:
        """Add a document."""
    def finish(self) -> dict[str, Any]:
        """Write the last shard and the manifest, which makes the folder a dataset."""
    def close(self) -> None:
        """Drop what was written, unless it is finished."""

@final
class LoaderCore:
    """The part of :class:`lslm.data.TokenLoader` that reads."""

    def __new__(
        cls,
        datasets: Sequence[TokenDataset],
        weights: Sequence[float] | None,
        *,
        sequence_length: int,
        seed: int,
        shuffle: bool,
        verify: bool,
        batch_size: int,
        rank: int,
        world_size: int,
        global_batch_size: int | None,
        epochs: int | None,
        prefetch: int,
        rows: bool,
        access: str,
    ) -> LoaderCore: ...
    def next(self) -> tuple[NDArray[Any], NDArray[Any] | None, int] | None:
        """Return inputs, targets (None for rows) and the position behind them; None at the end."""
    def seek(self, samples: int, round: int) -> None:
        """Go to a position."""
    def restart(self) -> None:
        """Begin again after the end; otherwise do nothing."""
    def check(self, fingerprint: str, sequence_length: int, seed: int, shuffle: bool) -> None:
        """Raise a MismatchError if a saved state belongs to another sequence of samples."""
    @property
    def position(self) -> tuple[int, int]:
        """Samples that all ranks have used, and how often a loader that ends has begun again."""
    @property
    def fingerprint(self) -> str:
        """Identifies the data, in hexadecimal."""
    @property
    def samples_per_epoch(self) -> int | None:
        """Samples of one epoch; None for a mixture."""
    @property
    def global_batch_size(self) -> int:
        """Rows of all ranks between two updates."""
    @property
    def n_batches(self) -> int | None:
        """Batches of all epochs; None for an endless loader."""
    @property
    def left_out(self) -> tuple[int, int]:
        """Tokens of an epoch in no sample, and samples of all epochs that fill no batch."""
    def locate(self, sample: int) -> tuple[int, int, int]:
        """Return dataset, epoch and first token of a sample."""

def clean(
    inputs: _Inputs,
    *,
    output: _Path,
    profile: str = "default",
    dedup: str | None = None,
    redact: bool = False,
    overrides: dict[str, Any] | None = None,
    text_key: str = "text",
    id_key: str = "id",
    split: str = "file",
    separator: str | None = None,
    extensions: list[str] | None = None,
    utf8: str = "replace",
    zstd_long: int = 27,
    format: str = "jsonl.zst",
    partition_bytes: int = 268435456,
    threads: int | None = None,
    progress: _Progress = None,
) -> dict[str, Any]:
    """Clean documents, files to files, and return what was kept and dropped, and why.

    ``inputs`` are files, folders, globs, or ``-`` for standard input: plain text, JSONL or Parquet,
    plain or compressed with gzip or zstd. ``output`` is a folder; each partition of the inputs, of
    about ``partition_bytes`` bytes, becomes one file ``part-NNNNNN.<format>`` in it. The files are
    the same bytes for any number of threads. After a kill the same call goes on where it stopped.

    ``profile`` names the rules (see ``Cleaner.profiles()``), ``overrides`` changes single values of
    them, ``redact`` masks e-mail addresses and the like. ``dedup="exact"`` keeps only the first of
    documents whose cleaned text is equal.

    ``text_key`` and ``id_key`` name the fields of JSONL and columns of Parquet; the other fields
    are carried through. In plain text a document is a file, or with ``split="lines"`` a line, with
    ``split="blank_lines"`` what lies between empty lines, with ``separator`` what lies between
    lines of exactly that text. ``extensions`` says which files of a folder are read. ``utf8`` says
    what happens to bytes that are not UTF-8: ``"replace"`` by U+FFFD, or ``"refuse"`` the document.
    ``zstd_long`` is the largest window that zstd data may ask for, as a power of two and as in
    ``zstd --long``: 27 is 128 MiB of memory for each file being read, 31 the most.

    Returns a dict: ``files`` (names), ``n_documents`` and ``n_bytes`` (of the text in them),
    ``funnel`` (documents and bytes in, kept, and dropped by reason; changes by kind), ``reading``
    (what was read, and the bad documents), ``fingerprint`` of the rules.

    Raises ``FileNotFoundError`` for a missing input, ``FormatError`` for a file that is broken or
    of no known format, ``ValueError`` for an option that cannot be used or an ``output`` that holds
    other work.
    """

def train_tokenizer(
    inputs: _Inputs | None = None,
    *,
    texts: Iterable[str] | None = None,
    vocab_size: int,
    pattern: str = "o200k_base",
    special_tokens: list[str] = ...,
    special_first: bool = False,
    min_frequency: int = 2,
    max_token_length: int | None = None,
    clean: str | Cleaner | None = None,
    validation_fraction: float = 0.0,
    sample_bytes: int | None = None,
    seed: int = 0,
    memory: int | None = None,
    text_key: str = "text",
    split: str = "file",
    separator: str | None = None,
    extensions: list[str] | None = None,
    utf8: str = "replace",
    zstd_long: int = 27,
    threads: int | None = None,
    progress: _Progress = None,
) -> Tokenizer:
    """Learn a BPE vocabulary from documents and return its tokenizer.

    The documents come from ``inputs``, read as by :func:`clean`, or are the ``str`` of the iterable
    ``texts``. The result depends on them alone: not on threads, nor on how they lie in files.

    ``vocab_size`` counts the 256 bytes, the merges and ``special_tokens`` (by default
    ``<|endoftext|>``), which have the last ids, or with ``special_first`` the first. Fewer tokens
    come out when no pair occurs ``min_frequency`` times any more. ``pattern`` says how text is cut
    before pairs are counted: a published name such as ``gpt2``, ``cl100k_base``, ``o200k_base`` or
    ``qwen2``, or a regular expression. With ``max_token_length`` tokens of more than two bytes stay
    shorter than that many bytes, as in Hugging Face's trainer.

    Nothing is learned from the documents that :func:`tokenize` holds out with the same
    ``validation_fraction`` and ``seed``. ``sample_bytes`` learns from a uniform sample of the
    others of about that size, which ``seed`` chooses. ``memory`` bounds the bytes of both phases:
    counted words that do not fit go to files in the folder for temporary ones, and the result stays
    the same; merging needs about 16 bytes for each byte of different words, and is refused with
    the size that it needs if that is more.

    The merges are those of Hugging Face tokenizers 0.23 with the same pattern and the byte
    alphabet: the most frequent pair first, of equal ones that with the smaller ids (Sennrich,
    Haddow and Birch 2016, https://aclanthology.org/P16-1162).

    Raises ``ValueError`` for a vocabulary that is too small or an unknown pattern.

    >>> tok = train_tokenizer(texts=["low lower lowest"] * 3, vocab_size=262)
    >>> tok.decode(tok.encode("lower"))
    'lower'
    """

def measure_tokenizer(
    inputs: _Inputs,
    *,
    tokenizer: Tokenizer,
    clean: str | Cleaner | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
    text_key: str = "text",
    split: str = "file",
    separator: str | None = None,
    extensions: list[str] | None = None,
    utf8: str = "replace",
    zstd_long: int = 27,
    threads: int | None = None,
    progress: _Progress = None,
) -> dict[str, Any]:
    """Encode documents and return what the vocabulary makes of them.

    ``inputs`` are read, cleaned and held out as by :func:`train_tokenizer` and :func:`tokenize`.

    Returns a dict: ``total`` has ``documents``, ``bytes``, ``words`` (the pieces that the pattern
    cuts), ``whole_words`` (those that are one token), ``tokens``, and the ratios
    ``bytes_per_token``, ``tokens_per_word`` ("fertility") and ``whole_word_share``. ``files`` has
    the same for each ``file``, in the order of the inputs, and ``held_out`` for the documents that
    are held out, None without any. ``unused`` are the ids that never occur in those, or without
    them in all documents; special tokens, which no text spells, are not among them.

    Raises as :func:`train_tokenizer` does.
    """

def tokenize(
    inputs: _Inputs,
    *,
    output: _Path,
    tokenizer: Tokenizer,
    clean: str | Cleaner | None = None,
    validation_fraction: float = 0.005,
    seed: int = 0,
    eos_token: str | None = None,
    bos_token: str | None = None,
    text_key: str = "text",
    id_key: str = "id",
    split: str = "file",
    separator: str | None = None,
    extensions: list[str] | None = None,
    utf8: str = "replace",
    zstd_long: int = 27,
    partition_bytes: int = 268435456,
    threads: int | None = None,
    progress: _Progress = None,
) -> dict[str, Any]:
    """Turn documents into datasets of tokens, and return their manifests.

    ``inputs`` are read, and with ``clean`` (a profile or a ``Cleaner``) cleaned, as by
    :func:`clean`. ``output/train`` and ``output/validation`` become datasets for ``TokenDataset``.
    A document is held out for validation when the hash of its cleaned text and ``seed`` falls below
    ``validation_fraction``, so equal texts fall on the same side.

    Each document ends with the id of ``eos_token``, by default the tokenizer's own, and begins
    with that of ``bos_token`` if one is named. A special token that stands in the text is encoded
    as the text that it is.

    The shards are the same bytes for any number of threads, and after a kill the same call goes on
    where it stopped. Memory holds a few megabytes a thread and the largest document.

    Returns a dict: ``train`` and ``validation`` (manifests, the latter None if nothing was to be
    held out; ``tokens``, ``documents``, ``bytes``, ``shards`` …), ``funnel``, ``reading``.

    Raises as :func:`clean` does, and ``ValueError`` when the tokenizer has no such special token.
    """

def documents(
    inputs: _Inputs,
    *,
    limit: int = 2,
    text_key: str = "text",
    id_key: str = "id",
    split: str = "file",
    separator: str | None = None,
    extensions: list[str] | None = None,
    utf8: str = "replace",
    zstd_long: int = 27,
    progress: _Progress = None,
) -> dict[str, Any]:
    """Read all documents of ``inputs``, as :func:`clean` does, and return what there is.

    Returns a dict: ``n_documents``, ``n_bytes`` of text, ``reading`` (bad documents and their
    places), and as ``samples`` the first ``limit`` documents (``text``, ``id``, ``source``).
    """
