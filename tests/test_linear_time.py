"""Runs of one class of characters cost about what prose does, byte for byte, however long they are."""

from __future__ import annotations

import random
import time

import pytest

import fuzz_parity
import fuzz_texts

SHORT, LONG = 100_000, 10_000_000
LIMIT = 5

RUNS = {
    "letters": "a",
    "capitals": "A",
    "digits": "7",
    "blanks": " ",
    "line ends": "\n",
    "punctuation": "!",
    "Han": "\u4e2d",
    "kana": "\u30a2",
    "marks": "\u0301",
    "emoji": "\U0001f600",
}
CHOICES = {
    "random Han": [chr(c) for c in range(0x4E00, 0x9FA0)],
    "random kana": [chr(c) for c in range(0x3041, 0x3090)],
    "random emoji": [chr(c) for c in range(0x1F600, 0x1F640)],
}
# nothing in these comes again and most of it is a token of two letters, so that they cost more a byte
DENSE = {
    "random letters": [chr(c) for c in range(ord("a"), ord("z") + 1)],
    "random capitals": [chr(c) for c in range(ord("A"), ord("Z") + 1)],
    "random digits": list("0123456789"),
    "random punctuation": list("!#$%&()*+,-.:;<=>?@[]^_`{|}~"),
}


def some(characters, size):
    rng = random.Random(size)
    return "".join(rng.choices(characters, k=size // len(characters[0].encode()))).encode()


def runs(size):
    """Texts of about ``size`` bytes of one class each."""
    for name, character in RUNS.items():
        yield name, (character * (size // len(character.encode()))).encode()
    for name, characters in CHOICES.items():
        yield name, some(characters, size)
    yield "ill-formed bytes", b"\xff" * size


@pytest.fixture(scope="module")
def prose():
    lines = "".join(fuzz_texts.real_texts(500_000)).splitlines(keepends=True)
    random.Random(1).shuffle(lines)  # all languages in each part
    return "".join(lines).encode()


def seconds_per_byte(tok, text, repetitions):
    """Of this process's own time, the least of several times: others may be at work, too."""
    best = float("inf")
    for _ in range(repetitions):
        start = time.process_time()
        tok.encode(text)
        best = min(best, time.process_time() - start)
    return best / len(text)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["gpt2", "cl100k_base", "o200k_base", "qwen2_5"])
def test_runs_take_the_time_of_prose(tmp_path, prose, name):
    tok = fuzz_parity.make_pair(name, tmp_path).tok
    # parts that are new, each of them
    third = len(prose) // 3
    parts = [prose[start : start + third] for start in range(0, 2 * third + 1, third)]
    usual = min(seconds_per_byte(tok, part, 1) for part in parts)
    slow = {}
    for size in (SHORT, LONG):
        for run, text in runs(size):
            ratio = seconds_per_byte(tok, text, 3 if size == SHORT else 2) / usual
            if ratio > LIMIT:
                slow[run, size] = round(ratio, 1)
    assert not slow


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["gpt2", "cl100k_base", "o200k_base", "qwen2_5"])
def test_what_never_comes_again_takes_linear_time(tmp_path, name):
    """A hundred times the text takes no more than three hundred times the time; see docs/log.md for
    how much more than prose that is."""
    tok = fuzz_parity.make_pair(name, tmp_path).tok
    for run, characters in DENSE.items():
        short = seconds_per_byte(tok, some(characters, SHORT), 3)
        long = seconds_per_byte(tok, some(characters, LONG), 1)
        assert long < 3 * short, (run, long / short)
