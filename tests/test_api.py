"""The list of public names is current."""

import importlib.util
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def test_docs_api_lists_the_public_names_as_they_are():
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location("api", ROOT / "docs/api.py")
    api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(api)
    written = (ROOT / "docs/api.md").read_text(encoding="utf-8").splitlines()
    current = api.page().splitlines()
    assert written == current, "run: python docs/api.py"
