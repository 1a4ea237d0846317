"""Differential fuzzing: the same ids as tiktoken and Hugging Face's tokenizers, on any text.

    python tests/fuzz_parity.py --bytes 1e9            # all cores, until 1 GB has been checked
    LSLM_SIMD=scalar python tests/fuzz_parity.py       # one of the vector paths
    python tests/fuzz_parity.py --seed 7 --batch 1234  # repeat one batch, as a failure prints

The real vocabularies are used if ``../shared/data`` exists. Vocabularies for the other published
patterns are trained in the run by Hugging Face's trainer, which also pre-tokenizes by the
published expressions. A batch is about 200 kB of texts for one pair of tokenizers; it depends only
on the seed, its number and ``--real``. A failing text is shrunk to what is needed to fail.
``tests/test_fuzz_parity.py`` is a short run; its size is LSLM_FUZZ_BYTES.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tiktoken
import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

import fuzz_texts
import lslm
from conftest import DATA, ROOT, read_bytes
from hf_tokenizers import CHARACTERS, train_characters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BATCH = 200_000  # bytes of text in a batch, at least
TIKTOKEN = {"gpt2": "gpt2", "cl100k_base": "cl100k_base_tiktoken", "o200k_base": "o200k_base"}
END = "<|endoftext|>"


def _byte_level(**options: bool) -> Any:
    return pre_tokenizers.ByteLevel(**({"add_prefix_space": False} | options))


def _split(steps: list[str]) -> Any:
    """Return the pre-tokenizer of a published pattern, as in its model's file."""
    parts = [
        pre_tokenizers.Digits(individual_digits=True)
        if step == "digits"
        else pre_tokenizers.Split(hf.Regex(step), "isolated")
        for step in steps
    ]
    return pre_tokenizers.Sequence([*parts, _byte_level(use_regex=False)])


def _hugging_face() -> dict[str, dict[str, Any]]:
    """Return the parts of each kind of Hugging Face file to test, by name."""
    published = json.loads((ROOT / "testdata" / "split" / "published.json").read_text("utf-8"))
    del published["cl100k_base_tiktoken"]  # onig gives possessive counts another meaning
    made: dict[str, dict[str, Any]] = {
        f"hf:{name}": {"pre_tokenizer": _split(steps)} for name, steps in published.items()
    }
    digits = pre_tokenizers.Digits(individual_digits=True)
    return made | {
        "hf:qwen2": {
            "pre_tokenizer": _split(published["qwen2"]),
            "normalizer": normalizers.NFC(),
        },
        "hf:llama3": {
            "pre_tokenizer": _split(published["cl100k_base"]),
            "ignore_merges": True,
        },
        "hf:gpt_neox": {"pre_tokenizer": _byte_level(), "normalizer": normalizers.NFC()},
        "hf:byte_level": {"pre_tokenizer": _byte_level(add_prefix_space=True)},
        "hf:byte_level without regex": {"pre_tokenizer": _byte_level(use_regex=False)},
        "hf:dolma2": {
            "pre_tokenizer": pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(
                        hf.Regex(published["cl100k_base"][0]), "removed", invert=True
                    ),
                    _byte_level(use_regex=False),
                ]
            )
        },
        "hf:falcon": {
            "pre_tokenizer": pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Punctuation("contiguous"),
                    _byte_level(),
                    pre_tokenizers.Digits(individual_digits=False),
                    pre_tokenizers.Split(hf.Regex("[0-9][0-9][0-9]"), "isolated"),
                ]
            )
        },
        # an expression that no scanner has
        "hf:other pattern": {
            "pre_tokenizer": _split(
                [r"[A-Z]?[a-z]+|\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]|\s+(?!\S)|\s+"]
            )
        },
        "hf:starcoder": {"pre_tokenizer": pre_tokenizers.Sequence([digits, _byte_level()])},
        "hf:NFKC": {
            "pre_tokenizer": _split(published["o200k_base"]),
            "normalizer": normalizers.NFKC(),
        },
    }


def _learn_characters(name: str) -> str:
    """Return a tokenizer.json with a small vocabulary of characters and bytes, as SentencePiece's."""
    rng = random.Random("vocabulary")
    sources = fuzz_texts.real_texts(30_000)
    texts = [*sources, *(fuzz_texts.text(rng, sources) for _ in range(60))]
    text: str = train_characters(texts, vocab_size=3000, **CHARACTERS[name]).to_str()
    return text


def _learn(pre_tokenizer: Any, normalizer: Any = None, ignore_merges: bool = False) -> str:
    """Return a tokenizer.json with a small vocabulary, trained on sources and fuzzed texts."""
    rng = random.Random("vocabulary")
    sources = fuzz_texts.real_texts(30_000)
    texts = [*sources, *(fuzz_texts.text(rng, sources) for _ in range(60))]
    tokenizer = hf.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=40,
        show_progress=False,
    )
    # by lines: without a pattern a whole text is one pre-token
    tokenizer.train_from_iterator((line for text in texts for line in text.split("\n")), trainer)
    file = json.loads(tokenizer.to_str())
    if ignore_merges:
        # as in Llama 3, where no merges produce some of the tokens
        file["model"]["ignore_merges"] = True
        merges = file["model"]["merges"]
        file["model"]["merges"] = [merge for i, merge in enumerate(merges) if i % 11 < 10]
    return json.dumps(file)


