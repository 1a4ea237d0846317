"""Files: an output is never an input, own records are not documents, nothing is lost in silence."""

import gzip
import json
import os
import warnings

import pytest

import lslm
from command_line import lslm_run, run


@pytest.fixture(scope="module")
def tokenizer():
    return lslm.train_tokenizer(texts=["one two three"] * 3, vocab_size=260)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Return a folder ``raw`` with 20 documents, inside the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = [json.dumps({"text": f"the text of document {i}"}) + "\n" for i in range(20)]
    (folder / "a.jsonl").write_text("".join(rows))
    return folder


def content(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["clean", "raw", "-o", "raw"], "part of the input raw"),
        (["clean", "raw", "-o", "raw/clean"], "part of the input raw"),
        (["clean", "raw/*", "-o", "raw/clean"], "part of the input raw/*"),
        (["clean", "raw/a.jsonl", "-o", "raw"], "holds the input raw/a.jsonl"),
        (["clean", "raw", "-o", "link/clean"], "part of the input raw"),
        (["clean", "raw", "-o", "-"], "name a folder"),
        (["tokenize", "raw", "-o", "raw/data", "-t", "tok.json"], "part of the input raw"),
        (["tokenize", "raw", "-o", "-", "-t", "tok.json"], "name a folder"),
        (["train-tokenizer", "raw/a.jsonl", "-o", "raw/a.jsonl"], "is the input raw/a.jsonl"),
        (["train-tokenizer", "raw/a.jsonl", "-o", "raw/a.jsonl", "--force"], "is the input"),
        (["train-tokenizer", "raw", "-o", "link/a.jsonl", "--force"], "is the input raw/a.jsonl"),
        (["train-tokenizer", "raw", "-o", "tok.json"], "--force"),
        (["train-tokenizer", "raw", "-o", "raw"], "is a folder"),
        (["train-tokenizer", "raw", "-o", "-"], "standard output"),
        (["train-tokenizer", "raw", "-o", "tok.json/deep/tok.json"], "not a writable folder"),
        (["clean", "raw", "-o", "out", "--report", "raw/a.jsonl", "--force"], "is the input"),
        (["clean", "raw", "-o", "out", "--report", "tok.json"], "--force"),
        (["clean", "raw", "-o", "out", "--report", "raw"], "is a folder"),
        (["clean", "raw", "-o", "out", "--report", "tok.json/r.html"], "not a writable folder"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="Windows needs a privilege to make links")
def test_an_output_over_an_input_or_a_file_is_refused_before_work(
    raw, tokenizer, arguments, reason
):
    tokenizer.save("tok.json")
    (raw.parent / "link").symlink_to(raw)
    before = content(raw.parent)
    code, _, errors = run(*arguments)
    assert code == 1
    assert reason in errors.decode()
    assert content(raw.parent) == before
    assert not (raw.parent / "out").exists()


def test_force_replaces_a_tokenizer_and_a_report(raw):
    train = ["train-tokenizer", "raw", "-o", "tok.json", "--no-report", "--vocab-size"]
    lslm_run(*train, 260)
    lslm_run(*train, 262, "--force")
    assert lslm.Tokenizer.load("tok.json").vocab_size == 262
    for output in ("first", "second"):
        lslm_run("clean", "raw", "-o", output, "--report", "r.html", "--force")


@pytest.mark.parametrize(
    "format", ["/../x", "../jsonl", "jsonl/../../x.jsonl", "csv", "parquet.gz"]
)
def test_a_format_that_is_not_an_extension_is_refused_before_work(raw, format):
    with pytest.raises(ValueError, match=r"jsonl|Parquet"):
        lslm.clean("raw", output="out", format=format)
    assert not (raw.parent / "out").exists()


