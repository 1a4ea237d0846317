"""What follows from the crates' dependencies is current: the locks of benches and fuzzers, licences."""

import pathlib
import shutil
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def needs(crate):
    """What a crate needs, for all systems together."""
    tables = [crate, *crate.get("target", {}).values()]
    return {name for table in tables for name in table.get("dependencies", {})}


@pytest.mark.parametrize("folder", ["benches", "rust/fuzz"])
def test_other_workspaces_are_locked_to_what_the_crates_need(folder):
    if not (ROOT / folder).is_dir():
        pytest.skip("not in the source distribution")
    crates = [tomllib.loads(path.read_text()) for path in ROOT.glob("rust/*/Cargo.toml")]
    wanted = {crate["package"]["name"]: needs(crate) for crate in crates}
    lock = tomllib.loads((ROOT / folder / "Cargo.lock").read_text())
    # a name comes with a version where there are several
    locked = {
        package["name"]: {need.split()[0] for need in package.get("dependencies", [])}
        for package in lock["package"]
        if package["name"] in wanted
    }
    assert "lslm-runtime" in locked
    assert locked == {name: wanted[name] for name in locked}


@pytest.mark.skipif(sys.platform != "linux", reason="lists the crates of the Linux wheel")
def test_the_licences_of_linked_crates_are_current():
    if shutil.which("cargo") is None:
        pytest.skip("needs cargo, and the crates that it has downloaded")
    script = ROOT / "rust/python/third_party_licenses.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
