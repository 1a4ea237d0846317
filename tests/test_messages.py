"""Wrong commands: each is answered with what is wrong, its value, and the next step."""

import gzip
import json
import re
import shlex

import pytest

import lslm
from command_line import run

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with documents, a tokenizer and a dataset."""
    folder = tmp_path_factory.mktemp("messages")
    rows = [{"id": str(i), "text": f"def f{i}(x):\n    return x + {i}\n" * 5} for i in range(60)]
    (folder / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "a.txt").write_text("one two three\n" * 50)
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))
    (folder / "empty").mkdir()
    (folder / "empty/x.bin").touch()
    tokenizer = lslm.train_tokenizer(folder / "raw.jsonl", vocab_size=300, progress=False)
    tokenizer.save(folder / "tok.json")
    lslm.tokenize(
        folder / "raw.jsonl", output=folder / "data", tokenizer=tokenizer, validation_fraction=0.1
    )
    whole = gzip.compress((folder / "raw.jsonl").read_bytes())
    (folder / "broken.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    return folder


DOWNLOAD = "this is a URL, and lslm reads files of this machine only; download it first"
HUB = "if it is on the Hugging Face hub, download it first (hf download NAME --local-dir FOLDER"
A_TOKENIZER = "give a tokenizer.json, a folder that holds one, or a rank file of tiktoken"
A_RUN = "train one with lslm train, or make one of a published model's folder, lslm import"
CONFIGS = "the package has char, gpt2-124m, small, tiny"

FAILED = [
    # clean
    ("clean none -o x", "none: No such file or directory"),
    ("clean s3://b/a.jsonl -o x", f"s3://b/a.jsonl: No such file or directory: {DOWNLOAD}"),
    ("clean wikitext/wikitext-103 -o x", f"wikitext/wikitext-103: No such file or directory; {HUB}"),
    ("clean raw.jsonl -o s3://b/out", "s3://b/out: this is a URL, and lslm writes files of this machine only; name a folder here"),
    ("clean '*.none' -o x", 'no file matches the pattern "*.none"; check the folder and the extension'),
    ("clean empty -o x", "empty: the folder has no text, JSONL or Parquet file (1 other entry): name files or extensions"),
    ("clean picture.png -o x", "picture.png, byte 8: binary data, or UTF-16 without a mark (a NUL byte): leave it out"),
    ("clean raw.jsonl -o x --text-key body", 'raw.jsonl, byte 0: there is no field "body"; name another text key'),
    ("clean raw.jsonl -o x --format csv", "use .jsonl, .txt (each also with .gz or .zst) or .parquet"),
    ("clean raw.jsonl -o x --profile finweb", 'unknown profile "finweb": did you mean "fineweb"?'),
    ("clean raw.jsonl -o x --set length.min_chars=abc", 'length.min_chars = "abc": must be a number'),
    ("clean raw.jsonl -o x --set length.min_char=3", "length.min_char: did you mean length.min_chars?"),
    ("clean raw.jsonl -o x --set length.min_chars", "--set length.min_chars: use rule.key=value"),
    ("clean raw.jsonl -o x --encoding utf9", 'encoding = "utf9": choose a name such as gb18030'),
    ("clean raw.jsonl -o x --split line --separator a", "split and separator are both set: set one of them"),
    ("clean raw.jsonl -o x --explain raw.jsonl", "--explain raw.jsonl: use FILE:ID, such as raw/a.jsonl:17"),
    ("clean raw.jsonl -o x --explain raw.jsonl:999", "raw.jsonl:999: no document has this id, and the file has 60 documents; use an id"),
    ("clean raw.jsonl -o x --dropped raw.jsonl", "the output raw.jsonl is part of the input raw.jsonl"),
    ("clean raw.jsonl -o tok.json", "tok.json: a file, and a folder is needed: choose another"),
    ("clean raw.jsonl --dry-run --sample 0", "'0' is not a share: use e.g. 1% or 0.01, up to 100%"),
    ("clean broken.jsonl.gz --dry-run", "the gzip data ends too early: the file is truncated, get it again, or read the others with --on-bad-file skip"),
    # train-tokenizer
    ("train-tokenizer none -o x", "none: No such file or directory"),
    ("train-tokenizer s3://b/a.txt -o x", f"s3://b/a.txt: No such file or directory: {DOWNLOAD}"),
    ("train-tokenizer a.txt -o tok.json", "-o tok.json exists: name another file, or replace it with --force"),
    ("train-tokenizer a.txt -o tok.json/x", "tok.json is not a writable folder"),
    ("train-tokenizer a.txt -o x --pattern o200k_bas", 'pattern = "o200k_bas": did you mean "o200k_base"?'),
    ("train-tokenizer a.txt -o x --pattern '('", 'the split pattern "(" is not a valid regular expression'),
    ("train-tokenizer a.txt -o x --memory 1", "memory = 1: to merge these"),
    ("train-tokenizer a.txt -o x --memory lots", "'lots' is not a size: use e.g. 500MB or 2GB"),
    ("train-tokenizer a.txt -o x --vocab-size 9", "vocab_size = 9: the bytes and special tokens alone need 257; choose more"),
    ("train-tokenizer a.txt -o x --special-token a --special-token a", 'special token "a" is given twice: give it once'),
    ("train-tokenizer a.txt -o x --set length.min_chars=9", "--set changes a cleaning profile and none is given: add --profile NAME"),
    # tokenize, encode, decode
    ("tokenize none -o x -t tok.json", "none: No such file or directory"),
    ("tokenize raw.jsonl -o x -t none.json", f"none.json: no such file: {A_TOKENIZER}"),
    ("tokenize raw.jsonl -o x -t gpt2", f"gpt2: no such file: {A_TOKENIZER}"),
    ("tokenize raw.jsonl -o x -t gpt2.tiktoken", f"gpt2.tiktoken: no such file: {A_TOKENIZER}"),
    ("tokenize raw.jsonl -o x -t Qwen/Qwen3-0.6B", HUB),
    ("tokenize raw.jsonl -o x -t s3://b/tok.json", "s3://b/tok.json: no such file"),
    ("tokenize raw.jsonl -o x -t raw.jsonl", "raw.jsonl, byte 174: not a tokenizer.json"),
    ("tokenize raw.jsonl -o x -t tok.json --pattern gpt2", "--pattern is for rank files (.tiktoken), and tok.json has its own"),
    ("tokenize raw.jsonl -o x -t tok.json --eos-token END", 'eos_token = "END" is not a special token of this tokenizer; it has: <|endoftext|>'),
    ("tokenize raw.jsonl -o x -t tok.json --validation-fraction 1", "validation_fraction = 1: choose 0 to below 1"),
    ("tokenize raw.jsonl -o x -t tok.json --redact", "--redact changes a cleaning profile and none is given: add --profile NAME"),
    ("tokenize raw.jsonl -o data -t tok.json", "data: holds a finished dataset; choose another output or remove this one"),
    ("encode -t tok.json none.txt", "none.txt: No such file or directory"),
    ("encode -t none a.txt", f"none: no such file: {A_TOKENIZER}"),
    ("decode -t tok.json a.txt", "'one' is not a token id: use whole numbers from 0"),
    # finish, inspect, verify, report
    ("finish none", "none: there is no such folder; name the output of the slices"),
    ("finish data", "data: has no unfinished job, so there is nothing to finish; lslm inspect shows what it holds"),
    ("clean raw.jsonl -o x --partitions 0/4", 'partitions = "0/4": slices are counted from 1, choose 1/4 to 4/4'),
    ("inspect none", "none: no such file or folder"),
    ("inspect s3://b/x", f"s3://b/x: no such file or folder: {DOWNLOAD}"),
    ("inspect Qwen/Qwen3-0.6B", f"Qwen/Qwen3-0.6B: no such file or folder; {HUB}"),
    ("verify tok.json", "tok.json is neither a dataset, a run, a checkpoint nor a score table: only these have checksums"),
    ("report none", "none: no such run; give the folder that lslm train wrote"),
    ("report data", "data: this is not a run: it has no metrics.jsonl"),
    ("report data data", "2 runs: name the page to write, -o PAGE.html"),
    # train
    ("train none.toml", f"none.toml: the configuration is missing; {CONFIGS}"),
    ("train data", f"data: the configuration is a folder; {CONFIGS}"),
    ("train tok.json", "tok.json: not a TOML file"),
    ("train tiny out=x steps=1", "data.path"),
    ("train tiny data=none out=x steps=1", "none"),
    ("train tiny data=raw.jsonl out=x steps=1", "raw.jsonl"),
    ("train tiny data=s3://b/d out=x steps=1", "s3://b/d"),
    ("train tiny data=data steps=1", "train.out is empty: give the folder of the run, out=RUN"),
    ("train data=data out=x", "train.steps and train.minutes are both 0: set one of them"),
    ("train tiny data=data out=x stpes=1", "unknown key 'stpes': did you mean train.steps?"),
    ("train tiny data=data out=x steps=many", "train.steps = 'many': must be a whole number"),
    ("train tiny data=data out=x steps=1 lr=nan", "optim.lr = 'nan': must be a finite number"),
    ("train tiny data=data out=x steps=1 device=tpu", "device = 'tpu': choose auto, cpu, cuda, cuda:N or mps"),
    ("train tiny data out=x steps=1", "'data' is not a setting: give key=value, such as steps=100"),
    ("train tiny data=data out=x steps=1 --init none", f"none: no such run: {A_RUN}"),
    # generate, eval, analyze, export, import, tune, scaling, demo
    ("generate none", f"none: no such run: {A_RUN}"),
    ("generate tok.json", f"tok.json: this is a file, not a run: {A_RUN}"),
    ("eval gpt2", f"gpt2: no such run: {A_RUN}"),
    ("eval openai-community/gpt2", HUB),
    ("eval none --data s3://b/a.txt", "s3://b/a.txt"),
    ("analyze none -o x", f"none: no such run: {A_RUN}"),
    ("export none -o x", f"none: no such run: {A_RUN}"),
    ("import none -o x", "none: no such folder"),
    ("import Qwen/Qwen3-0.6B -o x", HUB),
    ("import data -o x", "data/config.json"),
    ("tune none.toml -o x", f"none.toml: the configuration is missing; {CONFIGS}"),
    ("tune tiny data=data -o x --budget lots", "'lots' is not a budget: use e.g. 2M (tokens)"),
    ("tune tiny data=data -o x --budget 1k --space none", "none: no such space; the package has"),
    ("scaling tiny data=data -o x --tokens lots", "'lots' is not a budget"),
    ("demo --corpus none -o x", "none: No such file or directory"),
    ("demo -o data", "data holds files that are not of a demo: choose another output"),
]  # fmt: skip

USAGE = [
    ("clean raw.jsonl", "name the folder to write: -o FOLDER"),
    ("clean raw.jsonl -o x --dedup fuzzy", "near-duplicates are removed by other programs"),
    ("clean raw.jsonl -o x --threads -1", "-1 is out of range: use 1 to 4,096"),
    ("clean raw.jsonl -o x --sample 3%", "--sample has no effect without --dry-run: leave it out"),
    ("clean raw.jsonl -o x --splitt line", "--split"),
    ("tokenize raw.jsonl -o x", "Missing option '--tokenizer'"),
    ("tokenize raw.jsonl -o x -t tok.json --hold-out half", "'half' is not one of 'auto', 'documents', 'stretches'"),
    ("inspect data --split line", "--split has no effect on a dataset: leave it out"),
    ("train tiny data=data out=x --dry-run --resume", "--resume has no effect with --dry-run"),
    ("tune tiny data=data -o x --range-test --trials 3", "--trials has no effect with --range-test"),
    ("generate none --temperature nan", "nan is out of range: use 0 to 1,000,000"),
    ("tokenise raw.jsonl", "Did you mean 'tokenize'"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "said"), FAILED, ids=[case[0] for case in FAILED])
def test_a_wrong_command_is_answered_in_one_line(work, command, said):
    code, output, errors = run(*shlex.split(command), cwd=work)
    lines = errors.decode().splitlines()
    assert said in errors.decode()
    assert (code, output) == (1, b"")
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert not (work / "x").exists()


@pytest.mark.parametrize(("command", "said"), USAGE, ids=[case[0] for case in USAGE])
def test_wrong_usage_is_named(work, command, said):
    code, output, errors = run(*shlex.split(command), cwd=work)
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", errors.decode()).split())
    assert said in text
    assert (code, output) == (2, b"")
    assert not (work / "x").exists()


def test_each_verb_is_among_the_wrong_commands():
    from command_line import VERBS

    assert {case[0].split()[0] for case in FAILED} == set(VERBS)
