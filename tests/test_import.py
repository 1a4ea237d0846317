"""`import lslm` is fast, starts nothing and loads no torch; the surface is what it says it is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import lslm

ROOT = Path(__file__).parents[1]


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout.strip()


def test_import_loads_no_torch_and_starts_no_thread():
    code = (
        "import sys, threading, lslm;"
        "print('torch' in sys.modules, 'rich' in sys.modules, threading.active_count())"
    )
    assert run(code) == "False False 1"


def test_import_starts_no_native_thread():
    if not Path("/proc/self/task").exists():
        return
    assert run("import os, lslm; print(len(os.listdir('/proc/self/task')))") == "1"


def test_every_exported_name_exists_and_is_documented():
    assert lslm.__all__ == sorted(lslm.__all__)
    for name in lslm.__all__:
        if name.startswith("__") or name in {"evaluate", "generate", "train"}:
            continue  # the last three load torch; their own tests look at them
        assert getattr(lslm, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    try:
        lslm.no_such_name
    except AttributeError as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError("no error")


def test_every_class_of_the_binding_is_frozen():
    """A class that can change under a reader on another thread would need a lock in each method."""
    sources = sorted((ROOT / "rust/python/src").glob("*.rs"))
    classes = [
        m for s in sources for m in re.findall(r"#\[pyclass\((.*?)\)\]", s.read_text(), re.DOTALL)
    ]
    assert classes
    for attributes in classes:
        assert "frozen" in attributes
        assert 'module = "lslm' in attributes


def test_version_is_the_workspace_version():
    manifest = (ROOT / "Cargo.toml").read_text()
    assert f'version = "{lslm.__version__}"' in manifest


def test_unknown_vector_instructions_are_refused():
    """Who sets LSLM_SIMD means to test or measure that path and no other."""
    for value, good in [("scalar", True), ("avx9", False), ("", False)]:
        result = subprocess.run(
            [sys.executable, "-c", "import lslm"],
            env=os.environ | {"LSLM_SIMD": value},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (result.returncode == 0) == good, result.stderr
        if not good:
            last = result.stderr.strip().splitlines()[-1]
            assert last.startswith(f'ValueError: LSLM_SIMD="{value}": this machine has scalar')
