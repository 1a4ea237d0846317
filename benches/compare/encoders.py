"""Each package that encodes, behind one small face, by its fastest public call for many texts.

This file also runs in the environments of the peers, so it imports a package only when it is asked
for. ``encode`` is what is timed; it ends when ids lie in an array, a buffer or a list that Python
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
    """A package with one encoding; ``folder`` has the files of ``vocabularies.unpack``."""

    distribution = ""
    modules: tuple[str, ...] = ()
    environment = "peers"
    encodings: tuple[str, ...] = ("gpt2", "cl100k_base", "o200k_base", "qwen2_5")
    loads_from = ".tiktoken"  # what ``load`` reads where the encoding has it
    rounds = 1_000  # at most; less for the very slow

    def __init__(self, folder: Path, name: str, threads: int) -> None:
        self.ranks = folder / f"{name}.tiktoken"
        self.json = folder / f"{name}.tokenizer.json"
        self.name, self.threads = name, threads
        self.tok: Any = None
        for module in self.modules:
            importlib.import_module(module)

    def facts(self) -> dict:
        """Return pattern and special tokens of the encoding, which a rank file lacks."""
        return json.loads(self.ranks.with_suffix(".meta.json").read_text(encoding="utf-8"))

    def load(self) -> None:
        """Set ``tok``."""
        raise NotImplementedError

    def encode_one(self, text: str) -> Any:
        """Encode one text; the first call ends the time of loading."""
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

    def load(self) -> None:
        import lslm

        if self.name == "qwen2_5":
            self.tok = lslm.Tokenizer.load(self.json)
        else:
            facts = self.facts()
            self.tok = lslm.Tokenizer.from_tiktoken(
                self.ranks, pattern=facts["pat"], special_tokens=facts["special"]
            )

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

    def load(self) -> None:
        import tiktoken
        import tiktoken.load

        facts = self.facts()
        self.tok = tiktoken.Encoding(
            self.name,
            pat_str=facts["pat"],
            mergeable_ranks=tiktoken.load.load_tiktoken_bpe(str(self.ranks)),
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

    def load(self) -> None:
        import gigatoken

        if self.name == "qwen2_5":
            self.tok = gigatoken.Tokenizer(self.json)
        else:
            self.tok = gigatoken.Tokenizer.from_tiktoken(
                self.ranks,
                pretokenizer=self.name.removesuffix("_base"),
                special_tokens=self.facts()["special"],
            )

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

    def load(self) -> None:
        import fastokens

        if self.name == "qwen2_5":
            self.tok = fastokens.Tokenizer.from_file(str(self.json))
        else:
            facts = self.facts()
            self.tok = fastokens.Tokenizer.from_tiktoken(
                str(self.ranks), pattern=facts["pat"], special_tokens=facts["special"]
            )

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

    def load(self) -> None:
        import splintr

        if self.name == "qwen2_5":
            self.tok = splintr.from_json(str(self.json))
        else:
            facts = self.facts()
            self.tok = splintr.Tokenizer.from_bytes(
                self.ranks.read_bytes(), facts["pat"], facts["special"]
            )

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
    encodings = ("cl100k_base", "o200k_base", "qwen2_5")
    loads_from = "bundled"

    def load(self) -> None:
        import quicktok

        self.tok = quicktok.get_encoding("qwen3" if self.name == "qwen2_5" else self.name)

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
    loads_from = "tokenizer.json"

    def load(self) -> None:
        import tokie

        self.tok = tokie.Tokenizer.from_json(str(self.json))

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
    loads_from = "tokenizer.json"
    rounds = 1

    def load(self) -> None:
        import tokenizers

        self.tok = tokenizers.Tokenizer.from_file(str(self.json))

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
