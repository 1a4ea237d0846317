"""Writes datatrove.json: what datatrove's filters say about documents of the shared data.

    python testdata/clean/datatrove.py DATATROVE DATA > testdata/clean/datatrove.json

DATATROVE is the folder of an unpacked datatrove wheel; only its filters are used, and its word
splitter is replaced by the words of this project, written here once more as a regular expression.
Only numbers of documents and names of reasons are stored, no text.
"""

import importlib.util
import io
import json
import sys
import types
from pathlib import Path

import regex
import zstandard

root, data = Path(sys.argv[1]), Path(sys.argv[2])

WORD = r"[\p{L}\p{M}\p{N}\p{Pc}\u200c\u200d]"
SPACE = r"[\p{White_Space}\x1c-\x1f]"
HAN = r"(?:(?=[\p{L}\p{N}])[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}])"
INSIDE = r"(?<=\p{L})['’](?=\p{L})|(?<=[0-9])[.,](?=[0-9])"
WORDS = {
    "word": regex.compile(rf"{WORD}(?:{WORD}|{INSIDE})*|((?!{SPACE}).)\1*", regex.DOTALL),
    "char": regex.compile(
        rf"{HAN}\p{{M}}*|(?!{HAN}){WORD}"
        rf"(?:(?!{HAN}){WORD}|(?<=\p{{L}})['’](?=\p{{L}})(?!['’]{HAN})|(?<=[0-9])[.,](?=[0-9]))*"
        rf"|((?!{SPACE}).)\1*",
        regex.DOTALL,
    ),
}
unit = "word"


def module(name: str, **names: object) -> None:
    """Puts a module into the place of one that would bring more than is needed."""
    made = types.ModuleType(name)
    made.__dict__.update(names)
    sys.modules[name] = made


def load(name: str) -> types.ModuleType:
    """Load one file of the peer, without the packages around it."""
    path = root / (name.replace(".", "/") + ".py")
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


class Filter:
    """What the peer's filters are derived from."""

    def __init__(self, writer: object = None) -> None:
        pass


module("datatrove")
module("datatrove.data", Document=object)
module("datatrove.pipeline.filters.base_filter", BaseFilter=Filter)
module("datatrove.pipeline.writers.disk_base", DiskWriter=object)
module("datatrove.utils.typeshelper", Languages=types.SimpleNamespace(english="en"))
text_module = load("datatrove.utils.text")
text_module.split_into_words = lambda text, _language: [
    match.group() for match in WORDS[unit].finditer(text)
]
repetition = load("datatrove.pipeline.filters.gopher_repetition_filter")
quality = load("datatrove.pipeline.filters.gopher_quality_filter")
fineweb = load("datatrove.pipeline.filters.fineweb_quality_filter")

# datatrove counts a space between any two words; between characters there is none
plain_grams = repetition.get_n_grams


def grams(words: list[str], n: int) -> list[str]:
    """All n-grams, as the strings whose length counts."""
    if unit == "word":
        return plain_grams(words, n)
    return ["".join(words[i : i + n]) for i in range(len(words) - n + 1)]


repetition.get_n_grams = grams

chinese = json.loads(
    (Path(__file__).parents[2] / "rust/clean/src/profiles/chinese.json").read_text()
)


def filters(profile: str) -> dict[str, object]:
    """Each rule of a profile as a filter of the peer."""
    if profile == "fineweb":
        return {
            "gopher_repetition": repetition.GopherRepetitionFilter(),
            "gopher_quality": quality.GopherQualityFilter(),
            "fineweb": fineweb.FineWebQualityFilter(),
        }
    r, q, f = (chinese[rule] for rule in ("gopher_repetition", "gopher_quality", "fineweb"))
    return {
        "gopher_repetition": repetition.GopherRepetitionFilter(
            dup_line_frac=r["dup_line_frac"],
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            top_n_grams=r["top_n_grams"],
            dup_n_grams=r["dup_n_grams"],
        ),
        "gopher_quality": quality.GopherQualityFilter(
            min_doc_words=q["min_words"],
            max_doc_words=q["max_words"],
            min_avg_word_length=None,
            max_avg_word_length=None,
            max_symbol_word_ratio=q["max_symbol_ratio"],
            max_non_alpha_words_ratio=q["min_letter_words"],
            stop_words=q["stop_words"],
        ),
        "fineweb": fineweb.FineWebQualityFilter(
            line_punct_thr=f["min_line_punct_ratio"],
            short_line_thr=999,
            char_duplicates_ratio=f["max_char_dup_ratio"],
            new_line_ratio=f["max_list_ratio"],
        ),
    }


QUALITY = {
    "short_doc": "too_few_words",
    "long_doc": "too_many_words",
    "below_avg_threshold": "short_words",
    "above_avg_threshold": "long_words",
    "too_many_hashes": "hashes",
    "too_many_ellipsis": "ellipses",
    "too_many_bullets": "bullet_lines",
    "too_many_end_ellipsis": "ellipsis_lines",
    "below_alpha_threshold": "letter_words",
    "enough_stop_words": "stop_words",
}


def reason(rule: str, name: str) -> str:
    """The name that a reason of the peer has here."""
    if rule == "gopher_quality":
        name = QUALITY[name.removeprefix("gopher_")]
    return f"{rule}." + regex.sub(r"duplicated_(\d+)_n_grams", r"dup_\1_gram", name)


def texts(file: str, count: int) -> list[str]:
    """The first documents of a file, with one kind of line break."""
    with (data / file).open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8")
        found = [json.loads(line)["text"] for _, line in zip(range(count), lines, strict=False)]
    return [text.replace("\r\n", "\n").replace("\r", "\n") for text in found]


corpora = []
for file, count, profile, words in [
    ("web/c4.jsonl.zst", 1000, "fineweb", "word"),
    ("english/enwiki_valid.jsonl.zst", 464, "fineweb", "word"),
    ("chinese/zhwiki.jsonl.zst", 3000, "chinese", "char"),
]:
    unit = words
    documents = texts(file, count)
    verdicts = {}
    for rule, check in filters(profile).items():
        dropped: dict[str, list[int]] = {}
        for index, text in enumerate(documents):
            verdict = check.filter(types.SimpleNamespace(text=text))
            if verdict is not True:
                dropped.setdefault(reason(rule, verdict[1]), []).append(index)
        verdicts[rule] = dropped
    corpora.append(
        {
            "file": file,
            "documents": len(documents),
            "profile": profile,
            "unit": unit,
            "verdicts": verdicts,
        }
    )
print(json.dumps({"peer": "datatrove 0.10.1", "corpora": corpora}))
