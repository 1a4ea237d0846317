"""The report pages: complete, escaped, without network, and right at the edges."""

import html.parser
import json
import math
import re
import types

import pytest

import lslm
from lslm import report, results
from lslm.report import charts, markup, numbers
from lslm.scores import EvaluationResult

HOSTILE = '<script>alert("1")</script>&\x00\x1b[31m\u202e\ud800 </pre>\'"'
UNIFORM = EvaluationResult(nats=100 * math.log(256), n_tokens=100, n_bytes=400)


class Outline(html.parser.HTMLParser):
    """Checks that every tag is closed where it belongs and records the elements that tests look at."""

    VOID = ("meta", "br", "hr", "wbr")

    def __init__(self, document):
        super().__init__()
        self.open, self.tags, self.text, self.attributes = [], [], [], []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def statistics(n_documents, n_bytes, n_words, n_whole_words, n_tokens, file=None):
    return results.TextStatistics(
        file=file,
        n_documents=n_documents,
        n_bytes=n_bytes,
        n_words=n_words,
        n_whole_words=n_whole_words,
        n_tokens=n_tokens,
        bytes_per_token=n_bytes / n_tokens,
        tokens_per_word=n_tokens / n_words,
        whole_word_share=n_whole_words / n_words,
    )


def demo_results(text="some text", **changes):
    example = results.DroppedDocument(text=text, value=0.5, limit=0.25)
    funnel = results.Funnel(
        n_documents=10,
        n_bytes=1000,
        n_documents_kept=7,
        n_bytes_kept=880,
        dropped={text: results.Dropped(n_documents=3, n_bytes=100, examples=(example,))},
        changes={text: results.Change(n_documents=2, n_changes=5)},
    )
    measured = results.TokenizerReport(
        total=statistics(9, 4000, 800, 600, 1000),
        validation=statistics(1, 400, 80, 60, 100),
        files=(statistics(9, 4000, 800, 600, 1000, file=text),),
        unused=(7,),
    )
    values = {
        "corpus": text,
        "folder": text,
        "funnel": funnel,
        "stages": [
            report.StageFigure(name=text, seconds=2.0, amount=30_000_000, output=text, note=text),
            report.StageFigure(name="train", seconds=3.0, amount=600, unit="tokens"),
        ],
        "tokenizer": report.TokenizerFigures(
            vocab_size=256,
            pattern=text,
            report=measured,
            unused=[text.encode("utf-8", "surrogatepass")],
            longest=[text.encode("utf-8", "surrogatepass"), b" " * 40],
            sample=[(7, b"\xe4\xbd"), (8, text.encode("utf-8", "surrogatepass"))],
        ),
        "metrics": [
            report.MetricRow(step=1, n_tokens=10, loss=5.5, learning_rate=0.1),
            report.MetricRow(step=2, n_tokens=20, loss=4.5, validation_loss=4.75),
        ],
        "evaluation": EvaluationResult(nats=200.0, n_tokens=100, n_bytes=400),
        "baselines": report.Baselines(
            uniform=UNIFORM,
            unigram=EvaluationResult(nats=400.0, n_tokens=100, n_bytes=400),
            xz_bits_per_byte=3.0,
        ),
        "samples": [report.Sample(prompt=text, text=text, note=text)],
        "commands": [report.Command(purpose=text, line=text)],
        "model": {text: text},
        "facts": {text: text},
    }
    return report.DemoResults(**values | changes)


def write_run(folder, rows):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


# What the pages say


def test_demo_report_shows_every_number_it_was_given():
    text = " ".join(Outline(report.demo_report(demo_results())).text)
    for expected in (
        "0.721",  # 200 nats / ln 2 / 400 bytes
        f"{math.e**2:.2f}",  # perplexity
        "2.0000",  # loss
        "7 (70.0 %)",
        "15.00 MB/s",
        "200 tokens/s",
        "2.000",  # uniform: 100 · 8 bits over 400 bytes
        "0.50 times",
        "3.000",  # xz
        "4.000 on the held-out text",
        "1.250; 75.0 % of the words are one token",
        "never used in the held-out text 1 token",
    ):
        assert expected in text, expected


