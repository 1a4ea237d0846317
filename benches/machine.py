"""The machine that a record was made on, and the path of the record."""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import lslm

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LSLM_DATA", ROOT.parent / "shared" / "data"))


def machine() -> dict:
    """Return what the figures depend on: machine, versions, commit."""
    facts = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "lslm": lslm.__version__,
        "commit": commit(),
    }
    try:
        import torch
    except ImportError:
        return facts
    return facts | {"torch": torch.__version__}


def commit() -> str:
    """Return the commit, with "+" after it if the sources differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "rust", "python")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def record_path(kind: str = "") -> Path:
    """Return where today's record of this machine belongs; exit if there is one already."""
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    words = re.findall("[^\\W_]+", f"{_cpu()} {kind}".lower())
    path = ROOT / "benches/record" / f"{'-'.join([date, *words])}.json"
    if path.exists():
        sys.exit(f"{path.name} is there already, and a record is never edited: remove it yourself")
    return path


def write_record(path: Path, content: dict) -> None:
    """Write ``content`` under the date and machine that ``path`` and this process name."""
    record = {"date": path.name[: len("2026-01-01")], "machine": machine(), **content}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path)


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
