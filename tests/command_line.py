"""Runs of the command line for tests: in this process, from arguments to exit code, or in another."""

import contextlib
import io
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import typer

from lslm import cli
from lslm.__main__ import main

ROOT = Path(__file__).parents[1]

VERBS = [
    "analyze", "clean", "decode", "demo", "encode", "eval", "export", "finish", "generate", "import", "inspect", "report",
    "scaling",
    "tokenize", "train", "train-tokenizer", "tune", "verify",
]  # fmt: skip
COMMANDS = typer.main.get_command(cli.app).commands
ENVIRONMENT = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", "OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def standard_input(data):
    """Make ``data`` the content of file descriptor 0, which compiled code reads, and of sys.stdin."""
    saved = os.dup(0)
    with tempfile.TemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        file.write(data)
        file.seek(0)
        os.dup2(file.fileno(), 0)
        with open(0, encoding="utf-8", closefd=False) as stdin:
            patch.setattr(sys, "stdin", stdin)
            try:
                yield
            finally:
                os.dup2(saved, 0)
                os.close(saved)


def run(*arguments, input=b"", cwd=None, output=None):
    """Run the command line in this process; return its exit code, output and errors, as bytes.

    With ``output`` standard output is that file, and the errors alone are returned with the code.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, standard_input(input):
        patch.setattr(sys, "argv", ["lslm", *map(str, arguments)])
        patch.setattr(sys, "stdout", streams[0] if output is None else output)
        patch.setattr(sys, "stderr", streams[1])
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        if cwd is not None:
            patch.chdir(cwd)
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            signal.signal(signal.SIGTERM, handler)
    written = [stream.buffer.getvalue() for stream in streams]
    return (code, *written) if output is None else (code, written[1])


def start(*arguments, input=b"", cwd=None):
    """Run the command line in a process of its own; return what :func:`run` returns."""
    done = subprocess.run(
        [sys.executable, "-m", "lslm", *map(str, arguments)],
        input=input, capture_output=True, cwd=cwd, timeout=280, env=os.environ | ENVIRONMENT,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def lslm_run(*arguments, input=b"", cwd=None, code=0, runner=run):
    """Return what a command prints, or its errors if it is to exit with another ``code`` than 0."""
    exit_code, output, errors = runner(*arguments, input=input, cwd=cwd)
    assert exit_code == code, errors.decode()
    assert b"Traceback" not in errors
    return (errors if code else output).decode()


def run_closed(*arguments, input=b"", cwd=None):
    """Run the command line with a standard output that nobody reads any more, as before ``head``."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as closed:
        return run(*arguments, input=input, cwd=cwd, output=closed)


def prose(n):
    """Documents that even the strict profiles keep: sentences of the tutorial, in other orders."""
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    sentences = re.findall(r"[A-Z][a-z][^.`*|$#\[\]]{60,200}\.(?= |\n)", text)
    rng = random.Random(0)
    picked = ([" ".join(s.split()) for s in rng.sample(sentences, 14)] for _ in range(n))
    return [{"text": "\n".join(" ".join(p[i : i + 2]) for i in range(0, 14, 2))} for p in picked]


# What a reader gives minutes gets two steps here, of a small model; and of so few documents
# 0.5 % may be none.


NOUNS = (
    "byte|change|character|checkpoint|config(?:uration)?|document|entrie|epoch|file|folder|group|id|"
    "line|mark|minute|paragraph|partition|place|pre-token|row|run|sample|second|seed|segment|shard|"
    "source|step|stretche|token|trial|window|word|worker"
)
NOT_FOR_PEOPLE = re.compile(
    rf"\{{'|\['|\b(?:None|True|False|nan)\b|np\.|[1-9]\d*\.\d{{7}}|\b0\.0*[1-9]\d{{6}}"
    rf"|(?<![\d.,])1 (?:{NOUNS})s\b"
)
"""Values as Python writes them, floats that are not rounded, and counts that are not English."""
