"""lslm.Corpus: what it finds, what it skips, and the documents that it yields."""

import copy
import gzip
import itertools
import json
import pickle
import subprocess
import sys
import threading

import pytest

import lslm


@pytest.fixture
def folder(tmp_path):
    """A folder with JSONL, compressed text, and files that are not read."""
    rows = [
        {"text": "one", "id": "a", "language": "en", "n": [1, 2.5, None]},
        {"text": "two", "id": 7},
        {"text": "three"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("first\n\nsecond\n")
    (tmp_path / "script.py").write_text("pass\n")
    (tmp_path / ".hidden").write_text("secret\n")
    return tmp_path


def test_a_corpus_yields_documents_with_id_source_and_metadata(folder):
    corpus = lslm.Corpus(folder)
    documents = list(corpus)
    assert [document.text for document in documents] == ["one", "two", "three", "first\n\nsecond\n"]
    assert [document.id for document in documents] == ["a", "7", None, None]
    assert documents[0].metadata == {"language": "en", "n": [1, 2.5, None]}
    assert documents[1].metadata is None
    assert [document.source for document in documents] == [corpus.inputs[0]] * 3 + [
        corpus.inputs[1]
    ]
    assert corpus.n_bytes == sum((folder / name).stat().st_size for name in ("a.jsonl", "b.txt.gz"))
    assert list(corpus) == documents


def test_a_corpus_shows_what_it_skipped_and_why(folder):
    skipped = lslm.Corpus([folder, folder / "a.jsonl"]).skipped
    assert {(entry.path.name, entry.reason) for entry in skipped} == {
        (".hidden", "hidden"),
        ("script.py", "extension"),
        ("a.jsonl", "duplicate"),
    }
    corpus = lslm.Corpus(folder, extensions=["py"])
    assert [document.text for document in corpus] == ["pass\n"]
    assert repr(corpus) == f"Corpus({folder}/script.py, n_bytes=5, 3 skipped)"


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({}, ["first\n\nsecond\n"]),
        ({"split": "line"}, ["first", "second"]),
        ({"split": "blank-lines"}, ["first", "second"]),
        ({"separator": "second"}, ["first\n"]),
    ],
    ids=str,
)
def test_split_says_what_a_document_of_plain_text_is(folder, options, texts):
    corpus = lslm.Corpus(folder / "b.txt.gz", **options)
    assert [document.text for document in corpus] == texts
    assert corpus.count_documents().n_documents == len(texts)


def test_a_corpus_stands_wherever_paths_do(folder, tmp_path):
    corpus = lslm.Corpus(folder / "b.txt.gz", split="line")
    texts = [document.text for document in corpus]
    tok = lslm.train_tokenizer(corpus, vocab_size=258)
    assert tok == lslm.train_tokenizer(texts=texts, vocab_size=258)
    assert lslm.measure_tokenizer(corpus, tokenizer=tok).total.n_documents == 2
    assert lslm.clean(corpus, output=tmp_path / "clean").n_documents == 2
    tok.save(tmp_path / "tok.json")
    made = lslm.tokenize(
        corpus, output=tmp_path / "d", tokenizer=tmp_path / "tok.json", validation_fraction=0
    )
    assert made.train.n_documents == 2


def test_bad_documents_are_counted_and_warned_about_at_the_end(tmp_path):
    lines = [json.dumps({"text": f"document {n}"}) for n in range(5000)]
    lines[2500] = "not json"
    lines[2600] = '{"text": 7}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    documents = iter(lslm.Corpus(tmp_path / "a.jsonl"))
    assert documents.reading.n_documents == 0
    next(documents)
    assert documents.reading.n_bad_documents == 0
    with pytest.warns(UserWarning, match=r"2 documents could not be read.* malformed_json: 1, the"):
        assert len(list(documents)) == 4997
    assert documents.reading.n_documents == 4998
    assert documents.reading.bad["malformed_json"].examples[0].source.endswith("a.jsonl")
    assert next(documents, None) is None
    reading = lslm.Corpus(tmp_path / "a.jsonl").count_documents()
    assert reading == documents.reading


