"""The page of an analysis: where the loss is, what it looks like, and two models side by side."""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING

from lslm.analysis.files import FILES, has_parquet
from lslm.report.charts import Series, line_chart
from lslm.report.layout import Section, document, tile
from lslm.report.markup import Child, Markup, data_block, details, element, table
from lslm.report.numbers import number
from lslm.report.vocabulary import running_token, visible_token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lslm import Tokenizer
    from lslm.analysis.findings import Analysis, LossCurve, Shown, SliceRow, WorstToken
    from lslm.report.language import Words

__all__ = ["analysis_report"]

LEVELS = (0.1, 0.5, 1, 2, 3, 4.5, 6, 8, 11)
"""Bounds of the ten colours of a loss, nats."""
DIFFERENCES = (0.05, 0.3, 1, 2.5)
"""Bounds of the colours of a difference, nats, on each side of 0."""
MAX_ROWS = 14
"""Slices of a dimension that are shown open; the others are folded."""
MAX_WORST = 40
"""Tokens among the worst to show, each with its occurrences."""
MAX_CONTEXTS = 3
"""Occurrences of one of the worst tokens to show."""
CURVES_OF_A_CHART = 3
"""Ids in one figure over training, beside all tokens: pages have four colours."""


def analysis_report(
    result: Analysis, shown: Sequence[Shown], tokenizer: Tokenizer, say: Words
) -> str:
    """Return the page of ``result``; ``shown`` are the passages, ``say`` is the language."""
    text = _Text(tokenizer)
    sections: list[Section] = [
        (say("Where is the loss?"), "slices", _slices(result, say)),
        (say("What does it look like?"), "text", _passages(result, shown, text, say)),
        (say("Worst tokens"), "worst", _worst(result, say)),
        (say("Tokens with the most loss"), "tokens", _tokens(result, say)),
        (say("Does it know what it does not know?"), "calibration", _calibration(result, say)),
        (say("What is exact, what is a sample"), "how", _how(result, shown, say)),
    ]
    if result.curves:
        sections.insert(-1, (say("Loss over training"), "training", _training(result, say)))
    return document(
        say("Where the model errs"),
        _tiles(result, say),
        sections,
        lang=say.lang,
        script=importlib.resources.files("lslm.report").joinpath("analysis.js").read_text("utf-8"),
    )


def _tiles(result: Analysis, say: Words) -> list[Markup]:
    error = "" if result.loss_error is None else f" ± {result.loss_error:.3f}"
    tiles = [
        tile(f"{result.loss:.3f}{error}", say("loss"), say("nats per token")),
        tile(f"{result.bits_per_byte:.3f}", say("bits per byte"), say("comparable")),
        tile(f"{result.entropy:.3f}", say("expected loss"), say("mean entropy")),
        tile(f"{result.n_tokens:,}", say("tokens"), say("all of them in the sums")),
    ]
    if result.other_loss is not None:
        half = "" if result.difference_error is None else f" ± {result.difference_error:.3f}"
        difference = f"{result.other_loss - result.loss:+.3f}{half}"
        tiles.insert(1, tile(difference, say("the other less this"), say("nats per token")))
    return tiles


def _slices(result: Analysis, say: Words) -> list[Child]:
    by_dimension: dict[str, list[SliceRow]] = {}
    for row in result.slices:
        by_dimension.setdefault(row.dimension, []).append(row)
    parts: list[Child] = [element("p", _headline(by_dimension, say), class_="lead")]
    parts.append(element("p", say("slices-note"), class_="note"))
    for dimension, rows in by_dimension.items():
        parts.append(element("h3", say(f"dimension {dimension}")))
        parts.append(_slice_table(rows[:MAX_ROWS], say))
        if len(rows) > MAX_ROWS:
            folded = _slice_table(rows[MAX_ROWS:], say)
            parts.append(details(say("{n} more", n=len(rows) - MAX_ROWS), folded))
    return parts


def _headline(by_dimension: dict[str, list[SliceRow]], say: Words) -> str:
    """Return the sentence that a reader should leave with."""
    found = []
    for dimension in ("kind", "source", "frequency", "seen"):
        rows = [r for r in by_dimension.get(dimension, []) if r.excess > 0]
        if rows:
            tokens = rows[0].n_tokens / sum(row.n_tokens for row in by_dimension[dimension])
            name, share = _name(rows[0], say), f"{rows[0].share:.0%}"
            found.append(say("headline", name=name, tokens=f"{tokens:.0%}", share=share))
    return " ".join(found)


