"""Word and URL lists as a cleaning stage; places that decided, and signals."""

from __future__ import annotations

import json
import signal
import sys

import pytest

import lslm
from lslm.__main__ import main as lslm_main
from lslm.report import clean_report

TEXTS = [
    ("A fine text about the weather.", "https://example.org/a"),
    ("This Bad Word is here, and a bad word again.", "https://example.org/b"),
    ("A text of another host.", "https://ads.evil.net/c"),
    ("badword is another word, not a listed one.", "https://notevil.net/d"),
    ("一个坏词在这里。", "https://example.org/e"),
]


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = [json.dumps({"text": text, "url": url}) for text, url in TEXTS]
    (folder / "a.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "words.txt").write_text("# words\nbad word\n坏词\n")
    (tmp_path / "urls.txt").write_text("evil.net\n")
    return folder


def lists(folder, **more):
    paths = {"words": str(folder / "words.txt"), "urls": str(folder / "urls.txt")}
    return lslm.Cleaner("none", lists=paths | more)


def read_lines(folder):
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_documents_are_dropped_by_word_and_by_url(tmp_path, raw):
    keywords = {"cleaner": lists(tmp_path), "format": "jsonl", "progress": False}
    made = lslm.clean(raw, output=tmp_path / "out", dropped=tmp_path / "dropped", **keywords)
    assert [row["text"] for row in read_lines(tmp_path / "out")] == [TEXTS[0][0], TEXTS[3][0]]
    words, urls = (made.funnel.dropped[f"lists.{kind}"] for kind in ("word", "url"))
    assert words.entries == {"bad word": 1, "坏词": 1}
    assert urls.entries == {"evil.net": 1}
    rows = {row["text"]: row for row in read_lines(tmp_path / "dropped")}
    english = rows[TEXTS[1][0]]
    assert (english["lslm_value"], english["lslm_limit"], english["lslm_span"]) == (
        2,
        0,
        "bad word",
    )
    start, end = english["lslm_span_start"], english["lslm_span_end"]
    assert english["text"][start:end] == "Bad Word"
    chinese = rows[TEXTS[4][0]]
    assert chinese["text"][chinese["lslm_span_start"] : chinese["lslm_span_end"]] == "坏词"
    assert rows[TEXTS[2][0]]["lslm_span"] == "evil.net"
    assert rows[TEXTS[2][0]]["lslm_span_start"] is None
    example = words.examples[0]
    assert example.text[slice(*example.span)] == "Bad Word"
    page = clean_report(made.funnel)
    assert "<mark>Bad Word</mark>" in page
    assert "drops documents with words, or of URLs, that stand in a list." in page


def test_the_configuration_names_the_content_of_the_list(tmp_path, raw):
    cleaner = lists(tmp_path)
    config = cleaner.config
    assert len(config["lists"]["words_sha256"]) == 64
    (tmp_path / "copy.txt").write_text((tmp_path / "words.txt").read_text())
    assert lists(tmp_path, words=str(tmp_path / "copy.txt")) == cleaner
    (tmp_path / "words.txt").write_text("other\n")
    assert lists(tmp_path) != cleaner
    with pytest.raises(ValueError, match="has another content"):
        lslm.Cleaner(config.pop("profile"), **config)
    for content, message in (
        (b"", "no entry"),
        (b"\x89PNG\xff", "not UTF-8"),
        (b"a\0b\n", "line 1"),
    ):
        (tmp_path / "words.txt").write_bytes(content)
        with pytest.raises((ValueError, lslm.FormatError), match=message):
            lists(tmp_path)
    with pytest.raises(ValueError, match="sees the text of each once"):
        lslm.train_tokenizer(
            raw, vocab_size=300, cleaner=lslm.Cleaner("none", lists={"urls": str(tmp_path / "urls.txt")})
        )  # fmt: skip


def test_documents_without_the_field_are_a_warning(tmp_path, raw):
    cleaner = lists(tmp_path, url_key="link")
    with pytest.warns(UserWarning, match=r"none of 5 documents has the field"):
        lslm.clean(raw, output=tmp_path / "out", cleaner=cleaner, progress=False)


def test_signals_have_every_document_and_their_limit(tmp_path, raw):
    cleaner = lslm.Cleaner("none", length={"min_chars": 25}, utf8=True)
    made = lslm.clean(raw, output=tmp_path / "out", cleaner=cleaner, signals=True, progress=False)
    length = made.funnel.signals["length.too_short"]
    assert (length.limit, length.is_maximum, length.n_documents) == (25, False, 5)
    short = [text for text, _ in TEXTS if len(text) < 25]
    assert length.n_failed == len(short)
    assert sum(count for _, count in length.values) == 5
    assert {value for value, _ in length.values} == {len(text) for text, _ in TEXTS}
    page = clean_report(made.funnel)
    assert "Signals" in page
    assert page.count('class="reference limit"') == len(made.funnel.signals)
    plain = lslm.clean(raw, output=tmp_path / "plain", cleaner=cleaner, progress=False)
    assert plain.funnel.signals == {}


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_command_line_writes_the_report(tmp_path, raw, monkeypatch, capsys, dry_run):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    how = ["--dry-run", "--sample", "100%"] if dry_run else ["-o", str(tmp_path / "out")]
    words = f"lists.words={tmp_path / 'words.txt'}"
    page = tmp_path / "page.html"
    arguments = [
        "clean",
        str(raw),
        *how,
        "--profile",
        "fineweb",
        "--set",
        words,
        "--report",
        str(page),
    ]
    monkeypatch.setattr(sys, "argv", ["lslm", *arguments])
    with pytest.raises(SystemExit) as ended:
        lslm_main()
    assert not ended.value.code
    assert "Signals" in page.read_text()
    capsys.readouterr()


def test_stop_words_that_dominate_name_the_language(tmp_path):
    german = "Jede Person hat Anspruch auf Leben, Freiheit und Sicherheit der eigenen Person. "
    english = "All of the people have to be free and equal with that, and this is so for them. "
    lines = [german + f"{n} " * 3 for n in range(8)] + [english + f"{n}" for n in range(20)]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    corpus = lslm.Corpus(tmp_path / "a.txt", split="line")
    cleaner = lslm.Cleaner("none", gopher_quality={"min_words": 5, "min_letter_words": None})
    with pytest.warns(UserWarning, match=r"8 of 28 documents were dropped by .*German"):
        lslm.clean(corpus, output=tmp_path / "out", cleaner=cleaner, progress=False)


def test_a_corpus_is_not_emptied_in_silence(tmp_path):
    french = "Un magicien n'est jamais en retard, pas plus qu'il n'est en avance, numero {}."
    (tmp_path / "a.txt").write_text("\n".join(french.format(n) for n in range(30)))
    corpus = lslm.Corpus(tmp_path / "a.txt", split="line")
    cleaner = lslm.Cleaner("none", length={"min_chars": 1000})
    with pytest.warns(UserWarning, match=r"0 of 30 documents are left; they look like French"):
        lslm.clean(corpus, output=tmp_path / "out", cleaner=cleaner, progress=False)
