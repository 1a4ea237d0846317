"""Files are the old or the new one; a folder is held by one process."""

import subprocess
import sys

import pytest

from lslm.files import lock, write_atomically


def test_a_folder_is_held_by_one_process(tmp_path):
    code = f"from lslm.files import lock\nwith lock({str(tmp_path / 'run')!r}): pass"
    with lock(tmp_path / "run"):
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "another process is writing this folder" in other.stderr
    assert not (tmp_path / "run").exists()
    with lock(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert (tmp_path / "run" / "file").exists()


def test_a_file_is_the_old_one_after_a_failed_write(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, "old ✓")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old ✓"
    write_atomically(path, b"\xff\n")
    assert path.read_bytes() == b"\xff\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "a.txt", "text")
