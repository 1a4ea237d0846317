"""What the verbs return: frozen, as JSON and back, and short to look at."""

import dataclasses
import json

import pytest

import lslm
from lslm import results


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A result of each verb over the same two files, one with a bad line."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "raw").mkdir()
    rows = [{"text": f"the same  text {n % 9} and more"} for n in range(40)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "raw/a.jsonl").write_text(lines + "bad\n")
    (folder / "raw/b.txt").write_text("me@site.org")
    cleaner = lslm.Cleaner("tidy", redact=True, length={"min_chars": 15})
    cleaned = lslm.clean(folder / "raw", output=folder / "clean", cleaner=cleaner, dedup="exact")
    with pytest.warns(UserWarning, match="1 document could not be read and was left out"):
        tok = lslm.train_tokenizer(folder / "raw", vocab_size=280)
    share = {"validation_fraction": 0.5}
    return [
        cleaned,
        cleaned.funnel,
        cleaned.reading,
        lslm.tokenize(folder / "raw", output=folder / "data", tokenizer=tok, **share),
        lslm.tokenize(folder / "raw", output=folder / "all", tokenizer=tok, validation_fraction=0),
        lslm.measure_tokenizer(folder / "raw", tokenizer=tok, **share),
        lslm.measure_tokenizer(folder / "raw", tokenizer=tok),
    ]


def test_a_result_is_the_same_after_json(made):
    for result in made:
        data = json.loads(json.dumps(result.as_dict()))
        assert type(result).from_dict(data) == result


def test_a_result_is_frozen(made):
    for result in made:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, dataclasses.fields(result)[0].name, None)


def test_repr_and_html_show_the_summary(made):
    for result in made:
        assert repr(result).startswith(f"{type(result).__name__}(")
        assert len(repr(result)) < 400
        for label, text in result.summary().items():
            assert f"{label}: {text}" in repr(result)
            assert label in result._repr_html_()


def test_counts_of_cleaning_add_up(made):
    cleaned = made[0]
    funnel = cleaned.funnel
    assert funnel.n_documents == 41
    assert funnel.n_documents_kept == cleaned.n_documents == 9
    assert sum(row.n_documents for row in funnel.dropped.values()) == 32
    assert funnel.changes["spaces"] == results.Change(n_documents=40, n_changes=40)
    short = funnel.dropped["length.too_short"].examples[0]
    assert short == results.DroppedDocument(text="<EMAIL>", value=11, limit=15)
    copies = funnel.dropped["dedup.document"].examples[0]
    assert copies.limit == 1 < copies.value
    found = funnel.dedup["document"]
    assert found.n_compared - found.n_removed == funnel.n_documents_kept
    assert cleaned.reading.n_documents == 41
    assert cleaned.reading.n_bad_documents == 1
    assert cleaned.reading.bad["malformed_json"].examples[0].source.endswith("a.jsonl")


def test_parts_of_a_dataset_are_those_on_disk(made):
    for part in (made[3].train, made[3].validation, made[4].train):
        dataset = lslm.TokenDataset(part.path)
        assert part.n_tokens == dataset.n_tokens
        assert part.n_documents == dataset.n_documents
        assert part.n_bytes == dataset.n_bytes
        assert part.n_shards == len(dataset.manifest["shards"])
    assert made[4].validation is None


def test_a_missing_field_is_named():
    with pytest.raises(TypeError, match="n_bytes"):
        results.Reading.from_dict({"n_documents": 1, "bad": {}})