def test_more_partitions_than_file_names_are_refused_before_work(raw, tokenizer):
    (raw / "large.jsonl").write_text('{"text": "a"}\n' * 80_000)
    for verb, options in ((lslm.clean, {}), (lslm.tokenize, {"tokenizer": tokenizer})):
        with pytest.raises(ValueError, match=r"partition_bytes = 1 makes .* at most 1000000"):
            verb("raw", output="out", partition_bytes=1, **options)
    assert not (raw.parent / "out").exists()


def test_the_records_of_clean_are_not_documents(raw, tokenizer):
    """The README's own command: ``tokenize "clean/*"``."""
    tokenizer.save("tok.json")
    lslm_run("clean", "raw", "-o", "clean", "--profile", "none")
    code, _, errors = run("tokenize", "clean/*", "-o", "data", "-t", "tok.json")
    assert code == 0
    assert b"bookkeeping: 1; the first is clean/_clean.json" in errors
    manifest = json.loads((raw.parent / "data/train/manifest.json").read_text())
    assert manifest["sources"] == ["clean/part-000000.jsonl.zst"]
    assert [s.reason for s in lslm.Corpus("clean/*").skipped] == ["bookkeeping"]
    with pytest.raises(ValueError, match=r"_clean\.json: a file that lslm wrote"):
        lslm.Corpus("clean/_clean.json")
    with pytest.raises(ValueError, match=r"manifest\.json: a file that lslm wrote"):
        lslm.Corpus("data/train/manifest.json")


def test_an_empty_training_part_is_an_error_and_leaves_nothing(raw, tokenizer):
    (raw / "one.txt").write_text("the only document")
    for seed in range(10):
        part = {"validation_fraction": 0.5, "tokenizer": tokenizer, "seed": seed}
        try:
            with warnings.catch_warnings(action="ignore"):
                lslm.tokenize("raw/one.txt", output=f"out{seed}", **part)
        except ValueError as error:
            assert "the training part is empty: the only document is held out" in str(error)
            assert "--split line" in str(error)
            assert not (raw.parent / f"out{seed}").exists()
            break
    else:
        pytest.fail("no seed held the document out")
    cleaner = lslm.Cleaner("none", length={"min_chars": 1000})
    with pytest.raises(ValueError, match="cleaning dropped all 20 documents, 20 of them by length"):
        lslm.tokenize("raw/a.jsonl", output="out", tokenizer=tokenizer, cleaner=cleaner)
    assert not (raw.parent / "out").exists()


def test_an_empty_validation_part_is_a_warning(raw, tokenizer):
    tokenizer.save("tok.json")
    (raw / "one.txt").write_text("the only document")
    with pytest.warns(UserWarning, match="validation part is empty: the only document") as seen:
        result = lslm.tokenize("raw/one.txt", output="d", tokenizer=tokenizer)
    assert result.warnings == (str(seen[0].message),)
    assert result.as_dict()["warnings"] == list(result.warnings)
    words = ["tokenize", "raw/a.jsonl", "-t", "tok.json", "--validation-fraction"]
    code, _, errors = run(*words, 0.001, "-o", "e")
    assert code == 0
    assert errors.decode().count("warning: the validation part is empty: none of 20") == 1
    for option in ("--split line", "blank-lines", "--validation-fraction"):
        assert option in errors.decode()
    assert b"warning" not in run(*words, 0.5, "-o", "f")[2]
    assert b"warning" not in run(*words, 0, "-o", "g")[2]


