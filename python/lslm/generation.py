"""Text from a model, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lslm.checkpoint import Run, open_run
from lslm.model import Cache
from lslm.parallel import resolve_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from lslm.model import Transformer

__all__ = ["generate", "generate_ids", "sample"]


def generate(
    run: str | Path | Run,
    *,
    prompt: str = "",
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stop_at_eos: bool = True,
    checkpoint: str | int = "best",
    device: str = "auto",
    stream: Callable[[str], object] | None = None,
) -> str:
    """Return text that goes on from ``prompt``, as the model of a run writes it.

    The model sees the prompt as the beginning of a document. ``stream`` gets each piece of text as
    soon as it is known, and only whole characters. See :func:`sample` for the choice of tokens;
    equal arguments give equal text.
    """
    opened = run if isinstance(run, Run) else open_run(run, checkpoint, resolve_device(device))
    tokenizer = opened.tokenizer
    ids = tokenizer.encode(prompt, special="none", dtype="int64").tolist()
    start = tokenizer.eos_id
    if start is not None:
        ids = [start, *ids]
    if not ids:
        raise ValueError("the prompt is empty and the tokenizer has no end-of-text token: give one")
    decoder, pieces = tokenizer.decoder(), []
    generator = torch.Generator().manual_seed(seed)
    tokens = generate_ids(
        opened.model,
        ids,
        max_tokens=max_tokens,
        choose=lambda logits: sample(
            logits, temperature=temperature, top_k=top_k, top_p=top_p, generator=generator
        ),
    )
    for token in tokens:
        if stop_at_eos and token == start:
            break
        pieces.append(decoder.push(token))
        if stream is not None and pieces[-1]:
            stream(pieces[-1])
    pieces.append(decoder.finish())
    if stream is not None and pieces[-1]:
        stream(pieces[-1])
    return "".join(pieces)


@torch.no_grad()
def generate_ids(
    model: Transformer,
    ids: list[int],
    *,
    max_tokens: int,
    choose: Callable[[Tensor], int] | None = None,
    cached: bool = True,
) -> Iterator[int]:
    """Yield ids that follow ``ids``; ``choose`` picks one from logits (V), by default the largest.

    When the model's ``sequence_length`` is full, it goes on with the later half of it as context.
    ``cached`` = False computes all positions anew for each token, to check the cache against.
    """
    if not ids:
        raise ValueError("no ids to go on from: give at least one")
    pick: Any = choose or (lambda logits: int(logits.argmax()))
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
            token = pick(logits[0, -1])
            yield token
            context, fresh = [*context, token], [token]
    finally:
        model.train(training)


def sample(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
) -> int:
    """Draw an id from softmax(``logits`` / ``temperature``), logits (V).

    ``temperature`` 0 takes the largest. ``top_k`` > 0 keeps the k most likely; ``top_p`` < 1 keeps
    the fewest most likely ones that together reach that probability.
    """
    if temperature < 0 or top_k < 0 or not 0 < top_p <= 1:
        raise ValueError(
            f"temperature = {temperature}, top_k = {top_k}, top_p = {top_p}: give at least 0, at "
            f"least 0, and above 0 up to 1"
        )
    if temperature == 0:
        return int(logits.argmax())
    ordered, ids = logits.double().cpu().sort(descending=True, stable=True)
    odds = ((ordered - ordered[0]) / temperature).softmax(-1)
    if top_k:
        odds[top_k:] = 0
    before = odds.cumsum(-1) - odds  # probability of all that are more likely
    odds[before >= top_p * odds.sum()] = 0
    return int(ids[torch.multinomial(odds, 1, generator=generator)])
