"""What must never be silent in data: damaged ids, absurd sizes, repeated rows, missing texts."""

import json
import pickle
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import lslm
from lslm.data import Mixture, TokenLoader, write_dataset
from lslm.evaluation import checked_window, evaluate, score
from lslm.evaluation_data import DatasetDocuments, Vocabulary
from lslm.generation import generate, generate_ids
from lslm.model import ModelConfig, Transformer
from lslm.protocol import parse_protocol
from small_data import write_splits


def damage(folder, vocab_size, position, id):
    """Write a dataset of ``vocab_size`` ids, then set the one at ``position`` to ``id``."""
    write_dataset(folder, [np.arange(4000) % vocab_size], vocab_size=vocab_size)
    shard = next(folder.glob("*.lslm"))
    data = bytearray(shard.read_bytes())
    width = 2 if vocab_size <= 2**16 else 4
    data[4096 + width * position : 4096 + width * (position + 1)] = id.to_bytes(width, "little")
    shard.write_bytes(data)
    return 4096 + width * position


@pytest.mark.parametrize(("vocab_size", "id"), [(300, 300), (300, 65_535), (70_000, 2**32 - 1)])
@pytest.mark.parametrize("access", ["map", "call"])
def test_a_loader_refuses_an_id_beyond_the_vocabulary(tmp_path, vocab_size, id, access):
    offset = damage(tmp_path / "set", vocab_size, 1234, id)
    for output in ("torch", "numpy"):
        options = {"batch_size": 4, "sequence_length": 100, "access": access, "output": output}
        loader = TokenLoader(tmp_path / "set", shuffle=False, **options)
        good = list(islice(loader, 3))
        assert len(good) == 3
        message = rf"part-000000-000.lslm, byte {offset}: token 1234 of the dataset has id {id}, the vocabulary has {vocab_size}:"
        with pytest.raises(lslm.FormatError, match=message) as error:
            next(loader)
        assert error.value.offset == offset
    dataset = lslm.TokenDataset(tmp_path / "set")
    assert len(dataset.tokens(0, 1234)) == 1234
    for read in (lambda: dataset.tokens(0, 1235), lambda: dataset[0], dataset.tokens):
        with pytest.raises(lslm.FormatError, match="token 1234 of the dataset has id"):
            read()


def test_evaluation_refuses_an_id_beyond_the_vocabulary(tmp_path):
    damage(tmp_path / "set", 300, 1234, 999)
    model = Transformer(
        ModelConfig(vocab_size=300, sequence_length=64, width=16, layers=1, heads=2)
    )
    dataset = lslm.TokenDataset(tmp_path / "set")
    vocabulary = Vocabulary(None, np.ones(300, np.int64))
    data = [DatasetDocuments(dataset, vocabulary, "data")]
    with pytest.raises(lslm.FormatError, match="token 1234 of the dataset has id 999"):
        score(model, data, vocabulary, parse_protocol("disjoint", 64))


HUGE = 10**12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": HUGE}, f"batch_size = {HUGE}: with sequence_length = 8 that is"),
        ({"batch_size": 2**64}, "batch_size = 18446744073709551616: must be at most"),
        ({"batch_size": -1}, "batch_size = -1: must be at least 1"),
        ({"sequence_length": 2**70}, "sequence_length = .*: must be at most"),
        ({"sequence_length": -8}, "sequence_length = -8: must be at least 1"),
        ({"prefetch": HUGE}, f"prefetch = {HUGE}: must be at most 1024"),
        ({"world_size": 2**63 - 1}, "world_size = .* does not fit in 64 bits"),
        ({"global_batch_size": 2**80}, "global_batch_size = .*: must be at most"),
        ({"epochs": 2**64}, "epochs = .*: must be at most"),
    ],
)
def test_a_loader_refuses_absurd_sizes_by_name(tmp_path, options, message):
    write_dataset(tmp_path / "set", [np.arange(5000)], vocab_size=5000)
    with pytest.raises(ValueError, match=message):
        TokenLoader(tmp_path / "set", **{"batch_size": 4, "sequence_length": 8, **options})


