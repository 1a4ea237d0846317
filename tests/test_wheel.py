"""The wheel installs without cargo and without torch, and works from the shell and from Python."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # builds the wheel and installs it into a new environment

ROOT = Path(__file__).parents[1]


def run(*command, env, **options):
    done = subprocess.run(
        [str(word) for word in command],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Install the wheel into a new environment; return its bin folder and environment variables."""
    if shutil.which("cargo") is None:
        pytest.skip("building the wheel needs cargo")
    folder = tmp_path_factory.mktemp("wheel")
    # the profile that make has already compiled, else the one of make wheel
    profile = os.environ.get("LSLM_PROFILE", "release")
    maturin = [sys.executable, "-m", "maturin", "build", "--locked", "--out", folder]
    maturin += ["--profile", profile]
    run(*maturin, env=os.environ, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    assert "cp311-abi3" in wheel.name
    venv.create(folder / "env", with_pip=True)
    bin_ = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    run(bin_ / "python", "-m", "pip", "install", "--quiet", wheel, env=os.environ)
    # without cargo, a compiler and the checkout
    keep = ("SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG")
    return bin_, {"PATH": str(bin_)} | {k: v for k, v in os.environ.items() if k in keep}


def test_wheel_has_no_torch_and_tokenizes_from_the_shell_and_python(installed, tmp_path):
    bin_, env = installed
    text = tmp_path / "text.jsonl"
    lines = [json.dumps({"text": f"document {i} says hello, world {i % 7}"}) for i in range(200)]
    text.write_text("\n".join(lines), encoding="utf-8")
    lslm = bin_ / "lslm"
    run(
        lslm,
        "train-tokenizer",
        text,
        "-o",
        "tok.json",
        "--vocab-size",
        "300",
        env=env,
        cwd=tmp_path,
    )
    run(lslm, "tokenize", text, "-o", "data", "-t", "tok.json", env=env, cwd=tmp_path)
    code = (
        "import importlib.util, lslm;"
        "assert importlib.util.find_spec('torch') is None;"
        "tok = lslm.Tokenizer.load('tok.json');"
        "ids = tok.encode('hello, world');"
        "assert tok.decode(ids) == 'hello, world';"
        "print(lslm.TokenDataset('data/train').n_tokens)"
    )
    assert int(run(bin_ / "python", "-c", code, env=env, cwd=tmp_path)) > 1000


def test_verbs_that_need_torch_say_how_to_get_it(installed, tmp_path):
    bin_, env = installed
    (tmp_path / "c.toml").write_text("")
    done = subprocess.run(
        [str(bin_ / "lslm"), "train", "c.toml"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "lslm[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_metadata_has_links_and_licences(installed):
    """What a package index shows, and what a person who audits the wheel looks for."""
    bin_, env = installed
    code = (
        "import importlib.metadata as m, json; d = m.distribution('lslm');"
        "print(json.dumps([d.metadata.get_all(k) for k in ('Project-URL', 'License-File',"
        " 'Provides-Extra')] + [d.metadata['Description'] or d.metadata.get_payload(),"
        " [str(f) for f in d.files]]))"
    )
    urls, licences, extras, description, files = json.loads(
        run(bin_ / "python", "-c", code, env=env)
    )
    assert {url.split(",")[0] for url in urls} >= {"Repository", "Documentation", "Changelog"}
    assert licences == ["LICENSE", "THIRD-PARTY-LICENSES"]
    assert {"hub", "train", "tune", "eval", "analysis"} <= set(extras)
    assert not re.findall(r"\]\((?!https://|#)[^)]*\)", description)
    # an SBOM of maturin names the builder's folders
    assert not [file for file in files if "sbom" in file]