def test_a_broken_file_is_an_error_after_the_documents_before_it(tmp_path):
    data = gzip.compress("".join(f'{{"text": "{n}"}}\n' for n in range(20_000)).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(data[:-2000])
    documents = iter(lslm.Corpus(tmp_path / "a.jsonl.gz"))
    texts = []
    with pytest.raises(lslm.FormatError, match=r"a\.jsonl\.gz"):
        texts.extend(document.text for document in documents)
    assert next(documents, None) is None
    assert texts == [str(n) for n in range(len(texts))]


def test_the_first_document_is_yielded_before_the_others_are_read():
    code = (
        "import sys, lslm\n"
        "for document in lslm.Corpus('-', split='line'):\n"
        "    print(document.text, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdin.write(b"first\n" + b"x" * (1 << 20) + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"first\n"
        process.stdin.close()


def test_threads_share_an_iterator_and_each_document_is_yielded_once(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"{n}\n" for n in range(20_000)))
    documents = iter(lslm.Corpus(tmp_path / "a.txt", split="line"))
    seen: list[list[str]] = [[], [], [], []]

    def take(texts):
        texts.extend(document.text for document in documents)

    threads = [threading.Thread(target=take, args=(texts,)) for texts in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, itertools.chain(*seen))) == list(range(20_000))


def test_pickle_and_copy_read_the_same_documents(folder):
    for options in ({}, {"split": "line"}, {"separator": "x", "extensions": ["txt"]}):
        corpus = lslm.Corpus(folder, utf8="refuse", zstd_long=20, **options)
        for other in (pickle.loads(pickle.dumps(corpus)), copy.deepcopy(corpus)):
            assert list(other) == list(corpus)
            assert other.inputs == corpus.inputs
            assert other.__getnewargs_ex__() == corpus.__getnewargs_ex__()


def test_standard_input_cannot_be_pickled():
    code = "import pickle, lslm; pickle.dumps(lslm.Corpus('-'))"
    done = subprocess.run([sys.executable, "-c", code], input=b"text", capture_output=True)
    assert b"standard input (-) cannot be pickled" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (["missing.jsonl"], {}, FileNotFoundError, "missing.jsonl"),
        (["nothing*.txt"], {}, ValueError, "nothing"),
        ([[]], {}, ValueError, "no input"),
        (["."], {"split": "lines"}, ValueError, "choose file, line or blank-lines"),
        (["."], {"split": "line", "separator": "x"}, ValueError, "both set: set one of them"),
        (["."], {"utf8": "ignore"}, ValueError, "choose replace or refuse"),
        (["."], {"zstd_long": 40}, ValueError, "zstd_long = 40"),
        (["."], {"text_key": "id"}, ValueError, "two different fields"),
        ([7], {}, TypeError, "not iterable"),
    ],
)
def test_mistakes_are_named_when_the_corpus_is_made(
    folder, monkeypatch, arguments, options, error, message
):
    monkeypatch.chdir(folder)
    with pytest.raises(error, match=message):
        lslm.Corpus(*arguments, **options)


def test_documents_are_equal_when_all_of_them_is():
    document = lslm.Document("text", id="1", source="a", metadata={"k": [1]})
    same = pickle.loads(pickle.dumps(document))
    assert same == document
    assert hash(same) == hash(document)
    assert copy.copy(document) == document
    assert document != lslm.Document("text", id="1", source="a")
    assert document != lslm.Document("text", id="2", source="a", metadata={"k": [1]})
    assert document != "text"
    assert repr(document) == 'Document(\'text\', id="1", source="a")'
    assert repr(lslm.Document("a" * 50)).startswith(f"Document('{'a' * 40}'…")


def test_text_of_a_document_is_one_object(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    (document,) = lslm.Corpus(tmp_path)
    assert document.text is document.text