def test_funnel_of_the_page_adds_up_and_is_sorted_by_size():
    examples = (
        results.DroppedDocument(text="x", value=7, limit=100),
        results.DroppedDocument(text="y"),
    )
    funnel = results.Funnel(
        n_documents=100,
        n_bytes=10_000,
        n_documents_kept=60,
        n_bytes_kept=7_500,
        dropped={
            "dedup.document": results.Dropped(n_documents=10, n_bytes=1_000),
            "length.min_chars": results.Dropped(n_documents=30, n_bytes=1_000, examples=examples),
        },
        changes={
            "controls": results.Change(n_documents=0, n_changes=0),
            "breaks": results.Change(n_documents=2, n_changes=31),
        },
    )
    document = report.clean_report(funnel, facts={"profile": "code"})
    text = "".join(Outline(document).text)
    assert text.index("length.min_chars") < text.index("dedup.document")
    assert "30 (30.0 %)" in text
    assert "500 bytes less than was read" in text
    assert "measured 7, the limit is 100" in text
    assert "31" in text
    assert "controls" not in text
    widths = [float(w) for w in re.findall(r'style="width:([\d.]+)%', document)]
    assert widths == [100.0, 60.0, 30.0, 10.0]


def test_run_report_reads_metrics_and_configuration(tmp_path):
    rows = [{"step": s, "tokens": 64 * s, "loss": 6 / s, "lr": 0.1} for s in range(1, 9)]
    rows.insert(4, {"step": 4, "validation_loss": 2.25})
    rows.append({"step": 8, "validation_loss": 2.5})
    write_run(tmp_path, rows)
    (tmp_path / "config.toml").write_text('name = "<b>"\n')
    outline = Outline(report.run_report(tmp_path, evaluation=UNIFORM))
    text = " ".join(outline.text)
    assert "2.2500" in text
    assert "at step 4" in text
    assert "512" in text  # tokens
    assert 'name = "<b>"' in text
    assert "Perplexity depends on the vocabulary" in text
    assert outline.tags.count("svg") == 3  # loss by step, loss by tokens, learning rate


def test_run_report_of_an_empty_run_says_so(tmp_path):
    write_run(tmp_path, [])
    assert "No metrics were recorded" in report.run_report(tmp_path)


class FakeTokenizer:
    """Four tokens, one of them special, and an id that no token has."""

    vocab_size = 5
    pattern = "gpt2"
    special_tokens = types.MappingProxyType({"<|endoftext|>": 3})

    def token_bytes(self, token):
        return {0: b"ab", 1: b"bcd", 2: b"eee", 3: b"<|endoftext|>"}[token]

    def encode(self, text):
        return [{"a": 0, "e": 2}[letter] for letter in text]


def test_tokenizer_figures_leave_out_special_tokens_and_gaps():
    measured = results.TokenizerReport(
        total=statistics(2, 10, 4, 4, 4), validation=None, files=(), unused=(1,)
    )
    figures = report.TokenizerFigures.of(FakeTokenizer(), report=measured, sample="ae", n_longest=3)
    assert figures.longest == [b"bcd", b"ab"]
    assert figures.sample == [(0, b"ab"), (2, b"eee")]
    assert figures.unused == [b"bcd"]
    assert report.TokenizerFigures.of(FakeTokenizer()).report is None


# Hostile text


def test_nothing_in_a_page_comes_through_unescaped():
    document = report.demo_report(demo_results(HOSTILE))
    outline = Outline(document)
    assert "script" not in outline.tags
    assert not {"\x00", "\x1b", "\u202e", "\ud800"} & set(document)
    document.encode("utf-8")
    shown = '<script>alert("1")</script>&⟨U+0000⟩⟨U+001B⟩[31m⟨U+202E⟩⟨U+D800⟩ </pre>\'"'
    assert sum(part.count(shown) for part in outline.text) >= 12


def test_pages_forbid_scripts_and_load_nothing(tmp_path):
    write_run(tmp_path, [{"step": 1, "loss": 2.0}])
    pages = (
        report.demo_report(demo_results()),
        report.run_report(tmp_path),
        report.clean_report(demo_results().funnel),
    )
    for document in pages:
        outline = Outline(document)
        assert not {"script", "img", "link", "iframe", "object"} & set(outline.tags)
        assert not re.search(r"https?:|url\(|@import|@font-face", document)
        assert not [name for name, _ in outline.attributes if name.startswith("on")]
        policies = [value for name, value in outline.attributes if name == "content"]
        assert any(value.startswith("default-src 'none'") for value in policies)
        assert "prefers-color-scheme: dark" in document
        assert 'name="viewport"' in document


