"""The compiled part of lslm; import its names from ``lslm``, ``lslm.data`` and ``lslm.files``."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lslm.corpus import FileEncoding, Inputs, Skipped
from lslm.files import StrPath
from lslm.progress import Progress
from lslm.results import (
    BadFile,
    CleanPreview,
    CleanResult,
    Reading,
    TokenizeResult,
    TokenizerReport,
)
from lslm.texts import Arrow

__all__ = [
    "MAX_BATCH_TOKENS",
    "CleanedText",
    "Cleaner",
    "Corpus",
    "DatasetWriter",
    "Document",
    "DocumentIterator",
    "FolderLock",
    "LoaderCore",
    "Measure",
    "StreamDecoder",
    "TokenDataset",
    "Tokenizer",
    "__version__",
    "clean",
    "finish",
    "measure_tokenizer",
    "missing_path",
    "preview_clean",
    "tokenize",
    "train_tokenizer",
    "write_atomically",
]

__version__: str
MAX_BATCH_TOKENS: int
"""Tokens of a rank's batch, at most."""

_Bytes: TypeAlias = bytes | bytearray | memoryview
_Text = TypeVar("_Text", str, bytes)
_Special: TypeAlias = Literal["none", "all", "raise"] | AbstractSet[str] | Sequence[str]
_Surrogates: TypeAlias = Literal["replace", "strict"]
_Ids: TypeAlias = NDArray[np.integer[Any]] | Sequence[int]
_Tokens: TypeAlias = NDArray[np.unsignedinteger[Any]]

