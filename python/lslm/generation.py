"""Text from a model, token by token: sampling, and the loop that feeds each token back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from lslm.checkpoint import Run, open_run
from lslm.limits import check_counts, check_seed
from lslm.model import Cache
from lslm.parallel import resolve_device

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from lslm import Tokenizer
    from lslm.model import Transformer

__all__ = ["generate", "generate_ids", "sample"]


def generate(
    run: str | os.PathLike[str] | Run,
    *,
    prompt: str = "",
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    stop_at_eos: bool = True,
    checkpoint: str | int = "best",
    device: str = "auto",
    stream: Callable[[str], object] | None = None,
) -> str:
    """Return up to ``max_tokens`` tokens of text after ``prompt``, without it, by a run's model.

    The prompt is the beginning of a document; with ``stop_at_eos``, the text ends where the model
    ends the document. ``stream`` is called with each part of the text, in whole characters.
    ``temperature``, ``top_k`` and ``top_p`` are those of :func:`sample`; equal arguments give equal
    text on one device. An id that the tokenizer has no token for, such as the padding of
    ``model.vocab_size`` above its vocabulary, is never drawn. ``checkpoint`` is best, last or a
    step; a :class:`lslm.checkpoint.Run` keeps the checkpoint and device it was opened with.
    """
    check_counts(max_tokens=max_tokens)
    check_seed(seed)
    _check_sampling(temperature, top_k, top_p)
    opened = run if isinstance(run, Run) else open_run(run, checkpoint, resolve_device(device))
    tokenizer = opened.tokenizer
    ids = tokenizer.encode(prompt, special="none", dtype="int64").tolist()
    start = tokenizer.eos_id
    if start is not None:
        ids = [start, *ids]
    if not ids:
        raise ValueError(
            "prompt is empty, and the tokenizer has no end-of-text token to start from: give one"
        )
    decoder, parts = tokenizer.decoder(), []
    generator = torch.Generator().manual_seed(seed)
    unused = torch.tensor(_unused_ids(tokenizer), dtype=torch.int64)
    tokens = generate_ids(
        opened.model,
        ids,
        max_tokens=max_tokens,
        choose=lambda logits: sample(
            logits[: tokenizer.vocab_size].index_fill(0, unused.to(logits.device), -math.inf),
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=generator,
        ),
    )
    for token in tokens:
        if stop_at_eos and token == start:
            break
        parts.append(decoder.push(token))
        if stream is not None and parts[-1]:
            stream(parts[-1])
    parts.append(decoder.finish())
    if stream is not None and parts[-1]:
        stream(parts[-1])
    return "".join(parts)


def _unused_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids below ``vocab_size`` that no token has, as some ``.tiktoken`` files leave."""
    unused = []
    for token in range(tokenizer.vocab_size):
        try:
            tokenizer.token_bytes(token)
        except KeyError:
            unused.append(token)
    return unused


@torch.no_grad()
def generate_ids(
    model: Transformer,
    ids: list[int],
    *,
    max_tokens: int,
    choose: Callable[[Tensor], int] | None = None,
    cached: bool = True,
) -> Iterator[int]:
    """Yield ``max_tokens`` ids after ``ids``; ``choose`` returns one for logits (V).

    Without ``choose``, the most likely one. When ``sequence_length`` positions are full, the later
    half of them becomes the context. ``cached`` = False computes all positions for each token; a
    test compares the cache with it.
    """
    check_counts(max_tokens=max_tokens)
    if not ids:
        raise ValueError("ids is empty: give at least one id to start from")
    choose = choose or _most_likely
    length, device = model.config.sequence_length, next(model.parameters()).device
    context, cache = list(ids[-length:]), Cache(length)
    fresh = context
    training = model.training
    model.eval()
    try:
        for _ in range(max_tokens):
            if len(context) > length:
                context = context[-max(1, length // 2) :]
                fresh, cache = context, Cache(length)
            if cached:
                logits = model(torch.tensor([fresh], device=device), cache=cache)
            else:
                logits = model(torch.tensor([context], device=device))
            token = choose(logits[0, -1])
            yield token
            context, fresh = [*context, token], [token]
    finally:
        model.train(training)


def sample(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> int:
    """Return an id drawn from softmax(``logits`` / ``temperature``), logits (V).

    ``temperature`` 0 returns the most likely one. ``top_k`` keeps the k most likely (Fan et al.
    2018); ``top_p`` below 1 keeps the fewest most likely ones that together have that probability
    (Holtzman et al. 2020). Both together: first ``top_k``.
    """
    _check_sampling(temperature, top_k, top_p)
    if temperature == 0:
        return _most_likely(logits)
    ordered, ids = logits.double().cpu().sort(descending=True, stable=True)
    odds = ((ordered - ordered[0]) / temperature).softmax(-1)
    if top_k is not None:
        odds[top_k:] = 0
    before = odds.cumsum(-1) - odds  # probability of all ids that are more likely
    odds[before >= top_p * odds.sum()] = 0
    return int(ids[torch.multinomial(odds, 1, generator=generator)])


def _check_sampling(temperature: float, top_k: int | None, top_p: float) -> None:
    """Raise ``ValueError`` for a setting of :func:`sample` that chooses nothing."""
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature = {temperature}: must be at least 0, and finite")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k = {top_k}: must be at least 1, or None for all")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p = {top_p}: must be above 0 and at most 1")


def _most_likely(logits: Tensor) -> int:
    return int(logits.argmax())
