"""Writes peer.json: what datatrove says about documents of the shared data, with its own words.

    python testdata/clean/peer.py DATA > testdata/clean/peer.json

Needs `pip install datatrove==0.10.1 spacy jieba 'xxhash<4' zstandard`. DATA is the folder of the
shared data. No text is stored, only numbers of documents, names of reasons, and hashes: of the
words of each document, and of the text that the C4 rule leaves.
"""

import hashlib
import io
import json
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import zstandard
from datatrove.utils.text import split_into_words
from datatrove.utils.word_tokenizers import load_word_tokenizer
from peer_filters import chinese, english

data = Path(sys.argv[1])


def short_hash(text: str) -> str:
    """The first 8 hexadecimal digits of SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def texts(file: str, count: int) -> list[str]:
    """The first documents of a file, with one kind of line break."""
    with (data / file).open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8")
        found = [json.loads(line)["text"] for _, line in zip(range(count), lines, strict=False)]
    return [text.replace("\r\n", "\n").replace("\r", "\n") for text in found]


def facts(file: str, count: int, language: str) -> dict[str, object]:
    """Words and verdicts of the first documents of a file."""
    documents = texts(file, count)
    words = [short_hash("\n".join(split_into_words(text, language))) for text in documents]
    verdicts, edited = {}, {}
    for name, stages in (english if language == "en" else chinese)().items():
        dropped: dict[str, list[int]] = {}
        hashes = {}
        for index, text in enumerate(documents):
            document = SimpleNamespace(text=text)
            for stage in stages:
                verdict = stage.filter(document)
                if verdict is not True:
                    dropped.setdefault(verdict[1], []).append(index)
                    break
            else:
                if document.text != text:
                    hashes[str(index)] = short_hash(document.text)
        verdicts[name] = dropped
        if hashes:
            edited[name] = hashes
    return {
        "file": file,
        "documents": len(documents),
        "language": language,
        "words": "".join(words),
        "verdicts": verdicts,
        "edited": edited,
    }


corpora = [
    facts("web/c4.jsonl.zst", 1000, "en"),
    facts("english/enwiki_valid.jsonl.zst", 464, "en"),
    facts("english/enwiki.jsonl.zst", 300, "en"),
    facts("chinese/zhwiki.jsonl.zst", 3000, "cmn_Hani"),
]
tokenizer = type(load_word_tokenizer("en")).__name__
versions = {name: version(name) for name in ("datatrove", "spacy", "jieba")}
print(json.dumps({"versions": versions, "tokenizer": tokenizer, "corpora": corpora}))
