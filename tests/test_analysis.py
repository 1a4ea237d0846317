"""Analyses: exact sums, clustered errors, kinds of tokens, passages, and the page."""

import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from typing import ClassVar

import numpy as np
import pytest
from pyarrow import parquet

import lslm
from lslm.analysis import slices as slices_module
from lslm.analysis.kinds import KINDS, TokenKinds, UrlFinder, kind_of_text
from lslm.analysis.slices import DIMENSIONS, Slicer, band_names, read_chunks
from lslm.analysis.sums import SliceSums
from lslm.exceptions import MismatchError
from lslm.report.chinese import CHINESE, ENGLISH
from lslm.report.language import words
from small_data import documents, write_small, write_splits

SMALL = {
    "model__width": 32,
    "model__layers": 1,
    "model__heads": 2,
    "model__sequence_length": 32,
    "batch_size": 4,
    "validation_tokens": 500,
    "train__threads": 1,
    "validate_every": 20,
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with data, two runs, and the analyses of one and of both."""
    folder = tmp_path_factory.mktemp("analysis")
    data = write_splits(folder / "data")
    for name, steps in (("early", 4), ("late", 30)):
        lslm.train(data=data, out=folder / name, steps=steps, progress=False, **SMALL)
    lslm.analyze(folder / "late", output=folder / "one", progress=False)
    lslm.analyze(folder / "early", folder / "late", output=folder / "two", progress=False)
    return folder


def naive_error(x, t, document):
    """The standard error of Σx / Σt, with sums over documents as units."""
    units = {}
    for a, b, d in zip(x, t, document, strict=True):
        one = units.setdefault(d, [0.0, 0.0])
        one[0] += a
        one[1] += b
    total_x, total_t = sum(u[0] for u in units.values()), sum(u[1] for u in units.values())
    if len(units) < 2:
        return math.nan
    squares = sum((a - total_x / total_t * b) ** 2 for a, b in units.values())
    return math.sqrt(squares * len(units) / (len(units) - 1)) / total_t


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_sums_and_errors_do_not_depend_on_chunks(size):
    rng = np.random.default_rng(0)
    document = np.sort(rng.integers(0, 30, 1000))
    slices = rng.integers(0, 5, 1000)
    nats = rng.exponential(size=1000)
    sums = SliceSums(6)
    for start in range(0, 1000, size):
        part = slice(start, start + size)
        sums.add(slices[part], document[part], nats[part])
    errors = sums.errors()[0]
    for k in range(5):
        mine = slices == k
        assert sums.n_tokens[k] == mine.sum()
        assert sums.totals[0, k] == pytest.approx(nats[mine].sum())
        assert sums.n_documents[k] == len(set(document[mine]))
        wanted = naive_error(nats[mine], np.ones(mine.sum()), document[mine])
        assert errors[k] == pytest.approx(wanted)
    assert math.isnan(errors[5])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (" the", "word start"),
        ("été", "word start"),
        ("123", "digits"),
        (" 7", "digits"),
        ("!", "punctuation"),
        (" ", "white space"),
        ("\n", "line ends and indentation"),
        ("    ", "line ends and indentation"),
        ("的", "Han"),
        ("ひ", "Kana"),
        ("한", "Hangul"),
        (" да", "Cyrillic"),
        ("λ", "Greek"),
        ("ה", "other script"),
    ],
)
def test_kinds_follow_from_the_text(text, kind):
    assert kind_of_text(text) == kind


def test_urls_and_insides_of_words_follow_from_what_is_before():
    texts = ["Se", "e", " http", "://", "a", ".b", " or", "x", "\n", "www.", "c", " d"]
    tokenizer = FakeTokenizer(texts)
    kinds = TokenKinds.of(tokenizer, None)
    ids = np.arange(len(texts))
    begins = np.array([text[0].isspace() for text in texts])
    for size in (1, 5, 12):
        urls = UrlFinder(kinds, begins)
        parts = []
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            in_url = urls.mark(part, part == 0)
            parts.append(kinds.of_tokens(part, part - 1, in_url))
        named = [KINDS[k] for k in np.concatenate(parts)]
        assert named[:2] == ["word start", "inside a word"]
        assert named[2:6] == ["URL"] * 4
        assert named[6:8] == ["word start", "inside a word"]
        assert named[9:12] == ["URL", "URL", "word start"]


class FakeTokenizer:
    special_tokens: ClassVar[dict[str, int]] = {}

    def __init__(self, texts):
        self._texts = texts
        self.vocab_size = len(texts)

    def token_bytes(self, token):
        return self._texts[token].encode()


def test_every_token_is_in_one_slice_of_each_dimension(work):
    table = lslm.open_scores(work / "one/scores")
    tokenizer = lslm.Tokenizer.load(work / "late/tokenizer.json")
    found = []
    for rows in (50, 1 << 18):
        slicer = Slicer(table, tokenizer, np.ones(tokenizer.vocab_size, np.int64))
        for chunk in read_chunks(table, rows):
            slicer.add(chunk, chunk.rows.nats.astype(np.float64))
        for dimension in DIMENSIONS:
            sums = slicer.sums[dimension]
            assert sums.n_tokens.sum() == len(table)
            nats = table.columns["nats"].sum(dtype=np.float64)
            assert sums.totals.sum() == pytest.approx(nats, rel=1e-9)
            assert len(slicer.names[dimension]) == len(sums.n_tokens)
        found.append({d: s.n_tokens.tolist() for d, s in slicer.sums.items()})
    assert found[0] == found[1]


def test_seen_tokens_are_those_of_the_last_ones_in_the_document(work):
    table = lslm.open_scores(work / "one/scores")
    chunk = next(read_chunks(table))
    ids, document = chunk.ids.tolist(), chunk.rows.document.tolist()
    recent = slices_module.RECENT
    for k in range(0, len(ids), 7):
        before = [j for j in range(max(0, k - recent), k) if document[j] == document[k]]
        assert chunk.is_seen[k] == (ids[k] in [ids[j] for j in before])


def test_the_loss_and_its_error_are_those_of_evaluate(work):
    result = lslm.analyze(work / "late", output=work / "one", progress=False)
    wanted = lslm.evaluate(work / "late", progress=False)
    assert result.loss == pytest.approx(wanted.loss, rel=1e-6)
    assert result.loss_error == pytest.approx(wanted.loss_error, rel=1e-6)
    assert result.bits_per_byte == pytest.approx(wanted.bits_per_byte, rel=1e-6)
    assert sum(b.n_tokens for b in result.entropy_bins) == result.n_tokens
    for dimension in {row.dimension for row in result.slices}:
        rows = [row for row in result.slices if row.dimension == dimension]
        assert sum(row.share for row in rows) == pytest.approx(1)
        assert [row.excess for row in rows] == sorted((row.excess for row in rows), reverse=True)


def test_a_table_that_is_current_is_used_again(work):
    stamp = (work / "one/scores/scores.json").stat().st_mtime_ns
    lslm.analyze(work / "late", output=work / "one", progress=False)
    assert (work / "one/scores/scores.json").stat().st_mtime_ns == stamp
    lslm.analyze(work / "late", output=work / "one", protocol="document", progress=False)
    assert (work / "one/scores/scores.json").stat().st_mtime_ns != stamp
    lslm.analyze(work / "late", output=work / "one", progress=False)


@pytest.mark.parametrize("protocol", ["disjoint", "stride:8", "document"])
def test_passages_are_scored_as_in_the_table(work, tmp_path, protocol):
    result = lslm.analyze(work / "late", output=tmp_path, protocol=protocol, progress=False)
    assert result.rerun_difference < 1e-4


def test_two_models_are_compared_in_pairs(work):
    text = (work / "two/slices.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    one = lslm.open_scores(work / "two/scores")
    other = lslm.open_scores(work / "two/scores-other")
    difference = other.columns["nats"].astype(float) - one.columns["nats"].astype(float)
    all_rows = [row for row in rows if row["dimension"] == "seen"]
    total = sum(row["difference"] * row["n_tokens"] for row in all_rows)
    assert total == pytest.approx(difference.sum(), rel=1e-6)
    mine = [row for row in rows if row["dimension"] == "source"]
    document = one.tokens().document
    wanted = naive_error(difference, np.ones(len(difference)), document)
    assert mine[0]["difference_error"] == pytest.approx(wanted, rel=1e-6)


def test_runs_of_other_tokenizers_are_refused(work, tmp_path):
    write_small(tmp_path / "other/train", documents(40), eos="<eos>")
    write_small(tmp_path / "other/validation", documents(10), eos="<eos>")
    lslm.train(data=tmp_path / "other", out=tmp_path / "run", steps=2, progress=False, **SMALL)
    with pytest.raises(MismatchError, match="another tokenizer"):
        lslm.analyze(work / "late", tmp_path / "run", output=tmp_path / "a", progress=False)


def naive_calibration(table):
    """Expected calibration error of first choices, token by token."""
    rows, bins = table.tokens(), {}
    for top, rank in zip(rows.top.tolist(), rows.rank.tolist(), strict=True):
        p = math.exp(-top)
        bins.setdefault(min(int(p * 10), 9), []).append((p, rank == 0))
    off = [abs(sum(p - right for p, right in one)) for one in bins.values()]
    return sum(off) / len(rows), {k: len(one) for k, one in bins.items()}


def test_calibration_is_that_of_all_tokens(work):
    result = lslm.analyze(work / "late", output=work / "one", progress=False)
    wanted, sizes = naive_calibration(lslm.open_scores(work / "one/scores"))
    assert sum(one.n_tokens for one in result.probability_bins) == result.n_tokens
    assert {round(one.low * 10): one.n_tokens for one in result.probability_bins} == sizes
    assert result.probability_error == pytest.approx(wanted, rel=1e-6)
    for one in (*result.probability_bins, *result.entropy_bins):
        assert one.low <= one.expected <= one.high
        assert one.error is None or one.error >= 0


NO_TORCH = """
import sys, lslm
result = lslm.analyze(sys.argv[1], output=sys.argv[2], progress=False)
print("torch" in sys.modules, result.loss, result.rerun_difference)
"""


def test_a_table_that_is_there_is_analyzed_without_torch(work, tmp_path):
    """And with the same page, from the alternatives that were stored with the table."""
    first = lslm.analyze(work / "late", output=tmp_path / "a", progress=False)
    page = (tmp_path / "a/report.html").read_text()
    command = [sys.executable, "-c", NO_TORCH, work / "late", tmp_path / "a"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(first.loss), str(first.rerun_difference)]
    assert (tmp_path / "a/report.html").read_text() == page
    (tmp_path / "a/scores/alternatives.npz").write_bytes(b"PK cut off")
    lslm.analyze(work / "late", output=tmp_path / "a", progress=False)
    assert (tmp_path / "a/report.html").read_text() == page


@pytest.mark.parametrize("pattern", ["", "*", "**/*", "*/*/*"])
def test_files_of_an_analysis_are_never_documents(work, tmp_path, pattern):
    folder = tmp_path / "two"
    shutil.copytree(work / "two", folder)
    notes = folder / "scores" / "tokens" / "notes" / "a.txt"
    notes.parent.mkdir()
    notes.write_text("a")
    corpus = lslm.Corpus(folder / pattern)
    own = {path for path in folder.rglob("*") if path.is_file()} - {notes}
    assert corpus.inputs == (str(notes),)
    reasons = {file.path: file.reason for file in corpus.skipped}
    assert {reasons[path] for path in own & reasons.keys()} <= {"bookkeeping", "hidden"}
    assert pattern == "*/*/*" or own - reasons.keys() <= {folder / "scores/.lock"}


def test_a_folder_that_is_no_score_table_is_not_removed(work, tmp_path):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores/thesis.txt").write_text("kept")
    with pytest.raises(ValueError, match=r"thesis\.txt, which is not of a score table"):
        lslm.analyze(work / "late", output=tmp_path, progress=False)
    assert (tmp_path / "scores/thesis.txt").read_text() == "kept"


def test_a_damaged_table_is_written_again(work, tmp_path):
    lslm.analyze(work / "late", output=tmp_path, progress=False)
    before = (tmp_path / "scores/tokens/nats.npy").read_bytes()
    (tmp_path / "scores/tokens/nats.npy").write_bytes(before[:-4])
    lslm.analyze(work / "late", output=tmp_path, progress=False)
    assert (tmp_path / "scores/tokens/nats.npy").read_bytes() == before


@pytest.mark.parametrize("name", ["one", "two"])
def test_parquet_and_jsonl_hold_what_the_page_shows(work, name):
    folder, rows = work / name, {}
    for kind in ("summary", "slices", "tokens", "worst", "calibration", "passages"):
        lines = (folder / f"{kind}.jsonl").read_text().splitlines()
        rows[kind] = [json.loads(line) for line in lines]
        assert parquet.read_table(folder / f"{kind}.parquet").to_pylist() == rows[kind]
    page = Page((folder / "report.html").read_text())
    shown = json.loads(page.scripts[0])
    assert len(rows["passages"]) == sum(map(len, shown["passages"]))
    flat = [token for passage in shown["passages"] for token in passage]
    for row, token in zip(rows["passages"], flat, strict=True):
        assert round(row["nats"], 3) == token[1]
        assert len(row["alternatives"]) == 5
        assert ("other_nats" in row) == (name == "two")
    text = "".join(page.text)
    assert f"{rows['summary'][0]['loss']:.3f}" in text
    assert not (folder / "training.jsonl").exists()


@pytest.fixture(scope="module")
def many(work):
    """A run with four checkpoints."""
    options = SMALL | {"validate_every": 5, "checkpoint_every": 5, "keep_every": 5, "keep_last": 1}
    lslm.train(data=work / "data", out=work / "many", steps=20, progress=False, **options)
    return work / "many"


def test_loss_over_training_is_that_of_each_checkpoint(many, tmp_path):
    result = lslm.analyze(
        many, output=tmp_path, checkpoints="all", tokens=["e", "T"], progress=False
    )
    whole, *tokens = result.curves
    assert [point.step for point in whole.points] == [5, 10, 15, 20]
    assert [one.token for one in tokens] == ["e", "T"]
    for k, point in enumerate(whole.points):
        own = lslm.evaluate(
            many, checkpoint=point.step, progress=False, save_scores=tmp_path / f"own-{k}"
        )
        assert point.loss == pytest.approx(own.loss, rel=1e-6)
        assert point.loss_error == pytest.approx(own.loss_error, rel=1e-6)
        rows = lslm.open_scores(tmp_path / f"own-{k}").tokens()
        for one in tokens:
            mine = rows.id == one.id
            assert one.n_tokens == mine.sum()
            assert one.points[k].loss == pytest.approx(rows.nats[mine].mean(), rel=1e-5)
            wanted = naive_error(rows.nats[mine], np.ones(mine.sum()), rows.document[mine])
            assert one.points[k].loss_error == pytest.approx(wanted, rel=1e-4)
    text = "".join(Page((tmp_path / "report.html").read_text()).text)
    assert "Loss over training" in text
    lines = (tmp_path / "training.jsonl").read_text().splitlines()
    assert len(lines) == 3 * 4
    again = lslm.analyze(many, output=tmp_path, checkpoints=[20, 5], progress=False)
    assert [point.step for point in again.curves[0].points] == [5, 20]
    assert len(again.curves) == 1 + 6


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"checkpoints": [5, 7]}, "no checkpoint 7: choose from 5, 10, 15, 20"),
        ({"checkpoints": [5]}, "needs two or more"),
        ({"checkpoints": "some"}, "give all, or a list"),
        ({"tokens": ["e"]}, "give checkpoints as well"),
        ({"checkpoints": "all", "tokens": ["The"]}, r"not one token but 3 \(T, h, e\)"),
    ],
)
def test_curves_that_cannot_be_are_named(many, tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        lslm.analyze(many, output=tmp_path, progress=False, **options)


class Page(HTMLParser):
    """Collects what a reader of the page gets."""

    def __init__(self, text):
        super().__init__()
        self.text, self.scripts, self.attributes, self.inside = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.inside.append(tag)
        self.attributes.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside and self.inside[-1] == "script":
            self.scripts.append(data)
        elif not self.inside or self.inside[-1] != "style":
            self.text.append(data)


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_page_is_one_file_without_network_and_with_one_script(work, name):
    text = (work / name / "report.html").read_text()
    assert len(text) < 5_000_000
    assert not re.search(r"""(?:src|href)=["'](?!#)""", text)
    policy = next(
        a["content"] for tag, a in Page(text).attributes if tag == "meta" and "http-equiv" in a
    )
    assert re.search(r"script-src 'sha256-\S{44}'$", policy)
    page = Page(text)
    assert len(page.scripts) == 2
    data = json.loads(page.scripts[0])
    colored = [a for tag, a in page.attributes if a.get("class") == "colored"]
    assert len(colored) == len(data["passages"]) > 0
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in colored)
    for passage in data["passages"]:
        for row in passage:
            assert len(row) == (3 if name == "one" else 5)
            assert len(row[2]) == 5
            assert 0 <= sum(p for _, p in row[2]) <= 1003
            assert all(token < len(data["tokens"]) for token, _ in row[2])


