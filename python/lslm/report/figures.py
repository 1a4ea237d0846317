"""What goes into a report: plain values, filled in by what measured them.

Sizes are in bytes, times in seconds, losses in nats per token, 1 MB = 10^6 bytes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lslm import Tokenizer
    from lslm.report.metrics import MetricRow
    from lslm.results import Funnel, TokenizerReport
    from lslm.scores import EvaluationResult

__all__ = ["Baselines", "Command", "DemoResults", "Sample", "StageFigure", "TokenizerFigures"]


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The scores of models without context on the same held-out text, to compare with."""

    uniform: EvaluationResult
    """Each token of the vocabulary has the same probability."""
    unigram: EvaluationResult | None = None
    """Each token has its frequency in the training part; None: not measured."""
    xz_bits_per_byte: float | None = None
    """The held-out text compressed with ``xz -9``; None: not measured."""


@dataclass(frozen=True, kw_only=True)
class StageFigure:
    """One stage of the demo: ``amount`` of ``unit`` in ``seconds``, and where its result is."""

    name: str
    seconds: float
    amount: float = 0
    """What went through; 0: not measured."""
    unit: str = "bytes"
    """Of ``amount``; bytes are shown as MB/s."""
    output: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TokenizerFigures:
    """A vocabulary: its size and pattern, how it encodes text, and examples of its tokens."""

    vocab_size: int
    pattern: str
    report: TokenizerReport | None = None
    """How it encodes the documents; None: not measured."""
    unused: Sequence[bytes] = ()
    """The tokens of ``report.unused``."""
    longest: Sequence[bytes] = ()
    """The longest tokens, without runs of one byte."""
    sample: Sequence[tuple[int, bytes]] = ()
    """Ids and bytes of a text, which is shown with its tokens coloured."""

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        *,
        report: TokenizerReport | None = None,
        sample: str = "",
        n_longest: int = 40,
    ) -> TokenizerFigures:
        """Return the figures of ``tokenizer``; ``report`` is from :func:`lslm.measure_tokenizer`.

        ``sample`` is the text to show as tokens. Among the ``n_longest`` tokens, runs of one byte
        are left out: rows of spaces say little.
        """
        special = set(tokenizer.special_tokens.values())
        every = []
        for i in range(tokenizer.vocab_size):
            with contextlib.suppress(KeyError):  # an unused id
                token = tokenizer.token_bytes(i)
                if i not in special and len(set(token)) > 1:
                    every.append(token)
        ids = [int(i) for i in tokenizer.encode(sample)]
        unused = () if report is None else report.unused
        return cls(
            vocab_size=tokenizer.vocab_size,
            pattern=tokenizer.pattern,
            report=report,
            unused=[tokenizer.token_bytes(i) for i in unused],
            longest=sorted(every, key=lambda token: (-len(token), token))[:n_longest],
            sample=[(i, tokenizer.token_bytes(i)) for i in ids],
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Text that the model generated after ``prompt``; ``note`` says how it was sampled."""

    prompt: str
    text: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line that does one step, and what it does."""

    purpose: str
    line: str


@dataclass(frozen=True, kw_only=True)
class DemoResults:
    """All results of ``lslm demo``, in the order of the page.

    ``model`` and ``facts`` are rows of two columns: the shape of the model; and the machine,
    versions, seed and whatever else a reader needs to repeat it.
    """

    corpus: str
    folder: str
    funnel: Funnel
    stages: Sequence[StageFigure]
    tokenizer: TokenizerFigures
    metrics: Sequence[MetricRow]
    evaluation: EvaluationResult
    baselines: Baselines
    samples: Sequence[Sample] = ()
    commands: Sequence[Command] = ()
    model: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
