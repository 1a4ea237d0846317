"""One interface to each package that encodes, by its fastest public call for many texts.

This file also runs in the environments of the peers, so each function imports its own package
only. ``encode`` is what is timed; it ends when ids lie in an array, a buffer or a list that Python
can read. ``ids`` makes one flat array of that for the comparison and is never timed.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Decode = Callable[[], list[Any]]


class Encoder:
    """A package with one encoding; ``folder`` has the files of ``vocabularies.unpack``.

    A method ``ranks`` loads the tokenizer from a ``.tiktoken`` file and a method ``json`` from a
    ``tokenizer.json``; a package has at least one of them.
    """

    distribution = ""
    modules: tuple[str, ...] = ()
    environment = "peers"
    encodings: tuple[str, ...] = ("gpt2", "cl100k_base", "o200k_base", "qwen2_5")
    # Encodings that it encodes faster when they come from a tokenizer.json.
    better_from_json: tuple[str, ...] = ("qwen2_5",)
    rounds = 1_000  # at most; less for the very slow

    def __init__(self, folder: Path, name: str, threads: int) -> None:
        self.ranks_file = folder / f"{name}.tiktoken"
        self.json_file = folder / f"{name}.tokenizer.json"
        self.name, self.threads = name, threads
        self.tok: Any = None
        for module in self.modules:
            importlib.import_module(module)

    def facts(self) -> dict:
        """Return pattern and special tokens of the encoding, which a rank file lacks."""
        return json.loads(self.ranks_file.with_suffix(".meta.json").read_text(encoding="utf-8"))

    def load(self, kind: str | None = None) -> None:
        """Set ``tok`` from the ``kind`` of file, or from the one that makes it encode faster."""
        if kind is None:
            kind = "json" if self.name in self.better_from_json else "ranks"
            kind = kind if hasattr(self, kind) else "json"
        self.tok = getattr(self, kind)()

    def encode_one(self, text: str) -> Any:
        return self.tok.encode(text)

    def encode(self, texts: list[str]) -> Any:
        raise NotImplementedError

    def ids(self, result: Any) -> np.ndarray:
        return _flat(result)

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        """Return a call that decodes all documents, given in the form the package likes best."""
        raise NotImplementedError


class Lslm(Encoder):
    distribution = "lslm"
    modules = ("lslm",)
    environment = "lslm"

    def ranks(self) -> Any:
        import lslm

        facts = self.facts()
        return lslm.Tokenizer.from_tiktoken(
            self.ranks_file, pattern=facts["pat"], special_tokens=facts["special"]
        )

    def json(self) -> Any:
        import lslm

        return lslm.Tokenizer.load(self.json_file)

    def encode(self, texts: list[str]) -> Any:
        return self.tok.encode_batch(texts, threads=self.threads)

    def ids(self, result: Any) -> np.ndarray:
        return result[0]

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        decode = self.tok.decode_bytes
        return lambda: [decode(ids) for ids in documents]


class Tiktoken(Encoder):
    distribution = "tiktoken"
    modules = ("tiktoken", "tiktoken.load")
    encodings = ("gpt2", "cl100k_base", "o200k_base")

    def ranks(self) -> Any:
        import tiktoken
        import tiktoken.load

        facts = self.facts()
        return tiktoken.Encoding(
            self.name,
            pat_str=facts["pat"],
            mergeable_ranks=tiktoken.load.load_tiktoken_bpe(str(self.ranks_file)),
            special_tokens=facts["special"],
        )

    def encode(self, texts: list[str]) -> Any:
        encode = self.tok.encode_ordinary
        return [encode(text) for text in texts]

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        lists = [ids.tolist() for ids in documents]
        decode = self.tok.decode_bytes
        return lambda: [decode(ids) for ids in lists]


class Gigatoken(Encoder):
    distribution = "gigatoken"
    modules = ("gigatoken", "awkward")

    def ranks(self) -> Any:
        import gigatoken

        return gigatoken.Tokenizer.from_tiktoken(
            self.ranks_file,
            pretokenizer=self.name.removesuffix("_base"),
            special_tokens=self.facts()["special"],
        )

    def json(self) -> Any:
        import gigatoken

        return gigatoken.Tokenizer(self.json_file)

    def encode(self, texts: list[str]) -> Any:
        return self.tok.encode_batch(texts, parallel=self.threads > 1)

    def ids(self, result: Any) -> np.ndarray:
        import awkward

        return np.asarray(awkward.flatten(result), dtype=np.uint32)

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        decode = self.tok.backend.decode
        return lambda: [decode(ids) for ids in documents]


class Fastokens(Encoder):
    distribution = "fastokens"
    modules = ("fastokens",)
    better_from_json = ("gpt2", "qwen2_5")

    def ranks(self) -> Any:
        import fastokens

        facts = self.facts()
        return fastokens.Tokenizer.from_tiktoken(
            str(self.ranks_file), pattern=facts["pat"], special_tokens=facts["special"]
        )

    def json(self) -> Any:
        import fastokens

        return fastokens.Tokenizer.from_file(str(self.json_file))

    def encode(self, texts: list[str]) -> Any:
        return self.tok.encode_batch_flat(texts)

    def ids(self, result: Any) -> np.ndarray:
        return np.frombuffer(result[0], dtype=np.uint32)

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        lists = [ids.tolist() for ids in documents]
        return lambda: self.tok.decode_batch(lists)


class Splintr(Encoder):
    distribution = "splintr-rs"
    modules = ("splintr",)
    better_from_json = ("gpt2", "qwen2_5")

    def ranks(self) -> Any:
        import splintr

        facts = self.facts()
        return splintr.Tokenizer.from_bytes(
            self.ranks_file.read_bytes(), facts["pat"], facts["special"]
        )

    def json(self) -> Any:
        import splintr

        return splintr.from_json(str(self.json_file))

    def encode(self, texts: list[str]) -> Any:
        return self.tok.encode_batch_flat(texts)

    def ids(self, result: Any) -> np.ndarray:
        return np.frombuffer(result[0], dtype=np.uint32)

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        lists = [ids.tolist() for ids in documents]
        return lambda: self.tok.decode_batch(lists)


class Quicktok(Encoder):
    distribution = "quicktok-v1"
    modules = ("quicktok",)
    better_from_json = ()
    encodings = ("cl100k_base", "o200k_base", "qwen2_5")

    def ranks(self) -> Any:
        """Return the tokenizer from the file of its own that lies in the package."""
        import quicktok

        return quicktok.get_encoding("qwen3" if self.name == "qwen2_5" else self.name)

    def encode(self, texts: list[str]) -> Any:
        return self.tok.encode_batch(texts, threads=self.threads)

    def ids(self, result: Any) -> np.ndarray:
        return np.asarray(result[0], dtype=np.uint32)

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        lists = [ids.tolist() for ids in documents]
        decode = self.tok.decode_bytes
        return lambda: [decode(ids) for ids in lists]


class Tokie(Encoder):
    distribution = "tokie"
    modules = ("tokie",)

    def json(self) -> Any:
        import tokie

        return tokie.Tokenizer.from_json(str(self.json_file))

    def encode(self, texts: list[str]) -> Any:
        return self.tok.encode_batch_flat(texts, add_special_tokens=False)

    def ids(self, result: Any) -> np.ndarray:
        return result[0]

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        lists = [ids.tolist() for ids in documents]
        decode = self.tok.decode_bytes
        return lambda: [decode(ids) for ids in lists]


class Tokenizers(Encoder):
    distribution = "tokenizers"
    modules = ("tokenizers",)
    rounds = 1

    def json(self) -> Any:
        import tokenizers

        return tokenizers.Tokenizer.from_file(str(self.json_file))

    def encode(self, texts: list[str]) -> Any:
        found = self.tok.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        lists = [ids.tolist() for ids in documents]
        return lambda: self.tok.decode_batch(lists)


class TokenizersPre(Tokenizers):
    """The pre-release of tokenizers 1.0."""

    environment = "peers-v1"
    rounds = 1_000

    def encode(self, texts: list[str]) -> Any:
        found = self.tok.encode_batch(texts, add_special_tokens=False, encode_special_tokens=True)
        return [encoding.ids_array for encoding in found]

    def decoding(self, documents: list[np.ndarray]) -> Decode:
        decode = self.tok.decode
        return lambda: [decode(ids) for ids in documents]


def _flat(lists: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.asarray(ids, dtype=np.uint32) for ids in lists])


ENCODERS: dict[str, type[Encoder]] = {
    "lslm": Lslm,
    "tiktoken": Tiktoken,
    "gigatoken": Gigatoken,
    "fastokens": Fastokens,
    "tokenizers-1.0": TokenizersPre,
    "splintr": Splintr,
    "quicktok": Quicktok,
    "tokie": Tokie,
    "tokenizers": Tokenizers,
}
