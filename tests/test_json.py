"""What ``--json`` prints: docs/json.md lists exactly the keys and types that the verbs print."""

import gzip
import json
import re

import pytest

from command_line import NOT_FOR_PEOPLE, ROOT, prose, run

torch = pytest.importorskip("torch")

PAGE = ROOT / "docs/json.md"
# Objects whose keys are data, by the name of the object; the page writes these in capitals.
MAPS = {
    "bad": "REASON", "dropped": "REASON", "skipped": "REASON", "changes": "RULE",
    "converted": "ENCODING", "losses": "SOURCE", "by_source": "SOURCE", "by_dataset": "DATASET",
    "special_tokens": "TOKEN", "outcomes": "OUTCOME", "values": "KEY", "curve": "NINTH",
    "fingerprints": "NAME", "dedup": "KIND", "groups": "SIZE",
}  # fmt: skip
NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


def walk(value, path=""):
    """Yield path and type of everything in ``value``; ``[]`` is any element of an array."""
    if isinstance(value, dict):
        yield path, "object"
        name = MAPS.get(path.rpartition(".")[2])
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{name or key}".lstrip("."))
    elif isinstance(value, list):
        yield path, "array"
        for inner in value:
            yield from walk(inner, f"{path}[]" if path else "")
    else:
        yield path, NAMES[type(value)]


def found_types(values):
    """Return the types of each path in what a verb has printed."""
    found = {}
    for value in values:
        for path, kind in walk(value):
            found.setdefault(path, set()).add(kind)
    return found


def read_page(text):
    """Return the rows of each section by its heading, path and types, and the shapes it extends."""
    sections = {}
    for section in re.split(r"^##+ ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", body, flags=re.MULTILINE)
        shapes = re.findall(r"keys of (?:a |an |)\[(\w+)\]\(#\w+\)", body)
        sections[heading.strip("`")] = ({path: kinds.strip() for path, kinds in rows}, shapes)
    return sections


def expanded(sections, heading):
    """Return, for each path, its types and the rows of the page that say so."""
    rows, extended = sections[heading]
    documented = {}

    def add(path, kinds, origins):
        types, known = documented.setdefault(path, (set(), set()))
        types.update(kinds)
        known.update(origins)

    for shape in extended:
        for path, (kinds, origins) in expanded(sections, shape).items():
            add(path, kinds, origins)
    for path, listed in rows.items():
        for kind in listed.split(" or "):
            shape = re.fullmatch(r"\[(\w+)\]\(#\w+\)", kind)
            add(path, {"object" if shape else kind}, {(heading, path)})
            for inner, (kinds, origins) in expanded(sections, shape[1]).items() if shape else ():
                add(f"{path}.{inner}", kinds, origins)
    return documented


def is_printed(path, found):
    """Return whether a path was printed, or an empty array or map where it would be."""
    container = path.removesuffix("[]") if path.endswith("[]") else path.rpartition(".")[0]
    is_entry = path.endswith("[]") or path.rpartition(".")[2].isupper()
    return path in found or (is_entry and container in found)


def write_texts(folder):
    """Write documents with everything that a reading can have: bad lines, marks, encodings, …"""
    (folder / "raw").mkdir()
    rows = prose(80)
    rows[0]["text"] += " Write to someone@example.org."
    lines = [json.dumps(row) for row in [*rows, rows[3]]]
    (folder / "raw/a.jsonl").write_text("\n".join([*lines, '{"text": ', '{"text": 1}']) + "\n")
    (folder / "raw/b.jsonl").write_text(
        '{"text": "short"}\n{"text": "very"}\n{"text": "\\ud800"}\n'
    )
    marked = b'{"text": "a longer document, alone"}\n\xef\xbb\xbf{"text": "and one more of them"}\n'
    (folder / "raw/c.jsonl.gz").write_bytes(gzip.compress(marked) + bytes(512))
    chinese = (
        "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
    )
    (folder / "raw/d.txt").write_bytes(chinese.encode("gb18030"))
    (folder / "raw/e.parquet").write_bytes(b"PAR1")
    (folder / "raw/f.bin").write_bytes(bytes(range(40)) * 2)
    (folder / "good").mkdir()
    (folder / "good/a.jsonl").write_text("\n".join(lines))
    (folder / "other").mkdir()
    (folder / "other/a.txt").write_text(rows[5]["text"])


def refuse(name):
    """Fail for NaN and Infinity, which Python's parser takes and JSON does not have."""
    pytest.fail(f"{name} is not JSON")


