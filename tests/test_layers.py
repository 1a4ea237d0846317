"""The files of each Rust crate and of the Python package form layers: no import circle.

An import counts at the file that defines the item, so a re-export in a `mod.rs` is no edge to it.
Code for tests only (`#[cfg(test)]`, `if TYPE_CHECKING`) and imports inside Python functions are left out.
"""

import ast
import graphlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CRATES = sorted(ROOT.glob("rust/*/src"))

# Comments, strings and characters, in which braces and paths mean nothing.
NOISE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | \bb?r(\#*)".*?"\1 | b?"(?:\\.|[^"\\])*" | b?'(?:\\[^\n']+|\\'|[^'\\\n])'""",
    re.VERBOSE | re.DOTALL,
)
TEST_ONLY = re.compile(r"#\[cfg\((?:all\()?test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*")
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])((?:crate|super|self)(?:\s*::\s*\w+)+)")
MOD = re.compile(r"\bmod\s+(\w+)\s*;")


def circle(edges):
    """Return one import circle as a list of files, or None."""
    graph = {file: others - {file} for file, others in edges.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def without_tests(text):
    """Return Rust source without noise and test-only items, and the names of the test-only files."""
    text = NOISE.sub('""', text)
    test_files = set()
    while found := TEST_ONLY.search(text):
        at = found.end()
        declared = MOD.match(text, at)
        if declared:
            test_files.add(declared[1])
        end = at
        while text[end] not in "{;":
            end += 1
        depth = text[end] == "{"
        while depth:
            end += 1
            depth += {"{": 1, "}": -1}.get(text[end], 0)
        text = text[: found.start()] + text[end + 1 :]
    return text, test_files


def use_paths(tree, prefix=()):
    """Yield (path, name in this file) for each leaf of a use tree; the name is `*` for a glob."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    prefix += tuple(part.strip() for part in head.split("::") if part.strip())
    if not brace:
        path, renamed, name = " ".join(prefix).partition(" as ")
        path = tuple(path.split())
        if path[-1] == "self":
            path = path[:-1]
        yield path, name if renamed else path[-1]
        return
    depth, part = 0, ""
    for char in rest[: rest.rindex("}")] + ",":
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            if part.strip():
                yield from use_paths(part, prefix)
            part = ""
        else:
            part += char


class Crate:
    """The modules of one crate: what each file imports, by absolute path."""

    def __init__(self, source):
        self.texts = {}
        self.files = {}
        self._read(source / "lib.rs", ())
        self.uses = {module: self._uses(module) for module in self.texts}

    def _read(self, file, module):
        text, test_files = without_tests(file.read_text(encoding="utf-8"))
        self.texts[module], self.files[module] = text, file
        inner = file.parent if file.name in ("lib.rs", "mod.rs") else file.with_suffix("")
        for name in MOD.findall(text):
            if name not in test_files:
                path = inner / f"{name}.rs"
                self._read(path if path.is_file() else inner / name / "mod.rs", (*module, name))

    def _absolute(self, path, module):
        if path[0] == "crate":
            return path[1:]
        base = module
        if path[0] == "self":
            path = path[1:]
        elif path[0] != "super":
            # A child module, or another crate.
            return (*module, *path) if (*module, path[0]) in self.files else None
        while path and path[0] == "super":
            base, path = base[:-1], path[1:]
        return (*base, *path)

    def _uses(self, module):
        uses = {}
        for tree in USE.findall(self.texts[module]):
            for path, name in use_paths(tree):
                uses.setdefault(name, set()).add(self._absolute(path, module))
        return uses

    def definers(self, path, seen=frozenset()):
        """Yield the modules that define the item of an absolute path, through re-exports.

        None is the path of another crate's item.
        """
        if path is None:
            return
        module = ()
        while path and (*module, path[0]) in self.files:
            module, path = (*module, path[0]), path[1:]
        if not path or path[0] == "*" or (module, path[0]) in seen:
            yield module
            return
        targets = self.uses[module].get(path[0], ())
        for target in targets:
            yield from self.definers(target, seen | {(module, path[0])})
        if not targets:
            yield module

    def edges(self):
        """Return, for each file, the files whose items it uses."""
        edges = {file: set() for file in self.files.values()}
        for module, text in self.texts.items():
            paths = {path for targets in self.uses[module].values() for path in targets}
            children = [name for name in MOD.findall(text) if (*module, name) in self.files]
            inline = re.compile(
                "|".join([PATH.pattern, *(rf"(?<![\w:])({name}::\w+)" for name in children)])
            )
            for found in inline.finditer(USE.sub(";", text)):
                path = tuple(part.strip() for part in found[0].split("::"))
                paths.add(self._absolute(path, module))
            for path in paths:
                for definer in self.definers(path):
                    edges[self.files[module]].add(self.files[definer])
        return edges


def python_edges(package):
    """Return, for each file of a Python package, the files that it imports at module level."""
    files = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    edges = {path: set() for path in files.values()}
    for name, path in files.items():
        inside = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
        for node in module_level(ast.parse(path.read_text(encoding="utf-8"))):
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = inside[: len(inside) - node.level + 1] if node.level else []
                module = ".".join(base + ([node.module] if node.module else []))
                for alias in node.names:
                    child = f"{module}.{alias.name}"
                    imported.append(child if child in files else module)
            edges[path] |= {files[module] for module in imported if module in files}
    return edges


def module_level(node):
    """Yield the statements that run on import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            yield from (inner for part in child.orelse for inner in module_level(part))
            continue
        yield child
        yield from module_level(child)


@pytest.mark.parametrize("source", CRATES, ids=lambda source: source.parent.name)
def test_no_crate_has_an_import_circle(source):
    found = circle(Crate(source).edges())
    assert found is None, " → ".join(str(file.relative_to(source)) for file in found)


def test_the_python_package_has_no_import_circle():
    package = ROOT / "python/lslm"
    found = circle(python_edges(package))
    assert found is None, " → ".join(str(file.relative_to(package)) for file in found)


def write_files(folder, **texts):
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.rs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_a_circle_through_a_re_export_is_found(tmp_path):
    write_files(
        tmp_path,
        lib="mod data; mod engine; pub use data::Table;",
        data__mod="mod rows; mod table;\npub use table::Table;",
        data__table="use crate::engine::{run, other as o};\npub struct Table;",
        data__rows="pub struct Rows;",
        engine="pub fn run(_: &crate::data::Table) {}",
    )
    edges = Crate(tmp_path).edges()
    assert edges[tmp_path / "engine.rs"] == {tmp_path / "data/table.rs"}
    assert set(circle(edges)) == {tmp_path / "engine.rs", tmp_path / "data/table.rs"}


def test_layers_without_a_circle_pass(tmp_path):
    write_files(
        tmp_path,
        lib="mod data; mod engine;",
        data__mod="mod rows; pub use rows::Rows;",
        data__rows="""
            // use crate::engine::run;
            pub struct Rows;
            const TEXT: &str = "crate::engine::run {";
            #[cfg(test)]
            mod tests { use super::*; use crate::engine::run; fn f() { { run() } } }
        """,
        engine="mod part; use crate::data::Rows; pub fn run() { super::data::Rows; part::step() }",
        engine__part="pub fn step() {}",
    )
    edges = Crate(tmp_path).edges()
    assert edges[tmp_path / "engine.rs"] == {tmp_path / "data/rows.rs", tmp_path / "engine/part.rs"}
    assert circle(edges) is None


def test_a_circle_of_python_modules_is_found(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("from . import one\n")
    (package / "one.py").write_text("from pack.two import x\n")
    (package / "two.py").write_text("def f():\n    from .one import y\n")
    assert circle(python_edges(package)) is None
    (package / "two.py").write_text("try:\n    from .one import y\nexcept ImportError:\n    pass\n")
    assert set(circle(python_edges(package))) == {package / "one.py", package / "two.py"}