def _name(row: SliceRow, say: Words) -> str:
    if row.dimension == "source":
        return row.name
    if row.dimension in {"kind", "seen"}:
        return say(row.name)
    return say(f"dimension {row.dimension}") + ": " + _band(row.name, say)


def _band(name: str, say: Words) -> str:
    if name in {"never", "beyond 1,000"}:
        return say(name)
    return name.replace(" and more", say(" and more"))


def _slice_table(rows: Sequence[SliceRow], say: Words) -> Markup:
    has_other = any(row.difference is not None for row in rows)
    head = [
        say("slice"),
        say("tokens"),
        say("share of the loss"),
        say("loss ± error"),
        say("expected"),
        say("to win, nats"),
    ]
    lines = []
    for row in rows:
        name = row.name if row.dimension == "source" else _short_name(row, say)
        cells: list[Child] = [
            name,
            f"{row.n_tokens:,}",
            [
                element("i", class_="share", style=f"width:{60 * row.share:.1f}px"),
                f" {row.share:.1%}",
            ],
            f"{row.loss:.3f}{_half(row.loss_error)}",
            f"{row.entropy:.3f}",
            f"{row.excess:,.0f}" if row.excess else "",
        ]
        if has_other:
            cells.append(f"{row.difference or 0.0:+.3f}{_half(row.difference_error)}")
        lines.append(cells)
    if has_other:
        head.append(say("the other less this"))
    return table(head, lines)


def _short_name(row: SliceRow, say: Words) -> str:
    if row.dimension in {"kind", "seen"}:
        return say(row.name)
    return _band(row.name, say)


def _half(error: float | None) -> str:
    return "" if error is None else f" ± {error:.3f}"


class _Text:
    """The tokens of passages, as running text and on one line."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = {token: name for name, token in tokenizer.special_tokens.items()}

    def line(self, token: int) -> str:
        """Return a token on one line, with white space visible."""
        if token in self._special:
            return self._special[token]
        try:
            return visible_token(self._tokenizer.token_bytes(token))
        except KeyError:
            return f"⟨{token}⟩"

    def running(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token; a character of several tokens stands with the last."""
        texts, pending = [], b""
        for token in ids:
            if token in self._special:
                texts.append(f"⟨{self._special[token].strip('<|>')}⟩")
                continue
            try:
                pending += self._tokenizer.token_bytes(token)
            except KeyError:
                texts.append(f"⟨{token}⟩")
                continue
            try:
                text, pending = pending.decode(), b""
            except UnicodeDecodeError as error:
                is_begun = error.end == len(pending) and error.reason == "unexpected end of data"
                text = "" if is_begun else running_token(pending)
                pending = pending if is_begun else b""
            texts.append(text.replace("\n", "⏎\n").replace("\t", "⇥\t"))
        return [text or "·" for text in texts]


def _passages(result: Analysis, shown: Sequence[Shown], text: _Text, say: Words) -> list[Child]:
    if not shown:
        return [element("p", say("No document is long enough to show."), class_="note")]
    used: dict[int, int] = {}
    parts: list[Child] = [
        element("p", say("text-help-two" if result.other else "text-help")),
        _legend(say, is_difference=bool(result.other)),
    ]
    rows = []
    for one in shown:
        parts.append(_passage(one, text, say))
        rows.append([_token_data(one, k, used) for k in range(len(one.ids))])
    parts.append(
        data_block(
            "passages",
            {
                "tokens": [text.line(token) for token in used],
                "passages": rows,
                "words": {"loss": say("loss"), "other": say("the other: loss")},
            },
        )
    )
    return parts


def _token_data(one: Shown, k: int, used: dict[int, int]) -> list[object]:
    """Return what the panel shows of a token; ids are places in the list of used tokens."""

    def place(token: int) -> int:
        return used.setdefault(token, len(used))

    def listed(alternatives: object) -> list[list[int]]:
        ids, p = alternatives.ids[k].tolist(), alternatives.probabilities[k]  # type: ignore[attr-defined]
        return [[place(i), round(1000 * float(q))] for i, q in zip(ids, p, strict=True)]

    row: list[object] = [place(one.ids[k]), round(one.nats[k], 3), listed(one.alternatives)]
    if one.other_nats is not None and one.other_alternatives is not None:
        row += [round(one.other_nats[k], 3), listed(one.other_alternatives)]
    return row


