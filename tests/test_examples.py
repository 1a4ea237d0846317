"""The example in the help of every verb: it runs, says what a person can read, and ends quietly."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from command_line import COMMANDS, NOT_FOR_PEOPLE, VERBS, lslm_run, prose, run, run_closed, start

# What a reader gives minutes gets two steps here, of a small model; and of so few documents
# 0.5 % may be none.
SHORTER = {
    "-o data/web": "-o data/web --validation-fraction 0.1",
    "steps=120": "steps=2 width=32 layers=1 heads=2 batch_size=2",
    "--budget 1M --trials 30": "width=32 layers=1 heads=2 --space rates --budget 2k --trials 2 --top 0",
    "--sizes 4 --tokens 1M": "width=32 layers=1 heads=2 --sizes 3 --tokens 1k",
    "--minutes 3": "--steps 2 --corpus raw --profile none --vocab-size 300",
}
ORDER = [
    "clean", "finish", "train-tokenizer", "tokenize", "encode", "decode", "inspect", "verify", "train",
    "report", "eval", "generate", "export", "import", "demo", "analyze", "tune", "scaling",
]  # fmt: skip


def example(verb):
    """The words of a verb's example after ``lslm``, and the standard input it has there."""
    line = COMMANDS[verb].epilog.removeprefix("Example: ")
    for long, short in SHORTER.items():
        line = line.replace(long, short)
    echoed, pipe, command = line.rpartition(" | ")
    words = shlex.split(command)
    assert words[:2] == ["lslm", verb]
    return words[1:], (shlex.split(echoed)[1] + "\n").encode() if pipe else b""


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A folder with what the examples read: ``raw/*.jsonl.zst``."""
    zstandard = pytest.importorskip("zstandard")
    folder = tmp_path_factory.mktemp("examples")
    (folder / "raw").mkdir()
    lines = "\n".join(json.dumps(row) for row in prose(120)).encode()
    (folder / "raw/a.jsonl.zst").write_bytes(zstandard.compress(lines))
    return folder


SMALL = {"width": 32, "layers": 1, "heads": 2, "validation_tokens": 1024}


@pytest.fixture
def _small_demo(monkeypatch):
    """The demo trains a smaller model, where it runs in this process."""
    demo = pytest.importorskip("lslm.demo", exc_type=ImportError)
    monkeypatch.setattr(demo, "CONFIG", demo.CONFIG | SMALL)


def check(printed):
    """Check what the examples print, by verb."""
    assert len(printed["encode"].splitlines()) >= 2
    assert printed["decode"] == "Hi!"
    assert "perplexity" in printed["eval"]
    assert printed["generate"].startswith("def main")
    assert "Qwen3ForCausalLM" in printed["import"]
    assert "demo/report.html: the report" in printed["demo"]
    assert "of the loss" in printed["analyze"]
    assert "bits per byte" in printed["tune"]
    assert "held out" in printed["scaling"]


def compute_slices(folder):
    """Write what the examples of ``finish`` end."""
    for name in ("web-clean", "web-clean2"):
        lslm_run("clean", "raw", "-o", name, "--partitions", "1/1", cwd=folder)


@pytest.mark.slow
def test_the_example_of_every_verb_runs_as_a_process(raw, tmp_path):
    shutil.copytree(raw, tmp_path, dirs_exist_ok=True)
    printed = {}
    compute_slices(tmp_path)
    for verb in ORDER:
        words, given = example(verb)
        printed[verb] = lslm_run(*words, input=given, cwd=tmp_path, runner=start)
    check(printed)


@pytest.fixture(scope="module")
def examples(raw):
    """The folder in which all examples ran, and output and errors of each verb."""
    demo = pytest.importorskip("lslm.demo", exc_type=ImportError)
    written = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "CONFIG", demo.CONFIG | SMALL)
        compute_slices(raw)
        for verb in ORDER:
            words, given = example(verb)
            code, *streams = run(*words, input=given, cwd=raw)
            assert code == 0, streams[1].decode()
            written[verb] = [stream.decode() for stream in streams]
    return raw, written


def test_the_example_of_every_verb_runs(examples):
    folder, written = examples
    assert sorted(written) == VERBS
    check({verb: output for verb, (output, _) in written.items()})
    assert (folder / "demo/report.html").exists()


# -- for people ------------------------------------------------------------------------------------


def test_what_is_not_for_people_is_found():
    for text in (
        "{'a': 1}",
        "['a']",
        "eos id None",
        "155.82381511303544",
        "0.012345678",
        "in 1 documents",
    ):
        assert NOT_FOR_PEOPLE.search(text), text
    assert not NOT_FOR_PEOPLE.search(
        "1 document, 21 files, 155.8, 0.123456, 0.0001479, 5.1 steps/s, none"
    )


def without_samples(verb, output):
    """Return an output without what a model wrote."""
    if verb == "generate":
        return ""
    if verb == "demo":
        before, _, after = output.partition("sample ─")
        return before + after.partition("files ─")[2]
    return output


@pytest.mark.parametrize("verb", VERBS)
def test_a_person_can_read_what_a_verb_prints(examples, verb):
    output, errors = examples[1][verb]
    found = NOT_FOR_PEOPLE.search(without_samples(verb, output) + errors)
    assert found is None, f"{found[0]!r} in {found.string}"
    assert "Warning" not in errors  # as Python prints it, with the line of code


# -- a closed pipe ---------------------------------------------------------------------------------

AGAIN = {
    "clean": "clean raw -o clean2",
    "finish": "finish web-clean2",
    "train-tokenizer": "train-tokenizer raw -o tokenizer2.json --vocab-size 300",
    "tokenize": "tokenize clean -o data/web2 -t tokenizer.json",
    "encode": "encode -t tokenizer.json tokenizer.json",
    "inspect": "inspect data/web/train",
    "verify": "verify data/web",
    "train": "train runs/first/config.toml out=runs/second",
    "report": "report runs/first",
    "eval": "eval runs/first",
    "generate": "generate runs/first --prompt def --max-tokens 20",
    "export": "export runs/first -o published2",
    "import": "import published -o runs/imported2",
    "demo": "demo --steps 1 --corpus raw --profile none --vocab-size 300 -o demo2",
    "analyze": "analyze runs/first -o analysis/first",
    "tune": "tune -o studies/web --resume",
}
"""A second command in the folder of the examples; others are run again as they are."""


@pytest.mark.usefixtures("_small_demo")
@pytest.mark.parametrize("verb", VERBS)
def test_a_closed_pipe_ends_every_verb_quietly(examples, verb):
    """``lslm … | head``; a job is done to its end, unless it was to print before."""
    words, given = AGAIN[verb].split() if verb in AGAIN else example(verb)[0], b"39 72 0 " * 10_000
    code, errors = run_closed(*words, input=given, cwd=examples[0])
    assert code == 0, errors.decode()
    assert b"error" not in errors


@pytest.mark.parametrize("words", [["--help"], ["clean", "--help"], ["--version"]])
def test_a_closed_pipe_ends_the_help_quietly(words):
    assert run_closed(*words) == (0, b"")


def test_a_failure_stays_one_with_a_closed_pipe():
    assert run_closed("inspect", "none") == (1, b"error: none: no such file or folder\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_an_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w", encoding="utf-8") as full:
        code, errors = run("--version", output=full)
    assert (code, errors) == (1, b"error: standard output: No space left on device\n")


# -- the demo --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_small_demo")
def test_the_rules_of_the_demo_follow_its_text(tmp_path, monkeypatch):
    """``code`` keeps few documents of prose."""
    (tmp_path / "prose.jsonl").write_text("".join(json.dumps(row) + "\n" for row in prose(60)))
    sources = [tmp_path / f"module{number}.py" for number in range(40)]
    for number, path in enumerate(sources):
        lines = [f"def add_{i}_{number}(number):\n    return number + {i}\n" for i in range(50)]
        path.write_text("\n".join(lines))
    monkeypatch.setattr("lslm.demo.library_sources", lambda: sources)
    profiles = {}
    for name, given in (("library", []), ("prose", ["--corpus", "prose.jsonl"])):
        words = ("demo", *given, "--steps", "1", "--vocab-size", "300", "-o", name)
        lslm_run(*words, cwd=tmp_path)
        manifest = json.loads((tmp_path / name / "clean/_clean.json").read_text())
        profiles[name] = manifest["config"]["profile"]
    assert profiles == {"library": "code", "prose": "default"}
