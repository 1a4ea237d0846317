"""EleutherAI's harness (lm-eval 0.4) on a run of lslm: the model type ``lslm``.

    python -m lslm.harness run --model lslm --model_args run=runs/first --tasks wikitext,hellaswag

The harness has no entry point for models of other packages; this module registers its model when
it is imported, and as a command it then runs the harness's own. In Python: ``import lslm.harness``,
then ``lm_eval.simple_evaluate(model="lslm", model_args="run=runs/first", …)``. Scores equal those
of the run's exported folder under ``--model hf``. Needs ``pip install 'lslm[eval]'``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from lslm.evaluation import Subject, checked_window
from lslm.generation import Text, write_texts
from lslm.next_token import Sampling
from lslm.parallel import autocast
from lslm.protocol import parse_protocol
from lslm.scoring import batch_tokens, score_windows
from lslm.windows import Window, WindowPlanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["HarnessModel"]

_logger = logging.getLogger("lslm.harness")

MAX_GENERATED = 256
"""Tokens to generate where a task does not say; the harness's own default."""


@register_model("lslm")
class HarnessModel(TemplateLM):  # type: ignore[misc,unused-ignore]
    """A run's model for lm-eval: log-likelihoods, rolling log-likelihoods, and generated text.

    Arguments:
        run: a run, a checkpoint, or a published model's folder.
        checkpoint: best, last or a step.
        device: auto, cpu, cuda or cuda:N; the harness gives that of its ``--device``, which is
            cuda:0 unless it is named: without CUDA a CPU then, with a warning, as its ``hf`` does.
        dtype: auto, float32, bfloat16 or float64.
        batch_size: windows per batch; auto: what suits the device.
        max_length: the window in tokens; the model's by default.
        max_batch_size: not used; the harness gives it.

    """

    def __init__(
        self,
        *,
        run: str,
        checkpoint: str | int = "best",
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | str | None = None,
        max_length: int | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        del max_batch_size
        if device is not None and device.startswith("cuda") and not torch.cuda.is_available():
            _logger.warning("torch has no CUDA device here: %s becomes cpu", device)
            device = "cpu"
        self._subject = Subject.open(run, checkpoint, device or "auto", dtype)
        self._window = checked_window(self._subject.model, max_length, None)
        rows = None if batch_size is None or str(batch_size).startswith("auto") else int(batch_size)
        self._batch_tokens = batch_tokens(self._subject.model, rows, self._window)
        starts = self._subject.run.start_ids
        if not starts:
            raise ValueError(
                f"{run}: its tokenizer has no token that begins or ends a document, which the "
                f"harness needs before a text"
            )
        self._prefix = starts[0]

    @property
    def eot_token_id(self) -> int:
        """The id that ends a text."""
        return min(self._subject.run.stop_ids, default=self._prefix)

    @property
    def prefix_token_id(self) -> int:
        """The id before a text without context."""
        return self._prefix

    @property
    def max_length(self) -> int:
        """Tokens that the model sees at once."""
        return self._window

    @property
    def tokenizer_name(self) -> str:
        """What the harness's cache of requests is keyed by."""
        return self._subject.run.tokenizer.fingerprint

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Return the ids of ``string``; special tokens in it are found, none are added."""
        del add_special_tokens
        ids: list[int] = self._subject.run.tokenizer.encode(string, special="all").tolist()
        return ids

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        """Return (log p of the continuation, whether it is greedy) of each request."""
        windows = []
        for _names, context, continuation in requests:
            if not 0 < len(continuation) <= self._window:
                raise ValueError(
                    f"a continuation of {len(continuation)} tokens: the model scores 1 to "
                    f"{self._window} at once"
                )
            ids = np.array([*context, *continuation][-(self._window + 1) :], np.int64)
            windows.append(Window(ids[:-1], ids[1:], len(ids) - 1 - len(continuation), 0))
        found: list[tuple[float, bool]] = []
        for request, (nats, is_greedy) in zip(requests, self._score(windows), strict=True):
            found.append((-nats, is_greedy))
            if request[0] is not None:
                self.cache_hook.add_partial("loglikelihood", request[0], found[-1])
        return found

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of each text, by the protocol ``lm-eval``."""
        del disable_tqdm
        planner = WindowPlanner(parse_protocol("lm-eval", self._window), prefix=self._prefix)
        windows: list[Window] = []
        counts = []
        for (text,) in (request.args for request in requests):
            before = len(windows)
            windows += planner.push(np.array(self.tok_encode(text), np.uint32))
            windows += planner.finish()
            counts.append(len(windows) - before)
        scores = iter(self._score(windows))
        found = [-sum(next(scores)[0] for _ in range(count)) for count in counts]
        for request, value in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, value)
        return found

    def _score(self, windows: Iterable[Window]) -> list[tuple[float, bool]]:
        """Return (nats, whether each is the most likely) of the scored targets of each window."""
        subject, found = self._subject, []
        with autocast(subject.device, subject.dtype):
            for pool, rows in score_windows(
                [subject.model],
                windows,
                n_ids=len(subject.vocabulary.lengths),
                batch_tokens=self._batch_tokens,
            ):
                sizes = [len(window.targets) - window.first for window in pool]
                ends = np.cumsum(sizes)
                for start, end in zip(ends - sizes, ends, strict=True):
                    nats = float(rows.nats[start:end].sum(dtype=np.float64))
                    found.append((nats, not rows.rank[start:end].any()))
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return the text after each context, up to a stop string or the end of the text.

        ``batch_size`` texts are written at a time; each is what it would be alone.
        """
        del disable_tqdm
        subject, arguments = self._subject, [request.args for request in requests]
        texts = [self._text(context, dict(options)) for context, options in arguments]
        at_once = max(1, self._batch_tokens // self._window)
        with autocast(subject.device, subject.dtype):
            write_texts(subject.model, texts, subject.run.tokenizer, at_once=at_once)
        for (context, options), text in zip(arguments, texts, strict=True):
            self.cache_hook.add_partial("generate_until", (context, options), text.text)
        return [text.text for text in texts]

    def _text(self, context: str, options: dict[str, Any]) -> Text:
        """Return what follows ``context``, greedy unless ``options`` have ``do_sample``."""
        until = options.get("until") or []
        stops = [until] if isinstance(until, str) else list(until)
        n = int(options.get("max_gen_toks") or options.get("max_new_tokens") or MAX_GENERATED)
        if n >= self._window:
            raise ValueError(
                f"max_gen_toks = {n}: must be below the model's length, {self._window}; give "
                f"--gen_kwargs max_gen_toks={self._window // 2}"
            )
        samples = bool(options.get("do_sample", options.get("temperature", 0) > 0))
        sampling = Sampling(
            temperature=float(options.get("temperature", 1.0)) if samples else 0.0,
            top_k=int(options["top_k"]) if samples and options.get("top_k") else None,
            top_p=float(options.get("top_p", 1.0)) if samples else 1.0,
        )
        return Text(
            self.tok_encode(context)[-(self._window - n) :] or [self._prefix],
            self._subject.run.tokenizer,
            max_tokens=n,
            sampling=sampling,
            stops=tuple(stop for stop in stops if stop),
            end=self._subject.run.stop_ids,
        )


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    # run as a command, this file is the module __main__; the harness needs the registered class
    cli_evaluate()
