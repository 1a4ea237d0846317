"""Tokenizers that Hugging Face's library trains, and texts to compare with it on."""

from __future__ import annotations

import json

import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

TRAINING_TEXT = [
    "The quick brown fox jumps over the lazy dog; the dog doesn't mind, and the fox won't stop.",
    "def encode(self, text: str) -> list[int]:\n    return [self.ids[c] for c in text]\n\n",
    "Größe und Maß, naïve café, Ωμέγα, русский текст, 我们在学习语言模型。語言模型很有趣。",
    "日本語のテキスト。한국어 텍스트. संस्कृत ๑๒๓ العربية 12345 67 8 1999 2024",
    "    indented\t\ttabs\r\nwindows\r\n\r\n\n\n\nblank lines   trailing   ",
    "aaaaaaaaaaaaaaaaaaaaaaaa bbbb abababababab ------ ====== !!!! ... 🙂🙃👩‍👩‍👧 e\u0301",
] * 5

TEXTS = [
    "",
    " ",
    "a",
    "Hello, world! It's 2024.",
    "  two  blanks   three ",
    "line\nline\r\n\r\n  \n x\n",
    "don't DON'T I'LL 'tis 's'S",
    "我们学习语言模型，123456个。",
    "naïve cafe\u0301 \u1100\u1161\u11a8 ﬁ ½ ²",
    "🙂👩‍👩‍👧 \U0001f1e9\U0001f1ea",
    "\x00\x01\x7f\x80\xa0\u2028\u2029\u3000\ufeff\U0010ffff",
    "x" * 300 + " " * 300 + "\n" * 50 + "-" * 200,
    "<|endoftext|> <|end|>of<|endoftext|>",
]


def train(
    pre_tokenizer,
    *,
    vocab_size=600,
    normalizer=None,
    special_tokens=("<|endoftext|>",),
    alphabet=True,
):
    tokenizer = hf.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if alphabet else [],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return tokenizer


def ids_of(reference, text, **options):
    return reference.encode(text, add_special_tokens=False, **options).ids


def train_characters(
    texts=TRAINING_TEXT, *, vocab_size=700, pre_tokenizer=None, normalizer=None, strip=True
):
    """Train a vocabulary of 60 characters and their merges with `byte_fallback`, as SentencePiece does."""
    tokenizer = hf.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    specials = ["<unk>", "<s>", "</s>"]
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials + names,
        limit_alphabet=60,
        show_progress=False,
    )
    tokenizer.train_from_iterator((line for text in texts for line in text.split("\n")), trainer)
    file = json.loads(tokenizer.to_str())
    file["added_tokens"] = file["added_tokens"][: len(specials)]
    tokenizer = hf.Tokenizer.from_str(json.dumps(file))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(parts + [decoders.Strip(" ", 1, 0)] * strip)
    return tokenizer


# by name: the parts of published files
CHARACTERS = {
    "llama 2": {
        "normalizer": normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    },
    "gemma": {
        "normalizer": normalizers.Replace(" ", "▁"),
        "pre_tokenizer": pre_tokenizers.Split(" ", "merged_with_previous"),
        "strip": False,
    },
} | {
    f"{scheme}, {'split' if split else 'whole'}": {
        "pre_tokenizer": pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=split)
    }
    for scheme in ("always", "first", "never")
    for split in (False, True)
}
