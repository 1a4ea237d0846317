"""The command line: what each verb prints, what it writes, how it fails.

Most tests run ``lslm.__main__.main`` in this process, from arguments to exit code. Processes of
their own are left where only a process will do: limits of the system, and one start of each verb.
"""

import json
import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lslm
from command_line import COMMANDS, VERBS, lslm_run, run, start
from lslm import cli
from lslm.__main__ import WAITING, let_idle_threads_sleep
from lslm.cli import show
from lslm.cli.options import parse_size

NUMBERS = [
    (command.name or command.callback.__name__.replace("_", "-"), f"--{name.replace('_', '-')}")
    for group in cli.app.registered_groups
    for command in group.typer_instance.registered_commands
    for name, annotation in command.callback.__annotations__.items()
    if annotation.__origin__ in {int, float, int | None, float | None}
]
"""Every verb and option that takes a number."""


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


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_starts_as_a_process(verb):
    assert "Example" in lslm_run(verb, "--help", runner=start)


READ_OPTIONS = {
    "--text-key", "--id-key", "--split", "--separator", "--extension", "--utf8", "--zstd-long",
}  # fmt: skip
CLEAN_OPTIONS = {"--profile", "--clean", "--set", "--redact"}


def options(verb):
    return {name for parameter in COMMANDS[verb].params for name in parameter.opts}


def test_verbs_that_read_text_have_all_read_options():
    verbs = {verb for verb in VERBS if options(verb) & READ_OPTIONS}
    assert verbs == {"clean", "train-tokenizer", "tokenize", "inspect", "eval", "demo"}
    assert all(options(verb) >= READ_OPTIONS for verb in verbs)


def test_verbs_that_clean_have_all_clean_options():
    verbs = {verb for verb in VERBS if "--set" in options(verb)}
    assert verbs == {"clean", "train-tokenizer", "tokenize", "demo"}
    assert all(options(verb) >= CLEAN_OPTIONS for verb in verbs)


def test_train_tokenizer_reports_what_it_makes_of_the_text(work, tmp_path):
    command = [
        "train-tokenizer", "raw.jsonl", "-o", tmp_path / "t.json", "--vocab-size", 400,
        "--validation-fraction", 0.1, "--memory", "0.5 GB", "--force",
    ]  # fmt: skip
    facts = json.loads(lslm_run(*command, "--json", cwd=work))
    report = facts["report"]
    assert report["files"][0]["file"] == "raw.jsonl"
    assert report["total"]["n_documents"] == 301
    assert 5 < report["validation"]["n_documents"] < 60
    text = lslm_run(*command, cwd=work)
    assert f"{report['total']['bytes_per_token']:.3f}" in text
    assert f"{report['validation']['tokens_per_word']:.3f}" in text
    assert f"{len(report['unused']):,} of {facts['vocab_size']}" in text
    assert json.loads(lslm_run(*command, "--no-report", "--json", cwd=work))["report"] is None
    given = (work / "raw.jsonl").read_bytes()
    words = ["train-tokenizer", "-", "-o", tmp_path / "u.json", "--vocab-size", 400, "--json"]
    assert json.loads(lslm_run(*words, input=given))["report"] is None


@pytest.mark.parametrize(
    ("size", "n_bytes"),
    [("2GB", 2 * 10**9), ("500 MB", 5 * 10**8), ("1.5k", 1500), ("64", 64), ("1TB", 10**12)],
)
def test_sizes_have_units(size, n_bytes):
    assert parse_size(size) == n_bytes


def test_what_is_not_a_size_is_named():
    with pytest.raises(ValueError, match=r"'2XB' is not a size: use e\.g\. 500MB or 2GB"):
        parse_size("2XB")


def test_numbers_that_json_does_not_have_are_null(capsys):
    show.print_json({"perplexity": math.inf, "losses": [1.5, math.nan], "path": Path("a")})
    assert json.loads(capsys.readouterr().out) == {
        "perplexity": None, "losses": [1.5, None], "path": "a"
    }  # fmt: skip