def test_links_of_a_page_lead_to_its_own_sections():
    outline = Outline(report.demo_report(demo_results()))
    ids = {value for name, value in outline.attributes if name == "id"}
    links = {value for name, value in outline.attributes if name == "href"}
    assert links
    assert links == {f"#{i}" for i in ids}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("tab\tline\n", "tab\tline\n"),
        ("\r", "⟨U+000D⟩"),
        ("\x7f\x85", "⟨U+007F⟩⟨U+0085⟩"),
        ("\u2028\u2067\ufffe\udfff", "⟨U+2028⟩⟨U+2067⟩⟨U+FFFE⟩⟨U+DFFF⟩"),
        ("中文 עברית 🙂", "中文 עברית 🙂"),
    ],
)
def test_control_characters_are_shown_by_number(text, shown):
    assert markup.printable(text) == shown


def test_attributes_are_escaped_and_none_is_left_out():
    made = markup.element("p", None, "a<b", title='"<', class_="x", lang=None)
    assert made == '<p title="&quot;&lt;" class="x">a&lt;b</p>'


# Metrics


def test_a_last_line_without_its_end_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0, "tokens": 5}\n{"step": 2, "lo')
    assert report.read_metrics(path) == [report.MetricRow(step=1, loss=2.0, n_tokens=5)]


def test_rows_of_one_step_are_merged(tmp_path):
    write_run(
        tmp_path,
        [
            {"step": 1, "loss": 3.0, "lr": 0.5, "tokens": 64, "tokens_per_second": 7.0},
            {"step": 1, "validation_loss": 2.5},
            {"step": 2, "loss": 2.0},
        ],
    )
    assert report.read_metrics(tmp_path / "metrics.jsonl") == [
        report.MetricRow(
            step=1,
            n_tokens=64,
            loss=3.0,
            validation_loss=2.5,
            learning_rate=0.5,
            tokens_per_second=7.0,
        ),
        report.MetricRow(step=2, loss=2.0),
    ]


@pytest.mark.parametrize("line", ["{", "[]", "3", '{"loss": 1.0}', '{"step": "x"}'])
def test_broken_line_is_named_with_its_number(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n'.encode())
    with pytest.raises(lslm.FormatError, match="line 2") as caught:
        report.read_metrics(path)
    assert caught.value.path == str(path)
    assert caught.value.offset == 12


def test_run_without_metrics_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        report.run_report(tmp_path)


def test_loss_that_is_not_a_number_leaves_a_gap():
    points = [(float(x), math.nan if x == 5 else 1.0) for x in range(1, 10)]
    chart = charts.line_chart(
        [charts.Series(label="loss", points=points)], x_label="step", y_label="loss"
    )
    assert chart.count("<polyline") == 2
    assert "nan," not in chart
    assert ",nan" not in chart


def test_one_bad_loss_does_not_spoil_the_whole_mean(tmp_path):
    write_run(tmp_path, [{"step": s, "loss": math.nan if s == 20 else 1.0} for s in range(1, 400)])
    document = report.run_report(tmp_path)
    Outline(document)
    assert "nan" not in document.split("<svg")[1].split("</polyline>")[0]


# Arithmetic


def test_uniform_model_has_the_vocabulary_as_its_perplexity():
    assert UNIFORM.perplexity == pytest.approx(256, rel=1e-12)
    assert UNIFORM.bits_per_byte == pytest.approx(2.0, rel=1e-12)


def test_results_without_tokens_or_beyond_a_float_do_not_fail():
    nothing = EvaluationResult(nats=0.0, n_tokens=0, n_bytes=0)
    assert math.isnan(nothing.loss)
    assert math.isnan(nothing.perplexity)
    assert math.isnan(nothing.bits_per_byte)
    beyond = EvaluationResult(nats=1e6, n_tokens=1, n_bytes=1)
    assert beyond.perplexity == math.inf
    empty = results.Funnel(
        n_documents=0, n_bytes=0, n_documents_kept=0, n_bytes_kept=0, dropped={}, changes={}
    )
    page = report.demo_report(
        demo_results(
            evaluation=nothing,
            baselines=report.Baselines(uniform=nothing, xz_bits_per_byte=math.nan),
            funnel=empty,
            metrics=[],
            samples=[],
            commands=[],
            stages=[report.StageFigure(name="x", seconds=0.0, amount=5)],
        )
    )
    Outline(page)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (1, 420, [100, 200, 300, 400]),
        (0.0, 0.003, [0, 0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (3, 3, [3]),
        (math.nan, 1, []),
    ],
)
def test_ticks_are_round_numbers_inside(low, high, expected):
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_smoothing_is_the_mean_of_a_centred_window():
    points = [(float(i), y) for i, y in enumerate([1.0, 5.0, 3.0, 7.0, 9.0])]
    smoothed = charts.smooth(points, width=3)
    assert [x for x, _ in smoothed] == [0, 1, 2, 3, 4]
    assert [y for _, y in smoothed] == pytest.approx([1.0, 3.0, 5.0, 19 / 3, 9.0])


def test_long_curves_keep_their_extremes_and_stay_small():
    points = [(float(i), 1.0) for i in range(100_000)]
    points[31_415] = (31_415.0, 9.0)
    chart = charts.line_chart(
        [charts.Series(label="loss", points=points)], x_label="step", y_label="loss"
    )
    assert len(chart) < 40_000
    curve = re.search(r'<polyline points="([^"]*)"', chart)[1]
    assert len({point.split(",")[1] for point in curve.split()}) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1500, "1.5k"),
        (2_000_000, "2M"),
        (0.0003, "3e-4"),
        (0.5, "0.5"),
        (3.2e9, "3.2G"),
    ],
)
def test_compact_numbers(value, text):
    assert numbers.compact(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.004, "4.0 ms"),
        (12.34, "12.3 s"),
        (59.99, "1 min 00 s"),
        (7440, "2 h 04 min"),
        (math.inf, "n/a"),
    ],
)
def test_durations(seconds, text):
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (12_345_678, "12.3 MB"),
        (999_600, "1 MB"),
        (2.5e15, "2.5 PB"),
    ],
)
def test_sizes(n_bytes, text):
    assert numbers.size(n_bytes) == text


