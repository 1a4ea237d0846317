"""Pages in a browser: the console stays empty, keys and clicks work. Skipped without Chromium."""

import collections
import itertools

import pytest

import lslm
from browser import CHROMIUM, Browser
from small_data import write_splits

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of two models, with coloured text."""
    folder = tmp_path_factory.mktemp("pages")
    options = {
        "data": write_splits(folder / "data"),
        "progress": False,
        "model__width": 32,
        "model__layers": 1,
        "model__heads": 2,
        "model__sequence_length": 32,
        "batch_size": 4,
        "validation_tokens": 500,
    }
    for name, steps in (("early", 4), ("late", 30)):
        lslm.train(out=folder / name, steps=steps, **options)
    lslm.analyze(folder / "early", folder / "late", output=folder / "page", progress=False)
    return folder / "page/report.html"


def test_the_check_sees_an_error_and_a_request(tmp_path):
    control = tmp_path / "control.html"
    control.write_text("<script>undefined.x</script><img src='http://127.0.0.1:9/x.png'>")
    with Browser() as browser:
        browser.open(control)
        browser.value("1")
        assert any("TypeError" in message for message in browser.messages)
        assert any("127.0.0.1" in message for message in browser.messages)


FOCUSABLE = "[...document.querySelectorAll('a[href], summary, [tabindex]')]"


def test_a_screen_reader_gets_names_headers_and_an_order(page):
    """By the browser's accessibility tree, and by the Tab key."""
    with Browser() as browser:
        browser.open(page)
        nodes = [node for node in browser.tree() if not node["ignored"]]
        named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
        roles = collections.Counter(role for role, _ in named)
        assert roles["main"] == roles["navigation"] == 1
        for role in ("RootWebArea", "heading", "link", "image", "columnheader"):
            names = [name for one, name in named if one == role]
            assert names, f"there is no {role}"
            assert all(names), f"a {role} has no name"
        for node, (role, name) in zip(nodes, named, strict=True):
            is_focusable = any(p["name"] == "focusable" for p in node.get("properties", []))
            assert name or not is_focusable, f"a {role} can have the focus and has no name"
        levels = [
            next(p["value"]["value"] for p in node["properties"] if p["name"] == "level")
            for node in nodes
            if node["role"]["value"] == "heading"
        ]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
        every = "[...document.querySelectorAll('table')]"
        shown = browser.value(f"{every}.filter(t => t.checkVisibility()).length")
        assert roles["table"] == shown > 5
        without = browser.value(f"{every}.filter(t => !t.querySelector('th[scope=col]')).length")
        assert without == 0
        reached = []
        shown = f"{FOCUSABLE}.map((e, k) => e.checkVisibility() ? k : -1).filter(k => k >= 0)"
        for _ in browser.value(shown):
            browser.press("Tab")
            reached.append(browser.value(f"{FOCUSABLE}.indexOf(document.activeElement)"))
        assert reached == browser.value(shown)
        assert browser.messages == []


def test_the_check_of_names_sees_a_page_without_them(tmp_path):
    control = tmp_path / "control.html"
    control.write_text("<h3>x</h3><table><tr><td>1</td></tr></table><a href='#x'></a>")
    with Browser() as browser:
        browser.open(control)
        nodes = [node for node in browser.tree() if not node["ignored"]]
        roles = [node["role"]["value"] for node in nodes]
        assert "columnheader" not in roles
        links = [node for node in nodes if node["role"]["value"] == "link"]
        assert links[0].get("name", {}).get("value", "") == ""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_of_an_analysis_works(page, width, dark):
    with Browser(width=width, dark=dark) as browser:
        browser.open(page)
        assert browser.value("document.documentElement.scrollWidth") == width
        browser.value("document.querySelector('.colored').focus()")
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home", "ArrowRight"):
            browser.press(key)
        now = "[...document.querySelectorAll('.colored span')].findIndex(s => s.matches('.now'))"
        assert browser.value(now) == 1
        assert browser.value("document.querySelector('.panel').querySelectorAll('li').length") == 10
        browser.value("document.querySelectorAll('.colored')[1].scrollIntoView()")
        box = "document.querySelectorAll('.colored')[1].children[3].getBoundingClientRect()"
        browser.click(browser.value(f"{box}.x") + 2, browser.value(f"{box}.y") + 5)
        assert browser.value("document.querySelectorAll('.panel')[1].children.length") == 4
        assert browser.messages == []
