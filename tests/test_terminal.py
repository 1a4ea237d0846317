"""What a person sees: the screen of a terminal of 40 columns, and of one of 100."""

import json
import os
import re
import struct
import subprocess
import sys

import pytest

from lslm.cli import show

pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

ROWS = 40
ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def recorded(columns, *words, cwd):
    """Run the command line on a terminal; return what it wrote to it, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    hidden = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-m", "lslm", *map(str, words)]
    with subprocess.Popen(
        command, cwd=cwd, env=environment | {"TERM": "xterm"},
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    return b"".join(parts).decode(), process.returncode


def screen(written, columns):
    """Return the lines of a terminal after ``written``, and how many lines were wrapped."""
    lines, row, column, wrapped, at = [""], 0, 0, 0, 0
    while at < len(written):
        if escape := ESCAPE.match(written, at):
            number = int(escape[1]) if escape[1].isdecimal() else 1
            if escape[2] == "A":
                row = max(row - number, 0)
            elif escape[2] == "K":
                lines[row] = lines[row][:column] if escape[1] in {"", "0"} else ""
            at = escape.end()
            continue
        character = written[at]
        at += 1
        if character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        else:
            if column == columns:
                wrapped, row, column = wrapped + 1, row + 1, 0
                lines += [""] * (row == len(lines))
            lines[row] = lines[row].ljust(column)[:column] + character + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines], wrapped


def test_a_screen_is_what_a_terminal_shows():
    assert screen("one\r\ntwo\r\x1b[1A\x1b[2KONE\r\n\x1b[31mtw\x1b[0m", 40) == (["ONE", "two"], 0)
    assert screen("abcdef", 4) == (["abcd", "ef"], 1)


@pytest.fixture
def raw(tmp_path):
    rows = [{"text": f"a document of some words, number {i}\n" * 20} for i in range(20_000)]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.mark.parametrize("columns", [40, 100])
def test_the_screen_of_clean_fits(raw, columns):
    written, code = recorded(
        columns, "clean", "raw.jsonl", "-o", "out", "--profile", "tidy", "--dedup", "exact", cwd=raw
    )
    assert code == 0
    assert "\x1b[?25h" in written  # the cursor is back
    lines, wrapped = screen(written, columns)
    bars = [line for line in lines if "━" in line and "%" in line]
    assert bars
    assert all(re.match(r"[a-z ]+ ━+ 100% .*in 0:0\d$", line) for line in bars), bars
    # a job that ends at once has no rate yet; where there is no room it never has one
    assert columns == 100 or not any(" MB" in line for line in bars)
    table = [line for line in lines if line.startswith(("│", "┃", "┏", "┡", "└"))]
    assert any("20,000" in line for line in table)
    assert {len(line) for line in table if line.startswith("│")} <= {len(table[0])}
    # the list of stages and what dedup found are sentences of three lines each
    assert wrapped == (4 if columns == 40 else 0)
    assert lines[-2:] == ["out: 20,000 documents in 1 file", ""]


def test_no_figure_of_a_table_is_cut(capsys, monkeypatch):
    rows = [("a/long/name/of/a/file.jsonl", "12,345,678", "0.1234"), ("all", "23,456,789", "")]
    for columns in (30, 34, 46, 60, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        show.print_table("figures", ("", "tokens of it", "bits per byte"), rows)
        written = capsys.readouterr().out
        assert all(figure in written for row in rows for figure in row[1:])
        assert max(map(len, written.splitlines())) <= columns
        assert ("┃" in written) == (columns > 34)


def test_a_closed_pipe_ends_quietly(raw):
    """``lslm … | head -1``."""
    command = f"{sys.executable} -m lslm inspect raw.jsonl --samples 20000 | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], cwd=raw, capture_output=True, text=True
    )
    assert done.stdout == "documents raw.jsonl\n"
    assert (done.returncode, done.stderr) == (0, "")
