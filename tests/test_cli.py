"""Every verb from the shell: what it prints, what it writes, how it fails."""

import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import lslm
from lslm import cli

ROOT = Path(__file__).parents[1]

VERBS = [
    "clean", "decode", "demo", "encode", "eval", "generate", "inspect", "tokenize", "train",
    "train-tokenizer", "verify",
]  # fmt: skip


def lslm_run(*arguments, input=None, cwd=None, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "lslm", *map(str, arguments)],
        input=input, capture_output=True, cwd=cwd, timeout=280,
        # one thread: models this small gain nothing from a second, and lose a lot on a busy machine
        env=os.environ
        | {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    errors = done.stderr.decode()
    assert done.returncode == code, errors
    assert "Traceback" not in errors
    return done.stdout.decode() if code == 0 else errors


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a corpus, a tokenizer and a dataset, made from the shell."""
    folder = tmp_path_factory.mktemp("cli")
    rows = [{"id": str(i), "text": f"def f{i}(x):\n    return x + {i}\n" * 5} for i in range(300)]
    rows += [{"id": "short", "text": "x"}]
    (folder / "raw.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    lslm_run("train-tokenizer", "raw.jsonl", "-o", "tok.json", "--vocab-size", 400, cwd=folder)
    lslm_run(
        "tokenize",
        "raw.jsonl",
        "-o",
        "data",
        "-t",
        "tok.json",
        "--validation-fraction",
        0.1,
        cwd=folder,
    )
    return folder


def test_help_lists_every_verb_and_only_working_ones():
    text = lslm_run("--help")
    listed = re.findall(
        r"^[│ ]+([a-z]+(?:-[a-z]+)*)  ", text.partition("Commands")[2], re.MULTILINE
    )
    assert sorted(listed) == VERBS
    for verb in VERBS:
        assert "Example" in lslm_run(verb, "--help"), verb


def test_train_tokenizer_reports_what_it_makes_of_the_text(work, tmp_path):
    command = [
        "train-tokenizer", "raw.jsonl", "-o", tmp_path / "t.json", "--vocab-size", 400,
        "--validation-fraction", 0.1, "--memory", "0.5 GB",
    ]  # fmt: skip
    facts = json.loads(lslm_run(*command, "--json", cwd=work))
    report = facts["report"]
    assert report["files"][0]["file"] == "raw.jsonl"
    assert report["total"]["documents"] == 301
    assert 5 < report["held_out"]["documents"] < 60
    text = lslm_run(*command, cwd=work)
    assert f"{report['total']['bytes_per_token']:.3f}" in text
    assert f"{report['held_out']['tokens_per_word']:.3f}" in text
    assert f"{len(report['unused']):,} of {facts['vocab_size']}" in text
    assert json.loads(lslm_run(*command, "--no-report", "--json", cwd=work))["report"] is None
    given = (work / "raw.jsonl").read_bytes()
    words = ["train-tokenizer", "-", "-o", tmp_path / "t.json", "--vocab-size", 400, "--json"]
    assert json.loads(lslm_run(*words, input=given))["report"] is None


@pytest.mark.parametrize(
    ("size", "n_bytes"),
    [("2GB", 2 * 10**9), ("500 MB", 5 * 10**8), ("1.5k", 1500), ("64", 64), ("1TB", 10**12)],
)
def test_sizes_have_units(size, n_bytes):
    from lslm.cli import _size

    assert _size(size) == n_bytes


def prose(n):
    """Documents that even the strict profiles keep: sentences of the tutorial, in other orders."""
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    sentences = re.findall(r"[A-Z][a-z][^.`*|$#\[\]]{60,200}\.(?= |\n)", text)
    rng = random.Random(0)
    picked = ([" ".join(s.split()) for s in rng.sample(sentences, 14)] for _ in range(n))
    return [{"text": "\n".join(" ".join(p[i : i + 2]) for i in range(0, 14, 2))} for p in picked]


# What a reader gives time gets two steps here.
SHORTER = {"steps=120": "steps=2", "--minutes 3": "--steps 2 --corpus raw --profile none"}


def test_the_example_of_every_verb_runs(tmp_path):
    pytest.importorskip("torch")
    zstandard = pytest.importorskip("zstandard")
    (tmp_path / "raw").mkdir()
    lines = "\n".join(json.dumps(row) for row in prose(120)).encode()
    (tmp_path / "raw/a.jsonl.zst").write_bytes(zstandard.compress(lines))
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    order = ["clean", "train-tokenizer", "tokenize", "encode", "decode", "inspect", "verify"]
    order += ["train", "eval", "generate", "demo"]
    assert sorted(order) == VERBS
    printed = {}
    for verb in order:
        example = typer.main.get_command(cli.app).commands[verb].epilog.removeprefix("Example: ")
        for long, short in SHORTER.items():
            example = example.replace(long, short)
        echoed, pipe, command = example.rpartition(" | ")
        words = shlex.split(command)
        assert words[:2] == ["lslm", verb]
        given = (shlex.split(echoed)[1] + "\n").encode() if pipe else None
        printed[verb] = lslm_run(*words[1:], input=given, cwd=tmp_path)
    assert len(printed["encode"].splitlines()) >= 2
    assert printed["decode"] == "Hi!"
    assert "perplexity" in printed["eval"]
    assert printed["generate"].startswith("def main")
    assert (tmp_path / "demo/report.html").exists()


def test_version():
    assert lslm_run("--version").strip() == f"lslm {lslm.__version__}"


def test_encode_and_decode_are_inverse_for_any_bytes(work):
    for data in (b"def f(x):\n", "语言模型 😀".encode(), b"\xff\xfe\x80 bad", b""):
        ids = lslm_run("encode", "-t", "tok.json", input=data, cwd=work)
        done = subprocess.run(
            [sys.executable, "-m", "lslm", "decode", "-t", "tok.json"],
            input=ids.encode(), capture_output=True, cwd=work, check=True,
        )  # fmt: skip
        assert done.stdout == data
        assert lslm_run("encode", "-t", "tok.json", "--count", input=data, cwd=work).strip() == str(
            len(ids.split())
        )


def test_encode_shows_pieces_and_obeys_special(work):
    pieces = lslm_run("encode", "-t", "tok.json", "--pieces", input=b"return x", cwd=work)
    assert "' x'" in pieces
    plain = lslm_run("encode", "-t", "tok.json", input=b"<|endoftext|>", cwd=work).split()
    special = lslm_run(
        "encode", "-t", "tok.json", "--special", "all", input=b"<|endoftext|>", cwd=work
    ).split()
    assert len(plain) > 1
    assert len(special) == 1
    assert "<|endoftext|>" in lslm_run(
        "encode", "-t", "tok.json", "--special", "raise", input=b"<|endoftext|>", cwd=work, code=1
    )


def test_clean_prints_a_funnel_and_writes_a_report(work, tmp_path):
    text = lslm_run(
        "clean", "raw.jsonl", "-o", tmp_path / "clean", "--set", "length.min_chars=10", "--report",
        tmp_path / "funnel.html", cwd=work,
    )  # fmt: skip
    assert "300" in text
    assert "length" in text
    assert "<html" in (tmp_path / "funnel.html").read_text()
    result = json.loads(
        lslm_run(
            "clean", "raw.jsonl", "-o", tmp_path / "again", "--profile", "none", "--json", cwd=work
        )
    )
    assert result["n_documents"] == 301


def test_standard_input_is_a_corpus(work, tmp_path):
    data = (work / "raw.jsonl").read_bytes()
    lslm_run(
        "tokenize", "-", "-o", tmp_path / "data", "-t", "tok.json", "--validation-fraction", 0.1,
        input=data, cwd=work,
    )  # fmt: skip
    piped = lslm.TokenDataset(tmp_path / "data/train")
    assert piped.n_tokens == lslm.TokenDataset(work / "data/train").n_tokens


@pytest.mark.skipif(os.name == "nt", reason="a limit on the size of files is POSIX's")
@pytest.mark.parametrize(
    ("verb", "final"),
    [
        (["clean", "long.jsonl", "-o", "OUT", "--profile", "none"], "part-*"),
        (["tokenize", "long.jsonl", "-o", "OUT", "-t", "tok.json"], "train/*"),
        (["train-tokenizer", "long.jsonl", "-o", "OUT/tok.json", "--vocab-size", "2000"], "*"),
    ],
)
def test_a_disk_that_takes_no_more_leaves_nothing_half_written(work, tmp_path, verb, final):
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=7)) for _ in range(4000)]
    rows = [{"text": " ".join(rng.choices(words, k=60))} for _ in range(800)]
    (work / "long.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    # past the limit a write fails as on a full disk, with another number
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000,) * 2);"
        "sys.argv[0] = 'lslm'; runpy.run_module('lslm', run_name='__main__')"
    )
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", limited, *(word.replace("OUT", str(out)) for word in verb)],
        cwd=work, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith(f"error: {out}")
    assert "large" in done.stderr
    assert "at path" not in done.stderr
    assert not list(out.glob(final))


def test_bad_documents_are_counted_and_said(work, tmp_path):
    lines = ['{"text": "one"}', '{"text": ', '{"text": 1}', '{"text": "\\ud800"}']
    (tmp_path / "bad.jsonl").write_text("\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "lslm", "clean", "bad.jsonl", "-o", "out", "--profile", "none"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "1 bad documents (malformed_json); the first is in bad.jsonl at 16: " in done.stderr
    assert "1 bad documents (text_not_string)" in done.stderr
    assert "1 places in 1 documents" in done.stderr


def test_inspect_says_what_a_thing_is(work):
    assert "301" in lslm_run("inspect", "raw.jsonl", cwd=work)
    assert "400" in lslm_run("inspect", "tok.json", cwd=work)
    dataset = json.loads(lslm_run("inspect", "data/train", "--json", cwd=work))
    assert dataset["n_documents"] == lslm.TokenDataset(work / "data/train").n_documents
    assert "return x" in lslm_run("inspect", "data/train", cwd=work)


def test_verify_finds_one_flipped_bit(work, tmp_path):
    lslm_run("tokenize", "raw.jsonl", "-o", tmp_path / "d", "-t", "tok.json", cwd=work)
    assert "ok" in lslm_run("verify", tmp_path / "d", cwd=work)
    shard = min((tmp_path / "d/train").glob("*.lslm"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert shard.name in lslm_run("verify", tmp_path / "d", cwd=work, code=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tokenize", "none.jsonl", "-o", "x", "-t", "tok.json"], "none.jsonl"),
        (["tokenize", "raw.jsonl", "-o", "x", "-t", "none.json"], "none.json"),
        (["tokenize", "raw.jsonl", "-o", "x", "-t", "raw.jsonl"], "raw.jsonl"),
        (["clean", "raw.jsonl", "-o", "x", "--profile", "fineweeb"], "fineweb"),
        (["clean", "raw.jsonl", "-o", "x", "--set", "lenght.min_chars=3"], "length"),
        (["train-tokenizer", "raw.jsonl", "-o", "x", "--pattern", "o200k_bas"], "o200k_base"),
        (["train-tokenizer", "raw.jsonl", "-o", "x", "--vocab-size", "10"], "vocab_size"),
        (["decode", "-t", "tok.json", "tok.json"], "not a token id"),
        (["inspect", "nothing-here"], "nothing-here"),
        (["verify", "tok.json"], "tok.json"),
        (["eval", "data"], "data"),
        (["clean", "empty.txt", "-o", "x"], "empty.txt"),
        (["tokenize", "empty.txt", "-o", "x", "-t", "tok.json"], "empty.txt"),
        (["train-tokenizer", "empty.txt", "-o", "x"], "empty.txt"),
        (["tokenize", "raw.jsonl", "-o", "x", "-t", "tok.json", "--text-key", "body"], '"body"'),
        (["clean", "raw.jsonl", "-o", "raw.jsonl"], "a folder is needed"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(work, arguments, said):
    (work / "empty.txt").touch()
    errors = lslm_run(*arguments, cwd=work, code=1)
    assert not (work / "x").exists()
    assert said in errors
    assert len(errors.strip().splitlines()) == 1
    assert errors.startswith("error: ")


def test_wrong_usage_exits_with_2(work):
    assert "--nope" in lslm_run("clean", "raw.jsonl", "--nope", cwd=work, code=2)
    assert "sing" in lslm_run("sing", cwd=work, code=2)


TINY = ["layers=1", "width=32", "heads=2", "batch_size=4", "sequence_length=32"]


def test_train_evaluate_and_generate_from_the_shell(work, tmp_path):
    pytest.importorskip("torch")
    config = os.path.join(os.path.dirname(__file__), "../configs/tiny.toml")
    run = tmp_path / "run"
    common = ["train", os.path.abspath(config), f"data={work / 'data'}", f"out={run}", *TINY]
    dry = lslm_run(*common, "--dry-run", cwd=work)
    assert "parameters" in dry
    assert not run.exists()
    lslm_run(*common, "steps=6", "checkpoint_every=3", cwd=work)
    assert (run / "report.html").exists()
    lslm_run(*common, "steps=6", "checkpoint_every=3", "--resume", cwd=work)
    result = json.loads(lslm_run("eval", run, "--json", cwd=work))
    assert result["perplexity"] > 1
    first = lslm_run("generate", run, "--prompt", "def f", "--max-tokens", 8, "--seed", 1, cwd=work)
    again = lslm_run("generate", run, "--prompt", "def f", "--max-tokens", 8, "--seed", 1, cwd=work)
    assert first == again
    assert first.startswith("def f")
    assert "steps" in lslm_run(*common, "step=6", cwd=work, code=1)
    # no file of settings: the defaults
    assert "defaults: estimate" in lslm_run("train", *TINY, "vocab_size=99", "--dry-run", cwd=work)
    assert "no_such.toml" in lslm_run("train", "no_such.toml", "steps=1", cwd=work, code=1)
    assert "run" in lslm_run("inspect", run, cwd=work)
