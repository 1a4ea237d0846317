"""Small datasets whose tokens are bytes, for the tests of training, evaluation and generation."""

import json
import random
from pathlib import Path

from lslm import Tokenizer
from lslm.data import TokenizedDocument, write_dataset

EOS = 256
NAMES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"]
VERBS = ["sees", "likes", "follows", "hears", "forgets"]


def documents(n, seed=0):
    """Return ``n`` short texts with something to learn: each sentence ends with its first name."""
    rng = random.Random(seed)
    texts = []
    for _ in range(n):
        lines = []
        for _ in range(rng.randint(1, 6)):
            one, other = rng.choice(NAMES), rng.choice(NAMES)
            lines.append(
                f"The {one} {rng.choice(VERBS)} the {other}, says the {one} – {rng.randint(1, 99)}."
            )
        texts.append("\n".join(lines))
    return texts


def byte_tokenizer(path, eos="<|endoftext|>"):
    """Write a tokenizer.json whose tokens are the 256 bytes and an end-of-text token."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    letters = {byte: chr(byte) for byte in shown} | {
        byte: chr(256 + i) for i, byte in enumerate(hidden)
    }
    added = {"id": EOS, "content": eos, "special": True, "single_word": False}
    added |= {"lstrip": False, "rstrip": False, "normalized": False}
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    model = {"type": "BPE", "vocab": {letters[byte]: byte for byte in range(256)}, "merges": []}
    model |= {"dropout": None, "unk_token": None, "fuse_unk": False, "byte_fallback": False}
    model |= {"continuing_subword_prefix": None, "end_of_word_suffix": None, "ignore_merges": False}
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [added]}
    file |= {
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": model,
    }
    Path(path).write_text(json.dumps(file))


def write_small(folder, texts, eos="<|endoftext|>"):
    """Write ``texts`` as a dataset of byte tokens; return its path as text."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    byte_tokenizer(folder.parent / "bytes.json", eos)
    tokenizer = Tokenizer.load(folder.parent / "bytes.json")
    parts = [text.encode() for text in texts]
    items = [TokenizedDocument([*part, EOS], n_bytes=len(part)) for part in parts]
    write_dataset(folder, items, tokenizer=tokenizer, eos_id=EOS)
    return str(folder)


def write_splits(folder):
    """Write ``train`` and ``validation`` datasets into ``folder``; return it as text."""
    write_small(Path(folder) / "train", documents(400))
    write_small(Path(folder) / "validation", documents(25, seed=1))
    return str(folder)