def test_text_of_documents_cannot_leave_its_place(tmp_path):
    hostile = ["</script><script>alert(1)</script><b onload=x> & <!-- " + t for t in documents(30)]
    write_small(tmp_path / "data/train", hostile)
    write_small(tmp_path / "data/validation", hostile[:10])
    lslm.train(data=tmp_path / "data", out=tmp_path / "run", steps=2, progress=False, **SMALL)
    lslm.analyze(tmp_path / "run", output=tmp_path / "a", progress=False)
    page = Page((tmp_path / "a/report.html").read_text())
    assert len(page.scripts) == 2
    assert not any("onload" in a for _, a in page.attributes)


def test_the_page_in_chinese_has_every_text(work, tmp_path):
    lslm.analyze(
        work / "early", work / "late", output=tmp_path / "zh", language="zh", progress=False
    )
    text = (tmp_path / "zh/report.html").read_text()
    assert 'lang="zh-Hans"' in text
    assert CHINESE["Where is the loss?"] in text
    assert CHINESE["dimension kind"] in text
    assert ENGLISH["dimension kind"] not in text
    with pytest.raises(ValueError, match="use en or zh"):
        words("fr")


def test_bands_have_a_name_each():
    assert band_names((1, 4, 16)) == ["0", "1–3", "4–15", "16 and more"]
    assert band_names((1, 2), first="never") == ["never", "1", "2 and more"]
