"""Make the tables and pictures of docs/performance.md from the records in benches/record.

    python benches/figures.py

The newest record of a kind counts. Tables stand between two markers in the page; what is between
them is replaced, and a test holds page and records equal.
"""

from __future__ import annotations

import json
import statistics
import textwrap
from pathlib import Path

from compare.session import ALONE
from picture import Bar, Group, Series, draw, draw_points

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/performance.md"
CORPORA = {"english": "English", "chinese": "Chinese", "code": "code", "many": "many languages"}
PHASES = ("cold", "steady", "replay")
TRAINING = (
    "A vocabulary of 32,000 on two threads. *In order* is how many tokens come before the first"
    " that differs from those of tokenizers, *in common* how many both have. bpeasy runs once,"
    " tokenizers at most three times."
)


def newest(kind: str, folder: Path = ROOT / "benches/record") -> dict | None:
    """Return the newest record of ``kind``, with its file's name."""
    paths = sorted(folder.glob(f"*-{kind}.json"))
    if not paths:
        return None
    return {"file": paths[-1].name, **json.loads(paths[-1].read_text(encoding="utf-8"))}


class Side:
    """The runs of one side of a row."""

    def __init__(self, name: str, row: dict) -> None:
        self.name, self.row = name, row
        self.runs = [r for r in row["runs"] if r["side"] == name and "failed" not in r]
        self.failed = next((r["failed"] for r in row["runs"] if "failed" in r), "")
        self.same = row.get("same", {}).get(name, True)

    def median(self, key: str) -> float:
        return statistics.median(run[key] for run in self.runs)

    def rate(self, phase: str) -> float:
        """Return the median speed in MB/s."""
        n_bytes = self.row["bytes"][phase == "steady"]
        return n_bytes / 1e6 / self.median(phase)

    def rates(self, phase: str) -> tuple[float, float]:
        """Return the lowest and the highest speed in MB/s."""
        n_bytes = self.row["bytes"][phase == "steady"] / 1e6
        seconds = [run[phase] for run in self.runs]
        return n_bytes / max(seconds), n_bytes / min(seconds)


def sides(row: dict) -> dict[str, Side]:
    """Return the sides of a row that have a figure."""
    found = {name: Side(name, row) for name in dict.fromkeys(r["side"] for r in row["runs"])}
    return {name: side for name, side in found.items() if side.runs}


def peers(row: dict) -> dict[str, Side]:
    """Return the sides whose figures count against lslm's: others with the same result."""
    ours = ("lslm", "memcpy")
    return {name: side for name, side in sides(row).items() if name not in ours and side.same}


def table(head: list[str], rows: list[list[str]], left: int = 1) -> list[str]:
    """Return the lines of a Markdown table; all but the first ``left`` columns are numbers."""
    ruler = ["---"] * left + ["---:"] * (len(head) - left)
    return ["| " + " | ".join(cells) + " |" for cells in (head, ruler, *rows)]


def ratio(value: float, other: float) -> str:
    """Return how many times as fast as the other lslm is; marked when it is slower."""
    times = value / other
    return f"{times:.2f} ×" + (" (behind)" if times < 1 else "")


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


def preface(record: dict) -> list[str]:
    """Return what was measured where."""
    at = record["machine"]
    packages = ", ".join(record["peers"].values())
    runs = [r for row in record["rows"].values() if row.get("threads") == 1 for r in row["runs"]]
    shared = sum(run.get("share", 1) < ALONE for run in runs)
    line = (
        f"`benches/record/{record['file']}`: lslm {at['lslm']} at {at['commit']}; {at['cpu']},"
        f" {at['cores']} cores, {at['system']}, Python {at['python']}; {packages};"
        f" {record['rounds']} rounds."
        + (f" In {shared} of {len(runs)} runs on one thread others used the core." * (shared > 0))
    )
    return [line, ""]


def where(name: str) -> str:
    """Return what a reader sees of ``encode/english/o200k_base``."""
    _, corpus, encoding = name.split("/")
    return f"{CORPORA[corpus]}, {encoding}"