def _passage(one: Shown, text: _Text, say: Words) -> Markup:
    passage = one.passage
    spans = []
    for k, piece in enumerate(text.running(one.ids)):
        if one.other_nats is None:
            level = f"l{sum(one.nats[k] >= bound for bound in LEVELS)}"
        else:
            difference = one.other_nats[k] - one.nats[k]
            size = sum(abs(difference) >= bound for bound in DIFFERENCES)
            level = ("w" if difference > 0 else "b") + str(size)
        spans.append(element("span", piece, class_=level))
    cut = say("the first {n} of {all} tokens", n=len(one.ids), all=f"{passage.n_tokens:,}")
    caption = [
        element("b", say(passage.why)),
        f" · {passage.source} · {passage.loss:+.3f} "
        if one.other_nats
        else f" · {passage.source} · ",
        "" if one.other_nats else f"{passage.loss:.3f} ",
        say("nats per token"),
        f" · {cut}" if len(one.ids) < passage.n_tokens else "",
    ]
    label = f"{say(passage.why)}, {passage.source}. {say('keyboard-help')}"
    return element(
        "div",
        element("p", caption, class_="note"),
        element(
            "pre", spans, class_="colored", tabindex="0", role="group", aria_label=label, dir="auto"
        ),
        element("div", class_="panel", aria_live="polite"),
        class_="passage",
    )


def _legend(say: Words, *, is_difference: bool) -> Markup:
    if is_difference:
        names = [
            ("b4", say("the other is better")),
            ("b1", ""),
            ("w1", ""),
            ("w4", say("the other is worse")),
        ]
    else:
        names = [(f"l{k}", f"≥ {LEVELS[k - 1]:g}" if k else say("sure")) for k in range(10)]
    boxes = [[element("span", name or "\u00a0\u00a0", class_=level), " "] for level, name in names]
    return element("p", say("nats: "), boxes, class_="legend")


def _worst(result: Analysis, say: Words) -> list[Child]:
    groups: dict[str, list[WorstToken]] = {}
    for row in result.worst:
        groups.setdefault(row.token, []).append(row)
    rows = [
        (
            element("code", token),
            f"{len(group):,}",
            f"{group[0].nats:.2f}",
            [_context(row, say) for row in group[:MAX_CONTEXTS]],
        )
        for token, group in list(groups.items())[:MAX_WORST]
    ]
    head = (say("token"), say("times"), say("nats"), say("in its text"))
    return [
        element("p", say("worst-note", n=len(result.worst)), class_="note"),
        table(head, rows, text_columns=(0, 3)),
    ]


def _context(row: WorstToken, say: Words) -> Markup:
    """Return one of the worst tokens in its text, with the model's choice where it is known."""
    name = say("model's choice")
    choice = [f" {name}: ", element("code", row.best)] if row.best else None
    return element(
        "div",
        row.before[-60:],
        element("b", f"⟨{row.token}⟩"),
        row.after[:24],
        element("small", f" {row.nats:.2f}", choice),
        class_="context",
    )


def _tokens(result: Analysis, say: Words) -> list[Child]:
    rows = [
        (element("code", r.token), f"{r.n_tokens:,}", f"{r.nats:,.0f}", f"{r.loss:.3f}")
        for r in result.top_tokens
    ]
    head = (say("token"), say("times"), say("nats in all"), say("nats each"))
    parts: list[Child] = [table(head, rows)]
    if result.repeated:
        repeated = [
            (element("code", r.token), f"{r.predicted:,}", f"{r.shown:,}") for r in result.repeated
        ]
        parts += [
            element("h3", say("What the model repeats")),
            element("p", say("repeats-note"), class_="note"),
            table((say("token"), say("first choice"), say("occurs")), repeated),
        ]
    return parts


