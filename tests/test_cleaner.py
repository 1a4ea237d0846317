"""lslm.Cleaner: what it changes, keeps and drops, and the rules it accepts."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lslm import Cleaner

text = st.text(st.characters(exclude_categories=["Cs"]))


def test_a_cleaned_text_has_changes_or_a_reason_with_its_measure():
    result = Cleaner("tidy").clean("a\r\nb\u200b  c")
    assert result.text == "a\nb c"
    assert result.keep
    assert result.reason is None
    assert result.measure is None
    assert result.changes == {"breaks": 1, "hidden": 1, "spaces": 1}
    dropped = Cleaner("fineweb").clean("too short")
    assert not dropped.keep
    assert dropped.reason == "gopher_repetition.top_2_gram"
    assert (dropped.measure.value, dropped.measure.limit) == (1.0, 0.2)
    assert dropped.measure.name == dropped.reason
    assert not dropped.measure.passed
    assert "top_2_gram" in repr(dropped)


def test_a_text_without_changes_is_returned_as_the_same_object():
    for text in ["plain\n", "中文，全角！", "naïve 👩\u200d💻"]:
        assert Cleaner().clean(text).text is text


def test_default_loses_nothing():
    kept = (
        "a  b\t\tc  \n\n\n\nភាសា\u200bខ្មែរ \u3000inter\u00adnational\u2028\ufeff \u202b نص \u202c\n"
    )
    assert Cleaner().clean(kept).text is kept
    singletons = "\uf914 \u212b e\u0301"
    merged = Cleaner().clean(singletons)
    assert merged.text == "\u6a02 \u00c5 \u00e9"
    assert merged.changes == {"nfc": 4, "nfc.singletons": 2}
    assert Cleaner(nfc="keep-singletons").clean(singletons).text == "\uf914 \u212b \u00e9"
    with pytest.raises(ValueError, match=r"did you mean nfc\.keep_singletons"):
        Cleaner(nfc="keep-singeltons")


def test_tidy_knows_what_white_space_means():
    for kept in (
        "a\tb\tc\n1\t\t3\n",
        "line one  \nline two\n",
        "```python\ndef f(x):\n    return  x\n```\n",
        "Name      Qty   Price\napple       3    1.50\n",
        "姓名\u3000\u3000张三\n",
        "ភាសា\u200bខ្មែរ\n",
    ):
        assert Cleaner("tidy").clean(kept).text is kept
    dirty = "\x1b[31mred\x1b[0m\u200b  \u00a0text \n\n\n\n\nend"
    assert Cleaner("tidy").clean(dirty).text == "red text\n\n\nend"


@pytest.mark.parametrize("profile", ["default", "tidy"])
@given(text)
def test_cleaning_is_idempotent_and_bounded(profile, text):
    cleaner = Cleaner(profile)
    once = cleaner.clean(text)
    twice = cleaner.clean(once.text)
    assert twice.text == once.text
    assert not twice.changes
    assert len(once.text.encode()) <= 3 * len(text.encode())


@given(st.lists(text, max_size=20))
def test_a_batch_gives_the_result_of_each_text(texts):
    cleaner = Cleaner("gopher", redact=True)
    expected = [cleaner.clean(text) for text in texts]
    for threads in (1, 2, None):
        found = cleaner.clean_batch(texts, threads=threads)
        assert [(r.text, r.keep, r.reason, r.changes) for r in found] == [
            (r.text, r.keep, r.reason, r.changes) for r in expected
        ]


def test_a_large_batch_keeps_its_order_on_two_threads():
    texts = [f"text {n}\r\n" * 40 for n in range(2000)]
    found = Cleaner().clean_batch(texts, threads=2)
    assert [r.text for r in found] == [text.replace("\r", "") for text in texts]


def test_overrides_change_the_profile():
    assert Cleaner("default", length={"min_chars": 10}).clean("short").reason == "length.too_short"
    assert Cleaner("default", length=False).clean("").keep
    assert Cleaner("default", length=None).config["length"] is False
    assert (
        Cleaner("fineweb", gopher_quality={"min_words": None}).config["gopher_quality"]["min_words"]
        is None
    )
    assert Cleaner("tidy", spaces=False).clean("a  b").text == "a  b"


def test_stages_are_an_ordered_list():
    text = "Please login\n\nA text of some words.\n"
    rules = {"lines": {"containing": ["login"]}, "length": {"min_chars": 30}}
    after = Cleaner("none", stages=["lines", "spaces", "length"], **rules)
    assert after.config["stages"] == ["lines", "spaces", "length"]
    assert after.clean(text).reason == "length.too_short"
    before = Cleaner("none", stages=["length", "lines", "spaces"], **rules).clean(text)
    assert before.keep
    assert before.text == "A text of some words.\n"
    assert before.changes == {"spaces": 1, "lines": 1, "lines.phrase": 1}
    # a rule that is switched on has its usual place
    assert Cleaner("none", **rules, nfc=True).config["stages"] == ["nfc", "lines", "length"]


def test_redaction_masks_addresses_and_numbers():
    text = "me@site.org, 8.8.8.8, 10.0.0.1, 11010519491231002X, 13812345678"
    result = Cleaner("none", redact=True).clean(text)
    assert result.text == "<EMAIL>, <IPV4>, 10.0.0.1, <IDENTITY>, <PHONE>"
    kinds = ("email", "ipv4", "phone", "identity")
    assert result.changes == {"redact": 4, **{f"redact.{kind}": 1 for kind in kinds}}
    some = Cleaner("none", redact={"replacement": "***", "phone": False, "ipv4": False})
    assert some.clean(text).text == "***, 8.8.8.8, 10.0.0.1, ***, 13812345678"
    assert Cleaner("none", redact={"replacement": "remove"}).clean("a me@site.org").text == "a "
    with pytest.raises(ValueError, match="without digits"):
        Cleaner("none", redact={"replacement": "user@example.com"})


@pytest.mark.parametrize(
    ("arguments", "overrides", "message"),
    [
        (["finweb"], {}, 'unknown profile "finweb": did you mean "fineweb"'),
        ([], {"lenght": True}, 'unknown cleaning rule "lenght": did you mean "length"'),
        ([], {"length": {"min_char": 1}}, "did you mean length.min_chars"),
        ([], {"length": {"min_chars": "1"}}, "length.min_chars"),
        ([], {"length": 3}, "length = 3: use true, false or a table"),
        ([], {"unit": "line"}, "unit"),
        ([], {"stages": ["nfc", "nfc"]}, "use a list of names of rules, each once"),
        ([], {"stages": ["nfc", "spacs"]}, "did you mean"),
        ([], {"profile_version": 0}, "remove profile_version to use it"),
        ([], {"gopher_repetition": {"top_n_grams": [[1, 0.1]]}}, "choose n from 2"),
        ([], {"length": {"min_chars": float("nan")}}, "overrides"),
    ],
)
def test_the_error_names_the_mistake_and_the_nearest_name(arguments, overrides, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace("[", r"\[")):
        Cleaner(*arguments, **overrides)


def test_a_value_that_json_cannot_hold_is_a_type_error():
    with pytest.raises(TypeError):
        Cleaner(length=object())


def test_a_lone_surrogate_is_an_error():
    with pytest.raises(UnicodeEncodeError):
        Cleaner().clean("\ud800")


@pytest.mark.parametrize("profile", Cleaner.profiles())
def test_pickle_copy_and_config_give_an_equal_cleaner(profile):
    cleaner = Cleaner(profile, redact=True, length={"min_chars": 7})
    config = json.loads(json.dumps(cleaner.config))
    for other in (
        pickle.loads(pickle.dumps(cleaner)),
        copy.deepcopy(cleaner),
        Cleaner(config.pop("profile"), **config),
    ):
        assert other == cleaner
        assert hash(other) == hash(cleaner)
        assert other.config == cleaner.config
        assert other.fingerprint == cleaner.fingerprint
    assert len(cleaner.fingerprint) == 64
    assert profile in repr(cleaner)
    assert Cleaner(profile, length={"min_chars": 8}) != cleaner


def test_explain_continues_after_the_first_failed_measure():
    cleaner = Cleaner("fineweb")
    document = "x\n" * 20
    measures = cleaner.explain(document)
    failed = [measure for measure in measures if not measure.passed]
    assert failed[0] == cleaner.clean(document).measure
    assert "fineweb.list_ratio" in {measure.name for measure in failed}


def test_one_cleaner_serves_many_threads():
    cleaner = Cleaner("fineweb")
    texts = [f"word{n} and the rest of it\n" * n for n in range(1, 60)]
    expected = [cleaner.clean(text).reason for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: cleaner.clean(text).reason, texts)) == expected
