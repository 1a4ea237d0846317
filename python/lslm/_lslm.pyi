import os
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, TypeAlias, TypeVar, final

import numpy as np
from numpy.typing import DTypeLike, NDArray

__version__: str

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
        errors: _Surrogates = "replace",
        dtype: DTypeLike = "uint32",
    ) -> NDArray[Any]:
        """Return the ids of ``text``: a one-dimensional array of ``dtype``.

        ``dtype`` is uint32 (the default), int32 or int64. No ids are added at the ends.

        >>> tok.encode("Hello, world!")
        array([13225,    11,  2375,     0], dtype=uint32)
        """

    def encode_batch(
        self,
        texts: Iterable[str | _Bytes],
        *,
        special: _Special = "none",
        errors: _Surrogates = "replace",
        dtype: DTypeLike = "uint32",
        threads: int | None = None,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the ids of all ``texts`` end to end, and the offsets of the texts in them.

        ``ids[offsets[i]:offsets[i + 1]]`` are those of text ``i``; ``offsets`` is int64 with one
        entry more than there are texts. The result is the same for any number of ``threads``;
        None means all cores.
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

    def token_bytes(self, id: int) -> bytes:  # noqa: A002
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
