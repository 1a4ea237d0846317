"""The benchmarks and the fuzzers, workspaces of their own, are locked to what the crates need now."""

import pathlib
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
