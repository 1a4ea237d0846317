"""The virtual environments of the peers, and running one job in one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Each has a file of pinned requirements here; an environment variable points at one made elsewhere.
PEERS = {"peers": "LSLM_PEERS", "peers-v1": "LSLM_PEERS_V1"}
SECONDS = 900


def python(environment: str) -> str:
    """Return the interpreter of an environment."""
    if environment == "lslm":
        return sys.executable
    folder = Path(os.environ.get(PEERS[environment]) or ROOT / f".venv-{environment}")
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def versions(environment: str) -> dict[str, str]:
    """Return all distributions of an environment with their versions."""
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({d.name: d.version for d in m.distributions()}))"
    )
    done = subprocess.run(
        [python(environment), "-c", code], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def run(environment: str, job: dict) -> dict:
    """Run one job in a fresh process; what goes wrong is ``{"failed": why}``."""
    threads = str(job["threads"])
    names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    settings = dict.fromkeys(names, threads) | {
        "TOKENIZERS_PARALLELISM": "true" if job["threads"] > 1 else "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(HERE.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [python(environment), "-m", "compare.worker"],
            input=json.dumps(job),
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {SECONDS} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"exit status {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])