def test_idle_threads_sleep_unless_the_user_says_otherwise():
    given = {}
    let_idle_threads_sleep(given)
    assert given == WAITING
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        given = {name: "active", "OMP_NUM_THREADS": "3"}
        let_idle_threads_sleep(given)
        assert given == {name: "active", "OMP_NUM_THREADS": "3"}


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP shows its settings")
def test_openmp_reads_how_long_to_spin():
    pytest.importorskip("torch")
    script = (
        "import os, sys; from lslm.__main__ import let_idle_threads_sleep;"
        "let_idle_threads_sleep(os.environ); import torch"
    )
    hidden = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True,
        env=environment | {"OMP_DISPLAY_ENV": "verbose"},
    )  # fmt: skip
    assert "GOMP_SPINCOUNT = '10000'" in done.stderr


def test_version():
    assert lslm_run("--version").strip() == f"lslm {lslm.__version__}"


def test_encode_and_decode_are_inverse_for_any_bytes(work):
    for data in (b"def f(x):\n", "语言模型 😀".encode(), b"\xff\xfe\x80 bad", b""):
        ids = lslm_run("encode", "-t", "tok.json", input=data, cwd=work)
        assert run("decode", "-t", "tok.json", input=ids.encode(), cwd=work) == (0, data, b"")
        assert lslm_run("encode", "-t", "tok.json", "--count", input=data, cwd=work).strip() == str(
            len(ids.split())
        )


def test_encode_prints_tokens_and_obeys_special(work):
    tokens = lslm_run("encode", "-t", "tok.json", "--tokens", input=b"return x", cwd=work)
    assert "' x'" in tokens
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


@pytest.mark.parametrize(
    ("given", "n_documents"),
    [
        ([], 2),
        (["--split", "line"], 6),
        (["--split", "blank-lines"], 3),
        (["--separator", "%%"], 3),
        (["--extension", ".md"], 1),
        (["--extension", ".md", "--extension", "txt", "--split", "line"], 6),
        (["--utf8", "refuse"], 1),
    ],
)
def test_read_options_say_what_a_document_of_plain_text_is(tmp_path, given, n_documents):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_bytes(b"one\n\ntwo\n%%\nfive\n")
    (tmp_path / "texts/b.md").write_bytes(b"three\nfour\xff")
    command = ["clean", "texts", "-o", "out", "--profile", "none", "--json", *given]
    assert json.loads(lslm_run(*command, cwd=tmp_path))["n_documents"] == n_documents
    found = json.loads(lslm_run("inspect", "texts", "--json", *given, cwd=tmp_path))
    assert found["n_documents"] == n_documents
    assert found["kind"] == "documents"


def test_files_that_are_not_read_are_counted_by_reason(work, tmp_path):
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "b.bin", "c.bin", ".hidden.txt"):
        (tmp_path / "texts" / name).write_text("def f(x): return x")
    for verb in (["clean", "--profile", "none"], ["tokenize", "-t", work / "tok.json"]):
        code, _, errors = run(*verb, "texts", "-o", verb[0], cwd=tmp_path)
        assert code == 0
        assert b"skipped files: " in errors
        assert b"extension: 2" in errors
        assert b"hidden: 1" in errors
    found = json.loads(lslm_run("inspect", "texts", "--json", cwd=tmp_path))
    assert found["skipped"] == {"extension": 2, "hidden": 1}