def test_cleaning_that_leaves_nothing_is_a_warning_with_the_next_step(raw):
    (raw / "one.txt").write_text("no sentence of prose here\n" * 50_000)
    (raw / "one.jsonl").write_text('{"text": "short"}\n')

    def warned(*words):
        code, _, errors = run("clean", *words)
        assert code == 0
        return [line for line in errors.decode().splitlines() if line.startswith("warning: ")]

    fineweb = ["--profile", "fineweb"]
    first, second = warned("raw/one.txt", *fineweb, "-o", "out")
    assert first.startswith("warning: cleaning dropped the only document, by ")
    assert first.endswith(": choose another profile, or change the rule with --set")
    assert second.startswith(
        "warning: raw/one.txt is one document of 1.30 MB, and it was dropped: "
    )
    assert "--split line or --split blank-lines" in second
    assert warned("raw/one.txt", *fineweb, "-o", "o2", "--json") == [first, second]
    assert len(warned("raw/one.txt", *fineweb, "-o", "o3", "--split", "line")) >= 1
    # beside documents that are kept, the large file alone is named
    mixed = warned("raw", "--set", "length.max_chars=1000", "-o", "o4")
    assert mixed == [second]
    assert warned("raw/one.txt", *fineweb, "--dry-run") == [
        "warning: the sample has none of 1 document: take more, --sample"
    ]
    (line,) = warned("raw/one.jsonl", *fineweb, "-o", "o5")
    assert "by gopher_quality.too_few_words" in line
    assert warned("raw/one.txt", *fineweb, "-o", "o6", "--annotate") == []
    assert warned("raw/a.jsonl", "-o", "o7") == []


def test_zero_padding_after_gzip_is_counted(raw):
    padded = raw / "padded.jsonl.gz"
    padded.write_bytes(gzip.compress(b'{"text": "a"}\n') * 2 + bytes(512))
    assert lslm.Corpus(padded).count_documents().n_trailing_bytes == 512
    code, _, errors = run("clean", padded, "-o", "out", "--profile", "none")
    assert code == 0
    assert b"skipped: 512 bytes after the end of gzip data" in errors


def test_an_input_that_changes_while_it_is_read_is_named(raw):
    corpus = lslm.Corpus("raw/a.jsonl")
    with (raw / "a.jsonl").open("a") as file:
        file.write('{"text": "more"}\n')
    with pytest.raises(lslm.FormatError, match=r"raw/a\.jsonl: the file was changed"):
        lslm.clean(corpus, output="out")
    with pytest.raises(lslm.FormatError, match=r"raw/a\.jsonl: the file was changed"):
        list(corpus)


def test_not_a_number_in_metadata_is_named(raw):
    (raw / "n.jsonl").write_text(json.dumps({"text": "a", "score": float("nan")}))
    reading = lslm.Corpus("raw").count_documents()
    assert reading.bad["malformed_json"].examples[0].detail.startswith("NaN is not JSON")


def test_brotli_in_parquet_is_named(raw):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": ["a"]}), raw / "b.parquet", compression="brotli")
    with pytest.raises(lslm.FormatError, match="compressed with brotli"):
        lslm.Corpus("raw")


@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("s3://bucket/a.jsonl", "this is a URL"),
        ("https://example.org/tokenizer.json", "this is a URL"),
        ("Qwen/Qwen3-0.6B", "hf download NAME"),
        ("gpt2/tokenizer.json", None),
        ("raw/none", None),
        ("none", None),
        ("/none/none", None),
    ],
)
def test_a_missing_path_that_is_a_name_elsewhere_has_its_next_step(raw, path, step):
    calls = [
        lambda: lslm.Tokenizer.load(path),
        lambda: lslm.clean(path, output="out"),
        lambda: lslm.tokenize("raw", output="out", tokenizer=path),
    ]
    for call in calls:
        with pytest.raises(FileNotFoundError) as raised:
            call()
        assert "No such file or directory" in str(raised.value)
        if step is None:
            assert raised.value.strerror == "No such file or directory"
        else:
            assert step in raised.value.strerror


def test_a_url_is_no_output_and_no_glob(raw, tokenizer):
    url = "s3://bucket/out"
    for call in [
        lambda: lslm.clean("raw", output=url),
        lambda: lslm.tokenize("raw", output=url, tokenizer=tokenizer),
        lambda: tokenizer.save(f"{url}/tokenizer.json"),
        lambda: lslm.clean("s3://bucket/*.jsonl", output="out"),
    ]:
        with pytest.raises(ValueError, match="this is a URL, and lslm"):
            call()
    assert [path.name for path in raw.parent.iterdir()] == ["raw"]
