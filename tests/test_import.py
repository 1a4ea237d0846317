"""`import lslm` starts no thread and loads no torch; every public name exists and is typed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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


NEED_TORCH = {
    "ComparisonResult", "ExportResult", "ImportResult", "ModelConfig", "ScalingResult",
    "TrainResult", "Transformer", "TuneResult", "compare", "complete", "evaluate", "export_model",
    "generate", "import_model", "scaling", "train", "tune",
}  # fmt: skip


@pytest.mark.slow
def test_a_model_to_load_weights_into_is_made_without_torchs_compiler():
    pytest.importorskip("torch")
    code = (
        "import sys; from lslm.architecture import ModelConfig as C;"
        "from lslm.checkpoint import empty_model;"
        "empty_model(C(vocab_size=9, width=8, layers=1, heads=1, bigram_rows=4), 'cpu');"
        "empty_model(C.gpt2(vocab_size=9, width=8, layers=1, heads=1), 'cpu');"
        "print('torch' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    assert run(code) == "True False"


def test_dir_lists_every_public_name_and_each_exists():
    assert dir(lslm) == lslm.__all__ == sorted(lslm.__all__)
    for name in set(lslm.__all__) - NEED_TORCH:
        assert getattr(lslm, name) is not None


def test_names_that_need_torch_are_loaded_at_their_first_use():
    torch = pytest.importorskip("torch")
    for name in NEED_TORCH:
        assert getattr(lslm, name).__module__.startswith("lslm.")
    assert issubclass(lslm.Transformer, torch.nn.Module)


@pytest.mark.slow
def test_a_step_of_training_does_not_load_torchs_compiler():
    pytest.importorskip("torch")
    code = (
        "import sys, torch; from lslm import ModelConfig, Transformer;"
        "from lslm.optim import OptimConfig, build_optimizers; from lslm.training import train_step;"
        "model = Transformer(ModelConfig(vocab_size=9, sequence_length=4, width=8, heads=2));"
        "ids = torch.ones(2, 4, dtype=torch.int64);"
        "train_step(model, build_optimizers(model, OptimConfig()), ids, ids);"
        "print('torch._dynamo' in sys.modules)"
    )
    assert run(code) == "False"


def test_the_other_names_load_no_torch():
    names = sorted(set(lslm.__all__) - NEED_TORCH)
    code = f"import sys, lslm; [getattr(lslm, n) for n in {names}]; print('torch' in sys.modules)"
    assert run(code) == "False"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'lslm' has no attribute 'tokenise'"):
        lslm.tokenise


SNIPPET = """
import lslm
lslm.tokenise
reveal_type(lslm.train)
reveal_type(lslm.Corpus("a").n_bytes)
lslm.clean("raw", output="clean", cleaner=lslm.Cleaner("none")).funnel.n_documents_kept
lslm.tokenize(lslm.Corpus("a"), output="b", tokenizer="c", clean="web")
reveal_type(next(lslm.TokenLoader("a", batch_size=1, sequence_length=2)).inputs)
reveal_type(next(lslm.TokenLoader("a", batch_size=1, sequence_length=2, output="numpy")).inputs)
"""


@pytest.mark.slow
def test_type_checkers_report_a_wrong_name_and_a_wrong_keyword(tmp_path):
    for package in ("mypy", "torch"):
        pytest.importorskip(package)
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", file],
        cwd=ROOT,  # with the settings of the project, so that make lint and this share a cache
        env=os.environ | {"MYPYPATH": str(Path(lslm.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    rows = [line.partition("snippet.py:")[2] for line in done.stdout.splitlines()]
    assert rows[0].startswith('3: error: Module has no attribute "tokenise"')
    assert rows[1].startswith('4: note: Revealed type is "def (config:')
    assert rows[2] == '5: note: Revealed type is "int"'
    assert rows[3].startswith('7: error: Unexpected keyword argument "clean" for "tokenize"')
    assert '8: note: Revealed type is "torch._tensor.Tensor"' in rows
    assert any(row.startswith('9: note: Revealed type is "numpy.ndarray[') for row in rows)
    assert done.stdout.splitlines()[-1].startswith("Found 2 errors in 1 file")


def test_every_class_of_the_binding_is_frozen():
    """A mutable class would need a lock in each method, for readers on other threads."""
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
    """LSLM_SIMD forces one path for tests and measurements; falling back to another would hide it."""
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