@pytest.mark.parametrize("option", ["--profile", "--clean"])
def test_documents_are_cleaned_on_their_way_into_a_dataset(work, tmp_path, option):
    (tmp_path / "mail.txt").write_text("Write to someone@example.org today, or tomorrow.")
    words = ["tokenize", tmp_path / "mail.txt", "-o", tmp_path / "d", "-t", work / "tok.json"]
    lslm_run(*words, option, "none", "--redact", "--validation-fraction", 0)
    dataset = lslm.TokenDataset(tmp_path / "d/train")
    text = lslm.Tokenizer.load(work / "tok.json").decode(dataset.document(0))
    assert text.startswith("Write to ")
    assert "someone" not in text


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
    code, _, errors = run("clean", "bad.jsonl", "-o", "out", "--profile", "none", cwd=tmp_path)
    assert code == 0
    assert b"1 bad document (malformed_json); the first is in bad.jsonl at 16: " in errors
    assert b"1 bad document (text_not_string)" in errors
    assert b"1 place in 1 document " in errors


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
        (["eval", "a", "b", "c"], "3 runs: give one to measure, or two to compare"),
        (["eval", "a", "b", "--save-scores", "x"], "--save-scores is for one run"),
        (["eval", "a", "--data", "tok.json"], "tok.json is a tokenizer, not data"),
        (["eval", "a", "--data", "nothing.txt"], "nothing.txt"),
        (["clean", "empty.txt", "-o", "x"], "empty.txt"),
        (["tokenize", "empty.txt", "-o", "x", "-t", "tok.json"], "empty.txt"),
        (["train-tokenizer", "empty.txt", "-o", "x"], "empty.txt"),
        (["tokenize", "raw.jsonl", "-o", "x", "-t", "tok.json", "--text-key", "body"], '"body"'),
        (["clean", "raw.jsonl", "-o", "raw.jsonl"], "a folder is needed"),
        (["clean", "raw.jsonl", "-o", "x", "--set", "length"], "--set length: use rule.key=value"),
        (["tokenize", "raw.jsonl", "-o", "x", "-t", "tok.json", "--redact"], "add --profile NAME"),
        (["train-tokenizer", "raw.jsonl", "-o", "x", "--set", "a.b=1"], "add --profile NAME"),
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


def check_evaluation_options(work, run, folder):
    """Evaluate ``run`` on text and beside itself, and check what is written."""
    text = ["--data", "a=raw.jsonl", "--data", "b=raw.jsonl"]
    files = ["--per-document", folder / "d.jsonl", "--save-scores", folder / "scores"]
    shown = lslm_run("eval", run, *text, *files, "--protocol", "lm-eval", cwd=work)
    assert "by source" in shown
    assert "lm-eval: context 32, stride 32, float32" in shown
    rows = [json.loads(line) for line in (folder / "d.jsonl").read_text().splitlines()]
    assert {row["dataset"] for row in rows} == {"a", "b"}
    assert len(lslm.open_scores(folder / "scores")) == sum(row["n_tokens"] for row in rows)
    again = lslm_run("eval", run, *text, *files, "--force", cwd=work, code=1)
    assert "name a new folder" in again
    assert "exists: name another" in lslm_run("eval", run, *files, cwd=work, code=1)
    assert "no difference" in lslm_run("eval", run, run, "--data", "raw.jsonl", cwd=work)
    beside = json.loads(lslm_run("eval", run, run, "--json", cwd=work))
    assert beside["difference"]["bits_per_byte"] == 0
    assert beside["same_top"] == 1


def test_train_evaluate_and_generate_from_the_shell(work, tmp_path):
    pytest.importorskip("torch")
    run = tmp_path / "run"
    common = ["train", "tiny", f"data={work / 'data'}", f"out={run}", *TINY]
    dry = lslm_run(*common, "--dry-run", cwd=work)
    assert "parameters" in dry
    assert not run.exists()
    lslm_run(*common, "steps=6", "checkpoint_every=3", cwd=work)
    assert (run / "report.html").exists()
    lslm_run(*common, "steps=6", "checkpoint_every=3", "--resume", cwd=work)
    result = json.loads(lslm_run("eval", run, "--json", cwd=work))
    assert result["perplexity"] > 1
    assert "of about 300 tokens" in lslm_run("eval", run, "--tokens", 300, cwd=work)
    assert result["fingerprints"]["model"][:12] in (run / "report.html").read_text()
    check_evaluation_options(work, run, tmp_path)
    first = lslm_run("generate", run, "--prompt", "def f", "--max-tokens", 8, "--seed", 1, cwd=work)
    again = lslm_run("generate", run, "--prompt", "def f", "--max-tokens", 8, "--seed", 1, cwd=work)
    assert first == again
    assert first.startswith("def f")
    assert "steps" in lslm_run(*common, "step=6", cwd=work, code=1)
    # no file of settings: the defaults
    assert "defaults: estimate" in lslm_run("train", *TINY, "vocab_size=99", "--dry-run", cwd=work)
    assert "no_such.toml" in lslm_run("train", "no_such.toml", "steps=1", cwd=work, code=1)
    assert "run" in lslm_run("inspect", run, cwd=work)


