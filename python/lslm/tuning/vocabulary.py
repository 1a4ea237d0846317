"""One dataset in other vocabularies, learned from its training text; each part keeps its documents.

A dataset spells its documents completely, so no corpus is needed. Losses per token of two
vocabularies cannot be compared; bits per byte of the same documents can, so each validation part is
cut to the same documents and scored whole.
"""

from __future__ import annotations

import shutil
from itertools import accumulate
from typing import TYPE_CHECKING

from lslm.tuning.locks import wait_for_lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lslm import TokenDataset, Tokenizer
    from lslm.config import DataConfig

__all__ = ["with_vocabulary"]


def with_vocabulary(
    data: DataConfig, vocab_size: int, folder: Path, *, n_validation_tokens: int
) -> Path:
    """Return ``data`` in a vocabulary of ``vocab_size``, written to ``folder`` if it is not there.

    The validation part has the documents with the first ``n_validation_tokens`` tokens of the one
    in ``data`` (0: all). A second process waits until the first has written it.
    """
    from lslm import TokenDataset, Tokenizer, train_tokenizer

    with wait_for_lock(folder.parent):
        if folder.is_dir():
            return folder
        held_out = list(data.validation_paths().values())
        if len(held_out) > 1:
            raise ValueError(
                f"data.validation = {data.validation!r}: other vocabularies need one validation "
                f"set, not {len(held_out)}"
            )
        train, validation = TokenDataset(data.train_path()), next(iter(held_out), None)
        if train.tokenizer_path is None:
            raise ValueError(f"{train.path} has no tokenizer.json: its text cannot be read back")
        old = Tokenizer.load(train.tokenizer_path)
        new = old
        if vocab_size != old.vocab_size:
            new = train_tokenizer(
                texts=_texts(train, old, train.n_documents),
                vocab_size=vocab_size,
                pattern=old.pattern,
                special_tokens=list(old.special_tokens),
            )
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        parts = [("train", train, train.n_documents)]
        if validation is not None:
            part = TokenDataset(validation)
            parts.append(("validation", part, _documents_with(part, n_validation_tokens)))
        for name, part, n_documents in parts:
            _write(unfinished / name, part, n_documents, old, new)
        unfinished.replace(folder)
    return folder


def _documents_with(dataset: TokenDataset, n_tokens: int) -> int:
    """Return how many documents hold the first ``n_tokens`` (0: all)."""
    if not n_tokens:
        return dataset.n_documents
    ends = accumulate(len(dataset[i]) for i in range(dataset.n_documents))
    return next((i + 1 for i, end in enumerate(ends) if end >= n_tokens), dataset.n_documents)


def _texts(dataset: TokenDataset, tokenizer: Tokenizer, n_documents: int) -> Iterator[str]:
    """Yield the texts of the first documents, without special tokens."""
    special = set(tokenizer.special_tokens.values())
    for i in range(n_documents):
        yield tokenizer.decode([token for token in dataset[i].tolist() if token not in special])


def _write(
    folder: Path, dataset: TokenDataset, n_documents: int, old: Tokenizer, new: Tokenizer
) -> None:
    """Write the first documents of ``dataset``, of the tokenizer ``old``, in tokens of ``new``."""
    from lslm.writing import TokenizedDocument, write_dataset

    names = {token: name for name, token in old.special_tokens.items()}

    def renamed(token: int | None) -> int | None:
        return None if token is None else new.special_tokens[names[token]]

    eos, bos = renamed(dataset.eos_id), renamed(dataset.bos_id)

    def documents() -> Iterator[TokenizedDocument]:
        for i, text in enumerate(_texts(dataset, old, n_documents)):
            ids = new.encode(text).tolist()
            ids = ([] if bos is None else [bos]) + ids + ([] if eos is None else [eos])
            yield TokenizedDocument(
                ids, len(text.encode()), dataset.source(i), dataset.document_id(i)
            )

    write_dataset(
        folder,
        documents(),
        tokenizer=new,
        eos_id=eos,
        bos_id=bos,
        split=folder.name,
        progress=False,
    )
