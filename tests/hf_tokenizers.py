"""Tokenizers that Hugging Face's library trains, and texts to compare with it on."""

from __future__ import annotations

import tokenizers as hf
from tokenizers import decoders, models, pre_tokenizers, trainers

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