def speeds(record: dict, work: str) -> list[str]:
    """Return the table of lslm against the best peer, in each phase."""
    phases = ("cold", "steady") if work == "decode" else PHASES
    lines = []
    for name, row in record["rows"].items():
        if not name.startswith(work + "/"):
            continue
        ours, others = sides(row)["lslm"], peers(row)
        cells = [where(name)]
        for phase in phases:
            best = max(others.values(), key=lambda side: side.rate(phase))
            least, most = ours.rates(phase)
            cells += [
                f"{number(ours.rate(phase))} ({number(least)} – {number(most)})",
                f"{number(best.rate(phase))} {best.name}",
                ratio(ours.rate(phase), best.rate(phase)),
            ]
        if work == "decode":
            copy = sides(row)["memcpy"]
            hub = others.get("tokenizers-1.0")
            cells.append(f"{ours.rate('steady') / copy.rate('steady'):.2f}")
            cells.append(f"{ours.rate('steady') / hub.rate('steady'):.1f} ×" if hub else "–")
        lines.append(cells)
    head = ["text"]
    for phase in phases:
        head += [f"lslm, {phase}", "best peer", "ratio"]
    if work == "decode":
        head += ["of a memcpy", "of tokenizers 1.0"]
    return [*table(head, lines), ""]


def everyone(record: dict, work: str) -> list[str]:
    """Return the table of all packages: MB/s cold and steady."""
    names = ["lslm", *(name for name in record["peers"])]
    if work == "decode":
        names.append("memcpy")
    lines = []
    for name, row in record["rows"].items():
        if not name.startswith(work + "/"):
            continue
        found = sides(row)
        cells = [where(name)]
        for side in names:
            if side not in found:
                failed = any(r["side"] == side for r in row["runs"])
                cells.append("failed" if failed else "–")
                continue
            values = " · ".join(number(found[side].rate(p)) for p in ("cold", "steady"))
            cells.append(values + ("" if found[side].same else " *ids differ*"))
        lines.append(cells)
    return [*table(["MB/s, cold · steady", *names], lines), ""]


def loading(record: dict) -> list[str]:
    rows = {n: sides(r) for n, r in record["rows"].items() if n.startswith("load/")}
    names = ["lslm", *record["peers"]]
    lines = []
    for name, found in rows.items():
        others = [side.median("load") for peer, side in found.items() if peer != "lslm"]
        cells = [name.partition("/")[2].replace("/", ".")]
        cells += [f"{found[p].median('load'):.3f}" if p in found else "–" for p in names]
        cells.append(ratio(min(others), found["lslm"].median("load")))
        lines.append(cells)
    return [*table(["seconds to the first token", *names, "best peer ÷ lslm"], lines), ""]


def threads(record: dict) -> list[str]:
    lines = []
    for name, row in record["rows"].items():
        if name.startswith("threads/"):
            one, more = (side for _, side in sorted(sides(row).items()))
            times = [f"{more.rate(phase) / one.rate(phase):.2f} ×" for phase in PHASES]
            lines.append([where(name), *times, "yes" if more.same else "no"])
    return [*table(["two threads against one", *PHASES, "same ids"], lines), ""]


def tokenizing(record: dict) -> list[str]:
    lines = []
    for name, row in record["rows"].items():
        if not name.startswith("tokenize/"):
            continue
        found = sides(row)
        size = row["bytes"][0] / 1e6
        whole, read, encode = (
            size / found[side].median("seconds")
            for side in ("files to shards", "read only", "encode only")
        )
        bound = 1 / (1 / read + 1 / encode)
        memory = max(run["peak_memory"] for run in found["files to shards"].runs)
        lines.append(
            [
                name.partition("/")[2].replace("-threads", " threads").replace("/", ", "),
                *(number(v) for v in (whole, read, encode, bound)),
                f"{whole / bound:.2f}",
                f"{memory / 1e6:,.0f}",
            ]
        )
    head = ["JSONL, MB/s", "files to shards", "read only", "encode only"]
    head += ["1/(1/encode + 1/read)", "of that", "peak MB"]
    return [*table(head, lines), ""]


def encoding(record: dict) -> list[str]:
    """Return the section on encoding and decoding."""
    return [
        *preface(record),
        "![Encoding speed against the best peer](performance-encode.svg)",
        "",
        "Documents of about 4 kB, one thread on one core, MB/s: median, (lowest – highest).",
        "",
        *speeds(record, "encode"),
        "All packages; those whose ids differ do not count as the best peer:",
        "",
        *everyone(record, "encode"),
        "100,000 lines of text in one call:",
        "",
        *speeds(record, "short"),
        *everyone(record, "short"),
        "Decoding document by document, or in the one call for all that a package has:",
        "",
        *speeds(record, "decode"),
        *everyone(record, "decode"),
        "Loading:",
        "",
        *loading(record),
        "Threads:",
        "",
        *threads(record),
        "From files to shards:",
        "",
        *tokenizing(record),
    ]


