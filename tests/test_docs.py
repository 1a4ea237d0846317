"""The documents are right: their Python runs, prints what they show, and links lead somewhere."""

import ast
import contextlib
import io
import math
import pathlib
import random
import re
import shlex
import unicodedata

import pytest

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TRANSLATIONS = {"README.md": "README.zh.md", "docs/tutorial.md": "docs/tutorial.zh.md"}
WITH_CODE = [*TRANSLATIONS, *TRANSLATIONS.values()]
# What a reader gives minutes gets two steps here.
SHORTER = {"minutes=3": "steps=2"}

# the README names files of the repository in full, since package indexes show it, too
REPOSITORY = re.compile(
    r"https://(?:github\.com/lslm/lslm/blob|raw\.githubusercontent\.com/lslm/lslm)/main/"
)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DECIMAL = re.compile(r"\d+\.\d+")


def blocks(path):
    """Return (line number, language, text) of each fenced block of a document."""
    text = path.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in BLOCK.finditer(text)]


def write_corpus(folder):
    """Write text files for the blocks that begin with a corpus on disk: the README's."""
    words = re.findall(r"\w+", (ROOT / "LICENSE").read_text(encoding="utf-8"))
    rng = random.Random(0)
    (folder / "corpus").mkdir()
    for k in range(60):
        text = " ".join(rng.choices(words, k=400))
        (folder / "corpus" / f"{k}.txt").write_text(text + "\n", encoding="utf-8")


def same(expected, printed):
    """Return whether two texts are equal, with decimal fractions within 5 %: models differ."""
    numbers = [[float(n) for n in DECIMAL.findall(text)] for text in (expected, printed)]
    return DECIMAL.split(expected.rstrip()) == DECIMAL.split(printed.rstrip()) and all(
        math.isclose(a, b, rel_tol=0.05) for a, b in zip(*numbers, strict=True)
    )


def test_printed_text_is_compared():
    assert same("loss 1.20, 20 of 20\n", "loss 1.19, 20 of 20\n")
    assert not same("loss 1.20, 20 of 20\n", "loss 1.30, 20 of 20\n")
    assert not same("loss 1.20, 20 of 20\n", "loss 1.20, 19 of 20\n")
    assert not same("loss 1.20\n", "loss 1.20\nmore\n")


def shortened(source):
    for long, short in SHORTER.items():
        source = source.replace(long, short)
    return source


