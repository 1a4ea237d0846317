"""lslm.files: one writer per folder, and whole files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lslm.files import lock, write_atomically

HOLD = """
import sys
from lslm.files import lock
with lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_by_one_process(tmp_path):
    command = [sys.executable, "-c", HOLD, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process is writing this folder"):
            lock(tmp_path).__enter__()
        other.stdin.close()
        other.wait()
    with lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_a_killed_process_is_free(tmp_path):
    command = [sys.executable, "-c", HOLD, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as other:
        assert other.stdout.readline() == "held\n"
        other.kill()
    with lock(tmp_path):
        assert (tmp_path / ".lock").exists()


def test_a_new_folder_that_stays_empty_is_removed(tmp_path):
    with lock(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()
    with lock(tmp_path / "run"):
        write_atomically(tmp_path / "run/a.txt", "text")
    assert os.listdir(tmp_path / "run") == ["a.txt"]


def test_one_lock_is_entered_once_at_a_time(tmp_path):
    held = lock(tmp_path)
    with held, pytest.raises(ValueError, match="held already"):
        held.__enter__()
    with held:
        pass


@pytest.mark.parametrize("data", ["line\r\nline\n, 语言", b"\x00\xff bytes"])
def test_a_file_is_written_whole(tmp_path, data):
    path = tmp_path / "sub/a.txt"
    write_atomically(path, "the old one, which is longer than the new one")
    write_atomically(str(path), data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert os.listdir(path.parent) == ["a.txt"]


@pytest.mark.skipif(os.name == "nt" or os.getuid() == 0, reason="root may write anywhere")
def test_a_refused_write_names_the_file(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as info:
        write_atomically(tmp_path / "a.txt", "text")
    assert Path(info.value.filename) == tmp_path / "a.txt"


def test_other_types_are_refused(tmp_path):
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "a.txt", 7)
