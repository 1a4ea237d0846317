"""Write THIRD-PARTY-LICENSES: which crates a wheel links, and the texts their licences ask for.

    python rust/python/third_party_licenses.py           # after a change of Cargo.lock
    python rust/python/third_party_licenses.py --check   # exit 1 if the file is not current

A crate that offers Apache-2.0 is used under it: LICENSE holds that text. For every other crate
the file repeats the licence files that it ships, and each crate's NOTICE. Crates are those of the
Linux wheel; procedural macros run at build time and are not linked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "THIRD-PARTY-LICENSES"
PLATFORM = "x86_64-unknown-linux-gnu"
INTRODUCTION = """\
The compiled part of lslm links the crates below, each under the licence named.
Crates under Apache-2.0 come with the text in LICENSE; the other texts follow the list.
Written by rust/python/third_party_licenses.py.
"""
# MIT crates whose archives lack the licence file that their repositories have.
MIT = {
    "jieba-rs": "Copyright (c) 2018 messense",
    "whatlang": "Copyright (c) 2017 Sergey Potapov <blake131313@gmail.com>\n"
    "Copyright (c) 2014 Titus Wormer <tituswormer@gmail.com>\n"
    "Copyright (c) 2008 Kent S Johnson\n"
    "Copyright (c) 2006 Jacob R Rideout <kde@jacobrideout.net>\n"
    "Copyright (c) 2004 Maciej Ceglowski",
}
# Data in the extension that is derived from other MIT software.
DATA = {
    "spaCy, of which rust/clean/src/view/english has character classes and exceptions": "Copyright "
    "(C) 2016-2024 ExplosionAI GmbH, 2016 spaCy GmbH, 2015 Matthew Honnibal",
    "jieba, whose dictionary jieba-rs has": "Copyright (c) 2013 Sun Junyi",
}


def mit(copyright_lines: str) -> str:
    """Return the MIT licence with these copyright lines."""
    text = (Path(__file__).parent / "mit.txt").read_text(encoding="utf-8").strip()
    return f"{copyright_lines}\n\n{text}"


def linked_packages() -> list[dict[str, Any]]:
    """Return cargo's description of every foreign crate in the extension, by name and version."""
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--offline"]
    command += [f"--filter-platform={PLATFORM}"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    metadata = json.loads(printed)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found: set[str] = set()
    queue = [i for i, package in packages.items() if package["name"] == "lslm-python"]
    while queue:
        identity = queue.pop()
        macro = any("proc-macro" in target["kind"] for target in packages[identity]["targets"])
        if identity in found or macro:
            continue
        found.add(identity)
        queue.extend(
            dependency["pkg"]
            for dependency in nodes[identity]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        )
    foreign = (packages[identity] for identity in found if packages[identity]["source"])
    return sorted(foreign, key=lambda package: (package["name"], package["version"]))


def texts_of(package: dict[str, Any]) -> list[str]:
    """Return the texts to repeat: NOTICE always, licence files where Apache-2.0 is not offered."""
    wanted = ["NOTICE"]
    if not offers_apache(package):
        wanted += ["LICENSE", "LICENCE", "COPYING"]
    folder = Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if file.name.upper().startswith(tuple(wanted)))
    if not files and package["name"] in MIT:
        return [mit(MIT[package["name"]])]
    if not files and not offers_apache(package):
        raise SystemExit(f"{package['name']} {package['version']} ships no licence file")
    return [file.read_text(encoding="utf-8").strip() for file in files]


def offers_apache(package: dict[str, Any]) -> bool:
    """Return whether Apache-2.0 alone satisfies the licence expression of a crate."""
    alternatives = package["license"].replace("/", " OR ").split(" OR ")
    return "Apache-2.0" in [alternative.strip() for alternative in alternatives]


def document() -> str:
    """Return the content of the file; equal texts stand once, after the crates they belong to."""
    packages = linked_packages()
    listed, users = [], {}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        used = "Apache-2.0" if offers_apache(package) else package["license"]
        listed.append(f"{name}: {used}\n")
        for text in texts_of(package):
            users.setdefault(text, []).append(name)
    for name, lines in DATA.items():
        users.setdefault(mit(lines), []).append(name)
    rule = "\n" + "-" * 80 + "\n"
    texts = (f"{rule}{', '.join(names)}\n\n{text}\n" for text, names in users.items())
    return f"{INTRODUCTION}\n{''.join(listed)}{''.join(texts)}"


def main() -> None:
    """Write the file, or compare it with ``--check``."""
    content = document()
    if "--check" not in sys.argv[1:]:
        OUTPUT.write_text(content, encoding="utf-8")
    elif OUTPUT.read_text(encoding="utf-8") != content:
        raise SystemExit(f"{OUTPUT.name} is not current: python rust/python/{Path(__file__).name}")


if __name__ == "__main__":
    main()
