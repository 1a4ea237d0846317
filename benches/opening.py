"""How long a loader of many shards takes to its first batch, in a fresh process, and how many maps.

    python benches/opening.py                 # 50 sources, 75,000 shards
    python benches/opening.py --shards 7450   # 10^12 tokens of two bytes in shards of 256 MiB

All shards of a source are links to one small file, so the data fit anywhere; opening reads the
manifests, and the first batch the header pages of its rows' shards. The time is that after the
imports; CPU time is printed beside it, since a busy machine makes the other one worthless.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from lslm.data import write_dataset

CHILD = """
import sys, time
import numpy, lslm
from lslm.data import Mixture, TokenLoader
paths = sys.argv[1:]
wall, cpu = time.perf_counter(), time.process_time()
mixture = Mixture(paths, names=[str(i) for i in range(len(paths))])
loader = TokenLoader(mixture, batch_size=16, sequence_length=2048, output="numpy", prefetch=0)
batch = next(loader)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
for _ in range(200):
    next(loader)
own = sum(".lslm" in line for line in open("/proc/self/maps"))
print(wall, cpu, own, sum(len(d.manifest["shards"]) for d in loader.datasets))
"""


def link_shards(folder: Path, n_shards: int) -> None:
    """Write a dataset of one shard into ``folder``, and list it ``n_shards`` times by new names."""
    write_dataset(folder, [np.arange(20_000) % 50_000], vocab_size=50_257)
    manifest = json.loads((folder / "manifest.json").read_text())
    (shard,) = manifest["shards"]
    names = [f"part-000000-{index:06}.lslm" for index in range(n_shards)]
    for name in names:
        (folder / name).hardlink_to(folder / shard["file"])
    manifest["shards"] = [shard | {"file": name} for name in names]
    for count in ("tokens", "documents", "bytes"):
        manifest[count] *= n_shards
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def main() -> None:
    """Write the links, and measure five fresh processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", type=int, default=50)
    parser.add_argument("--shards", type=int, default=75_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(source) for source in range(arguments.sources)]
        for source, path in enumerate(paths):
            # not the same number for all: equal contents would be the same source
            link_shards(path, arguments.shards // arguments.sources - source + len(paths) // 2)
        for _ in range(5):
            command = [sys.executable, "-c", CHILD, *map(str, paths)]
            result = subprocess.run(command, check=True, capture_output=True, text=True)
            wall, cpu, maps, shards = map(float, result.stdout.split())
            print(f"{shards:,.0f} shards: {wall:.3f} s wall, {cpu:.3f} s CPU, {maps:.0f} maps")


if __name__ == "__main__":
    main()
