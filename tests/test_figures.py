"""The tables and pictures of docs/performance.md are what benches/figures.py makes of the records."""

import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ET

import pytest

ROOT = pathlib.Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(
    not (ROOT / "benches").is_dir(), reason="the benchmarks are not in the source distribution"
)


@pytest.fixture(scope="module")
def figures():
    sys.path.insert(0, str(ROOT / "benches"))
    import figures

    yield figures
    sys.path.remove(str(ROOT / "benches"))


def encode_row(rates, same=None):
    """A row of 10 MB whose sides have these speeds in MB/s, the same in all phases."""
    runs = [
        {"side": side, "round": r, **dict.fromkeys(("cold", "steady", "replay"), 10 / rate)}
        for side, of_round in rates.items()
        for r, rate in enumerate(of_round)
    ]
    return {"bytes": [10_000_000, 10_000_000], "runs": runs, "same": same or {}}


def test_page_and_pictures_are_made_from_the_records(figures):
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    for name, text in figures.outputs(page).items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, (
            f"docs/{name} is out of date: run python benches/figures.py"
        )


def test_no_record_says_so(figures, tmp_path):
    page = "<!-- encode: begin -->\n<!-- encode: end -->\n<!-- train: begin -->\nold\n<!-- train: end -->"
    page += "<!-- gpu: begin --><!-- gpu: end --><!-- char: begin --><!-- char: end -->"
    made = figures.outputs(page, tmp_path)
    assert list(made) == ["performance.md"]
    assert made["performance.md"].count("No record yet.") == 4
    assert "old" not in made["performance.md"]


def test_a_peer_with_other_ids_is_not_the_best(figures):
    row = encode_row({"lslm": [40], "a": [20], "b": [90]}, same={"b": False})
    record = {"peers": {"a": "a 1", "b": "b 2"}, "rows": {"encode/english/gpt2": row}}
    summary = figures.speeds(record, "encode")[-2]
    assert "20 a" in summary
    assert "2.00 ×" in summary
    assert "behind" not in summary
    assert "90 · 90 *ids differ*" in figures.everyone(record, "encode")[-2]


def test_a_row_that_is_lost_is_shown_and_marked(figures):
    row = encode_row({"lslm": [30, 50, 40], "a": [80, 80, 80]})
    record = {"peers": {"a": "a 1"}, "rows": {"encode/code/gpt2": row}}
    summary = figures.speeds(record, "encode")[-2]
    assert "40 (30 – 50)" in summary
    assert summary.count("0.50 × (behind)") == 3
    picture = figures.encode_picture(record)
    assert "0.50 × behind · a 80 MB/s" in picture
    root = ET.fromstring(picture)
    bars = [e for e in root.iter() if e.get("class") == "behind"]
    assert len(bars) == 2


def test_a_failed_peer_is_named(figures):
    row = encode_row({"lslm": [30]})
    row["runs"].append({"side": "a", "round": 0, "failed": "it broke"})
    record = {"peers": {"a": "a 1", "b": "b 1"}, "rows": {"encode/code/gpt2": row}}
    assert re.search(r"\| failed \| – \|$", figures.everyone(record, "encode")[-2])


def test_the_newest_record_counts(figures, tmp_path):
    for date in ("2026-01-02", "2026-01-01"):
        (tmp_path / f"{date}-cpu-compare-train.json").write_text(json.dumps({"date": date}))
    assert figures.newest("train", tmp_path)["date"] == "2026-01-02"
    assert figures.newest("encode", tmp_path) is None


def test_runs_that_shared_their_core_are_counted(figures):
    row = encode_row({"lslm": [30, 40], "a": [20]})
    for run, share in zip(row["runs"], (0.99, 0.6, 0.94), strict=True):
        run["share"] = share
    at = dict.fromkeys(("lslm", "commit", "cpu", "cores", "system", "python"), "x")
    record = {"file": "f", "machine": at, "peers": {}, "rounds": 2}
    line = figures.preface({**record, "rows": {"encode/code/gpt2": {**row, "threads": 1}}})[0]
    assert "In 2 of 3 runs on one thread others used the core." in line
    line = figures.preface({**record, "rows": {"encode/code/gpt2": {**row, "threads": 2}}})[0]
    assert "others" not in line


def test_the_picture_of_letters_has_every_run_and_the_goal(figures):
    """A point for each run, in order from left to right and from high to low loss."""
    rows = {
        side: [
            {"seed": seed, "cpu": cpu, "loss": loss, "parameters": 7} for seed, cpu, loss in runs
        ]
        for side, runs in (("nanogpt", [(1, 100, 1.9)]), ("lslm", [(2, 10, 1.88), (3, 12, 1.89)]))
    }
    shorter = {"lslm": [{"share": 2, "cpu": 5, "loss": 2.1}]}
    root = ET.fromstring(
        figures.char_picture({"runs": rows, "shorter": shorter, "summary": {"goal": 1.9}})
    )
    places = {}
    for circle in root.iter("{http://www.w3.org/2000/svg}circle"):
        places.setdefault(circle.get("class"), []).append(
            (float(circle.get("cx")), float(circle.get("cy")))
        )
    (peer,), own = places["point behind"], places["point ahead"]
    assert len(own) == 3
    assert [x for x, _ in own] == [*sorted(x for x, _ in own[:2]), min(x for x, _ in own)]
    assert max(x for x, _ in own) < peer[0]
    assert own[2][1] < peer[1] < own[1][1] < own[0][1]
    goal = next(e for e in root.iter() if e.get("class") == "one")
    assert float(goal.get("y1")) == peer[1]