SMALL = ["width=32", "layers=1", "heads=2", "batch_size=2", "sequence_length=32"]
RULES = ["--profile", "tidy", "--redact", "--set", "length.min_chars=12", "--on-bad-file", "skip"]
TRAIN = ["train", "tiny", "data=data", *SMALL]
COMMANDS = [
    ("lslm clean", ["clean", "raw", "-o", "clean", *RULES, "--dedup", "lines"]),
    ("lslm clean", ["clean", "good", "-o", "plain"]),
    ("lslm clean", ["clean", "good", "-o", "rest", "--dedup", "exact", "--dedup-against", "plain"]),
    ("lslm clean", ["clean", "good", "-o", "sliced", "--partitions", "1/1"]),
    ("lslm finish", ["finish", "sliced"]),
    ("lslm clean --dry-run", ["clean", "raw", *RULES, "--dry-run", "--sample", "100%"]),
    ("lslm clean --explain", ["clean", "raw", *RULES, "--explain", "raw/b.jsonl:1"]),
    ("lslm clean --explain", ["clean", "good", "--redact", "--profile", "none", "--explain", "good/a.jsonl:1"]),
    ("lslm train-tokenizer", ["train-tokenizer", "good", "-o", "t.json", "--vocab-size", "400", "--validation-fraction", "0.1"]),
    ("lslm train-tokenizer", ["train-tokenizer", "good", "-o", "u.json", "--vocab-size", "300", "--no-report"]),
    ("lslm train-tokenizer", ["train-tokenizer", "good", "-o", "v.json", "--vocab-size", "300", "--special-tokens-first", "--special-token", "[X]"]),
    ("lslm tokenize", ["tokenize", "raw", "-o", "dirty", "-t", "t.json", *RULES]),
    ("lslm tokenize", ["tokenize", "good", "-o", "slices", "-t", "t.json", "--partitions", "1/2"]),
    ("lslm tokenize", ["tokenize", "good", "-o", "data", "-t", "t.json", "--validation-fraction", "0.1"]),
    ("lslm tokenize", ["tokenize", "good", "-o", "all", "-t", "v.json", "--eos-token", "[X]", "--validation-fraction", "0"]),
    ("lslm tokenize", ["tokenize", "good", "-o", "rest-tokens", "-t", "t.json", "--dedup", "exact", "--dedup-against", "other"]),
    ("lslm encode", ["encode", "-t", "t.json"]),
    ("lslm encode", ["encode", "-t", "t.json", "--tokens"]),
    ("lslm encode --count", ["encode", "-t", "t.json", "--count"]),
    ("lslm decode", ["decode", "-t", "t.json", "ids.txt"]),
    ("lslm inspect TOKENIZER", ["inspect", "t.json"]),
    ("lslm inspect TOKENIZER", ["inspect", "v.json"]),
    ("lslm inspect DATASET", ["inspect", "data"]),
    ("lslm inspect DATASET", ["inspect", "all"]),
    ("lslm inspect DOCUMENTS", ["inspect", "raw", "--on-bad-file", "skip"]),
    ("lslm inspect TOKENS", ["inspect", "raw/f.bin"]),
    ("lslm verify", ["verify", "data"]),
    ("lslm train", [*TRAIN, "out=run", "steps=4", "validate_every=2", "checkpoint_every=2"]),
    ("lslm train", [*TRAIN, "data=data/train", "out=alone", "steps=2", "seed=1"]),
    ("lslm train --dry-run", [*TRAIN, "--dry-run", "steps=4"]),
    ("lslm inspect RUN", ["inspect", "run"]),
    ("lslm inspect RUN --step", ["inspect", "run", "--step", "2"]),
    ("lslm report", ["report", "run"]),
    ("lslm eval RUN", ["eval", "run"]),
    ("lslm eval RUN", ["eval", "run", "--data", "a=good", "--data", "b=other", "--tokens", "300"]),
    ("lslm eval RUN", ["eval", "run", "--data", "one.txt"]),
    ("lslm eval RUN RUN", ["eval", "run", "alone", "--data", "data/validation"]),
    ("lslm eval RUN RUN", ["eval", "run", "run", "--data", "one.txt"]),
    ("lslm generate", ["generate", "run", "--prompt", "a", "--max-tokens", "3"]),
    ("lslm generate", ["generate", "run", "--prompt", "a", "--prompt", "b", "--max-tokens", "3"]),
    ("lslm export", ["export", "run", "-o", "published"]),
    ("lslm import", ["import", "published", "-o", "imported"]),
    ("lslm analyze", ["analyze", "run", "-o", "analysis", "--checkpoints", "all"]),
    ("lslm inspect SCORES", ["inspect", "analysis/scores"]),
    ("lslm analyze", ["analyze", "run", "alone", "-o", "both", "--data", "data/validation"]),
    ("lslm tune", ["tune", "tiny", "data=data", "-o", "study", *SMALL, "--space", "rates", "--budget", "2k", "--trials", "2", "--top", "1", "--seeds", "2"]),
    ("lslm tune --range-test", ["tune", "tiny", "data=data", "-o", "rates", *SMALL, "--range-test"]),
    ("lslm scaling", ["scaling", "tiny", "data=data", "-o", "scaling", *SMALL, "--sizes", "3", "--tokens", "1k"]),
    ("lslm demo", ["demo", "--corpus", "good", "-o", "demo", "--steps", "2", "--vocab-size", "300"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def printed(work):
    """What each command prints, parsed, by the section of the page that describes it."""
    return work[1]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The folder of the commands, what each prints, parsed, and what it writes to standard error."""
    folder = tmp_path_factory.mktemp("json")
    write_texts(folder)
    (folder / "ids.txt").write_text("39 72 0")
    (folder / "one.txt").write_text(prose(1)[0]["text"])
    printed, said = {}, []
    with pytest.MonkeyPatch.context() as patch:
        demo = pytest.importorskip("lslm.demo")
        small = {"width": 32, "layers": 1, "heads": 2, "validation_tokens": 1024}
        patch.setattr(demo, "CONFIG", demo.CONFIG | small)
        for heading, words in COMMANDS:
            code, shown, errors = run(*words, "--json", input=b"Hello world", cwd=folder)
            assert code == 0, errors.decode()
            value = json.loads(shown, parse_constant=refuse)
            printed.setdefault(heading, []).append(value)
            said.append((words, errors.decode()))
    return folder, printed, said


@pytest.mark.parametrize("heading", dict(COMMANDS))
def test_the_page_lists_what_a_verb_prints(printed, heading):
    documented = expanded(read_page(PAGE.read_text(encoding="utf-8")), heading)
    for path, kinds in found_types(printed[heading]).items():
        if path in documented or ("METRIC" in documented and not kinds & {"array", "object"}):
            # a metric: whatever the run has written into metrics.jsonl
            allowed = documented.get(path, documented.get("METRIC"))[0]
            assert kinds <= allowed | ({"integer"} if "number" in allowed else set()), path
        else:  # what holds the rows of the page
            assert kinds <= {"object", "array"}, f"not on the page: {path}, {kinds}"


def test_every_row_of_the_page_is_printed(printed):
    sections = read_page(PAGE.read_text(encoding="utf-8"))
    assert {heading for heading in sections if heading.startswith("lslm ")} == printed.keys()
    rows = {(heading, path) for heading, (rows, _) in sections.items() for path in rows}
    for heading, values in printed.items():
        found = found_types(values)
        for path, (_, origins) in expanded(sections, heading).items():
            if is_printed(path, found):
                rows -= origins
    assert not rows


def test_a_wrong_page_is_noticed():
    text = "## `a`\n| `b` | [C](#c) | |\n## D\nThese and the keys of [C](#c).\n### C\n| `x[]` | integer | |\n"
    sections = read_page(text)
    assert expanded(sections, "a").keys() == {"b", "b.x[]"}
    assert expanded(sections, "D").keys() == {"x[]"}
    found = found_types([{"b": {"x": [1, None]}}, {"b": {"x": []}}])
    assert found["b.x[]"] == {"integer", "null"}
    assert is_printed("b.x[]", found_types([{"b": {"x": []}}]))
    assert not is_printed("b.x[]", found_types([{"b": {}}]))
    assert not is_printed("b.y", found)


# -- the same for people ---------------------------------------------------------------------------

FOR_PEOPLE = [
    ["clean", "raw", "-o", "clean2", *RULES, "--dedup", "lines"],
    ["clean", "raw", *RULES, "--dry-run", "--sample", "100%"],
    ["clean", "raw", *RULES, "--explain", "raw/b.jsonl:1"],
    ["train-tokenizer", "raw", "-o", "w.json", "--vocab-size", "400", *RULES],
    ["tokenize", "raw", "-o", "dirty2", "-t", "t.json", *RULES],
    ["inspect", "raw", "--on-bad-file", "skip"],
    ["inspect", "raw/f.bin"],
    ["inspect", "v.json"],
    ["inspect", "all"],
    ["inspect", "run"],
    ["inspect", "run", "--step", "2"],
    ["inspect", "analysis/scores"],
    [*TRAIN, "--dry-run", "steps=4"],
    [*TRAIN, "out=run2", "steps=1"],
    ["eval", "run", "--data", "a=good", "--data", "b=other", "--tokens", "300"],
    ["eval", "run", "alone", "--data", "data/validation"],
    ["analyze", "run", "alone", "-o", "both", "--data", "data/validation"],
    ["tune", "-o", "study", "--resume"],
    ["scaling", "tiny", "data=data", "-o", "scaling", *SMALL, "--sizes", "3", "--tokens", "1k"],
]  # fmt: skip
"""Commands of dirty text and of odd results, whose tables have every row."""


def test_a_person_can_read_what_is_written_beside_json(work):
    for words, errors in work[2]:
        found = NOT_FOR_PEOPLE.search(errors)
        assert found is None, f"{words}: {found[0]!r} in {errors}"
        assert "Warning" not in errors, words


@pytest.mark.parametrize("words", FOR_PEOPLE, ids=" ".join)
def test_a_person_can_read_what_a_verb_prints_of_dirty_text(work, words):
    code, output, errors = run(*words, input=b"Hello world", cwd=work[0])
    assert code == 0, errors.decode()
    found = NOT_FOR_PEOPLE.search(output.decode() + errors.decode())
    assert found is None, f"{found[0]!r} in {found.string}"