@pytest.mark.parametrize("value", [1e12, 2.0, "4"])
def test_a_count_that_is_not_whole_is_refused_by_name(tmp_path, value):
    write_dataset(tmp_path / "set", [np.arange(5000)], vocab_size=5000)
    with pytest.raises(TypeError, match=r"batch_size = .*: must be a whole number"):
        TokenLoader(tmp_path / "set", batch_size=value, sequence_length=8)


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("name", ["n_tokens", "sequence_length", "batch_size"])
def test_evaluation_refuses_counts_below_one_before_it_opens_the_run(name, value):
    with pytest.raises(ValueError, match=f"{name} = {value}: must be at least 1"):
        evaluate("no/such/run", **{name: value})


def test_evaluation_refuses_sizes_that_it_would_not_use(tmp_path):
    model = Transformer(
        ModelConfig(vocab_size=257, sequence_length=24, width=16, layers=1, heads=2)
    )
    with pytest.raises(ValueError, match="sequence_length = 25: must be from 1 to the model's, 24"):
        checked_window(model, 25, None)
    with pytest.raises(ValueError, match=f"batch_size = {HUGE}: with sequence_length = 24"):
        checked_window(model, None, HUGE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens = 0: must be at least 1"),
        ({"max_tokens": -5}, "max_tokens = -5: must be at least 1"),
        ({"seed": -1}, "seed = -1: must be at least 0"),
        ({"seed": 2**64}, "seed = .*: must be at most"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"temperature": float("inf")}, "temperature = inf"),
        ({"top_k": 0}, "top_k = 0"),
        ({"top_p": 1.5}, "top_p = 1.5"),
    ],
)
def test_generation_refuses_settings_before_it_opens_the_run(options, message):
    with pytest.raises(ValueError, match=message):
        generate("no/such/run", **options)
    if "max_tokens" in options:
        with pytest.raises(ValueError, match=message):
            next(generate_ids(None, [1], **options))