@pytest.fixture
def one_thread():
    """Run torch on one thread: a second one does not help models this small."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "name",
    # a translation has the same statements (below); its output is checked in the slow tests
    [
        *TRANSLATIONS,
        *(pytest.param(name, marks=pytest.mark.slow) for name in TRANSLATIONS.values()),
    ],
)
def test_python_blocks_run_and_print_what_stands_below_them(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path)
    namespace = {"__name__": "__main__"}
    fenced = blocks(ROOT / name)
    assert any(language == "python" for _, language, _ in fenced)
    for (line, language, source), (_, below, expected) in zip(
        fenced, [*fenced[1:], (0, "", "")], strict=True
    ):
        if language != "python":
            continue
        code = compile("\n" * (line - 1) + shortened(source), name, "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        if below == "text":
            assert same(expected, printed.getvalue()), f"line {line} prints {printed.getvalue()}"


class Words(ast.NodeTransformer):
    """Takes the strings out of a program into a list; f-strings keep their expressions only."""

    def __init__(self):
        self.found = []

    def visit_Constant(self, node):
        if not isinstance(node.value, str):
            return node
        self.found.append(node.value)
        return ast.Constant("")

    def visit_JoinedStr(self, node):
        expressions = [part for part in node.values if isinstance(part, ast.FormattedValue)]
        for part in expressions:
            part.value = self.visit(part.value)
        return ast.JoinedStr(expressions)


def is_translation(english, chinese):
    """Return whether two Python blocks are equal but for comments and strings that have Chinese."""
    words, other_words = Words(), Words()
    program, other = words.visit(ast.parse(english)), other_words.visit(ast.parse(chinese))
    return ast.unparse(program) == ast.unparse(other) and all(
        string == translated or not translated.isascii()
        for string, translated in zip(words.found, other_words.found, strict=True)
    )


def test_blocks_of_a_translation_are_compared_by_statements():
    english = 'print(f"loss {loss:.2f} of {n}")  # one\nx = f("a", 2)'
    assert is_translation(english, 'print(f"{loss:.2f}，共 {n}")\nx = f("猫", 2)  # 一')
    assert is_translation(english, english)
    for other in (
        'print(f"{loss:.3f}，共 {n}")\nx = f("猫", 2)',
        'print(f"{loss:.2f}，共 {n}")\nx = f("猫", 3)',
        'print(f"{loss:.2f}，共 {n}")\nx = f("b", 2)',
        'print(f"{loss:.2f}，共 {n}")',
    ):
        assert not is_translation(english, other)


@pytest.mark.parametrize(("english", "chinese"), TRANSLATIONS.items())
def test_translations_have_the_same_headings_and_statements(english, chinese):
    def headings(name):
        outside = BLOCK.sub("", (ROOT / name).read_text(encoding="utf-8"))
        return [len(m) for m in re.findall(r"^(#+) ", outside, re.MULTILINE)]

    assert headings(english) == headings(chinese)
    for (_, language, block), (line, other_language, other) in zip(
        blocks(ROOT / english), blocks(ROOT / chinese), strict=True
    ):
        assert other_language == language, f"{chinese}, line {line}"
        if language == "python":
            assert is_translation(block, other), f"{chinese}, line {line}"
        else:
            assert other.count("\n") == block.count("\n"), f"{chinese}, line {line}"


@pytest.mark.parametrize("name", WITH_CODE)
def test_commands_in_shell_blocks_exist_with_their_options(name):
    typer = pytest.importorskip("typer")
    from lslm.cli import app
    from lslm.config import config_keys

    commands = typer.main.get_command(app).commands
    lines = [
        shlex.split(line, comments=True)
        for _, language, block in blocks(ROOT / name)
        if language == "sh"
        for line in block.splitlines()
        if line.startswith("lslm ")
    ]
    assert len(lines) >= 6
    for _, verb, *words in lines:
        options = {option for param in commands[verb].params for option in param.opts}
        assert {word for word in words if word.startswith("-")} <= options, verb
        for word in words:
            if word.endswith(".toml"):
                assert (ROOT / word).is_file(), word
            if verb == "train" and "=" in word:
                key = word.partition("=")[0]
                assert key == "data" or any(k.endswith(f".{key}") for k in config_keys()), word


def test_table_of_the_readme_lists_every_command():
    typer = pytest.importorskip("typer")
    from lslm.cli import app

    for name in ("README.md", "README.zh.md"):
        rows = re.findall(r"^\| (`.*?) \|", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        listed = {verb for row in rows for verb in re.findall(r"`([a-z-]+)`", row)}
        assert listed == set(typer.main.get_command(app).commands)


def anchors(path):
    """Return the anchors that GitHub makes of a document's headings."""
    outside = BLOCK.sub("", path.read_text(encoding="utf-8"))
    made = set()
    for heading in re.findall(r"^#+ (.*)$", outside, re.MULTILINE):
        kept = (c for c in heading.lower() if c in "-_ " or unicodedata.category(c)[0] in "LN")
        made.add("".join(kept).replace(" ", "-"))
    return made


def test_the_readme_has_no_relative_link():
    """It is the wheel's description, which package indexes show."""
    text = BLOCK.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets
    assert [target for target in targets if not re.match("https://|#", target)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_inside_the_repository_lead_somewhere(path):
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    for inline, defined in targets:
        target = inline or defined
        folder = path.parent
        if inside := REPOSITORY.match(target):
            target, folder = target[inside.end() :], ROOT
        elif re.match(r"https?://", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (folder / file).resolve() if file else path
        assert aim.exists(), target
        if anchor:
            assert anchor in anchors(aim), target
