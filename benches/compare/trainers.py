"""One interface to each package that learns a vocabulary.

This file also runs in the environments of the peers. ``train`` is what is timed, from documents on
disk to the learned merges; a package that reads files itself reads JSON lines, the others take
documents one by one from an iterator, so that memory holds what the package needs and no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compare import corpora


class Trainer:
    """A package about to learn from ``job``: texts, pattern, vocabulary and threads."""

    distribution = ""
    environment = "peers"
    any_pattern = True
    rounds = 1_000  # at most; less for the very slow

    def __init__(self, job: dict) -> None:
        self.texts, self.jsonl = Path(job["texts"]), Path(job["jsonl"])
        self.name, self.pattern = job["pattern"], job["regex"]
        self.vocabulary, self.threads = job["vocabulary"], job["threads"]
        self.load()

    def load(self) -> None:
        """Import the package; not timed."""

    def documents(self) -> Iterator[str]:
        return corpora.read(self.texts)

    def train(self) -> Any:
        raise NotImplementedError

    def tokens(self, result: Any) -> list[bytes]:
        """Return the learned tokens in their order, without the 256 bytes."""
        raise NotImplementedError


class Lslm(Trainer):
    distribution = "lslm"
    environment = "lslm"

    def load(self) -> None:
        import lslm

        self.lslm = lslm

    def train(self) -> Any:
        return self.lslm.train_tokenizer(
            [str(self.jsonl)],
            vocab_size=self.vocabulary,
            pattern=self.name,
            special_tokens=[],
            threads=self.threads,
            progress=False,
        )

    def tokens(self, result: Any) -> list[bytes]:
        return [result.token_bytes(i) for i in range(256, len(result))]


class Tokenizers(Trainer):
    distribution = "tokenizers"
    rounds = 3

    def load(self) -> None:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers

        self.tokenizers = tokenizers

    def train(self) -> Any:
        pre = self.tokenizers.pre_tokenizers
        tok = self.tokenizers.Tokenizer(self.tokenizers.models.BPE())
        if self.name == "gpt2":
            tok.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
        else:
            split = pre.Split(self.tokenizers.Regex(self.pattern), "isolated")
            tok.pre_tokenizer = pre.Sequence(
                [split, pre.ByteLevel(add_prefix_space=False, use_regex=False)]
            )
        trainer = self.tokenizers.trainers.BpeTrainer(
            vocab_size=self.vocabulary,
            min_frequency=2,
            initial_alphabet=pre.ByteLevel.alphabet(),
            show_progress=False,
        )
        tok.train_from_iterator(self.documents(), trainer)
        return tok

    def tokens(self, result: Any) -> list[bytes]:
        model = json.loads(result.to_str())["model"]
        letters = _byte_of_letter()
        merges = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
        return [bytes(letters[c] for c in first + second) for first, second in merges]


class Gigatoken(Trainer):
    distribution = "gigatoken"
    any_pattern = False

    def load(self) -> None:
        import gigatoken

        self.gigatoken = gigatoken

    def train(self) -> Any:
        source = self.gigatoken.JsonlFileSource([str(self.jsonl)])
        return self.gigatoken.train_bpe(source, self.vocabulary, [])

    def tokens(self, result: Any) -> list[bytes]:
        return [first + second for first, second in result[1]]


class Rustbpe(Trainer):
    distribution = "rustbpe"

    def load(self) -> None:
        import rustbpe

        self.tok = rustbpe.Tokenizer()

    def train(self) -> Any:
        self.tok.train_from_iterator(self.documents(), self.vocabulary, pattern=self.pattern)
        return self.tok

    def tokens(self, result: Any) -> list[bytes]:
        return [bytes(token) for token, rank in result.get_mergeable_ranks() if rank >= 256]


class Bpeasy(Trainer):
    distribution = "bpeasy"
    rounds = 1

    def load(self) -> None:
        import bpeasy

        self.bpeasy = bpeasy

    def train(self) -> Any:
        return self.bpeasy.train_bpe(self.documents(), self.pattern, 1_000_000, self.vocabulary)

    def tokens(self, result: Any) -> list[bytes]:
        return [token for token, rank in sorted(result.items(), key=lambda p: p[1]) if rank >= 256]


class Ffbpe(Trainer):
    distribution = "ffbpe"

    def load(self) -> None:
        import ffbpe

        self.ffbpe = ffbpe

    def train(self) -> Any:
        counter = self.ffbpe.PreTokenizer([], pat_str=self.pattern).word_counter()
        counter.add_source(self.documents())
        # Its settings for the ties of tokenizers.
        trainer = self.ffbpe.BpeTrainer(
            [], initial_alphabet="byte_level", tie_break="smallest_pair_id"
        )
        trainer.add_word_counter(counter)
        trainer.train(self.vocabulary)
        return trainer

    def tokens(self, result: Any) -> list[bytes]:
        learned = sorted(result.vocab.items(), key=lambda p: p[1])
        return [token for token, _ in learned if len(token) > 1]


def _byte_of_letter() -> dict[str, int]:
    """Return the byte for each letter of the byte-level alphabet, as GPT-2 defined it."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): b for i, b in enumerate(others)}


TRAINERS: dict[str, type[Trainer]] = {
    "lslm": Lslm,
    "tokenizers": Tokenizers,
    "gigatoken": Gigatoken,
    "rustbpe": Rustbpe,
    "bpeasy": Bpeasy,
    "ffbpe": Ffbpe,
}
