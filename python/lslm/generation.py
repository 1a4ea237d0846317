"""Text from a model, token by token, for one prompt or several at a time.

Each prompt has its own random numbers and is computed as if it were alone (see
:mod:`lslm.decoding`), so a text does not depend on the others of its batch.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from lslm.checkpoint import Run, open_run
from lslm.decoding import Decoder
from lslm.limits import check_counts, check_seed
from lslm.next_token import Sampling, sample
from lslm.parallel import resolve_device
from lslm.results import Result, counted

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from lslm import StreamDecoder, Tokenizer
    from lslm.decoding import Logits
    from lslm.decoding import Sequence as Cached
    from lslm.model import Transformer

_logger = logging.getLogger("lslm.generation")

__all__ = ["Completion", "Text", "complete", "generate", "generate_ids", "sample", "write_texts"]


@dataclass(frozen=True, kw_only=True)
class Completion(Result):
    """A text that a model wrote after a prompt, from :func:`complete`."""

    prompt: str
    text: str
    """Without the prompt, and without what ended it."""
    n_tokens: int
    """Tokens generated, with the one that ended it."""
    ended_by: Literal["length", "end", "stop"]
    """``max_tokens``; a token that ends a document; a stop string."""
    tokens_per_second: float
    """Of all prompts of the call together, from the first token on."""


def generate(
    run: str | os.PathLike[str] | Run,
    *,
    prompt: str = "",
    max_tokens: int = 200,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    stop: str | Sequence[str] = (),
    seed: int = 0,
    stop_at_eos: bool = True,
    checkpoint: str | int = "best",
    device: str = "auto",
    stream: Callable[[str], object] | None = None,
) -> str:
    """Return up to ``max_tokens`` tokens of text after ``prompt``, without it, by a run's model.

    The prompt is the beginning of a document; with ``stop_at_eos``, the text ends where the model
    ends the document, and in any case before one of the strings ``stop``. ``stream`` is called with
    each part of the text, in whole characters. ``temperature`` and the filters are those of
    :class:`lslm.next_token.Sampling`; equal arguments give equal text on one device. An id that the
    tokenizer has no token for, such as the padding of ``model.vocab_size`` above its vocabulary, is
    never drawn. ``run`` is what :func:`lslm.checkpoint.open_run` takes, ``checkpoint`` best, last
    or a step; a :class:`lslm.checkpoint.Run` keeps the checkpoint and device it was opened with.
    :func:`complete` does several prompts at once.

    Raises:
        ValueError: a number is out of range, or prompt and tokenizer give no token to start from.
        FloatingPointError: the model returns NaN.
    """
    completions = complete(
        run,
        [prompt],
        max_tokens=max_tokens,
        sampling=Sampling(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            repetition_penalty=repetition_penalty,
        ),
        stop=stop,
        seeds=[seed],
        stop_at_eos=stop_at_eos,
        checkpoint=checkpoint,
        device=device,
        stream=stream,
    )
    return completions[0].text


def complete(
    run: str | os.PathLike[str] | Run,
    prompts: Sequence[str],
    *,
    max_tokens: int = 200,
    sampling: Sampling | None = None,
    stop: str | Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    stop_at_eos: bool = True,
    checkpoint: str | int = "best",
    device: str = "auto",
    stream: Callable[[str], object] | None = None,
) -> list[Completion]:
    """Return what a run's model writes after each of ``prompts``, all of them at a time.

    ``seeds`` has one seed for each prompt; None: 0 for all. A text is that of the prompt alone with
    its seed. ``sampling`` None: a temperature of 0.8. The other arguments are those of
    :func:`generate`; ``stream`` is for a single prompt.
    """
    check_counts(max_tokens=max_tokens)
    seeds = [0] * len(prompts) if seeds is None else seeds
    if isinstance(prompts, str) or len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts and {len(seeds)} seeds: give a seed for each")
    if stream is not None and len(prompts) != 1:
        raise ValueError(f"stream with {len(prompts)} prompts: texts would mix, give one")
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if "" in stops:
        raise ValueError("stop has an empty string, which is everywhere: leave it out")
    for seed in seeds:
        check_seed(seed)
    opened = run if isinstance(run, Run) else open_run(run, checkpoint, resolve_device(device))
    sampling = sampling or Sampling(temperature=0.8)
    texts = []
    for prompt, seed in zip(prompts, seeds, strict=True):
        ids = opened.tokenizer.encode(prompt, special="none", dtype="int64").tolist()
        ids = [*opened.start_ids, *ids]
        if not ids:
            raise ValueError(
                "prompt is empty, and the tokenizer has no end-of-text token to start from: give "
                "one"
            )
        end = opened.stop_ids if stop_at_eos else frozenset()
        text = Text(
            ids,
            opened.tokenizer,
            max_tokens=max_tokens,
            sampling=sampling,
            seed=seed,
            stops=stops,
            end=end,
            stream=stream,
        )
        texts.append(text)
    start = time.perf_counter()
    write_texts(opened.model, texts, opened.tokenizer)
    seconds = time.perf_counter() - start
    n_tokens = sum(text.n_tokens for text in texts)
    speed = n_tokens / seconds if seconds else 0.0
    _logger.info("%s, %.3g tokens/s", counted(n_tokens, "token"), speed)
    return [
        Completion(
            prompt=prompt,
            text=text.text,
            n_tokens=text.n_tokens,
            ended_by=text.ended_by or "length",
            tokens_per_second=speed,
        )
        for prompt, text in zip(prompts, texts, strict=True)
    ]


class _Row:
    """Ids, how many may follow, and the keys and values of those that the model has seen."""

    def __init__(self, ids: list[int], max_tokens: int, sampling: Sampling | None) -> None:
        self.ids, self.left, self.sampling = ids, max_tokens, sampling
        self.cached: Cached | None = None
        self.most: int | None = None
        """That of :meth:`lslm.decoding.Decoder.logits`; set with the cache."""

    def append(self, token: int) -> None:
        """Append ``token``."""
        self.ids.append(token)
        self.left -= 1


class Text(_Row):
    """One text that is being written: its ids, its random numbers, and where it ends.

    Up to ``max_tokens`` tokens follow ``ids``, chosen by ``sampling`` with random numbers from
    ``seed``; the text ends before one of the strings ``stops`` and with one of the ids ``end``.
    ``stream`` is called with each part of it.
    """

    def __init__(
        self,
        ids: list[int],
        tokenizer: Tokenizer,
        *,
        max_tokens: int,
        sampling: Sampling,
        seed: int = 0,
        stops: tuple[str, ...] = (),
        end: frozenset[int] = frozenset(),
        stream: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(ids, max_tokens, sampling)
        self.stops, self.end, self.stream = stops, end, stream
        self.choose, self.generator = sampling.choose, torch.Generator().manual_seed(seed)
        self.decoder: StreamDecoder = tokenizer.decoder()
        self.n_tokens, self.text, self.held = 0, "", ""
        self.ended_by: Literal["end", "stop"] | None = None

    @property
    def is_open(self) -> bool:
        """Whether another token follows."""
        return self.ended_by is None and self.left > 0

    def push(self, token: int) -> None:
        """Append ``token``, unless it ends the text."""
        self.append(token)
        self.n_tokens += 1
        if token in self.end:
            self.ended_by = "end"
        else:
            self._extend(self.decoder.push(token))
        if not self.is_open:
            self._finish()

    def _finish(self) -> None:
        """Append what waited for more: bytes of a character, or the beginning of a stop string."""
        self.cached = None  # its memory is for the texts that follow
        if self.ended_by != "stop":
            self._extend(self.decoder.finish())
        if self.ended_by != "stop":
            self._emit(self.held)

    def _extend(self, new: str) -> None:
        """Append ``new`` up to a stop string; hold back what may be the beginning of one."""
        self.held += new
        found = [at for at in map(self.held.find, self.stops) if at >= 0]
        if found:
            self.ended_by = "stop"
            self._emit(self.held[: min(found)])
            return
        longest = max(map(len, self.stops), default=1) - 1
        for n in range(min(longest, len(self.held)), -1, -1):
            if n == 0 or any(stop.startswith(self.held[-n:]) for stop in self.stops):
                self._emit(self.held[: len(self.held) - n])
                return

    def _emit(self, text: str) -> None:
        self.text += text
        self.held = self.held[len(text) :]
        if self.stream is not None and text:
            self.stream(text)


def _unused_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids below ``vocab_size`` that no token has, as some ``.tiktoken`` files leave."""
    unused = []
    for token in range(tokenizer.vocab_size):
        try:
            tokenizer.token_bytes(token)
        except KeyError:
            unused.append(token)
    return unused