@final
class Corpus:
    """The documents of some files, and how they are read.

    Iterating yields each :class:`Document` in the order of the inputs; every loop starts from the
    first. Memory holds the largest document and 1 MiB of others. Functions that read paths accept a
    corpus instead. The files are found and checked when the corpus is made; a corpus is immutable
    and can be copied, pickled (except with standard input) and shared between threads.

    Arguments:
        inputs: a file, a folder with all that is in it, a glob, ``-`` for standard input, or
            several of them. Plain text, JSONL, Parquet, CSV and TSV are read, plain or compressed
            with gzip or zstd. Of a folder, those with the extensions txt, text, md, jsonl, ndjson,
            jsonlines, parquet and pq are read, and json where it is compressed.
        text_key: the field of JSONL or column of Parquet that holds the text; ``a.b`` is field
            ``b`` of the object ``a``.
        id_key: the field or column that holds a document's id, a string or a number.
        split: what a document is in plain text: a "file", a "line", or with "blank-lines" what is
            between empty lines.
        separator: in plain text, the line between two documents, instead of ``split``.
        extensions: the files that are read from folders, such as ``["py", "rs"]``, instead of
            those above.
        utf8: what happens to bytes that are not UTF-8: "replace" makes each ill-formed sequence
            U+FFFD, "refuse" counts the document as bad.
        encoding: the character encoding of all text, such as "gb18030" or "windows-1251". By
            default a file is UTF-8, or in the legacy encoding that its first bytes show: its
            documents are converted and counted, and :attr:`encodings` names it.
        on_bad_file: "error" stops at a file that cannot be opened or is broken, "skip" lists it.
            Of a file that breaks in the middle, the documents that are complete before the fault
            are used; of Parquet, the other row groups too.
        zstd_long: the largest window that zstd data may need, as a power of two of bytes, from 10
            to 31: 27 is 128 MiB of memory for each file that is being read, as with
            ``zstd --long=27``.

    Raises:
        FileNotFoundError: an input does not exist.
        FormatError: a file is broken, or holds something else than its name says.
        ValueError: an option has a value that cannot be used, nothing matches a glob, or a folder
            holds no file to read.

    >>> corpus = lslm.Corpus("corpus/*.jsonl", text_key="content")
    >>> [document.text for document in corpus]
    ['A first document.', 'A second one.']
    >>> corpus.skipped
    ()
    """

    def __new__(
        cls,
        inputs: StrPath | Iterable[StrPath],
        /,
        *,
        text_key: str = "text",
        id_key: str = "id",
        split: Literal["file", "line", "blank-lines"] = "file",
        separator: str | None = None,
        extensions: Sequence[str] | None = None,
        utf8: Literal["replace", "refuse"] = "replace",
        encoding: str | None = None,
        on_bad_file: Literal["error", "skip"] = "error",
        zstd_long: int = 27,
    ) -> Corpus: ...
    @property
    def inputs(self) -> tuple[str, ...]:
        """The files that are read, in order; documents carry these names as their source."""
    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The files and folders that were found and are not read, each with the reason.

        >>> lslm.Corpus("corpus", extensions=["jsonl"]).skipped
        (Skipped(path=...Path('corpus/notes.txt'), reason='extension'),)
        """
    @property
    def bad_files(self) -> tuple[BadFile, ...]:
        """The files that could not be opened, with ``on_bad_file="skip"``.

        >>> lslm.Corpus("corpus", on_bad_file="skip").bad_files
        ()
        """
    @property
    def encodings(self) -> tuple[FileEncoding, ...]:
        """The files that are not UTF-8, each with its encoding and the confidence in it.

        >>> lslm.Corpus("corpus").encodings
        ()
        """
    @property
    def n_bytes(self) -> int:
        """The size of the files in bytes, as stored; standard input and pipes count 0."""
    def n_partitions(self, partition_bytes: int = 268435456) -> int:
        """Return how many partitions :func:`clean` and :func:`tokenize` divide the inputs into.

        >>> lslm.Corpus("corpus").n_partitions()
        1
        """
    def count_documents(self, *, progress: Progress = None) -> Reading:
        """Read everything and return the number of documents, their bytes, and the bad ones.

        >>> lslm.Corpus("corpus/*.jsonl", text_key="content").count_documents().n_documents
        2
        """
    def __iter__(self) -> DocumentIterator: ...
    def __getnewargs_ex__(self) -> tuple[tuple[list[str]], dict[str, Any]]: ...

@final
class Document:
    """One text, with what its file says about it.

    Two documents are equal when text, id, source and metadata are.

    Arguments:
        text: the text.
        id: its name within its source.
        source: the file that it comes from.
        metadata: its other fields, as JSON has them.
        n_bytes: bytes of the text as it came; None: those of ``text``.

    >>> lslm.Document("Some text.", id="a-1", metadata={"language": "en"})
    Document('Some text.', id="a-1", source="")
    """

    def __new__(
        cls,
        text: str,
        *,
        id: str | None = None,
        source: str = "",
        metadata: Mapping[str, object] | None = None,
        n_bytes: int | None = None,
    ) -> Document: ...
    @property
    def text(self) -> str:
        """The text."""
    @property
    def id(self) -> str | None:
        """The document's id, if its file has one; a number as it is written there."""
    @property
    def source(self) -> str:
        """The file that the document comes from, as in :attr:`Corpus.inputs`."""
    @property
    def n_bytes(self) -> int:
        """Bytes of the text as it came, in UTF-8.

        An ill-formed sequence counts its own bytes, and not the three of the U+FFFD in its place.
        """
    @property
    def metadata(self) -> dict[str, Any] | None:
        """The other fields of the JSONL object or row, a new dict each time; None without.

        >>> next(iter(lslm.Corpus("corpus/*.jsonl", text_key="content"))).metadata
        {'language': 'en'}
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]: ...

@final
class DocumentIterator:
    """The documents of a :class:`Corpus`, one after the other; made by ``iter(corpus)``.

    A document that cannot be read is left out and counted in :attr:`reading`; at the end a
    UserWarning says how many there were. A broken file raises :class:`lslm.FormatError`, after the
    documents before the fault.
    """

    @property
    def reading(self) -> Reading:
        """What was read up to now, with the bad documents; up to 1 MiB ahead of the iteration."""
    def __iter__(self) -> DocumentIterator: ...
    def __next__(self) -> Document: ...

@final
class Measure:
    """One measured value of a text, beside the limit of its rule."""

    @property
    def name(self) -> str:
        """The rule and its measure, such as "gopher_repetition.top_2_gram"."""
    @property
    def value(self) -> float:
        """What was measured, in the unit of the rule: a count or a share."""
    @property
    def limit(self) -> float:
        """The limit that the value was compared with."""
    @property
    def passed(self) -> bool:
        """Whether the value keeps the limit."""
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...

@final
class CleanedText:
    """The result of :meth:`Cleaner.clean`: the text, and whether it is kept."""

    @property
    def text(self) -> str:
        """The text after the last stage, or at the one that dropped it.

        The very object that was given, if nothing changed.
        """
    @property
    def keep(self) -> bool:
        """Whether the text passed every filter."""
    @property
    def reason(self) -> str | None:
        """The first filter that the text failed, such as "length.too_short"; None if it is kept."""
    @property
    def measure(self) -> Measure | None:
        """What this filter measured, and its limit; None if the text is kept."""
    @property
    def changes(self) -> dict[str, int]:
        """How much each rule changed: characters, for line edits lines, for redactors finds.

        Rules that changed nothing are not listed. A name such as "lines.phrase" counts a part of
        the changes of its rule.
        """

@final
class Cleaner:
    """Normalises, edits, filters and redacts texts by the stages of a named profile.

    The same text and rules give the same result on every machine and in every thread, and
    normalising twice changes nothing more. A cleaner can be copied, pickled and shared between
    threads; two are equal when their :attr:`fingerprint` is.

    Profiles: "none" (no rule), "default" (loses nothing: NFC, a byte order mark, C0 controls; drops
    what is empty or was decoded wrongly), "tidy" (also white space, hidden characters, escape
    sequences), "code" (drops generated, minified and data files), "gopher" and "fineweb" (English
    web text), "chinese" (Chinese web text by the character, after FineWeb-2). "gopher@datatrove",
    "c4@datatrove", "fineweb@datatrove" and "fineweb2@cmn_Hani" equal datatrove's filters verdict
    for verdict and have no other rule; a path to a settings file of FineWeb-2, such as
    "fra_Latn.yml", gives the profile of that language.

    Arguments:
        profile: the name of a profile.
        overrides: changes to its rules, by name: False or None switches a rule off, True on, a dict
            on with these settings; a setting of None removes that limit. A text switches the rule
            and one setting on: ``nfc="keep-singletons"``. ``redact=True`` masks
            every kind of private data; ``redact={"phone": False}`` all but one, and
            ``redact={"replacement": "remove"}`` leaves no placeholder. ``unit`` names what
            counts as a word: "word", "char" (each Chinese or Japanese character), "spacy-en",
            "jieba". ``lists={"words": FILE, "urls": FILE}`` drops documents with a word or phrase
            of the one list, or whose field ``url`` is of a host in the other. ``stages`` names all
            rules that run, in order; without it, a rule that is switched on runs at its usual
            place.

    Raises:
        ValueError: a profile, rule or setting is unknown (the message names the nearest), or a
            value has the wrong type or is out of range.
        TypeError: a value is not plain data.

    >>> cleaner = lslm.Cleaner("default", redact=True, length={"min_chars": 5})
    >>> cleaner.clean("Write to me@site.org").text
    'Write to <EMAIL>'
    """

    def __new__(
        cls,
        profile: str = "default",
        /,
        **overrides: bool | str | Sequence[str] | Mapping[str, object] | None,
    ) -> Cleaner: ...
    @staticmethod
    def profiles() -> list[str]:
        """Return the names of all profiles."""
    @staticmethod
    def rules() -> dict[str, str]:
        """Return the names of all rules, in their usual order, each with what it does."""
    def clean(self, text: str) -> CleanedText:
        """Return ``text`` as cleaned, and whether it is kept.

        Raises:
            UnicodeEncodeError: ``text`` has lone surrogates, which UTF-8 cannot hold.

        >>> cleaned = lslm.Cleaner("fineweb").clean("too short")
        >>> cleaned.keep, cleaned.measure
        (False, Measure("gopher_repetition.top_2_gram", value=1, limit=0.2, passed=False))
        """
    def clean_batch(
        self, texts: Iterable[str] | Arrow, *, threads: int | None = None
    ) -> list[CleanedText]:
        """Return the results of many texts, in their order; ``threads=None`` is all cores.

        The stage ``dedup`` compares the documents of :func:`lslm.clean` and :func:`lslm.tokenize`;
        here it does nothing.

        ``texts`` is an iterable, or an Arrow array or column (pyarrow, polars, pandas, datasets).

        Raises:
            TypeError: an element is missing or is not a str; the message has its index.
            UnicodeEncodeError: a text has lone surrogates.
        """
    def explain(self, text: str) -> list[Measure]:
        """Return every measure of ``text``, in the order of the filters.

        :meth:`clean` stops at the first one that is not passed; this continues.

        >>> measures = lslm.Cleaner("fineweb").explain("too short")
        >>> [measure.name for measure in measures if not measure.passed][:2]
        ['gopher_repetition.top_2_gram', 'gopher_quality.too_few_words']
        """
    @property
    def config(self) -> dict[str, Any]:
        """The whole configuration: profile, unit, stages, and each rule's settings or False.

        ``profile`` and ``profile_version`` say which rules were changed, ``unicode`` which tables
        they use, ``stages`` is the list of those that run, in order.

        >>> config = cleaner.config
        >>> lslm.Cleaner(config.pop("profile"), **config) == cleaner
        True
        """
    @property
    def fingerprint(self) -> str:
        """The SHA-256 of what decides the result, 64 hexadecimal digits.

        It covers the versions of Unicode and of the unit, and name, version and settings of each
        stage, in order. Datasets
        and cleaned files name the fingerprint of the rules that made them.
        """
    def __eq__(self, value: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]: ...

@final
class Tokenizer:
    """A byte-level BPE tokenizer: text to ids and back, without loss.

    Made by :meth:`load`, :meth:`from_tiktoken`, :meth:`from_pretrained`, :meth:`from_json` or
    :func:`lslm.train_tokenizer`. It is immutable: it can be copied, pickled, used after a fork and
    shared between threads. Two are equal when their :attr:`fingerprint` is; ``len(tok)`` is
    :attr:`vocab_size`.

    Ids are equal to those of the reference: tiktoken for its encodings, Hugging Face's tokenizers
    for its files. ``decode_bytes(encode(x)) == x`` for every byte string, unless the file has a
    normaliser or removes text.

    Arguments that several methods share:
        text: a str, or bytes in any state: a byte that is not UTF-8 is split like U+FFFD and keeps
            its value.
        special: which special tokens in a text become their ids: "none" (they are ordinary text),
            "all", "raise" (ValueError names the first that occurs), or a set of names (KeyError for
            an unknown one). Special tokens are those of :attr:`special_tokens`.
        errors: in encoding, what a lone surrogate in a str becomes: "replace" makes it U+FFFD, as
            tiktoken does; "strict" raises UnicodeEncodeError. In decoding, what bytes that are not
            UTF-8 become, as in :meth:`bytes.decode`.
        dtype: the type of the ids: uint32, int32 or int64, which is torch's for ids:
            ``torch.from_numpy(tok.encode(text, dtype="int64"))``.
        threads: how many threads work; None is all cores. The result is the same.

    In the examples below, ``tok`` is this tokenizer.

    >>> tok = lslm.train_tokenizer(texts=["low lower lowest"] * 3, vocab_size=262)
    >>> tok.decode(tok.encode("lower"))
    'lower'
    """

    @staticmethod
    def load(path: StrPath) -> Tokenizer:
        """Return the tokenizer in ``path``.

        ``path`` is a Hugging Face ``tokenizer.json``, a folder that holds one, one of
        ``vocab.json`` and ``merges.txt`` beside each other, or a rank file of tiktoken under its
        published name (``o200k_base.tiktoken``), which its pattern and special tokens follow from.

        Raises:
            FileNotFoundError: the file does not exist.
            FormatError: the file is broken, or of a kind that is not supported; the message names
                the kind.

        >>> lslm.Tokenizer.load("tokenizer.json")
        Tokenizer(vocab_size=262, pattern="o200k_base", special_tokens=1)
        """
    @staticmethod
    def from_json(text: str) -> Tokenizer:
        """Return the tokenizer that ``text``, the content of a ``tokenizer.json``, describes.

        Raises:
            FormatError: as :meth:`load` does.

        >>> lslm.Tokenizer.from_json(tok.to_json()) == tok
        True
        """
    @staticmethod
    def from_tiktoken(
        path: StrPath,
        *,
        pattern: str,
        special_tokens: dict[str, int] | None = None,
    ) -> Tokenizer:
        """Return the tokenizer of a tiktoken rank file.

        Arguments:
            path: a file with a line for each token: its bytes in base64, and its rank, which is
                its id.
            pattern: what splits a text into pre-tokens: the name of a published pattern ("gpt2",
                "cl100k_base", "o200k_base", …) or a regular expression.
            special_tokens: the ids of special tokens by name.

        Raises:
            FileNotFoundError: the file does not exist.
            FormatError: the file is broken; the message has the byte offset.
            ValueError: the pattern is unknown, or an id is taken.

        >>> tok.save("low.tiktoken")
        >>> lslm.Tokenizer.from_tiktoken(
        ...     "low.tiktoken", pattern="o200k_base", special_tokens={"<|endoftext|>": 261}
        ... )
        Tokenizer(vocab_size=262, pattern="o200k_base", special_tokens=1)
        """
    @staticmethod
    def from_pretrained(name: str, *, revision: str | None = None) -> Tokenizer:
        """Return the tokenizer of the model ``name`` on the Hugging Face hub.

        The package ``huggingface_hub`` downloads it into its cache. ``revision`` is a branch, tag
        or commit.

        Raises:
            ImportError: the package is not installed.
            OSError: the file cannot be downloaded: no connection, or no such model.
            FormatError: as :meth:`load` does.
        """
    def encode(
        self,
        text: str | _Bytes,
        *,
        special: _Special = "none",
        template: bool = False,
        errors: _Surrogates = "replace",
        dtype: DTypeLike = "uint32",
    ) -> NDArray[np.integer[Any]]:
        """Return the ids of ``text``, a one-dimensional array of ``dtype``.

        No ids are added at the ends. With ``template=True`` those are added that the
        post-processor of the file puts there, such as the beginning of the text; ValueError names
        a post-processor that is not supported. See :class:`Tokenizer` for the other arguments.

        >>> tok.encode("low lower")
        array([257, 259,  81], dtype=uint32)
        """
    def encode_batch(
        self,
        texts: Iterable[str | _Bytes] | Arrow,
        *,
        special: _Special = "none",
        template: bool = False,
        errors: _Surrogates = "replace",
        dtype: DTypeLike = "uint32",
        threads: int | None = None,
    ) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
        """Return the ids of all ``texts`` in one array, and the offsets of the texts in it.

        ``ids[offsets[i]:offsets[i + 1]]`` are the ids of text ``i``; ``offsets`` is int64 and has
        one entry more than there are texts. The arguments are those of :meth:`encode`, for each
        text. ``texts`` is an iterable, or an Arrow array or column (pyarrow, polars, pandas,
        datasets); a missing one is a TypeError with its index.

        >>> tok.encode_batch(["low", "low lower"])
        (array([257, 257, 259,  81], dtype=uint32), array([0, 1, 4]))
        """
    def count(
        self,
        text: str | _Bytes,
        *,
        special: _Special = "none",
        errors: _Surrogates = "replace",
    ) -> int:
        """Return the number of ids of ``text``.

        >>> tok.count("low lower")
        3
        """
    def encode_with_offsets(
        self,
        text: str | _Bytes,
        *,
        unit: Literal["byte", "char"] = "byte",
        special: _Special = "none",
        errors: _Surrogates = "replace",
        dtype: DTypeLike = "uint32",
    ) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
        """Return the ids of ``text`` and, for each, where it begins and ends in the text.

        The second array is int64 of shape (number of ids, 2), in bytes of UTF-8 or in characters.
        In characters, a token that holds a part of one covers it whole. Where a normaliser has
        changed the text, a token covers all that its bytes came from.

        >>> ids, offsets = tok.encode_with_offsets("low lower")
        >>> offsets.tolist()
        [[0, 3], [3, 8], [8, 9]]
        """
    def truncate(self, text: _Text, n: int, *, special: _Special = "none") -> _Text:
        """Return the longest start of ``text`` that ends with a token and has at most ``n`` ids.

        ``count(truncate(text, n)) <= n``. A str is never cut inside a character.

        >>> tok.truncate("low lower", 2)
        'low lowe'
        """
    def decode(self, ids: _Ids, *, errors: str = "replace") -> str:
        """Return the text of ``ids``, a one-dimensional integer array or sequence.

        Raises:
            KeyError: an id is not in the vocabulary.

        >>> tok.decode([257, 259, 81])
        'low lower'
        """
    def decode_bytes(self, ids: _Ids) -> bytes:
        """Return the bytes of ``ids``; KeyError if one is not in the vocabulary.

        >>> tok.decode_bytes([257, 259, 81])
        b'low lower'
        """
    def decode_batch(
        self,
        ids: _Ids,
        offsets: NDArray[np.integer[Any]] | Sequence[int],
        *,
        errors: str = "replace",
        threads: int | None = None,
    ) -> list[str]:
        """Return the texts of ``ids`` and ``offsets`` as :meth:`encode_batch` returns them.

        Raises:
            KeyError: an id is not in the vocabulary.
            ValueError: ``offsets`` do not ascend from 0 to the number of ids.

        >>> tok.decode_batch(*tok.encode_batch(["low", "low lower"]))
        ['low', 'low lower']
        """
    def decoder(self) -> StreamDecoder:
        """Return a decoder for ids that arrive one by one; it returns whole characters."""
    def token_bytes(self, id: int) -> bytes:
        """Return the bytes that ``id`` stands for; KeyError if it is not in the vocabulary.

        >>> tok.token_bytes(259)
        b' lowe'
        """
    def token_id(self, token: str | _Bytes) -> int | None:
        """Return the id that stands for exactly the bytes of ``token``, or None.

        >>> tok.token_id(" lowe"), tok.token_id("no token")
        (259, None)
        """
    @property
    def vocab_size(self) -> int:
        """One more than the largest id: the rows that a model's embedding needs."""
    @property
    def special_tokens(self) -> dict[str, int]:
        """The ids of the special tokens, by name.

        These are the tokens that the file marks as special, and those that look like markup,
        ``<…>`` or ``[…]``. Other added tokens are ordinary vocabulary and always found in a text.

        >>> tok.special_tokens
        {'<|endoftext|>': 261}
        """
    @property
    def eos_id(self) -> int | None:
        """The id that ends a document; None if no token, or more than one, is usual for that."""
    @property
    def pattern(self) -> str:
        """The name of the pattern that splits texts into pre-tokens, or its regular expression."""
    @property
    def engine(self) -> str:
        """The code by which texts are split and merged, in words.

        A scanner of the pattern is fastest; an automaton runs others without look-around; a
        backtracking regular expression is the slow path.
        """
    @property
    def fingerprint(self) -> str:
        """The SHA-256 of what decides ids, 64 hexadecimal digits.

        Equal for the same tokenizer, whatever file it comes from.
        """
    @property
    def notes(self) -> tuple[str, ...]:
        """The parts of the file that encoding does not apply, one sentence each.

        For example post-processors that add ids (see ``template`` in :meth:`encode`), truncation
        and padding.
        """
    def save(self, path: StrPath) -> None:
        """Write the tokenizer to ``path``, atomically.

        A name that ends in ``.tiktoken`` gives tiktoken's rank file, any other name a
        ``tokenizer.json`` that loads in Hugging Face's tokenizers with equal ids.

        Raises:
            ValueError: ranks cannot express the tokenizer.
        """
    def save_pretrained(
        self,
        folder: StrPath,
        *,
        bos_token: str | None = None,
        eos_token: str | None = None,
        pad_token: str | None = None,
        unk_token: str | None = None,
    ) -> None:
        """Write the files that transformers' ``AutoTokenizer.from_pretrained(folder)`` loads.

        They are ``tokenizer.json``, ``tokenizer_config.json`` and ``special_tokens_map.json``;
        files of these names are replaced. The last two say which special token begins a document,
        ends one, fills a batch, and stands for what the vocabulary lacks. None is the token with a
        usual name, such as "<s>" or "<pad>"; the end is that of :attr:`eos_id`. transformers'
        collators need a ``pad_token``: without a usual one it is the end token, and then
        ``DataCollatorForLanguageModeling`` leaves the ends of documents out of the loss.

        Raises:
            ValueError: a token is not in :attr:`special_tokens`.
        """
    def to_json(self) -> str:
        """Return the content of a ``tokenizer.json``."""
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __copy__(self) -> Tokenizer: ...
    def __deepcopy__(self, memo: Any, /) -> Tokenizer: ...
    def __reduce__(self) -> tuple[Any, tuple[str]]: ...

