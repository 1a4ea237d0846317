"""The harness of make bench-compare: its texts, and what it does with the runs of a row."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(
    not (ROOT / "benches").is_dir(), reason="the benchmarks are not in the source distribution"
)


@pytest.fixture(autouse=True)
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benches"))


def test_pieces_are_whole_lines_and_lose_nothing():
    from compare import corpora

    text = "".join(f"line {i} 中文\n" * (i % 3) for i in range(3_000)) + "the end"
    pieces = list(corpora._pieces([text, "", "another"]))
    assert "".join(pieces) == text + "another"
    assert pieces[-1] == "another"
    assert all(piece.endswith("\n") for piece in pieces[:-2])
    sizes = [len(piece.encode()) for piece in pieces[:-2]]
    assert min(sizes) >= corpora.SIZE
    assert max(sizes) < corpora.SIZE + 20


def test_documents_come_back_from_their_file(tmp_path):
    from compare import corpora

    documents = ["", "a\nb", "𝄞 中文", "\ufeff\r\n"]
    corpora._write(tmp_path / "x", iter(documents))
    assert list(corpora.read(tmp_path / "x")) == documents
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_two_kinds_of_text_take_turns_until_both_end():
    from compare.corpora import _in_turn

    assert list(_in_turn(iter("abc"), iter("1"))) == ["a", "1", "b", "c"]
    assert list(_in_turn(iter("a"), iter("123"))) == ["a", "1", "2", "3"]


def test_a_tokenizer_says_what_it_can_load():
    from compare.encoders import ENCODERS

    for name, package in ENCODERS.items():
        assert hasattr(package, "ranks") or hasattr(package, "json"), name
        assert package.environment in ("lslm", "peers", "peers-v1")


@pytest.fixture
def row():
    from compare.rows import Row

    made = Row("encode/english/gpt2", {"bytes": [1, 1]}, "reference")
    made.add("lslm", "lslm", {"id": "right"})
    made.add("reference", "peers", {"id": "right"}, rounds=1)
    made.add("wrong", "peers", {"id": "wrong"})
    made.add("broken", "peers", {})
    return made


def test_rounds_are_interleaved_and_results_compared(row, tmp_path, monkeypatch):
    from compare import environments
    from compare.session import Session

    def run(environment, job):
        return {"cold": 1.0, "ids": [job["id"]]} if job else {"failed": "it broke"}

    monkeypatch.setattr(environments, "run", run)
    session = Session(tmp_path, rounds=2, peers=None)
    measured = session.measure(row)
    assert [(r["round"], r["side"]) for r in measured["runs"]] == [
        (0, "reference"),
        (0, "lslm"),
        (0, "wrong"),
        (0, "broken"),
        (1, "lslm"),
        (1, "wrong"),
    ]
    assert measured["same"] == {"reference": True, "lslm": True, "wrong": False}
    assert session.finished(row.name) == measured
    assert session.finished("another") is None


def test_results_of_every_round_are_compared(row, tmp_path, monkeypatch):
    from compare import environments
    from compare.session import Session

    made = iter(["right", "wrong", "right", "wrong", "right", "wrong"])
    del row.jobs["broken"], row.jobs["wrong"]
    monkeypatch.setattr(environments, "run", lambda *_: {"ids": [next(made)]})
    row.rounds["reference"] = 1
    assert not Session(tmp_path, rounds=3, peers=None).measure(row)["same"]["lslm"]


def test_learned_tokens_are_compared_in_order(tmp_path, monkeypatch):
    from compare import environments
    from compare.rows import Row
    from compare.session import Session

    row = Row("train/english/gpt2", {"bytes": [1]}, "tokenizers")
    for side, tokens in {"tokenizers": "abcd", "ours": "abcd", "other": "abdc"}.items():
        path = tmp_path / side
        path.write_text(json.dumps(list(tokens)))
        row.add(side, "peers", {"output": str(path), "id": tokens})
    monkeypatch.setattr(environments, "run", lambda _, job: {"ids": [job["id"]]})
    measured = Session(tmp_path / "session", rounds=1, peers=None).measure(row)
    assert measured["same"] == {"tokenizers": True, "ours": True, "other": False}
    assert measured["in_order"] == {"tokenizers": 4, "ours": 4, "other": 2}
    assert measured["in_common"]["other"] == 4


def test_a_record_is_never_written_over(tmp_path, monkeypatch):
    import machine

    monkeypatch.setattr(machine, "ROOT", tmp_path)
    path = machine.record_path("compare-encode")
    monkeypatch.setattr(machine, "commit", lambda: "abc")
    machine.write_record(path, {"rows": {}})
    assert json.loads(path.read_text(encoding="utf-8"))["machine"]["commit"] == "abc"
    with pytest.raises(SystemExit, match="never edited"):
        machine.record_path("compare-encode")