def test_several_runs_are_drawn_in_one_figure_with_what_differs(tmp_path):
    for name, lr in (("one", 0.02), ("two", 0.05)):
        run = tmp_path / name
        run.mkdir()
        rows = [
            {"step": k, "loss": 5 - lr * k, "tokens": 100 * k, "tokens_per_second": 10.0}
            for k in range(1, 9)
        ]
        rows.append({"step": 8, "validation_loss": 4 - lr})
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (run / "config.toml").write_text(f'[optim]\nlr = {lr}\n[train]\nout = "{run}"\nseed = 1\n')
    page = report.compare_runs([tmp_path / "one", tmp_path / "two"])
    assert "3.9500" in page
    assert "3.9800" in page
    assert page.index("3.9500") < page.index("3.9800")  # the best first
    assert "optim.lr" in page
    assert "train.seed" not in page
    assert "train.out" not in page
    assert page.count("<polyline") == 2


def test_a_vocabulary_has_a_page(tmp_path):
    tokenizer = lslm.train_tokenizer(texts=["low lower lowest"] * 3, vocab_size=262)
    (tmp_path / "a.txt").write_text("low lower <b>")
    measured = lslm.measure_tokenizer([tmp_path / "a.txt"], tokenizer=tokenizer)
    figures = report.TokenizerFigures.of(tokenizer, report=measured, sample="low <b>")
    page = report.tokenizer_report(figures, facts={"Documents": "a.txt"})
    assert "<b>low" not in page
    assert f"{measured.total.bytes_per_token:.2f}" in page


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (1.2, "better than xz -9: it needs 14% fewer bits"),
        (1.68, "worse than xz -9: it needs 20% more"),
    ],
)
def test_the_result_says_plainly_whether_it_beats_a_compressor(own, said):
    from lslm.report.learning import _beside

    assert said in _beside(own, 1.4, "xz -9")
    assert "as good as" in _beside(1.401, 1.4, "xz -9")