# torch's DataLoader


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder as tokenize writes it: train and validation."""
    return write_splits(tmp_path_factory.mktemp("parts"))


def test_a_dataloader_yields_the_batches_of_a_loader(parts):
    options = {"batch_size": 4, "sequence_length": 16, "epochs": 1}
    loader = TokenLoader(parts, **options)
    assert isinstance(loader, IterableDataset)
    through = DataLoader(loader, batch_size=None)
    assert len(through) == len(loader)
    expected = TokenLoader(parts, **options)
    found = list(through)
    assert len(found) == len(loader)
    for batch, other in zip(found, expected, strict=True):
        assert torch.equal(batch.inputs, other.inputs)
        assert torch.equal(batch.targets, other.targets)
    second = list(through)  # the next pass, in another order
    assert len(second) == len(found)
    assert not torch.equal(second[0].inputs, found[0].inputs)


def test_the_state_of_a_loader_follows_its_dataloader(parts):
    loader = TokenLoader(parts, batch_size=4, sequence_length=16)
    list(islice(DataLoader(loader, batch_size=None), 5))
    resumed = TokenLoader(parts, batch_size=4, sequence_length=16)
    resumed.load_state_dict(loader.state_dict())
    assert loader.n_samples == 20
    batch, other = next(iter(DataLoader(loader, batch_size=None))), next(resumed)
    assert torch.equal(batch.inputs, other.inputs)


def test_a_dataloader_makes_tensors_of_a_loader_of_arrays(parts):
    loader = TokenLoader(parts, batch_size=4, sequence_length=16, output="numpy")
    batch = next(iter(DataLoader(loader, batch_size=None)))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.inputs.shape == (4, 16)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_the_workers_of_a_dataloader_are_refused(parts, context):
    loader = TokenLoader(parts, batch_size=4, sequence_length=16)
    through = DataLoader(
        loader, batch_size=None, num_workers=2, multiprocessing_context=context, timeout=60
    )
    with pytest.raises(RuntimeError, match="use num_workers=0"):
        next(iter(through))


def test_the_data_module_is_imported_without_torch(parts):
    script = (
        "import sys\n"
        "import lslm.data\n"
        "loader = lslm.data.TokenLoader(sys.argv[1], batch_size=2, sequence_length=8,"
        " output='numpy')\n"
        "next(loader)\n"
        "assert 'torch' not in sys.modules\n"
        "from torch.utils.data import DataLoader\n"
        "loader = lslm.data.TokenLoader(sys.argv[1], batch_size=2, sequence_length=8)\n"
        "assert next(iter(DataLoader(loader, batch_size=None))).inputs.shape == (2, 8)\n"
    )
    subprocess.run([sys.executable, "-c", script, parts], check=True)


def test_a_loader_finds_the_training_part_of_a_folder(parts):
    loader = TokenLoader(parts, batch_size=2, sequence_length=8)
    assert loader.fingerprint == lslm.TokenDataset(f"{parts}/train").fingerprint
    assert [str(dataset.path) for dataset in Mixture([parts]).datasets] == [f"{parts}/train"]
    copied = pickle.loads(pickle.dumps(loader))
    assert torch.equal(next(copied).inputs, next(loader).inputs)


def test_a_dataset_of_a_folder_of_parts_names_them(parts):
    message = rf"holds datasets.*open {parts}/train or {parts}/validation"
    with pytest.raises(lslm.FormatError, match=message):
        lslm.TokenDataset(parts)


# a tokenizer for transformers

SPECIAL = ["<|endoftext|>", "<|pad|>"]


def learned(special_tokens=SPECIAL):
    """A tokenizer of few merges with the special tokens."""
    return lslm.train_tokenizer(
        texts=["low lower lowest"] * 9,
        vocab_size=262 + len(special_tokens),
        special_tokens=special_tokens,
    )


def read_config(folder):
    """What is in the two files of roles."""
    names = ("tokenizer_config.json", "special_tokens_map.json")
    return [json.loads((folder / name).read_text(encoding="utf-8")) for name in names]


def test_save_pretrained_writes_the_roles_of_usual_special_tokens(tmp_path):
    tok = learned()
    tok.save_pretrained(tmp_path / "new" / "folder")
    config, roles = read_config(tmp_path / "new" / "folder")
    assert roles == {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}
    assert config == roles | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    assert lslm.Tokenizer.load(tmp_path / "new" / "folder" / "tokenizer.json") == tok


def test_save_pretrained_takes_the_end_where_nothing_pads(tmp_path):
    learned(["<|endoftext|>"]).save_pretrained(tmp_path)
    _, roles = read_config(tmp_path)
    assert roles == {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    learned(["<s>", "</s>", "<unk>"]).save_pretrained(tmp_path)
    _, roles = read_config(tmp_path)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    assert roles == names
    learned(["[X]", "[Y]"]).save_pretrained(tmp_path)
    assert read_config(tmp_path)[1] == {}


def test_save_pretrained_takes_roles_that_are_given(tmp_path):
    tok = learned(["<|endoftext|>", "[A]", "[B]"])
    tok.save_pretrained(tmp_path, bos_token="[A]", eos_token="[B]", pad_token="[A]")
    _, roles = read_config(tmp_path)
    assert roles == {"bos_token": "[A]", "eos_token": "[B]", "pad_token": "[A]"}
    with pytest.raises(
        ValueError, match=r'pad_token = "\[a\]" is not a special token: did you mean'
    ):
        tok.save_pretrained(tmp_path / "none", pad_token="[a]")
    with pytest.raises(ValueError, match='unk_token = "low" is not a special token: choose'):
        tok.save_pretrained(tmp_path / "none", unk_token="low")
    assert not (tmp_path / "none").exists()


def test_transformers_loads_what_save_pretrained_wrote(tmp_path):
    transformers = pytest.importorskip("transformers")
    tok = learned()
    tok.save_pretrained(tmp_path)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "low lower , lowest.<|endoftext|>"
    assert loaded.encode(text) == tok.encode(text, special="all").tolist()
    assert loaded.decode(loaded.encode(text)) == text
    assert (loaded.eos_token, loaded.pad_token) == tuple(SPECIAL)
    assert loaded.pad_token_id == tok.token_id("<|pad|>")
    collate = transformers.DataCollatorForLanguageModeling(loaded, mlm=False)
    batch = collate([loaded("low"), loaded("low lower lowest")])
    assert batch["labels"].tolist()[0][-1] == -100
    assert batch["input_ids"].tolist()[0][-1] == loaded.pad_token_id


def test_ids_of_64_bits_become_a_tensor():
    ids = learned().encode("low lower", dtype="int64")
    tensor = torch.from_numpy(ids)
    assert tensor.dtype == torch.int64
    assert tensor.tolist() == learned().encode("low lower").tolist()


# Arrow arrays and columns

TEXTS = ["low lower", "", "lowest of 词", "low"] * 7


class Series:
    """A column as polars has it: an Arrow stream that iterates over Python's own values."""

    def __init__(self, texts):
        self.texts = texts

    def __arrow_c_stream__(self, requested_schema=None):
        raise AssertionError("iterating is enough")

    def __iter__(self):
        return iter(self.texts)


