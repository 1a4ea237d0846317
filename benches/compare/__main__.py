"""Compare lslm with its peers, in one run, and keep a dated record.

    make bench-compare                                   # everything; two records in benches/record
    make bench-compare ARGS="--rows encode/english"      # rows whose name begins so
    make bench-compare ARGS="--quick --rows train"       # one round, for a look; never a record

Each measurement is a fresh process in the environment of the package; a round runs all packages
one after the other. A finished row is kept, and the records are written once all rows are there.
"""

from __future__ import annotations

import argparse
import sys

from machine import DATA, ROOT, commit, record_path, write_record

from compare import environments, vocabularies
from compare.corpora import Corpora
from compare.encoders import ENCODERS
from compare.rows import Rows
from compare.session import Session
from compare.trainers import TRAINERS


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="compare", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", nargs="*", metavar="NAME", help="names or their beginnings")
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="these and the reference alone")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="5")
    parser.add_argument("--quick", action="store_true", help="one round, kept apart, no record")
    parser.add_argument("--list", action="store_true", help="print the names of all rows")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is missing: the comparison needs the real corpora; set LSLM_DATA")

    work = ROOT / "target/compare"
    quick = arguments.quick or arguments.peers is not None
    rounds = 1 if arguments.quick else arguments.rounds
    rows = Rows(
        Corpora(DATA, work / "corpora"), vocabularies.unpack(DATA, work / "vocabularies"), work
    )
    if arguments.list:
        print(*rows.names(), sep="\n")
        return
    session = Session(
        work / ("quick" if quick else f"{commit()}-{rounds}-rounds"), rounds, arguments.peers
    )
    for name in rows.names():
        wanted = arguments.rows is None or any(name.startswith(r) for r in arguments.rows)
        if wanted and (quick or session.finished(name) is None):
            session.measure(rows.row(name))
    if not quick:
        write(rows, session)


def write(rows: Rows, session: Session) -> None:
    """Write the records whose rows are all there."""
    for kind, packages in (("encode", ENCODERS), ("train", TRAINERS)):
        names = [n for n in rows.names() if n.startswith("train/") == (kind == "train")]
        found = {name: session.finished(name) for name in names}
        missing = [name for name, row in found.items() if row is None]
        if missing:
            print(f"no record of {kind} yet: {len(missing)} rows are missing, {missing[0]} first")
            continue
        versions = {e: environments.versions(e) for e in environments.PEERS}
        peers = {
            peer: f"{package.distribution} {versions[package.environment][package.distribution]}"
            for peer, package in packages.items()
            if package.environment in versions
        }
        content = {"peers": peers, "rounds": session.rounds, "rows": found}
        write_record(record_path(f"compare-{kind}"), content)


if __name__ == "__main__":
    main()