@final
class StreamDecoder:
    """Decodes ids that arrive one by one; made by :meth:`Tokenizer.decoder`.

    >>> decoder = tok.decoder()
    >>> "".join(decoder.push(id) for id in tok.encode("Größe")) + decoder.finish()
    'Größe'
    """

    def push(self, ids: int | _Ids) -> str:
        """Return the text that ``ids``, one or several, complete.

        The first bytes of a character are held back until its last one arrives.

        Raises:
            KeyError: an id is not in the vocabulary; the decoder is unchanged.
        """
    def finish(self) -> str:
        """Return what is held back: U+FFFD for a character that was not completed."""

@final
class TokenDataset:
    """A tokenized dataset, mapped into memory.

    Opening reads the manifest; a shard is opened, and checked against it, when it is first used,
    and at most 1,000 are mapped at a time. Tokens are returned as copies: numpy arrays of the
    stored type, uint16 or uint32. ``len(dataset)`` is the number of documents, ``dataset[i]`` the
    tokens of one; negative indices count from the end. Pickled by its path.

    Arguments:
        path: the folder of the dataset.

    Raises:
        FileNotFoundError: the folder does not exist.
        FormatError: something is not as ``docs/format.md`` says; the message has file and byte.

    >>> dataset = lslm.TokenDataset("data/train")
    >>> dataset.n_documents, tok.decode(dataset[0])
    (2, 'A first document.<|endoftext|>')
    """

    def __new__(cls, path: StrPath) -> TokenDataset: ...
    @property
    def path(self) -> Path:
        """The folder, as it was given."""
    @property
    def n_tokens(self) -> int:
        """The number of tokens, document ends included."""
    @property
    def n_documents(self) -> int:
        """The number of documents."""
    @property
    def n_bytes(self) -> int | None:
        """The bytes of text (UTF-8) that the tokens stand for; None if the dataset has no count."""
    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary: every id is smaller."""
    @property
    def dtype(self) -> str:
        """The type of the stored ids: "uint16" or "uint32"."""
    @property
    def eos_id(self) -> int | None:
        """The id that ends each document, or None."""
    @property
    def bos_id(self) -> int | None:
        """The id that begins each document, or None."""
    @property
    def fingerprint(self) -> str:
        """The identity of the content, hexadecimal: equal for equal tokens in equal shards."""
    @property
    def tokenizer_fingerprint(self) -> str | None:
        """The fingerprint of the tokenizer, hexadecimal, or None if it is not recorded."""
    @property
    def tokenizer_path(self) -> Path | None:
        """The file of the tokenizer in the folder, or None."""
    @property
    def manifest(self) -> dict[str, Any]:
        """The content of ``manifest.json``, as ``docs/format.md`` describes it."""
    def document(self, index: int) -> _Tokens:
        """Return the tokens of document ``index``; IndexError if it does not exist."""
    def document_span(self, index: int) -> tuple[int, int]:
        """Return where document ``index`` begins and ends, in tokens of the dataset.

        >>> dataset.document_span(0) == (0, len(dataset[0]))
        True
        """
    def tokens(self, start: int = 0, stop: int | None = None) -> _Tokens:
        """Return the tokens at positions ``start`` to ``stop``, across documents and shards.

        ``stop=None`` is the end.

        Raises:
            ValueError: the dataset does not have these positions.
        """
    def document_bytes(self, index: int) -> int | None:
        """Return the bytes of text of document ``index``; None if the dataset has no count."""
    def source(self, index: int) -> str | None:
        """Return the name of the input that document ``index`` comes from, or None."""
    def document_id(self, index: int) -> str | None:
        """Return the id of document ``index`` in its input, or None."""
    @staticmethod
    def open_bin(
        paths: Sequence[StrPath], vocab_size: int | None = None, eos_id: int | None = None
    ) -> TokenDataset:
        """Return token files of nanoGPT or llm.c as a dataset; see :func:`lslm.data.open_bin`."""
    def check_shards(self) -> int:
        """Open every shard, check its header page, and return their number.

        Raises:
            FileNotFoundError: a shard does not exist.
            FormatError: a shard is truncated, or not the one that the manifest lists.

        >>> dataset.check_shards() > 0
        True
        """
    def verify(self, *, threads: int | None = None, progress: Progress = None) -> int:
        """Check every checksum and return the number of bytes that were checked.

        Raises:
            FormatError: something is damaged; the message has file and byte.

        >>> dataset.verify() > 0
        True
        """
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> _Tokens: ...
    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]: ...

@final
class DatasetWriter:
    """Writes a dataset document by document; the part of ``write_dataset`` that writes shards.

    Arguments:
        path: the folder to write.
        vocab_size: the size of the vocabulary; every id must be smaller.
        shard_bytes: the approximate size of a shard file in bytes.
        eos_id, bos_id: the ids that end and begin each document, for the manifest.
        split: the name of the part, such as "train", for the manifest.
        tokenizer_file: the name of the tokenizer's file in the folder.
        tokenizer_fingerprint: its fingerprint, 64 hexadecimal digits.
    """

    def __new__(
        cls,
        path: StrPath,
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
        """Add a document: its ids, the bytes of its text, and where it comes from."""
    def finish(self) -> dict[str, Any]:
        """Write the last shard, then the manifest, and return the manifest.

        Only then the folder is a dataset.
        """
    def close(self) -> None:
        """Remove what was written, unless :meth:`finish` was called."""

@final
class LoaderCore:
    """Reads batches of samples; the part of :class:`lslm.data.TokenLoader` without torch."""

    def __new__(
        cls,
        datasets: Sequence[TokenDataset],
        weights: Sequence[float] | None,
        names: Sequence[str] | None,
        *,
        sequence_length: int,
        max_sequence_length: int | None,
        packing: str,
        mask_borders: bool,
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
        access: Literal["auto", "map", "call"],
    ) -> LoaderCore: ...
    def next(
        self,
    ) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[np.int64] | None, int] | None:
        """Return the next batch: inputs, targets, None and the position after it; None at the end.

        With ``rows`` the first array has one more column than the sequence is long, targets are
        None, and the third array numbers those that are not counted, if there are any. The memory
        of the arrays serves a later batch once no array refers to it.
        """
    def restart(self) -> None:
        """Begin the next round, with the epochs that follow, if the loader has ended."""
    def state(self) -> str:
        """Return the state after the last batch as JSON; ``docs/format.md`` describes it."""
    def resume(self, state: str, new_segment: bool) -> None:
        """Move to a state; MismatchError for one of other data or options.

        With ``new_segment``, what the loader was given applies from the position on.
        """
    def batch_at(
        self, samples: int
    ) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[np.int64] | None, int]:
        """Return the batch that begins at a position, as `next` does, and do not move."""
    def skip(self, samples: int, count: int) -> None:
        """Leave out ``count`` samples from a position on, which is not before this one."""
    @property
    def packing_counts(self) -> tuple[int, int, int]:
        """Packed rows of a pass, places in them that no token fills, and documents cut."""
    def documents(
        self, samples: int
    ) -> tuple[
        NDArray[np.int64],
        NDArray[np.int32],
        NDArray[np.int32],
        NDArray[np.int32],
        NDArray[np.int64],
    ]:
        """Return the documents of the batch that begins at a position.

        For each input its document and its position in it; where each document begins among the
        inputs, and their number; for each row its dataset and its first token. The document of
        padding is -1.
        """
    @property
    def schedule(
        self,
    ) -> list[tuple[int, int, int, str, bool, int, list[tuple[str, float]]]]:
        """The segments: first sample and samples left out before it, sequence length, packing.

        Then whether borders are masked, the targets that the change before it left unread, and the
        share of each source by name.
        """
    def served(self, samples: int) -> list[tuple[str, int | None, int]]:
        """Return for each source its name, its dataset, and how many longest sequences it gave."""
    @property
    def position(self) -> tuple[int, int]:
        """Samples that all ranks have used, and how often the loader was restarted."""
    @property
    def fingerprint(self) -> str:
        """The identity of the data, hexadecimal."""
    @property
    def samples_per_epoch(self) -> int | None:
        """The samples of one epoch; None for a mixture."""
    @property
    def global_batch_size(self) -> int:
        """The rows of all ranks between two updates of the model."""
    @property
    def samples_per_step(self) -> int:
        """The rows of all ranks in a step."""
    @property
    def n_batches(self) -> int | None:
        """The batches of all epochs; None for an endless loader."""
    @property
    def left_out(self) -> tuple[int, int]:
        """Tokens of an epoch in no sample, and samples of all epochs that fill no batch."""
    def samples_of(self, dataset: int, start: int, stop: int, until: int) -> list[tuple[int, int]]:
        """Return the samples below ``until`` that have one of these tokens, each with its epoch."""
    def locate(self, sample: int) -> tuple[int, int, int]:
        """Return the dataset, the epoch and the first token of a sample."""

@final
class FolderLock:
    """A folder that one process may write at a time; made by :func:`lslm.files.lock`."""

    def __new__(cls, folder: StrPath, /) -> FolderLock: ...
    def __enter__(self) -> FolderLock: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

def missing_path(path: StrPath, /) -> tuple[str, str]:
    """Return a path that is missing as it was written, and what to do, after the reason.

    The second is empty but for a URL and for what may be a name on the Hugging Face hub.
    """

def write_atomically(path: StrPath, data: str | bytes) -> None:
    """Write ``data`` as the whole file ``path``; at every moment it is the old file or the new one.

    The data is on the disk when this returns. A str is written as UTF-8, its line breaks as they
    are. The folder is made if it is missing.

    Raises:
        OSError: the file cannot be written; the error names it, and the old one is unchanged.
    """

def clean(
    inputs: Inputs,
    *,
    output: StrPath,
    cleaner: str | Cleaner = "default",
    dedup: Literal["exact", "lines", "paragraphs"] | None = None,
    dedup_against: StrPath | None = None,
    save_index: bool = False,
    dropped: StrPath | None = None,
    annotate: bool = False,
    signals: bool = False,
    format: str = "jsonl.zst",
    partition_bytes: int = 268435456,
    partitions: str | None = None,
    threads: int | None = None,
    progress: Progress = None,
) -> CleanResult:
    """Write the cleaned documents of ``inputs`` into ``output``; return what was kept and dropped.

    Every field of a record is in the output, with its name and type. JSONL from JSONL: the line
    with another text. Parquet from Parquet: the same columns; those of several files are united.
    JSONL from Parquet: an object of the columns, where binary values are in Base64, times in ISO
    8601, and NaN is null. Parquet from JSONL: text, id, and the other fields as JSON in the column
    ``metadata``. The files are the same bytes for any number of threads. After a kill, the same
    call continues after the partitions that are finished.

    Arguments:
        inputs: paths, or a :class:`Corpus` for other ways of reading.
        output: a folder outside the inputs; each partition becomes the file
            ``part-NNNNNN.FORMAT``.
        cleaner: the rules: a :class:`Cleaner`, or the name of a profile.
        dedup: "exact" keeps only the first of documents whose cleaned text is equal; "lines" and
            "paragraphs" also remove all but the first of equal lines, or paragraphs, of 20
            characters or more. It is the same as the stage ``dedup`` of the cleaner, whose
            settings choose more: ``dedup={"parts": "lines", "normalise": True}`` compares
            letters, marks and numbers in lower case.
        dedup_against: what counts as seen: an index that an earlier job saved with the same
            settings, the output folder of that job, or documents, as a path or a pattern. Documents
            are read as ``inputs`` are, and compared as they are and as the stages before ``dedup``
            leave them.
        save_index: write ``_dedup.index`` into ``output``, with everything that this job and the
            index before it have seen, 16 bytes each.
        dropped: a folder for the documents that are dropped, as they were read, with the fields
            ``lslm_reason``, ``lslm_value``, ``lslm_limit`` and ``lslm_source``; where a single
            place decided, its text as ``lslm_span``, and its characters from ``lslm_span_start``
            to ``lslm_span_end``; and ``lslm_copies``, the number of equal documents. Files called
            ``part-`` are of the rules, ``duplicates-`` of ``dedup``, ``late-`` of the rules after
            it. Lines and paragraphs that are removed from documents are in ``lines-``,
            ``duplicate-parts-`` and ``late-lines-``, each with the id of its document.
        annotate: keep every document, duplicates included, and add these fields, ``lslm_kept``,
            and ``lslm_signals`` with every measure, those of stages after ``dedup`` only where it
            leaves the document. The text is the cleaned one where the document would be kept.
        signals: collect the values of every signal for ``funnel.signals``.
        format: the extension of the files, which decides their format: jsonl or txt, with .gz or
            .zst after it for compression, or parquet.
        partition_bytes: the approximate size of a partition, in bytes of input; at most 1,000,000
            partitions are possible.
        partitions: a slice of the partitions, such as "3/16" for the third of 16. Several processes
            with the same other arguments, on machines that share ``output``, compute one slice
            each; :func:`finish` then ends the job. The figures here are those of the slice; with
            ``dedup`` those before it, and no file is written yet.
        threads: how many threads work; None is all cores.
        progress: None shows a bar on a terminal and in a notebook, True always, False never; a
            function is called with stage, done, total and unit. Unless it is False, the logger
            "lslm" gets a line every ten seconds, at INFO.

    Raises:
        FileNotFoundError, FormatError: an input is missing, broken, or changed after it was opened.
        ValueError: an argument cannot be used, or ``output`` holds other work, is part of an input
            or holds one; or another process computes the slice.

    >>> lslm.clean(lslm.Corpus("corpus/*.jsonl", text_key="content"), output="clean")
    CleanResult(kept: 2 of 2 documents, text: 0.00 MB of 0.00 MB, output: clean (1 file))
    """

def preview_clean(
    inputs: Inputs,
    *,
    cleaner: str | Cleaner = "default",
    sample: float = 0.01,
    seed: int = 0,
    signals: bool = False,
    threads: int | None = None,
    progress: Progress = None,
) -> CleanPreview:
    """Clean a sample of the documents without writing anything; return what would be dropped.

    All documents are read, and a share of them, chosen by a hash of the text, is cleaned.

    Arguments:
        inputs: paths, or a :class:`Corpus` for other ways of reading.
        cleaner: the rules: a :class:`Cleaner`, or the name of a profile.
        sample: the share of the documents, above 0 and up to 1.
        seed: chooses the documents.
        signals: as in :func:`clean`.
        threads: how many threads work; None is all cores.
        progress: as in :func:`clean`.

    Raises:
        FileNotFoundError, FormatError: an input is missing, broken, or changed after it was opened.
        ValueError: an argument cannot be used.

    >>> lslm.preview_clean(lslm.Corpus("corpus/*.jsonl", text_key="content"), sample=1.0)
    CleanPreview(sample: 100.00%, kept: 2 of 2 documents, text: 0.00 MB of 0.00 MB)
    """

def train_tokenizer(
    inputs: Inputs | None = None,
    *,
    texts: Iterable[str] | Arrow | None = None,
    vocab_size: int,
    pattern: str = "o200k_base",
    special_tokens: Sequence[str] = ["<|endoftext|>"],
    special_tokens_first: bool = False,
    min_frequency: int = 2,
    max_token_length: int | None = None,
    cleaner: str | Cleaner | None = None,
    validation_fraction: float = 0.0,
    hold_out: str = "auto",
    sample_bytes: int | None = None,
    seed: int = 0,
    memory: int | None = None,
    threads: int | None = None,
    progress: Progress = None,
) -> Tokenizer:
    """Learn a BPE vocabulary from documents and return its tokenizer.

    The merges are those of Hugging Face tokenizers 0.23 with the same pattern and the byte
    alphabet: the most frequent pair first, of equally frequent ones that with the smaller ids
    (Sennrich, Haddow and Birch 2016, https://aclanthology.org/P16-1162). The result depends on the
    documents alone: not on threads, nor on how they are divided into files.

    Arguments:
        inputs: paths, or a :class:`Corpus` for other ways of reading.
        texts: the documents themselves, instead of ``inputs``: an iterable, or an Arrow array or
            column (pyarrow, polars, pandas, datasets). A missing one is a TypeError with its index.
        vocab_size: the number of tokens: 256 bytes, merges and special tokens. Fewer are learned
            if no other pair occurs ``min_frequency`` times.
        pattern: what splits a text into pre-tokens, in which pairs are counted: the name of a
            published pattern ("gpt2", "cl100k_base", "o200k_base", "qwen2", …) or a regular
            expression.
        special_tokens: the names of the special tokens.
        special_tokens_first: whether these have the first ids instead of the last ones.
        min_frequency: the fewest occurrences of a pair that is merged.
        max_token_length: tokens of more than two bytes stay shorter than this many bytes, as in
            Hugging Face's trainer.
        cleaner: the rules that documents are cleaned by first: a :class:`Cleaner`, or the name of a
            profile.
        validation_fraction: the share of documents that nothing is learned from: those that
            :func:`tokenize` puts into the validation part with the same fraction and seed.
        hold_out: as in :func:`tokenize`; for ``texts``, auto leaves out whole documents.
        sample_bytes: the approximate size of a uniform sample of the other documents to learn from,
            in bytes of text; None learns from all of them.
        seed: chooses the validation part and the sample.
        memory: the approximate limit of memory in bytes; None is no limit. Counted pre-tokens that
            do not fit go to temporary files, with the same result. Merging needs about 16 bytes for
            each byte of distinct pre-tokens; if that is more, ValueError names the size.
        threads: how many threads work; None is all cores.
        progress: as in :func:`clean`.

    Raises:
        TypeError: both ``inputs`` and ``texts`` are given, or neither.
        ValueError: the vocabulary is too small for bytes and special tokens, the pattern is
            unknown, or another argument cannot be used.
        FileNotFoundError, FormatError: an input is missing or broken.

    >>> tok = lslm.train_tokenizer(texts=["low lower lowest"] * 3, vocab_size=262)
    >>> [tok.token_bytes(id) for id in range(256, 261)]
    [b'lo', b'low', b' low', b' lowe', b'st']
    """

def measure_tokenizer(
    inputs: Inputs,
    *,
    tokenizer: Tokenizer | StrPath,
    cleaner: str | Cleaner | None = None,
    validation_fraction: float = 0.0,
    hold_out: str = "auto",
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = None,
) -> TokenizerReport:
    """Encode documents and return how well the vocabulary fits them.

    Arguments:
        inputs: paths, or a :class:`Corpus` for other ways of reading.
        tokenizer: a :class:`Tokenizer`, or the path of one.
        cleaner: as in :func:`train_tokenizer`.
        validation_fraction: the share of documents with sums of their own: the validation part of
            :func:`tokenize` with the same fraction and seed.
        hold_out: as in :func:`tokenize`.
        seed: chooses the validation part.
        threads: how many threads work; None is all cores.
        progress: as in :func:`clean`.

    Raises:
        FileNotFoundError, FormatError: an input or the tokenizer is missing or broken.
        ValueError: an argument cannot be used.

    >>> report = lslm.measure_tokenizer("corpus/notes.txt", tokenizer=tok)
    >>> report.total.n_documents, report.total.n_tokens <= report.total.n_bytes
    (1, True)
    """

def tokenize(
    inputs: Inputs | None = None,
    *,
    texts: Iterable[str] | Arrow | None = None,
    output: StrPath,
    tokenizer: Tokenizer | StrPath,
    cleaner: str | Cleaner | None = None,
    dedup: Literal["exact", "lines", "paragraphs"] | None = None,
    dedup_against: StrPath | None = None,
    save_index: bool = False,
    validation_fraction: float = 0.005,
    hold_out: str = "auto",
    seed: int = 0,
    eos_token: str | None = None,
    bos_token: str | None = None,
    partition_bytes: int = 268435456,
    partitions: str | None = None,
    threads: int | None = None,
    progress: Progress = None,
) -> TokenizeResult:
    """Write the tokens of documents as datasets ``output/train`` and ``output/validation``.

    Returns the size of both parts. Each is a dataset for :class:`TokenDataset` and
    :class:`lslm.data.TokenLoader`. A special token that occurs in a text is encoded as ordinary
    text. The shards are the same bytes for any number of threads. After a kill, the same call
    continues after the partitions that are finished. Memory holds a few megabytes a thread and the
    largest document.

    Arguments:
        inputs: paths, or a :class:`Corpus` for other ways of reading.
        texts: the documents themselves, instead of ``inputs``, as in :func:`train_tokenizer`. They
            are written to a temporary file first, and are not resumed after a kill.
        output: the folder to write, outside the inputs.
        tokenizer: a :class:`Tokenizer`, or the path of one.
        cleaner: the rules that documents are cleaned by first: a :class:`Cleaner`, or the name of a
            profile; None does not clean.
        dedup: as in :func:`clean`; the documents are cleaned into temporary files in ``output``
            first.
        dedup_against: as in :func:`clean`.
        save_index: as in :func:`clean`.
        validation_fraction: the share of documents in the validation part, from 0 to below 1. A
            document belongs to it if the hash of its cleaned text and ``seed``, as a number from 0
            to 1, is below the fraction; so equal texts are in the same part.
        hold_out: documents for whole documents; stretches for parts of long ones, of 256 bytes or
            more, that begin and end on a line if there is one nearby, and leave the share of each
            document; auto for stretches where a part could expect fewer than five whole documents,
            as with one large file. A document of more than 16 MiB is divided by auto in any case.
            Each part of a divided document becomes a document of its own.
        seed: chooses the documents of the validation part.
        eos_token: the special token that ends each document; None is the tokenizer's own.
        bos_token: the special token that begins each document; None adds nothing.
        partition_bytes: the approximate size of a partition, in bytes of input; each becomes shards
            of its own, and at most 1,000,000 are possible.
        partitions: a slice of the partitions, as in :func:`clean`; :func:`finish` writes the
            manifests. With ``dedup`` a slice is cleaned only, and has no tokens yet.
        threads: how many threads work; None is all cores.
        progress: as in :func:`clean`.

    Raises:
        TypeError: both ``inputs`` and ``texts`` are given, or neither; or a text is missing or of
            another type, with its index.
        FileNotFoundError, FormatError: an input or the tokenizer is missing or broken, or an input
            changed after it was opened.
        ValueError: an argument cannot be used, the tokenizer does not have the special token,
            ``output`` holds other work, is part of an input or holds one, or no document is left
            for the training part.

    Warns:
        UserWarning: no document was held out although ``validation_fraction`` is not 0.

    >>> corpus = lslm.Corpus("corpus/*.jsonl", text_key="content")
    >>> made = lslm.tokenize(corpus, output="data/small", tokenizer=tok, validation_fraction=0)
    >>> made.train.n_documents, made.train.n_bytes
    (2, 30)
    """

def finish(
    output: StrPath, *, threads: int | None = None, progress: Progress = None
) -> CleanResult | TokenizeResult:
    """End a job of :func:`clean` or :func:`tokenize` whose slices (``partitions=``) are computed.

    Writes what concerns all partitions: figures, manifests, tokenizer; with ``dedup``, it finds the
    duplicates and writes the files without them. All files are the same bytes as those of one
    process. The inputs are needed again, unchanged, and from the same working directory if their
    paths are relative.

    Arguments:
        output: the folder of the slices.
        threads: how many threads work; None is all cores.
        progress: as in :func:`clean`.

    Raises:
        FileNotFoundError, FormatError: an input is missing or broken.
        ValueError: partitions are missing, and the message names them by slice; a slice is running;
            an input changed; or ``output`` has no such job.

    >>> corpus = lslm.Corpus("corpus/*.jsonl", text_key="content")
    >>> lslm.clean(corpus, output="by-slices", partitions="1/1").slice.n_partitions_left
    0
    >>> lslm.finish("by-slices")
    CleanResult(kept: 2 of 2 documents, text: 0.00 MB of 0.00 MB, output: by-slices (1 file))
    """
