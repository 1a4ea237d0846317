"""Every field of a record survives ``clean``: pyarrow's and Python's readers see the same fields."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import json

import pytest

import lslm
from lslm.report import clean_report
from test_pipeline import files_of

LINES = [
    '{"id": 7, "text": "A first  text.", "n": 1.50, "big": 12345678901234567890123}',
    '{"text":"b","meta":{"lang":"de","k":[1,{"x":null}]},"id":"s","s":"\\ud800"}',
    '{"k":1,"k":2,"text":"c","":true,"id":null}',
]


def clean(inputs, output, **keywords):
    return lslm.clean(inputs, output=output, cleaner="none", threads=1, progress=False, **keywords)


def read_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("dedup", [None, "exact"])
def test_lines_survive_byte_for_byte(tmp_path, dedup):
    source = tmp_path / "in.jsonl"
    # the last line is a duplicate, so that the staged files are read and written again
    source.write_text("\n".join([*LINES, '{"text":"b","other":1}']) + "\n")
    clean(source, tmp_path / "out", format="jsonl", dedup=dedup)
    written = (tmp_path / "out/part-000000.jsonl").read_text().splitlines()
    assert written[:3] == LINES
    assert len(written) == (4 if dedup is None else 3)


def test_a_text_key_keeps_its_name_beside_a_text(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": 1, "content": "a\\u0000b", "id": [2]}\n')
    corpus = lslm.Corpus(source, text_key="content")
    lslm.clean(corpus, output=tmp_path / "out", format="jsonl", progress=False)
    written = json.loads((tmp_path / "out/part-000000.jsonl").read_text())
    assert written == {"text": 1, "content": "ab", "id": [2]}
    assert list(written) == ["text", "content", "id"]


def test_mixed_inputs_keep_their_own_fields(tmp_path):
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "b.jsonl").write_text('{"content": "b", "n": 1}\n')
    (tmp_path / "c.csv").write_text("x,content\n1,c\n")
    names = [tmp_path / name for name in ("a.txt", "b.jsonl", "c.csv")]
    clean(lslm.Corpus(names, text_key="content"), tmp_path / "out", format="jsonl")
    lines = read_lines(tmp_path / "out/part-000000.jsonl")
    assert lines == [{"content": "plain"}, {"content": "b", "n": 1}, {"x": "1", "content": "c"}]


def table(pa):
    """Return columns of every kind."""
    when = datetime.datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=datetime.UTC)
    struct = pa.struct([("lang", pa.string()), ("scores", pa.list_(pa.float32()))])
    return pa.table(
        {
            "id": pa.array([1, 2, None, 2**62], pa.int64()),
            "text": pa.array(["one", "two", "three", "four"]),
            "tags": pa.array([["a", None], [], None, ["b", "c"]], pa.list_(pa.string())),
            "deep": pa.array(
                [[[1], []], None, [[]], [None, [2, 3]]], pa.list_(pa.list_(pa.int8()))
            ),
            "map": pa.array(
                [[("k", 1)], [], None, [("a", 2), ("b", None)]], pa.map_(pa.string(), pa.int32())
            ),
            "struct": pa.array(
                [
                    {"lang": "de", "scores": [0.5]},
                    None,
                    {"lang": None, "scores": []},
                    {"lang": "en", "scores": None},
                ],
                struct,
            ),
            "structs": pa.array(
                [[{"lang": "x", "scores": None}], None, [], [None]], pa.list_(struct)
            ),
            "binary": pa.array([b"\xff\x00", None, b"", b"a"], pa.binary()),
            "fixed": pa.array([b"abcd", None, b"\x00\x01\x02\x03", b"zzzz"], pa.binary(4)),
            "decimal": pa.array(
                [decimal.Decimal("-1.05"), None, decimal.Decimal(0), None], pa.decimal128(20, 2)
            ),
            "when": pa.array([when, None, when, None], pa.timestamp("us", "UTC")),
            "local": pa.array([1, None, 3, 4], pa.timestamp("ms")),
            "day": pa.array([datetime.date(2024, 2, 29), None, datetime.date(1969, 1, 1), None]),
            "time": pa.array([datetime.time(1, 2, 3), None, None, None], pa.time64("us")),
            "kind": pa.array(["x", "y", None, "x"]).dictionary_encode(),
            "large": pa.array(["l", None, "m", ""], pa.large_string()),
            "flag": pa.array([True, None, False, True]),
            "small": pa.array([255, None, 0, 7], pa.uint8()),
            "unsigned": pa.array([2**64 - 1, None, 0, 1], pa.uint64()),
            "half": pa.array([0.5, None, -2.0, 1.5], pa.float16()),
            "double": pa.array([0.1, None, float("inf"), -1e300], pa.float64()),
            "none": pa.nulls(4),
        },
    ).replace_schema_metadata({b"note": b"kept", b"pandas": b"{}"})


@pytest.mark.parametrize("dedup", [None, "exact"])
def test_parquet_columns_survive_with_name_type_and_metadata(tmp_path, dedup):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    source = table(pa)
    # rows of many batches and row groups, with the duplicates of the first four at the end
    many = pa.concat_tables([source] * 300)
    texts = pa.array([f"text {i}" for i in range(many.num_rows - 4)] + ["text 0"] * 4)
    many = many.set_column(1, "text", texts)
    pq.write_table(many, tmp_path / "in.parquet", row_group_size=500)
    clean(tmp_path / "in.parquet", tmp_path / "out", format="parquet", dedup=dedup)
    written = pq.read_table(tmp_path / "out")
    read = pq.read_table(tmp_path / "in.parquet")  # list items have the names of the file
    expected = read if dedup is None else read.slice(0, read.num_rows - 4)
    assert written.schema.equals(read.schema, check_metadata=True)
    assert written.equals(expected)


def test_parquet_becomes_json_with_nested_values(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    source = table(pa)
    pq.write_table(source, tmp_path / "in.parquet")
    clean(tmp_path / "in.parquet", tmp_path / "out", format="jsonl")
    lines = read_lines(tmp_path / "out/part-000000.jsonl")
    as_they_are = [
        "id",
        "text",
        "tags",
        "deep",
        "struct",
        "structs",
        "kind",
        "large",
        "flag",
        "small",
        "unsigned",
        "half",
        "none",
    ]
    assert [list(line) for line in lines] == [source.column_names] * 4
    for line, row in zip(lines, source.to_pylist(), strict=True):
        assert {key: line[key] for key in as_they_are} == {key: row[key] for key in as_they_are}
        assert line["map"] == (None if row["map"] is None else dict(row["map"]))
        assert line["decimal"] == (None if row["decimal"] is None else float(row["decimal"]))
        assert line["day"] == (row["day"] and row["day"].isoformat())
        assert line["when"] == (row["when"] and row["when"].isoformat().replace("+00:00", "Z"))
    assert [line["binary"] for line in lines] == ["/wA=", None, "", "YQ=="]
    assert [line["double"] for line in lines] == [0.1, None, None, -1e300]
    assert lines[0]["time"] == 3_723_000_000
    documents = list(lslm.Corpus(tmp_path / "in.parquet"))
    assert documents[0].metadata["struct"] == {"lang": "de", "scores": [0.5]}
    assert documents[3].id == str(2**62)


def test_columns_of_several_files_are_united(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    one = pa.table({"text": ["a"], "n": pa.array([1], pa.int32()), "tags": [["x"]]})
    two = pa.table({"lang": ["de"], "text": ["b"], "n": pa.array([2], pa.int32())})
    pq.write_table(one, tmp_path / "1.parquet")
    pq.write_table(two, tmp_path / "2.parquet")
    clean([tmp_path / "1.parquet", tmp_path / "2.parquet"], tmp_path / "out", format="parquet")
    written = pq.read_table(tmp_path / "out")
    assert written.equals(pa.concat_tables([one, two], promote_options="default"))
    other = pa.table({"text": ["c"], "n": ["three"]})
    pq.write_table(other, tmp_path / "3.parquet")
    with pytest.raises(
        ValueError, match=r'the column "n" is optional INT32.*1\.parquet and optional BYTE_ARRAY'
    ):
        clean(sorted(tmp_path.glob("*.parquet")), tmp_path / "out2", format="parquet")
    assert not (tmp_path / "out2").exists()


def test_jsonl_to_parquet_keeps_typed_ids_and_fields(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "in.jsonl").write_text("\n".join(LINES) + "\n")
    clean(tmp_path / "in.jsonl", tmp_path / "out", format="parquet")
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert [row["id"] for row in rows] == ["7", "s", None]
    assert json.loads(rows[0]["metadata"]) == {"id": 7, "n": 1.5, "big": 12345678901234567890123}
    clean(tmp_path / "out", tmp_path / "back", format="jsonl")
    back = read_lines(tmp_path / "back/part-000000.jsonl")
    source = [json.loads(line) for line in LINES]
    assert back == source


def test_csv_equals_what_pythons_reader_reads(tmp_path):
    rows = [["id", "body", "note"], ["1", 'a "quoted"\ntext, with all', ""], ["2", "", "x;y\tz"]]
    for name, delimiter in (("a.csv", ","), ("b.tsv", "\t"), ("c.csv", ";")):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows(rows)
        documents = list(lslm.Corpus(tmp_path / name, text_key="body"))
        assert [[d.id, d.text, d.metadata["note"]] for d in documents] == rows[1:]
        with pytest.raises(lslm.FormatError, match='no column "text"; name one of id, body, note'):
            lslm.Corpus(tmp_path / name)


def test_bad_files_are_listed_everywhere(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text":"a a a"}\n' * 50)
    whole = gzip.compress(b"".join(b'{"text":"line %d"}\n' % i for i in range(50_000)))
    (folder / "b.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "c.parquet").write_bytes(b"PAR1")
    with pytest.raises(lslm.FormatError):
        lslm.Corpus(folder)
    corpus = lslm.Corpus(folder, on_bad_file="skip")
    assert [bad.source for bad in corpus.bad_files] == [str(folder / "c.parquet")]
    result = clean(corpus, tmp_path / "out", format="jsonl")
    bad = result.reading.bad_files
    assert [entry.source for entry in bad] == [
        str(folder / "c.parquet"),
        str(folder / "b.jsonl.gz"),
    ]
    assert bad[1].n_documents == result.n_documents - 50 > 1000
    manifest = json.loads((tmp_path / "out/_clean.json").read_text())
    assert [entry["source"] for entry in manifest["reading"]["bad_files"]] == [
        b.source for b in bad
    ]
    page = clean_report(result.funnel, reading=result.reading)
    assert "c.parquet" in page
    assert "ends too early" in page
    again = clean(corpus, tmp_path / "again", format="jsonl", partition_bytes=1000)
    assert again.reading.bad_files == bad
    assert again.n_documents == result.n_documents
    with pytest.warns(UserWarning, match="2 broken files were left out"):
        tokenizer = lslm.train_tokenizer(corpus, vocab_size=258, progress=False)
    with pytest.warns(UserWarning, match="2 broken files"):
        list(corpus)
    made = lslm.tokenize(corpus, output=tmp_path / "data", tokenizer=tokenizer, progress=False)
    assert made.reading.bad_files == bad


@pytest.mark.parametrize("verb", ["clean", "tokenize"])
def test_a_resumed_job_lists_the_same_bad_files(tmp_path, verb):
    """One that is found on opening, one that breaks in the middle, before and after the stop."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "c", "e"):
        (folder / f"{name}.jsonl").write_text('{"text":"a line of text"}\n' * 8000)
    whole = gzip.compress(b"".join(b'{"text":"line %d"}\n' % i for i in range(20_000)))
    (folder / "b.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "d.parquet").write_bytes(b"PAR1")
    tokenizer = lslm.train_tokenizer(texts=["a line of text"] * 3, vocab_size=260)

    def make(name, progress=False):
        options = {"output": tmp_path / name, "partition_bytes": 4000, "threads": 1}
        corpus = lslm.Corpus(folder, on_bad_file="skip")
        if verb == "clean":
            return lslm.clean(corpus, cleaner="none", progress=progress, **options)
        return lslm.tokenize(corpus, tokenizer=tokenizer, progress=progress, **options)

    def stop_after(n_records):
        def stop(stage, done, total, unit):
            if len(list((tmp_path / "stopped/.progress").glob("0*.json"))) > n_records:
                raise RuntimeError("stop here")

        return stop

    straight = make("straight").reading
    assert len(straight.bad_files) == 2
    for n_records in (0, 20):
        with pytest.raises(RuntimeError, match="stop here"):
            make("stopped", stop_after(n_records))
    assert (tmp_path / "stopped/.progress").is_dir()
    assert make("stopped").reading == straight
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")


def test_legacy_encodings_are_named_and_counted(tmp_path):
    text = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
    (tmp_path / "a.txt").write_bytes(text.encode("gb18030"))
    (tmp_path / "b.txt").write_text(text)
    corpus = lslm.Corpus([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert [document.text for document in corpus] == [text, text]
    (found,) = corpus.encodings
    assert (found.path, found.encoding) == (tmp_path / "a.txt", "GBK")
    assert found.confidence >= 0.7
    assert corpus.count_documents().converted == {"GBK": 1}
    forced = lslm.Corpus(tmp_path / "a.txt", encoding="gb18030")
    assert [document.text for document in forced] == [text]
    (tmp_path / "c.txt").write_bytes("你好".encode("gbk"))
    with pytest.raises(lslm.FormatError, match=r"iconv -f .* -t UTF-8"):
        lslm.Corpus(tmp_path / "c.txt")


def test_figures_of_a_run_are_never_documents(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text("")
    (run / "metrics.jsonl").write_text('{"text": 1}\n')
    (run / "notes.txt").write_text("a")
    corpus = lslm.Corpus(run)
    assert corpus.inputs == (str(run / "notes.txt"),)
    skipped = [(file.path.name, file.reason) for file in corpus.skipped]
    assert skipped == [("config.toml", "bookkeeping"), ("metrics.jsonl", "bookkeeping")]