def training(record: dict) -> list[str]:
    """Return the section on learning a vocabulary."""
    lines = [
        *preface(record),
        "![Time to learn a vocabulary](performance-train.svg)",
        "",
        TRAINING,
        "",
    ]
    cells = []
    for name, row in record["rows"].items():
        found = sides(row)
        best = min(s.median("seconds") for p, s in found.items() if p != "lslm")
        for side in sorted(found.values(), key=lambda side: side.median("seconds")):
            seconds = side.median("seconds")
            size = row["bytes"][0] / 1e6
            cells.append(
                [
                    f"{where(name.replace('train/', 'x/'))}, {size:.0f} MB",
                    side.name,
                    f"{seconds:.2f}",
                    f"{side.median('processor_seconds'):.2f}",
                    f"{max(r['peak_memory'] for r in side.runs) / 1e6:,.0f}",
                    f"{row['in_order'][side.name]:,}",
                    f"{row['in_common'][side.name]:,}",
                    ratio(best, seconds) if side.name == "lslm" else "",
                ]
            )
    head = ["text, pattern", "package", "s", "processor s", "peak MB", "in order", "in common"]
    return [*lines, *table([*head, "best peer ÷ lslm"], cells, left=2), ""]


def on_gpu(record: dict) -> list[str]:
    """Return the section on training with a GPU."""
    at, figures = record["machine"], record["figures"]
    place = (
        f"`benches/record/{record['file']}`: lslm {at['lslm']} at {at['commit']}; {record['gpu']},"
        f" torch {at['torch']}, Python {at['python']}, {at['cores']} cores of {at['cpu']}."
    )
    speeds = [
        [
            name.removeprefix("train/").replace("/", ", "),
            f"{f['median']:,} ({f['min']:,} – {f['max']:,})",
            f"{100 * f['share_of_peak']:.0f} %" if "share_of_peak" in f else "–",
            f"{f['memory_gb']:.0f}",
            f"{f['first_step_s']:.0f}",
        ]
        for name, f in figures.items()
        if name.startswith("train/")
    ]
    head = ["model", "tokens/s (lowest – highest)", "of the peak", "GB", "first step, s"]
    lines = [place, "", *table(head, speeds), ""]
    learned = [
        [name.partition("/")[2], f"{f['median']:.0f}", f"{f['best_validation_loss']:.4f}"]
        for name, f in figures.items()
        if name.startswith("tinyshakespeare/")
    ]
    lines += [*table(["tinyshakespeare", "s", "least validation loss"], learned), ""]
    measured = [
        [name, f"{f['median']:,} {f['unit']}", str(f.get("loss", ""))]
        for name, f in figures.items()
        if name.startswith(("evaluate/", "generate"))
    ]
    return [*lines, *table(["that model", "speed", "loss"], measured), ""]


def encode_picture(record: dict) -> str:
    """Return the picture of encoding: lslm and each peer as a multiple of the best peer."""
    groups = []
    for name, row in record["rows"].items():
        if name.split("/")[0] not in ("encode", "short"):
            continue
        bars = []
        for phase in ("cold", "steady"):
            others = {p: side.rate(phase) for p, side in peers(row).items()}
            best = max(others, key=lambda peer: others[peer])
            value = sides(row)["lslm"].rate(phase) / others[best]
            marks = [rate / others[best] for rate in others.values()]
            bars.append(Bar(phase, value, marks, f"{best} {number(others[best])} MB/s"))
        title = where(name) + (", lines" if name.startswith("short/") else "")
        groups.append(Group(title, bars))
    return draw("Encoding speed; 1 is the best peer of the row, marks are the peers", groups)


def train_picture(record: dict) -> str:
    """Return the picture of learning: how many times as fast as the best peer."""
    groups = []
    for name, row in record["rows"].items():
        found = sides(row)
        others = {p: 1 / s.median("seconds") for p, s in found.items() if p != "lslm"}
        best = max(others, key=lambda peer: others[peer])
        value = 1 / found["lslm"].median("seconds") / others[best]
        marks = [rate / others[best] for rate in others.values()]
        label = f"{best} {1 / others[best]:.1f} s"
        groups.append(Group(where(name), [Bar("", value, marks, label)]))
    return draw("Speed of learning 32,000 tokens; 1 is the best peer of the row", groups)