def test_generate_without_a_prompt_is_a_dialogue_on_a_terminal(tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch")
    from lslm.checkpoint import open_run
    from lslm.cli import dialogue
    from lslm.next_token import Sampling

    (tmp_path / "text.txt").write_text("def main(): pass\n" * 400)
    lslm_run("train-tokenizer", "text.txt", "-o", "t.json", "--vocab-size", 280, cwd=tmp_path)
    lslm_run("tokenize", "text.txt", "-o", "data", "-t", "t.json", cwd=tmp_path)
    lslm_run("train", "tiny", "data=data/train", "out=run", "steps=2", *TINY, cwd=tmp_path)
    for end in (EOFError, KeyboardInterrupt):
        lines = iter(["def", "main"])

        def answer(_, lines=lines, end=end):
            try:
                return next(lines)
            except StopIteration:
                raise end from None

        monkeypatch.setattr("builtins.input", answer)
        dialogue.converse(
            open_run(tmp_path / "run"), seed=1, max_tokens=5, sampling=Sampling(temperature=0)
        )
        written = capsys.readouterr()
        assert written.out.startswith("def")
        assert "\nmain" in written.out
        assert "Ctrl-D ends" in written.err
    # no terminal and no prompt: one text from the beginning of a document
    code, _, errors = run("generate", "run", "--max-tokens", "4", cwd=tmp_path)
    assert code == 0
    assert b"tokens/s" in errors
    two = lslm_run("generate", "run", "--prompt", "def", "--prompt", "main", cwd=tmp_path)
    assert two.startswith("def")
    assert "\n---\nmain" in two
    shown = lslm_run("generate", "run", "--prompt", "def", "--stop", "x", "--json", cwd=tmp_path)
    assert json.loads(shown)["ended_by"] in {"length", "stop", "end"}


@pytest.mark.parametrize(("verb", "option"), NUMBERS, ids="".join)
def test_numbers_out_of_range_are_wrong_usage(verb, option):
    required = [] if verb == "demo" else ["missing"]
    required += ["-o", "out"] if verb in {"clean", "tokenize", "train-tokenizer"} else []
    required += ["-t", "missing"] if verb == "tokenize" else []
    for value in ("-1", "nan", "inf", str(10**23)):
        code, _, err = run(verb, *required, f"{option}={value}")
        assert code == 2, (value, err)
        assert f"Invalid value for '{option}'".encode() in err


@pytest.mark.parametrize("size", ["-1", "nan", "inf", "1e23", "9e9T"])
def test_sizes_out_of_range_are_errors(size):
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(size)


def test_an_id_of_23_digits_is_an_error(tmp_path):
    lslm.train_tokenizer(texts=["a b c"], vocab_size=260).save(tmp_path / "tokenizer.json")
    code, _, err = run("decode", "-t", tmp_path / "tokenizer.json", input=b"1 " + b"9" * 23)
    assert code == 1
    assert err.startswith(b"error: " + b"9" * 23 + b" is not a token id: the largest is ")
    assert err.count(b"\n") == 1


def test_counts_and_numbers_are_written_for_people(capsys):
    assert [show.counted(n, "file") for n in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]
    show.print_facts("facts", {"seconds": 155.82381511303544, "n_tokens": 12345, "compiled": True})
    written = capsys.readouterr().out.split()
    assert {"155.8", "12,345", "yes"} <= set(written)