@dataclass(frozen=True)
class Pair:
    """A reference tokenizer and ours, of the same file."""

    name: str
    tok: lslm.Tokenizer
    ids: Callable[[list[str], bool], list[Any]]
    changes_text: bool

    def differs(self, texts: list[str], special: bool) -> bool:
        """Return whether any id of any text differs; with ``special``, special tokens are ids."""
        expected = [np.asarray(ids, np.uint32) for ids in self.ids(texts, special)]
        policy = "all" if special else "none"
        ids, offsets = self.tok.encode_batch(texts, special=policy, threads=1)
        lengths = [len(part) for part in expected]
        if np.diff(offsets).tolist() != lengths or not np.array_equal(
            ids, np.concatenate([*expected, np.zeros(0, np.uint32)])
        ):
            return True
        counts = [self.tok.count(text, special=policy) for text in texts[:20]]
        if counts != lengths[:20]:
            return True
        return not self.changes_text and self.tok.decode_batch(ids, offsets, threads=1) != texts


def _tiktoken_pair(name: str, folder: Path, tmp: Path) -> Pair:
    """Return one of tiktoken's encodings, with its real ranks if present, else trained ones."""
    published = json.loads((ROOT / "testdata" / "split" / "published.json").read_text("utf-8"))
    path = tmp / f"{name}-{os.getpid()}.tiktoken"
    if (folder / f"{name}.tiktoken.zst").is_file():
        path.write_bytes(read_bytes(folder / f"{name}.tiktoken.zst"))
        meta = json.loads((folder / f"{name}.meta.json").read_text())
        pattern, special = meta["pat"], meta["special"]
    else:
        (pattern,) = published[TIKTOKEN[name]]
        learned = lslm.train_tokenizer(
            texts=fuzz_texts.real_texts(30_000), vocab_size=3000, pattern=TIKTOKEN[name]
        )
        learned.save(path)
        special = {END: 5000}
    from tiktoken.load import load_tiktoken_bpe

    reference = tiktoken.Encoding(
        name, pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(str(path)), special_tokens=special
    )

    def ids(texts: list[str], special: bool) -> list[Any]:
        if special:
            return [reference.encode_to_numpy(text, allowed_special="all") for text in texts]
        return [reference.encode_to_numpy(text, disallowed_special=()) for text in texts]

    tok = lslm.Tokenizer.from_tiktoken(path, pattern=pattern, special_tokens=special)
    return Pair(name, tok, ids, changes_text=False)


def _hugging_face_pair(name: str, text: str, changes_text: bool) -> Pair:
    reference = hf.Tokenizer.from_str(text)

    def ids(texts: list[str], special: bool) -> list[Any]:
        reference.encode_special_tokens = not special
        return [e.ids for e in reference.encode_batch_fast(texts, add_special_tokens=False)]

    return Pair(name, lslm.Tokenizer.from_json(text), ids, changes_text)


def names() -> list[str]:
    """Return the names of all pairs."""
    characters = [f"characters:{name}" for name in CHARACTERS]
    return [*TIKTOKEN, "qwen2_5", *_hugging_face(), *characters]


# how often a pair is chosen, in relation to the others (1): real vocabularies have more to test
WEIGHTS = {"gpt2": 8, "cl100k_base": 8, "o200k_base": 10, "qwen2_5": 5}


def make_pair(name: str, tmp: Path) -> Pair:
    """Return the pair of a name of :func:`names`."""
    folder = DATA / "tokenizers"
    if name in TIKTOKEN:
        return _tiktoken_pair(name, folder, tmp)
    if name == "qwen2_5":
        path = folder / "qwen2_5.tokenizer.json.zst"
        if path.is_file():
            return _hugging_face_pair(name, read_bytes(path).decode(), changes_text=True)
        name = "hf:qwen2"
    if name.startswith("characters:"):
        text = _learn_characters(name.removeprefix("characters:"))
        return _hugging_face_pair(name, text, changes_text=True)
    options = _hugging_face()[name]
    changes = "normalizer" in options or name == "hf:byte_level"
    return _hugging_face_pair(name, _learn(**options), changes)


