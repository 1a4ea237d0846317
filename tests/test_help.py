"""`help()` shows the documentation: the stub's text and signature, for everything that is public."""

import ast
import doctest
import importlib
import inspect
import json
import pathlib
import pkgutil

import pytest

import lslm
import lslm.files
from lslm import _lslm

STUB = pathlib.Path(lslm.__file__).parent / "_lslm.pyi"
TREE = ast.parse(STUB.read_text(encoding="utf-8"))
POINTERS = ["stands in", "see the stub", "_lslm.pyi"]


def documented():
    """Each class, function, method and property of the stub, by its dotted name."""
    for node in TREE.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield node.name, node
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("__"):
                    yield f"{node.name}.{inner.name}", inner


NODES = dict(documented())


def compiled(name):
    """The run-time object that ``name`` of the stub documents."""
    value = _lslm
    for part in name.split("."):
        value = inspect.getattr_static(value, part)
    return value.__func__ if isinstance(value, staticmethod) else value


@pytest.mark.parametrize("name", NODES)
def test_help_of_a_compiled_item_is_the_text_of_the_stub(name):
    expected = ast.get_docstring(NODES[name])
    assert expected, f"{name} has no docstring in the stub"
    assert inspect.cleandoc(compiled(name).__doc__) == expected


def parameters(function):
    """Name, kind and default of each parameter in the stub, without self or cls."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    kinds = [inspect.Parameter.POSITIONAL_ONLY] * len(arguments.posonlyargs)
    kinds += [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(arguments.args)
    missing = len(positional) - len(arguments.defaults)
    defaults = [None] * missing + arguments.defaults
    rows = list(zip(positional, kinds, defaults, strict=True))
    rows += [
        (argument, inspect.Parameter.KEYWORD_ONLY, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    if arguments.kwarg:
        rows.append((arguments.kwarg, inspect.Parameter.VAR_KEYWORD, None))
    empty = inspect.Parameter.empty
    return [
        (a.arg, kind, empty if default is None else ast.literal_eval(default))
        for a, kind, default in rows
        if a.arg not in ("self", "cls")
    ]


def signatures():
    """Each compiled function and method, and each class that can be called, with its stub node."""
    for name, node in NODES.items():
        if isinstance(node, ast.ClassDef):
            made = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__new__"]
            if made:
                yield name, made[0]
        elif not any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list):
            yield name, node


@pytest.mark.parametrize(("name", "node"), [pytest.param(n, s, id=n) for n, s in signatures()])
def test_signature_of_a_compiled_item_is_that_of_the_stub(name, node):
    found = inspect.signature(compiled(name)).parameters.values()
    shown = [(p.name, p.kind, p.default) for p in found if p.name != "self"]
    assert shown == parameters(node)


MODULES = [
    "lslm",
    *(
        module.name
        for module in pkgutil.walk_packages(lslm.__path__, "lslm.")
        if "._" not in module.name and not module.name.startswith(("lslm.cli", "lslm.harness"))
    ),
]


def members(value):
    """The public methods and properties that a class of ours defines, by name."""
    for name, member in vars(value).items():
        inner = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if not name.startswith("_") and (inspect.isroutine(inner) or isinstance(inner, property)):
            yield name, inner


@pytest.mark.parametrize("name", MODULES)
def test_every_public_item_of_a_module_has_a_text_of_its_own(name):
    try:
        module = importlib.import_module(name)
        values = {public: getattr(module, public) for public in module.__all__}
    except ImportError as error:
        pytest.skip(f"needs {error.name}")
    items = {name: module}
    for public, value in values.items():
        if inspect.isclass(value) or inspect.isroutine(value):
            items[public] = value
        if inspect.isclass(value):
            items |= {f"{public}.{member}": inner for member, inner in members(value)}
    for item, value in items.items():
        text = value.__doc__ or ""
        assert text.strip(), f"{name}: {item} has no docstring"
        assert not [pointer for pointer in POINTERS if pointer in text], f"{name}: {item}"
        # what dataclass writes for a class without a docstring
        assert not text.startswith(f"{item}("), f"{name}: {item} has no docstring"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the files that the examples read."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"content": "A first document.", "id": "a", "language": "en"},
        {"content": "A second one.", "id": "b"},
    ]
    (tmp_path / "corpus").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "corpus/a.jsonl").write_text(lines)
    (tmp_path / "corpus/notes.txt").write_text("Some notes.\n")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_examples_in_the_stub_run_and_print_what_they_show():
    tok = lslm.train_tokenizer(texts=["low lower lowest"] * 3, vocab_size=262)
    tok.save("tokenizer.json")
    corpus = lslm.Corpus("corpus/*.jsonl", text_key="content")
    lslm.tokenize(corpus, output="data", tokenizer=tok, validation_fraction=0)
    cleaner = lslm.Cleaner("default")
    names = {"lslm": lslm, "tok": tok, "cleaner": cleaner}
    names["dataset"] = lslm.TokenDataset("data/train")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    parser = doctest.DocTestParser()
    report = []
    items = [(name, ast.get_docstring(node), node.lineno) for name, node in NODES.items()]
    items.append(("lslm.files.lock", inspect.getdoc(lslm.files.lock), 0))
    for name, text, line in items:
        example = parser.get_doctest(text, dict(names), name, str(STUB), line)
        runner.run(example, out=report.append)
    assert runner.tries > 30
    assert not runner.failures, "".join(report)
