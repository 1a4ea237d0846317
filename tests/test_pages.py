"""Pages in a browser: the console stays empty, keys and clicks work. Skipped without Chromium."""

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
