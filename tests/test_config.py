"""Reading, checking and writing the configuration of a run."""

import dataclasses
import string

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lslm import FormatError
from lslm.config import CONFIGS, Config, TrainConfig, config_keys, load_config, replace, to_toml
from lslm.huggingface import exports_as
from lslm.model import ModelConfig, Transformer


def test_overrides_win_over_the_file_and_short_keys_work(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text(
        "[model]\nwidth = 128\nheads = 2\n[train]\nsteps = 5\n[optim]\nbetas = [0.8, 0.9]\n"
    )
    config = load_config(
        path,
        [
            "data=some/where",
            "out=run",
            "steps=1e3",
            "model.width=64",
            "max_grad_norm=1",
            "optim=adamw",
        ],
    )
    assert (config.data.path, config.train.out, config.train.steps) == ("some/where", "run", 1000)
    assert (config.model.width, config.model.heads, config.optim.betas) == (64, 2, (0.8, 0.9))
    assert config.train.max_grad_norm == 1.0
    assert isinstance(config.train.max_grad_norm, float)
    assert config.optim.name == "adamw"
    assert load_config(None, ["betas=0.5,0.25", "compile=true"]).optim.betas == (0.5, 0.25)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stpes=3", "unknown key 'train.stpes': did you mean train.steps?"),
        ("stpes=3", "unknown key 'stpes': did you mean train.steps?"),
        ("model.steps=3", "unknown key 'model.steps': did you mean train.steps?"),
        ("qqqqqq=3", "unknown key 'qqqqqq': the sections are data, model, optim, schedule, train"),
        ("name=3", "the key 'name' is ambiguous: write optim.name or schedule.name"),
        ("steps", "'steps' is not a setting: give key=value, such as steps=100"),
        ("steps=many", "train.steps = 'many': must be a whole number"),
        ("steps=1.5", "train.steps = '1.5': must be a whole number"),
        ("steps=inf", "train.steps = 'inf': must be a whole number"),
        ("max_grad_norm=x", "train.max_grad_norm = 'x': must be a finite number"),
        ("compile=yes", "train.compile = 'yes': must be true or false"),
        ("betas=0.9", "optim.betas = '0.9': must be a pair of numbers, such as 0.9,0.95"),
        ("activation=relu", "model.activation = 'relu': must be one of relu2, swiglu, gelu"),
        ("batch_size=0", "train.batch_size = 0: must be at least 1"),
        ("minutes=nan", "train.minutes = 'nan': must be a finite number"),
        ("minutes=1e9", "train.minutes = 1000000000.0: must be at most 525600"),
        ("lr=inf", "optim.lr = 'inf': must be a finite number"),
        ("betas=nan,0.9", "optim.betas = 'nan,0.9': must be a pair of numbers, such as 0.9,0.95"),
        ("threads=5000", "train.threads = 5000: must be at most 4096"),
        ("seed=-1", "train.seed = -1: must be at least 0"),
        (f"steps={'9' * 23}", f"train.steps = '{'9' * 23}': must be at most {2**63 - 1}"),
        ("layers=1e30", f"model.layers = '1e30': must be at most {2**63 - 1}"),
        (
            "width=100",
            "model.width = 100: must be model.heads = 4 × an even size, unless model.head_size is set",
        ),
    ],
)
def test_a_wrong_override_is_named_with_the_nearest_key(override, message):
    with pytest.raises(ValueError) as caught:
        load_config(None, [override])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[train]\nsteps = '5x'", "train.steps = '5x' (in {path}): must be a whole number"),
        ("[train]\nsteps = true", "train.steps = True (in {path}): must be a whole number"),
        ("[train]\nsteps = [1]", "train.steps = [1] (in {path}): must be a whole number"),
        ("[train]\nout = 3", "train.out = 3 (in {path}): must be text"),
        ("[trian]\nsteps = 5", "unknown section [trian] (in {path}): did you mean [train]?"),
        ("[train.deep]\nx = 1", "unknown key 'train.deep' (in {path})"),
    ],
)
def test_a_mistake_in_a_file_names_the_file(tmp_path, text, message):
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        load_config(path)
    assert str(caught.value).startswith(message.format(path=path))


@pytest.mark.parametrize("content", [b"[train\n", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        load_config(path)
    assert caught.value.path == str(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_config(tmp_path / "none.toml")
    assert caught.value.filename == str(tmp_path / "none.toml")


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    out=text,
    steps=st.integers(0, 10**12),
    norm=st.floats(0, 1e30),
    betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
    flag=st.booleans(),
)
def test_what_is_written_reads_back_equal(tmp_path_factory, out, steps, norm, betas, flag):
    config = replace(Config(), out=out, steps=steps, max_grad_norm=norm, betas=betas, compile=flag)
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(to_toml(config), encoding="utf-8", newline="")
    assert load_config(path) == config


@given(key=st.text(string.ascii_lowercase + "._", max_size=12), value=st.text(max_size=12))
def test_any_override_is_accepted_or_refused_in_one_line(key, value):
    try:
        load_config(None, [f"{key}={value}"])
    except ValueError as error:
        message = str(error)
    else:
        return
    assert message
    assert len(message.splitlines()) == 1


def test_replace_takes_short_and_full_keys():
    assert "train.checkpoint_every" in config_keys()
    assert replace(Config(), train__steps=3, model__width=512, lr=0.1) == Config(
        train=TrainConfig(steps=3),
        model=dataclasses.replace(Config().model, width=512),
        optim=dataclasses.replace(Config().optim, lr=0.1),
    )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_file_of_configs_makes_a_model(path):
    config = load_config(path)
    with torch.device("meta"):
        model = Transformer(replace(config, vocab_size=config.model.vocab_size or 4096).model)
    assert config.train.steps or config.train.minutes
    if path.stem == "gpt2-124m":
        assert config.model == ModelConfig.gpt2()
        assert model.n_parameters() == 124_439_808


@pytest.mark.parametrize("name", ["tiny", "tiny.toml", "configs/tiny.toml"])
def test_configurations_of_the_package_have_names(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert load_config(name) == load_config(CONFIGS / "tiny.toml")
    (tmp_path / "tiny.toml").write_text("steps = 7")
    assert (load_config(name).train.steps == 7) == (name == "tiny.toml")


@pytest.mark.parametrize("name", ["tinny", "other/tiny.toml", "tiny.json"])
def test_a_missing_configuration_names_those_of_the_package(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        FileNotFoundError, match="the package has char, gpt2-124m, small, tiny"
    ) as error:
        load_config(name)
    assert error.value.filename == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiny", "Qwen3ForCausalLM with hidden_act relu"),
        ("small", "Qwen3ForCausalLM"),
        ("char", "nothing: model.token_shift"),
        ("gpt2-124m", "GPT2LMHeadModel"),
    ],
)
def test_every_configuration_of_the_package_exports(name, said):
    assert exports_as(load_config(name).model).startswith(said)
    assert name in {path.stem for path in CONFIGS.glob("*.toml")}