class Worker:
    """Checks batches in one process; makes each pair when it is first needed."""

    def __init__(self, seed: int, real: int, tmp: Path) -> None:
        self.seed, self.tmp = seed, tmp
        self.real = fuzz_texts.real_texts(real)
        self.pairs: dict[str, Pair] = {}

    def pair(self, name: str) -> Pair:
        """Return the pair of this name, made once."""
        if name not in self.pairs:
            self.pairs[name] = make_pair(name, self.tmp)
        return self.pairs[name]

    def batch(self, number: int) -> tuple[str, list[str], bool]:
        """Return a batch: the name of its pair, its texts, whether special tokens are ids."""
        rng = random.Random(f"{self.seed}/{number}")
        known = names()
        name = rng.choices(known, [WEIGHTS.get(name, 1) for name in known])[0]
        special = rng.random() < 0.2
        texts, size = [], 0
        while size < BATCH:
            texts.append(fuzz_texts.text(rng, self.real))
            size += len(texts[-1].encode()) + 1
        return name, texts, special

    def check(self, number: int) -> tuple[str, int, str]:
        """Check one batch; return its pair's name, its bytes, and a report if it failed."""
        name, texts, special = self.batch(number)
        pair = self.pair(name)
        size = sum(len(text.encode()) for text in texts)
        if not pair.differs(texts, special):
            return name, size, ""
        for text in texts:
            if pair.differs([text], special):
                small = shrink(text, lambda part: pair.differs([part], special))
                expected = list(pair.ids([small], special)[0])
                found = pair.tok.encode(small, special="all" if special else "none").tolist()
                return (
                    name,
                    size,
                    (
                        f"{name}: {small[:2000]!r} ({len(small)} characters, special={special}) "
                        f"gives {found[:40]} instead of {expected[:40]}"
                    ),
                )
        return name, size, f"{name}: the batch differs, though none of its texts does alone"


def shrink(text: str, fails: Callable[[str], bool], seconds: float = 30) -> str:
    """Return a part of ``text`` that still fails and is as short and plain as ``seconds`` allow.

    Parts are left out, half of the text first, then characters are replaced by an "a".
    """
    end = time.monotonic() + seconds
    size = max(1, len(text) // 2)
    while True:
        start = 0
        while start < len(text) and time.monotonic() < end:
            shorter = text[:start] + text[start + size :]
            if fails(shorter):
                text = shorter
            else:
                start += size
        if size == 1 or time.monotonic() >= end:
            break
        size = max(1, size // 2)
    for place, character in enumerate(text):
        plainer = text[:place] + "a" + text[place + 1 :]
        if character != "a" and time.monotonic() < end and fails(plainer):
            text = plainer
    return text


_workers: list[Worker] = []  # the one of this process, set by _start


def _start(*arguments: Any) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _workers[:] = [Worker(*arguments)]


def _check(number: int) -> tuple[int, str, int, str]:
    return number, *_workers[0].check(number)


def run(
    budget: int, *, seed: int, real: int, processes: int, tmp: Path, report: Callable[[str], None]
) -> tuple[Counter[str], list[str]]:
    """Check ``budget`` bytes; return the bytes of each pair, and a report for each failure."""
    done: Counter[str] = Counter()
    failures: list[str] = []
    begin = shown = time.monotonic()
    batches = range(-(-budget // BATCH))
    for number, name, size, failure in _results(batches, processes, (seed, real, tmp)):
        done[name] += size
        if failure:
            level = os.environ.get("LSLM_SIMD")
            again = f"{f'LSLM_SIMD={level} ' if level else ''}python tests/fuzz_parity.py"
            failures.append(f"{failure}\n  {again} --seed {seed} --batch {number} --real {real}")
            report(failures[-1])
            if len(failures) == 10:
                break
        now = time.monotonic()
        if now > shown + 10:
            shown, total = now, done.total()
            report(
                f"{total / 1e6:,.0f} of {budget / 1e6:,.0f} MB, {total / (now - begin) / 1e6:.1f} "
                f"MB/s, {len(failures)} differences"
            )
    return done, failures


def _results(
    batches: range, processes: int, arguments: tuple[Any, ...]
) -> Iterator[tuple[int, str, int, str]]:
    if processes == 1:
        _start(*arguments)
        yield from map(_check, batches)
        return
    # spawned, not forked: the references start threads
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _start, arguments) as pool:
        yield from pool.imap_unordered(_check, batches)


def main() -> int:
    """Run the fuzzer from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bytes", type=float, default=1e8, help="how much text to check")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    parser.add_argument("--batch", type=int, help="only this batch")
    parser.add_argument("--real", type=int, default=3_000_000, help="characters of a real file")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        if options.batch is not None:
            worker = Worker(options.seed, options.real, tmp)
            _, size, failure = worker.check(options.batch)
            done, failures = Counter(all=size), [failure] if failure else []
            print(*failures, sep="\n")
        else:
            done, failures = run(
                int(options.bytes),
                seed=options.seed,
                real=options.real,
                processes=options.processes,
                tmp=tmp,
                report=lambda line: print(line, flush=True),
            )
    for name, size in sorted(done.items()):
        print(f"{name:30} {size:15,}")
    print(f"seed {options.seed}: {done.total():,} bytes, {len(failures)} differences")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