class Capsule:
    """Arrow data that cannot be iterated over."""

    def __init__(self, array):
        if hasattr(array, "__arrow_c_array__"):
            self.__class__ = type("Array", (), {"__arrow_c_array__": array.__arrow_c_array__})
        else:
            self.__class__ = type("Stream", (), {"__arrow_c_stream__": array.__arrow_c_stream__})


def columns(texts):
    """The texts in every form of Arrow that pyarrow makes, and in others, by name."""
    pa = pytest.importorskip("pyarrow")
    array = pa.array(texts, pa.string())
    pieces = [array.slice(0, 3), array.slice(3, 0), array.slice(3)]
    return {
        "array": array,
        "slice": pa.concat_arrays([pa.array(["x"]), array])[1:],
        "large": array.cast(pa.large_string()),
        "view": array.cast(pa.string_view()),
        "dictionary": array.dictionary_encode(),
        "chunked": pa.chunked_array(pieces),
        "column": pa.table({"text": array})["text"],
        "series": Series(texts),
        "capsule": Capsule(array),
        "stream": Capsule(pa.chunked_array(pieces)),
        "generator": (text for text in texts),
        "numpy": np.array(texts, object),
    }


NAMES = ["array", "slice", "large", "view", "dictionary", "chunked", "column", "series", "capsule"]
NAMES += ["stream", "generator", "numpy"]


@pytest.mark.parametrize("name", NAMES)
def test_texts_may_be_an_arrow_column(name, monkeypatch):
    monkeypatch.setattr("lslm.texts._ROWS", 5)
    tok = learned()
    ids, offsets = tok.encode_batch(columns(TEXTS)[name])
    expected, expected_offsets = tok.encode_batch(TEXTS)
    assert np.array_equal(ids, expected)
    assert np.array_equal(offsets, expected_offsets)
    cleaned = lslm.Cleaner("none").clean_batch(columns(TEXTS)[name])
    assert [result.text for result in cleaned] == [
        result.text for result in lslm.Cleaner("none").clean_batch(TEXTS)
    ]
    options = {"vocab_size": 262, "min_frequency": 1}
    assert lslm.train_tokenizer(texts=columns(TEXTS)[name], **options) == lslm.train_tokenizer(
        texts=TEXTS, **options
    )


@pytest.mark.parametrize("missing", [None, float("nan")])
@pytest.mark.parametrize("name", ["array", "chunked", "series", "list"])
def test_a_missing_text_is_named_by_its_index(name, missing):
    texts = ["low", "lower", missing, "low"]
    given = texts if name == "list" else None
    if given is None and missing is None:
        given = columns(texts)[name]
    given = Series(texts) if given is None else given
    calls = (
        learned().encode_batch,
        lslm.Cleaner("none").clean_batch,
        lambda texts: lslm.train_tokenizer(texts=texts, vocab_size=260),
    )
    for call in calls:
        with pytest.raises(TypeError, match=r"texts\[2\] is missing \((None|nan)\): drop or fill"):
            call(given)


@pytest.mark.parametrize("text", ["low", b"low"])
def test_one_text_and_a_table_are_not_several_texts(text):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"id": [1], "text": ["low"]})
    for call in (
        learned().encode_batch,
        lslm.Cleaner("none").clean_batch,
        lambda texts: lslm.train_tokenizer(texts=texts, vocab_size=260),
    ):
        with pytest.raises(TypeError, match="a single text: put it in a list"):
            call(text)
        for whole in (table, table.to_batches()[0]):
            with pytest.raises(TypeError, match=r"columns \['id', 'text'\]: choose one"):
                call(whole)
        with pytest.raises(TypeError, match=r"texts\[1\] must be a text, not int"):
            call(["low", 7])
        with pytest.raises(TypeError, match=r"texts\[0\] must be a text, not int"):
            call(table["id"])