def _calibration(result: Analysis, say: Words) -> list[Child]:
    diagonal = [(0.0, 0.0), (1.0, 1.0)]
    probability = line_chart(
        [
            Series(label=say("perfect"), points=diagonal, style="faint", colour=3),
            Series(
                label=say("first choice"),
                points=[(b.expected, b.observed) for b in result.probability_bins],
                style="dots",
                errors=[2 * (b.error or 0.0) for b in result.probability_bins],
            ),
        ],
        x_label=say("probability"),
        y_label=say("share that is right"),
        from_zero=True,
    )
    highest = max((b.expected for b in result.entropy_bins), default=1.0)
    entropy = line_chart(
        [
            Series(
                label=say("perfect"),
                points=[(0.0, 0.0), (highest, highest)],
                style="faint",
                colour=3,
            ),
            Series(
                label=say("measured"),
                points=[(b.expected, b.observed) for b in result.entropy_bins],
                style="dots",
                colour=1,
                errors=[2 * (b.error or 0.0) for b in result.entropy_bins],
            ),
        ],
        x_label=say("expected loss: entropy, nats"),
        y_label=say("loss, nats per token"),
        from_zero=True,
    )
    text = say(
        "calibration-note",
        probability=f"{result.probability_error:.3f}",
        entropy=f"{result.expected_loss_error:.3f}",
    )
    tables = [
        table(
            (say(name), say("tokens"), say("expected"), say("measured")),
            [
                (
                    f"{b.low:g}–{b.high:g}",
                    f"{b.n_tokens:,}",
                    number(b.expected),
                    number(b.observed) + _half(b.error),
                )
                for b in bins
            ],
        )
        for name, bins in (
            ("probability", result.probability_bins),
            ("entropy", result.entropy_bins),
        )
    ]
    return [
        element("p", text),
        element("div", [probability, entropy], class_="charts"),
        details(say("the same as a table"), tables),
    ]


def _training(result: Analysis, say: Words) -> list[Child]:
    """Return the loss of all tokens and of chosen ids at each checkpoint."""
    whole, *others = result.curves
    groups = [others[k : k + CURVES_OF_A_CHART] for k in range(0, len(others), CURVES_OF_A_CHART)]
    charts = [
        line_chart(
            [_curve_series(one, say, k) for k, one in enumerate([whole, *group])],
            x_label=say("step"),
            y_label=say("loss, nats per token"),
        )
        for group in groups or [[]]
    ]
    head = [say("step"), *(_curve_name(one, say) for one in result.curves)]
    rows = [
        [
            f"{point.step:,}",
            *(
                f"{one.points[k].loss:.3f}{_half(one.points[k].loss_error)}"
                for one in result.curves
            ),
        ]
        for k, point in enumerate(whole.points)
    ]
    return [
        element("p", say("training-note"), class_="note"),
        element("div", charts, class_="charts"),
        table(head, rows),
    ]


def _curve_name(curve: LossCurve, say: Words) -> str:
    return say("all tokens") if curve.id is None else f"{curve.token} ({curve.n_tokens:,})"


def _curve_series(curve: LossCurve, say: Words, colour: int) -> Series:
    return Series(
        label=_curve_name(curve, say),
        points=[(float(point.step), point.loss) for point in curve.points],
        style="dots",
        colour=colour,
        errors=[2 * (point.loss_error or 0.0) for point in curve.points],
    )


def _how(result: Analysis, shown: Sequence[Shown], say: Words) -> list[Child]:
    sampled = sum(len(one.ids) for one in shown)
    rows = {
        say("model"): result.run,
        say("the other"): result.other,
        say("protocol"): f"{result.protocol}, {result.dtype}",
        say("exact"): say("exact-note", n=f"{result.n_tokens:,}", d=f"{result.n_documents:,}"),
        say("sample"): say(
            "sample-note", n=f"{sampled:,}", difference=f"{result.rerun_difference:.1e}"
        ),
        say("files"): f"{result.output}/{_file_names(result)}, scores/",
    }
    pairs = [[element("dt", name), element("dd", value)] for name, value in rows.items() if value]
    return [element("dl", pairs)]


def _file_names(result: Analysis) -> str:
    """Return the names of the files with the rows of the page."""
    names = [name for name in FILES if name != "training" or result.curves]
    endings = "{jsonl,parquet}" if has_parquet() else "jsonl"
    return f"{{{','.join(names)}}}.{endings}"
