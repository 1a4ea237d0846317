"""Several processes on one job: ``partitions="3/16"``, then ``finish``: the bytes of one process."""

import fcntl
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lslm
from command_line import lslm_run
from lslm.files import lock
from test_pipeline import documents, files_of

pytestmark = pytest.mark.skipif(os.name == "nt", reason="locks and kills as on Unix")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of three files with equal documents and lines, and a line that is not JSON."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [json.dumps(row, ensure_ascii=False) for row in documents(240)]
    (folder / "a.jsonl").write_text("\n".join(rows[:100]) + "\nnot JSON\n", encoding="utf-8")
    (folder / "b.jsonl").write_text("\n".join(rows[100:180]), encoding="utf-8")
    (folder / "c.jsonl").write_text("\n".join(rows[160:]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    return lslm.train_tokenizer(texts=[row["text"] for row in documents(60)], vocab_size=300)


def clean(corpus, output, *, dropped=False, **keywords):
    options = {"partition_bytes": 3000, "threads": 2, "format": "jsonl"} | keywords
    if dropped:
        options["dropped"] = Path(output).with_suffix(".dropped")
    return lslm.clean(str(corpus), output=output, **options)


def tokenize(corpus, output, tokenizer, **keywords):
    options = {"partition_bytes": 3000, "threads": 2, "validation_fraction": 0.2} | keywords
    return lslm.tokenize(str(corpus), output=output, tokenizer=tokenizer, **options)


SHORT = lslm.Cleaner("default", length={"min_chars": 60})  # drops about half of the documents
JOBS = {
    "clean": (clean, {"cleaner": "default", "signals": True}),
    "parquet": (clean, {"cleaner": "none", "format": "parquet"}),
    "dropped": (clean, {"cleaner": SHORT, "dropped": True}),
    "dedup": (clean, {"cleaner": "none", "dedup": "lines", "dropped": True, "save_index": True}),
    "annotate": (clean, {"cleaner": "default", "dedup": "exact", "annotate": True}),
    "tokenize": (tokenize, {}),
    "tokenize, cleaned": (tokenize, {"cleaner": "default", "validation_fraction": 0}),
    "tokenize, dedup": (tokenize, {"cleaner": "default", "dedup": "exact"}),
}


@pytest.mark.parametrize("name", JOBS)
def test_slices_and_finish_write_the_bytes_of_one_process(corpus, tokenizer, tmp_path, name):
    verb, options = JOBS[name]
    if verb is tokenize:
        options = {"tokenizer": tokenizer, **options}
    whole = verb(corpus, tmp_path / "whole/out", **options)
    left = []
    for index in (3, 1, 2):
        made = verb(corpus, tmp_path / "slices/out", **options, partitions=f"{index}/3")
        assert (made.slice.index, made.slice.n_slices) == (index, 3)
        left.append(made.slice.n_partitions_left)
    assert made.slice.n_partitions_total > 6
    assert left[0] > left[1] > left[2] == 0
    made = lslm.finish(tmp_path / "slices/out")
    assert files_of(tmp_path / "slices") == files_of(tmp_path / "whole")
    assert (made.funnel, made.reading, made.slice) == (whole.funnel, whole.reading, None)


def test_the_figures_of_slices_add_up(corpus, tokenizer, tmp_path):
    whole = tokenize(corpus, tmp_path / "whole", tokenizer)
    parts = [
        tokenize(corpus, tmp_path / "out", tokenizer, partitions=f"{i}/4") for i in range(1, 5)
    ]
    assert sum(part.train.n_tokens for part in parts) == whole.train.n_tokens
    assert sum(part.reading.n_documents for part in parts) == whole.reading.n_documents
    assert sum(part.slice.n_partitions for part in parts) == parts[0].slice.n_partitions_total
    assert f"slice 4/4: {parts[3].slice.n_partitions} of" in repr(parts[3])


def test_more_slices_than_partitions_are_no_error(corpus, tmp_path):
    made = [
        clean(corpus, tmp_path / "out", partition_bytes=1 << 20, partitions=f"{i}/3")
        for i in (1, 2, 3)
    ]
    assert [part.slice.n_partitions for part in made] == [1, 0, 0]
    assert lslm.finish(tmp_path / "out").n_documents == made[0].n_documents


SLICE = """
import sys, lslm
tok = lslm.Tokenizer.load(sys.argv[3])
lslm.tokenize(sys.argv[1], output=sys.argv[2], tokenizer=tok, partition_bytes=4000, threads=1,
              cleaner="default", partitions=sys.argv[4], progress=False)
"""


def test_processes_side_by_side_one_of_them_killed(tokenizer, tmp_path):
    rows = [json.dumps(row, ensure_ascii=False) for row in documents(400)] * 10
    (tmp_path / "text.jsonl").write_text("\n".join(rows), encoding="utf-8")
    tokenizer.save(tmp_path / "tok.json")
    out = tmp_path / "out"

    def start(index):
        words = [tmp_path / "text.jsonl", out, tmp_path / "tok.json", f"{index}/3"]
        return subprocess.Popen([sys.executable, "-c", SLICE, *map(str, words)])

    processes = [start(index) for index in (1, 2, 3)]
    own = [f"{partition:05}.json" for partition in range(1, 40, 3)]  # of the second slice
    end = time.monotonic() + 60
    while sum((out / ".progress" / name).exists() for name in own) < 2:
        assert time.monotonic() < end
        time.sleep(0.002)
    processes[1].send_signal(signal.SIGKILL)
    assert [process.wait(60) for process in processes] == [0, -signal.SIGKILL, 0]
    done = {name for name in own if (out / ".progress" / name).exists()}
    times = {name: (out / ".progress" / name).stat().st_mtime_ns for name in done}
    with pytest.raises(ValueError, match=r"partitions are missing, by slice: 2/3 \(\d+"):
        lslm.finish(out)
    assert start(2).wait(60) == 0
    assert {name: (out / ".progress" / name).stat().st_mtime_ns for name in done} == times
    lslm.finish(out)
    lslm.tokenize(
        str(tmp_path / "text.jsonl"), output=tmp_path / "whole", tokenizer=tokenizer,
        partition_bytes=4000, cleaner="default",
    )  # fmt: skip
    assert files_of(out) == files_of(tmp_path / "whole")


def test_what_differs_between_slices_is_named(corpus, tokenizer, tmp_path):
    out = tmp_path / "out"
    tokenize(corpus, out, tokenizer, partitions="1/2")
    for changed, part in [
        ({"seed": 1}, "another seed"),
        ({"partition_bytes": 5000}, "another partition_bytes"),
        ({"cleaner": "default"}, "another clean"),
    ]:
        with pytest.raises(ValueError, match=part):
            tokenize(corpus, out, tokenizer, partitions="2/2", **changed)
    with pytest.raises(ValueError, match="another inputs"):
        tokenize(corpus / "a.jsonl", out, tokenizer, partitions="2/2")
    with pytest.raises(ValueError, match=r"unfinished job of 2 slices, not 3"):
        tokenize(corpus, out, tokenizer, partitions="3/3")
    with pytest.raises(ValueError, match="another verb"):
        clean(corpus, out, partitions="2/2")


def test_a_slice_has_one_process_and_finish_waits_for_all(corpus, tmp_path):
    out = tmp_path / "out"
    clean(corpus, out, partitions="1/2")
    with (
        lock(out / ".progress/slice-2"),
        pytest.raises(ValueError, match="another process is computing slice 2/2"),
    ):
        clean(corpus, out, partitions="2/2")
    with (out / ".lock").open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # as a running slice does
        clean(corpus, out, partitions="2/2")
        with pytest.raises(ValueError, match="when all slices have ended"):
            lslm.finish(out)
        with pytest.raises(ValueError, match="another process is writing this folder"):
            clean(corpus, out)
    lslm.finish(out)
    with pytest.raises(ValueError, match="holds a finished job"):
        clean(corpus, out, partitions="2/2")


def test_a_run_of_all_partitions_completes_slices(corpus, tmp_path):
    clean(corpus, tmp_path / "out", partitions="2/3")
    clean(corpus, tmp_path / "out")
    clean(corpus, tmp_path / "whole")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_finish_names_what_it_lacks(corpus, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no such folder"):
        lslm.finish(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(ValueError, match="nothing to finish"):
        lslm.finish(corpus)
    copy = shutil.copytree(corpus, tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    clean("raw", "out", partitions="2/2")
    with pytest.raises(ValueError, match=r"partitions are missing, by slice: 1/2 \(0, 2, 4, "):
        lslm.finish("out")
    clean("raw", "out", partitions="1/2")
    monkeypatch.chdir(corpus)
    with pytest.raises(ValueError, match=r"raw: the job named this path in .*: run lslm finish"):
        lslm.finish(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    with (copy / "a.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match="another inputs"):
        lslm.finish("out")


def broken_gzip():
    """JSONL that begins well and ends in the middle of the data."""
    texts = (random.Random(number).randbytes(300).hex() for number in range(1000))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    return gzip.compress(lines.encode())[:200_000]


def test_a_broken_input_costs_its_partitions(corpus, tmp_path):
    raw = shutil.copytree(corpus, tmp_path / "raw")
    (raw / "b.jsonl.gz").write_bytes(broken_gzip())
    out = tmp_path / "out"
    with pytest.raises(lslm.FormatError, match=r"b\.jsonl\.gz.*partition \d+ not written, \d+ of"):
        clean(raw, out, partitions="1/1")
    with pytest.raises(ValueError, match=r": 1 of \d+ partitions are missing, by slice: 1/1"):
        lslm.finish(out)
    skipping = lslm.Corpus(str(raw), on_bad_file="skip")
    options = {"partition_bytes": 3000, "format": "jsonl"}
    lslm.clean(skipping, output=out, **options, partitions="1/1")
    with pytest.raises(ValueError, match="another reading"):
        clean(raw, out, partitions="1/1")
    made = lslm.finish(out)
    assert len(made.reading.bad_files) == 1
    lslm.clean(skipping, output=tmp_path / "whole", **options)
    assert files_of(out) == files_of(tmp_path / "whole")


def test_what_one_process_alone_can_read_is_refused(corpus, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="texts in memory: one process alone"):
        lslm.tokenize(texts=["a"], output=tmp_path / "a", tokenizer=tokenizer, partitions="1/2")
    words = ["clean", "-", "-o", "out", "--partitions", "1/2"]
    printed = lslm_run(*words, input=b'{"text": "a"}\n', cwd=tmp_path, code=1)
    assert "standard input: one process alone" in printed
    assert not (tmp_path / "out").exists()
    for wrong in ("0/2", "3/2", "2", "x"):
        with pytest.raises(ValueError, match="partitions = "):
            clean(corpus, tmp_path / "a", partitions=wrong)
    refused = ["train-tokenizer", corpus, "-o", "t.json", "--partitions", "1/2"]
    assert "--sample-bytes" in lslm_run(*refused, cwd=tmp_path, code=2)
    refused = ["clean", corpus, "--dry-run", "--partitions", "1/2"]
    assert "--partitions has no effect" in lslm_run(*refused, cwd=tmp_path, code=2)


def test_the_command_line_writes_the_page_at_the_end(corpus, tmp_path):
    def run(*words, **keywords):
        return lslm_run(*words, cwd=tmp_path, **keywords)

    rules = ["--set", "length.min_chars=60", "--dedup", "exact"]
    whole = run("clean", corpus, "-o", "out", *rules, "--report", "page.html")
    page = (tmp_path / "page.html").read_bytes()
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "page.html").unlink()
    printed = run(
        "clean", corpus, "-o", "out", *rules, "--report", "page.html", "--partitions", "1/2"
    )
    assert "out: slice 1/2, 1 of 1 partition; none left, then lslm finish out" in printed
    assert not (tmp_path / "page.html").exists()
    assert run("finish", "out", "--report", "page.html") == whole
    assert (tmp_path / "page.html").read_bytes() == page
    run("clean", corpus, "-o", "plain", "--partitions", "1/1")
    assert "without it" in run("finish", "plain", "--report", "other.html", code=1)
    made = json.loads(run("finish", "plain", "--json"))
    assert made["slice"] is None
