"""Measure normalising and repair beside unicodedata, ftfy and plsfix: MB of UTF-8 per CPU second.

    pip install ftfy==6.3.1 plsfix zstandard
    python benches/normalising.py ../shared/data

Results are compared before a figure counts. Each figure is the best of five rounds, in which all
take turns.
"""

import json
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import ftfy
import plsfix
import zstandard

import lslm

ROUNDS = 5
MAX_BYTES = 4_000_000


def texts(path: Path) -> list[str]:
    """Return the first documents of a file, about 4 MB."""
    with zstandard.open(path, "rt", encoding="utf-8") as lines:
        found: list[str] = []
        size = 0
        for line in lines:
            text = json.loads(line)["text"] if path.name.endswith(".jsonl.zst") else line
            found.append(text)
            size += len(text.encode())
            if size > MAX_BYTES:
                break
    return (
        found
        if len(found) < 10_000
        else ["".join(found[at : at + 50]) for at in range(0, len(found), 50)]
    )


def mojibake(documents: list[str]) -> list[str]:
    """Return the documents decoded as Windows-1252."""
    return [text.encode().decode("sloppy-windows-1252") for text in documents]


def by_line(text: str) -> str:
    """Return ftfy's repair of each line."""
    return "\n".join(map(ftfy.fix_encoding, text.split("\n")))


def cleaned(**rules: object) -> Callable[[list[str]], list[str]]:
    """Return a function that cleans by these rules only, on one thread."""
    cleaner = lslm.Cleaner("none", **rules)
    return lambda documents: [found.text for found in cleaner.clean_batch(documents, threads=1)]


def each(function: Callable[[str], str]) -> Callable[[list[str]], list[str]]:
    """Return a function that applies ``function`` to each document."""
    return lambda documents: [function(text) for text in documents]


def main() -> None:
    """Print a table."""
    data = Path(sys.argv[1])
    english, chinese = (
        texts(data / name) for name in ("english/enwiki.jsonl.zst", "chinese/zhwiki.jsonl.zst")
    )
    nfc = {
        "lslm": cleaned(nfc=True),
        "unicodedata": each(lambda t: unicodedata.normalize("NFC", t)),
    }
    repair = {"lslm": cleaned(repair=True), "ftfy": each(by_line)}
    plain = {"lslm": lambda d: [found.text for found in lslm.Cleaner().clean_batch(d, threads=1)]}
    jobs = {
        "default, English": (plain, english),
        "default, Chinese": (plain, chinese),
        "NFC, English": (nfc, english),
        "NFC, Chinese": (nfc, chinese),
        "repair, clean English": (repair, english),
        "repair, clean Chinese": (repair, chinese),
        "repair, dirty English": (repair, mojibake(english[:40])),
        "repair, dirty Chinese": (repair, mojibake(chinese[:400])),
    }
    for job, (sides, documents) in jobs.items():
        results = [function(documents) for function in sides.values()]
        if not all(result == results[0] for result in results):
            sys.exit(f"{job}: the results differ")
        # plsfix has no function for the encoding alone: not compared
        more = {"plsfix": each(plsfix.fix_text)} if sides is repair else {}
        size = sum(len(text.encode()) for text in documents)
        best = dict.fromkeys(sides | more, float("inf"))
        for _ in range(ROUNDS):
            for name, function in (sides | more).items():
                start = time.process_time()
                function(documents)
                best[name] = min(best[name], time.process_time() - start)
        print(f"{job}: " + ", ".join(f"{name} {size / t / 1e6:,.1f}" for name, t in best.items()))


if __name__ == "__main__":
    main()