def letters(record: dict) -> list[str]:
    """Return the section on learning letters beside nanoGPT."""
    at, found, rounds = record["machine"], record["summary"], record["settings"]["rounds"]
    place = (
        f"`benches/record/{record['file']}`: `lslm train char` and nanoGPT's own script with the"
        f" arguments of its README for a CPU, {counted(record['settings']['threads'], 'thread')},"
        f" {counted(rounds, 'round')} in turns; lslm {at['lslm']} at {at['commit']}, torch"
        f" {at['torch']}, {at['cpu']}. Both read tinyshakespeare by letters in windows of 64; each"
        " model is scored on the whole validation text. CPU time is that of the whole process, with"
        " imports. The settings of `char` were chosen on the training text, its seeds named before."
    )
    cells = []
    for side, name in (("nanogpt", "nanoGPT"), ("lslm", "lslm `char`")):
        rows = record["runs"][side]
        seeds = [row["seed"] for row in rows]
        losses, seconds = ([row[key] for row in rows] for key in ("loss", "cpu"))
        cells.append(
            [
                f"{name}, seeds {min(seeds)} to {max(seeds)}",
                f"{rows[0]['parameters']:,}",
                f"{min(losses):.4f} to {max(losses):.4f}",
                f"{min(seconds):.1f} to {max(seconds):.1f}",
            ]
        )
    reached = (
        f"{found['reached']} runs reach nanoGPT's {found['goal']}, in {found['times less, median']}"
        f" (median) and {found['times less, worst']} (worst) times less CPU time."
    )
    head = ["", "parameters", "validation loss", "CPU seconds"]
    picture = "![Validation loss against CPU seconds, nanoGPT and lslm](performance-char.svg)"
    return [place, "", picture, "", *table(head, cells), "", reached, ""]


def counted(count: int, noun: str) -> str:
    """Return ``count`` with ``noun``, which an s makes plural."""
    return f"{count} {noun}{'s' if count > 1 else ''}"


def char_picture(record: dict) -> str:
    """Return the picture of loss against CPU seconds; lines join the medians of equal lengths."""
    series = []
    for side, label, kind in (("nanogpt", "nanoGPT", "behind"), ("lslm", "lslm char", "ahead")):
        runs = record["runs"][side]
        groups = {"whole": runs}
        for row in record.get("shorter", {}).get(side, []):
            groups.setdefault(row["share"], []).append(row)
        middle = [
            tuple(statistics.median(row[key] for row in rows) for key in ("cpu", "loss"))
            for rows in groups.values()
        ]
        points = [(row["cpu"], row["loss"]) for rows in groups.values() for row in rows]
        series.append(Series(label, kind, points, middle))
    title = "Letters of tinyshakespeare on one core: each point is a whole run"
    labels = ("CPU seconds, imports included", "validation loss, nats per letter")
    return draw_points(title, labels, series, record["summary"]["goal"])


def replaced(page: str, kind: str, lines: list[str]) -> str:
    """Return ``page`` with ``lines`` between the markers of ``kind``; prose is wrapped."""
    begin, end = f"<!-- {kind}: begin -->", f"<!-- {kind}: end -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"{begin} and {end} are not in the page"
    shown = [line if line.startswith(("|", "!")) else wrap(line) for line in lines]
    return "\n".join([before + begin, *shown, end]) + after


def wrap(text: str) -> str:
    """Return ``text`` in lines of at most 150 characters."""
    return textwrap.fill(text, 150, break_long_words=False, break_on_hyphens=False)


def outputs(page: str, folder: Path = ROOT / "benches/record") -> dict[str, str]:
    """Return what page and pictures must be, by the names of the files in docs."""
    files = {}
    for kind, records, section, picture in (
        ("encode", "compare-encode", encoding, encode_picture),
        ("train", "compare-train", training, train_picture),
        ("gpu", "nvidia-*", on_gpu, None),
        ("char", "char", letters, char_picture),
    ):
        record = newest(records, folder)
        if record is None:
            page = replaced(page, kind, ["No record yet."])
            continue
        page = replaced(page, kind, section(record))
        if picture is not None:
            files[f"performance-{kind}.svg"] = picture(record)
    return {"performance.md": page, **files}


def main() -> None:
    for name, text in outputs(PAGE.read_text(encoding="utf-8")).items():
        (PAGE.parent / name).write_text(text, encoding="utf-8")
        print(PAGE.parent / name)


if __name__ == "__main__":
    main()
