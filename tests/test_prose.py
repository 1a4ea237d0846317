"""The documents keep to the line length and to one Chinese word for one notion."""

import pathlib
import re
import unicodedata

import pytest

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# columns; a wide character takes two, as in a terminal
MAX_WIDTH = 160
# what the word is not: token, token id, special token, offsets, surprise, by hand, gradient descent
OTHER_WORDS = re.compile("词元|编号|控制符|分界|意外程度|亲手|下山")


def width(line):
    """Return the columns of a line, without the targets of its links."""
    line = re.sub(r"\]\([^)]*\)", "]", line)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_lines_of_prose_are_short(path):
    fenced = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= line.startswith("```")
        if not fenced and not line.startswith(("|", "![")):
            assert width(line) <= MAX_WIDTH, f"line {number}"


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if ".zh" in p.name], ids=lambda p: p.name)
def test_chinese_documents_use_one_word_for_one_notion(path):
    assert OTHER_WORDS.findall(path.read_text(encoding="utf-8")) == []