def write_texts(
    model: Transformer,
    texts: Iterable[Text],
    tokenizer: Tokenizer,
    *,
    at_once: int | None = None,
) -> None:
    """Write ``texts`` to their ends, ``at_once`` of them at a time (None: all), one token each.

    An id that the tokenizer has no token for is never chosen.
    """
    waiting, active = iter(texts), list[Text]()
    decoder = None
    with _evaluating(model):
        while True:
            active = [text for text in active if text.is_open]
            free = None if at_once is None else at_once - len(active)
            active += itertools.islice(waiting, free)
            if not active:
                return
            if decoder is None:
                decoder = Decoder(model, tokenizer.vocab_size, _unused_ids(tokenizer))
            for text, (logits, ids) in zip(active, _advance(decoder, active), strict=True):
                text.push(text.choose(logits, text.generator, text.ids, ids))


@contextlib.contextmanager
def _evaluating(model: Transformer) -> Iterator[None]:
    """Switch dropout off for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _advance(decoder: Decoder, rows: Sequence[_Row]) -> list[Logits]:
    """Return the logits after the last id of each of ``rows``, and the ids that they are of.

    When all positions of the model are full, the later half of the ids becomes the context.
    """
    length = decoder.config.sequence_length
    hidden: dict[int, Tensor] = {}
    stepping: list[tuple[int, Cached]] = []
    for k, row in enumerate(rows):
        if row.cached is not None and row.cached.length < length:
            stepping.append((k, row.cached))
            continue
        context = row.ids[-length if row.cached is None else -max(1, length // 2) :]
        if row.cached is None:
            needed = None if row.sampling is None else row.sampling.n_candidates
            row.most = decoder.listed(needed, row.left)
        capacity = min(length, len(context) + row.left)
        row.cached, hidden[k] = decoder.start(context, capacity)
    if stepping:
        stepped = decoder.step([c for _, c in stepping], [rows[k].ids[-1] for k, _ in stepping])
        hidden |= dict(zip((k for k, _ in stepping), stepped, strict=True))
    return decoder.logits([hidden[k] for k in range(len(rows))], [row.most for row in rows])


def generate_ids(
    model: Transformer,
    ids: list[int],
    *,
    max_tokens: int,
    choose: Callable[[Tensor], int] | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    cached: bool = True,
) -> Iterator[int]:
    """Yield ``max_tokens`` ids after ``ids``, chosen by ``sampling``; None: the most likely ones.

    ``seed`` gives the random numbers. With ``choose``, that returns an id for logits (V). When
    ``sequence_length`` positions are full, the later half of them becomes the context. ``cached`` =
    False computes all positions for each token; a test compares the cache with it.
    """
    check_counts(max_tokens=max_tokens)
    if not ids:
        raise ValueError("ids is empty: give at least one id to start from")
    generator = torch.Generator().manual_seed(seed)
    if choose is None:
        sampling = sampling or Sampling(temperature=0)
        row = _Row(list(ids), max_tokens, sampling)

        def chosen(logits: Tensor, of: Tensor | None) -> int:
            return sampling.choose(logits, generator, row.ids, of)

    else:
        row = _Row(list(ids), max_tokens, None)

        def chosen(logits: Tensor, of: Tensor | None) -> int:
            del of
            return choose(logits)

    tokens = _cached_ids if cached else _naive_ids
    with _evaluating(model):
        yield from tokens(model, row, chosen)


def _cached_ids(
    model: Transformer, row: _Row, choose: Callable[[Tensor, Tensor | None], int]
) -> Iterator[int]:
    decoder = Decoder(model)
    while row.left:
        ((logits, of),) = _advance(decoder, [row])
        row.append(choose(logits, of))
        yield row.ids[-1]


@torch.no_grad()
def _naive_ids(
    model: Transformer, row: _Row, choose: Callable[[Tensor, Tensor | None], int]
) -> Iterator[int]:
    length, device = model.config.sequence_length, next(model.parameters()).device
    context = list(row.ids[-length:])
    while row.left:
        if len(context) > length:
            context = context[-max(1, length // 2) :]
        row.append(choose(model(torch.tensor([context], device=device))[0, -1], None))
        context.append(row.ids[-1])
        yield row.ids[-1]
