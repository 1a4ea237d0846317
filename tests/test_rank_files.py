"""Rank files on the command line."""

import base64
import json

import pytest

import lslm
from lslm.__main__ import main


def test_pattern_and_special_tokens_of_a_rank_file_are_options(tmp_path, capsys, monkeypatch):
    path, text = tmp_path / "small.tiktoken", tmp_path / "a.txt"
    tokens = [bytes([i]) for i in range(256)] + [b"th", b"the"]
    lines = [f"{base64.b64encode(token).decode()} {i}\n" for i, token in enumerate(tokens)]
    path.write_text("".join(lines))
    text.write_text("the<|end|>")

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["lslm", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        return code, *capsys.readouterr()

    options = ["--pattern", "gpt2", "--special-token", "<|end|>", "--special-token", "<|x|>=300"]
    encode = ["encode", "-t", path, text, "--special", "all"]
    assert run(*encode, *options) == (0, "257 258\n", "")
    ids = tmp_path / "ids.txt"
    ids.write_text("257 258 300")
    assert run("decode", "-t", path, ids, *options)[0] == 0
    command = ["tokenize", text, "-o", tmp_path / "d", "-t", path, *options[:4], "--json", "-q"]
    made = run(*command, "--eos-token", "<|end|>", "--validation-fraction", "0")
    assert json.loads(made[1])["train"]["n_tokens"] == 9
    json_file = tmp_path / "tokenizer.json"
    lslm.train_tokenizer(texts=["the"], vocab_size=258).save(json_file)
    code, _, errors = run("encode", "-t", json_file, text, "--pattern", "gpt2")
    assert (code, "has its own" in errors) == (1, True)
    code, _, errors = run(*encode, "--special-token", "<|end|>")
    assert (code, "give the pattern too" in errors) == (1, True)


@pytest.mark.parametrize("kind", ["fuzzy", "minhash"])
def test_kinds_of_dedup_that_are_not_there_are_named(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lslm", "clean", "a", "-o", "b", "--dedup", kind])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "near-duplicates" in capsys.readouterr().err
