"""Every document of ``clean`` is accounted for: dropped with a reason, annotated, explained."""

from __future__ import annotations

import json
import signal
import sys

import pytest

import lslm
from lslm.__main__ import main as lslm_main

RULES = {"length": {"min_chars": 20}}
LONG = "A text that is long enough, number {}."


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    good = [{"id": f"g{n}", "text": LONG.format(n % 8), "n": n} for n in range(10)]
    bad = [{"id": f"b{n}", "text": f"short {n}", "n": n} for n in range(6)]
    for name, rows in (("good.jsonl", [*good, bad[0]]), ("bad.jsonl", [*bad[1:], good[0]])):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def main(monkeypatch):
    """Return a function that runs the command line in this process and returns its exit code."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(arguments):
        monkeypatch.setattr(sys, "argv", ["lslm", *arguments])
        try:
            lslm_main()
        except SystemExit as ended:
            return ended.code or 0
        return 0

    return run


def read_lines(folder):
    """Return the objects of all files of a folder, in the order of their names."""
    names = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for path in names for line in path.read_text().splitlines()]


def clean(raw, **keywords):
    cleaner = lslm.Cleaner("none", **RULES)
    return lslm.clean(raw, cleaner=cleaner, format="jsonl", progress=False, **keywords)


@pytest.mark.parametrize("threads", [1, 2])
def test_kept_and_dropped_are_all_that_was_read(tmp_path, raw, threads):
    result = clean(
        raw,
        output=tmp_path / "out",
        dropped=tmp_path / "dropped",
        dedup="exact",
        threads=threads,
        partition_bytes=200,
    )
    kept, dropped = read_lines(tmp_path / "out"), read_lines(tmp_path / "dropped")
    everything = read_lines(raw)
    own = [{key: row[key] for key in ("id", "text", "n")} for row in kept + dropped]
    assert sorted(own, key=str) == sorted(everything, key=str)
    reasons = {row["lslm_reason"] for row in dropped}
    assert reasons == {"length.too_short", "dedup.document"}
    for reason, row in result.funnel.dropped.items():
        assert sum(d["lslm_reason"] == reason for d in dropped) == row.n_documents
    for row in dropped:
        if row["lslm_reason"] == "length.too_short":
            assert (row["lslm_value"], row["lslm_limit"]) == (len(row["text"]), 20)
            assert row["lslm_source"].startswith(str(raw))
        assert row["lslm_kept"] is False
    with pytest.raises(ValueError, match="holds other work"):
        clean(raw, output=tmp_path / "again", dropped=tmp_path / "dropped")


def test_annotate_keeps_every_document_with_its_signals(tmp_path, raw):
    clean(raw, output=tmp_path / "out", annotate=True)
    rows = read_lines(tmp_path / "out")
    own = [{key: row[key] for key in ("id", "text", "n")} for row in rows]
    assert own == read_lines(raw)
    for row in rows:
        assert list(row)[:3] == ["id", "text", "n"]
        assert row["lslm_kept"] == (len(row["text"]) >= 20)
        assert row["lslm_reason"] == (None if row["lslm_kept"] else "length.too_short")
        assert row["lslm_signals"]["length.too_short"] == len(row["text"])
    with pytest.raises(ValueError, match="has a field lslm_kept already"):
        clean(tmp_path / "out", output=tmp_path / "twice", annotate=True)
    with pytest.raises(ValueError, match="leave the folder of dropped documents out"):
        clean(raw, output=tmp_path / "twice", annotate=True, dropped=tmp_path / "dropped")


@pytest.mark.parametrize("source_format", ["jsonl", "parquet"])
def test_annotations_are_columns_of_parquet(tmp_path, raw, source_format):
    pq = pytest.importorskip("pyarrow.parquet")
    source = raw
    if source_format == "parquet":
        pa = pytest.importorskip("pyarrow")
        source = tmp_path / "in.parquet"
        pq.write_table(pa.Table.from_pylist(read_lines(raw)), source)
    cleaner = lslm.Cleaner("none", **RULES)
    lslm.clean(source, output=tmp_path / "out", cleaner=cleaner, annotate=True, format="parquet")
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert len(rows) == 17
    for row in rows:
        n = row["n"] if source_format == "parquet" else json.loads(row["metadata"])["n"]
        assert isinstance(n, int)
        assert row["lslm_kept"] == (len(row["text"]) >= 20)
        measured = (row["lslm_value"], row["lslm_limit"])
        assert measured == ((None, None) if row["lslm_kept"] else (len(row["text"]), 20))
        assert json.loads(row["lslm_signals"])["length.too_short"] == len(row["text"])


def test_sources_that_lose_more_than_half_are_named(tmp_path, raw, main, capsys):
    report = tmp_path / "report.html"
    arguments = [
        "clean",
        str(raw),
        "-o",
        str(tmp_path / "out"),
        "--profile",
        "none",
        "--set",
        "length.min_chars=20",
        "--report",
        str(report),
    ]
    assert main(arguments) == 0
    shown = capsys.readouterr().err
    assert f"loses 83%: {raw / 'bad.jsonl'} (5 of 6 documents dropped)" in shown
    assert "good.jsonl" not in shown
    page = report.read_text()
    assert "Sources that lose more than half" in page
    assert "bad.jsonl" in page
    manifest = json.loads((tmp_path / "out/_clean.json").read_text())
    assert list(manifest["losses"]) == [str(raw / "bad.jsonl")]


def test_a_dry_run_shows_the_funnel_and_writes_nothing(tmp_path, raw, main, capsys):
    cleaner = lslm.Cleaner("none", **RULES)
    whole = lslm.preview_clean(raw, cleaner=cleaner, sample=1.0, progress=False)
    made = clean(raw, output=tmp_path / "out")
    assert whole.funnel.as_dict() == made.funnel.as_dict()
    assert whole.losses == made.losses
    many = tmp_path / "many.jsonl"
    many.write_text("".join(json.dumps({"text": LONG.format(n)}) + "\n" for n in range(5000)))
    some = lslm.preview_clean(many, sample=0.1, threads=1, progress=False)
    assert some.reading.n_documents == 5000
    assert 400 < some.funnel.n_documents < 600
    assert some == lslm.preview_clean(many, sample=0.1, threads=2, progress=False)
    before = sorted(tmp_path.rglob("*"))
    assert main(["clean", str(many), "--dry-run", "--sample", "10%", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sample"] == 0.1
    assert sorted(tmp_path.rglob("*")) == before
    assert main(["clean", str(many), "--dry-run", "--sample", "2"]) == 1


def test_one_document_is_explained(raw, main, capsys):
    rules = ["--profile", "none", "--set", "length.min_chars=20"]
    for place in ("bad.jsonl:b3", f"{raw}/bad.jsonl:3"):
        assert main(["clean", str(raw), "--explain", place, "--json", *rules]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["id"], found["number"], found["keep"]) == ("b3", 3, False)
        assert found["reason"] == "length.too_short"
        assert {"name": "length.too_short", "value": 7, "limit": 20, "passed": False} in found[
            "measures"
        ]
    assert main(["clean", str(raw), "--explain", "good.jsonl:g1", *rules]) == 0
    assert "good.jsonl:g1: kept" in capsys.readouterr().out
    for place, message in (("nowhere.jsonl:1", "is no input"), ("bad.jsonl:99", "has 6 documents")):
        assert main(["clean", str(raw), "--explain", place, *rules]) == 1
        assert message in capsys.readouterr().err
    assert main(["clean", str(raw)]) == 2
