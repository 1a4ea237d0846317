"""Write docs/api.md, the list of the public names, from the installed package.

Run ``python docs/api.py`` after a change of a public name, signature or first line.
``tests/test_api.py`` fails while the page differs from the package.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import lslm

if TYPE_CHECKING:
    from types import ModuleType

PAGE = Path(__file__).with_name("api.md")
HEAD = """# Public names

`docs/api.py` writes this page from the package: names, parameters with their defaults, first lines.
`help(name)` shows the whole documentation, with types, units, shapes and errors. What is not listed
here is private and may change in any release.
"""


def modules() -> list[ModuleType]:
    """Return ``lslm`` and its public modules, in alphabetical order."""
    names = sorted(m.name for m in iter_modules(lslm.__path__) if not m.name.startswith("_"))
    # harness is for lm-eval, which is not installed here
    names = [name for name in names if name not in {"cli", "harness"}]
    found = [lslm, *(import_module(f"lslm.{name}") for name in names)]
    return [module for module in found if hasattr(module, "__all__")]


def signature(value: Any) -> str:
    """Return the parameters of ``value`` with defaults and without types; "" if it has none."""
    if isinstance(value, type):
        made = (value.__init__, value.__new__)
        if getattr(value, "_is_protocol", False):
            return ""
        if not (value.__text_signature__ or any(map(inspect.isfunction, made))):
            return ""  # no constructor: functions return it
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    bare = [
        p.replace(annotation=inspect.Parameter.empty)
        for p in found.parameters.values()
        if p.name != "self"
    ]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def first_line(value: Any) -> str:
    """Return the first sentence of the documentation of ``value`` as Markdown for a table."""
    lines = (inspect.getdoc(value) or "").split("\n\n")[0].split("\n")
    text = " ".join(lines).replace("``", "`")
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text)
    return text.replace("|", r"\|")


def is_property(value: object) -> bool:
    """Return whether ``value`` is a property; fields of a named tuple are in its signature."""
    return inspect.isdatadescriptor(value) and "Alias for field" not in (value.__doc__ or "")


def members(cls: type) -> list[tuple[str, Any]]:
    """Return the public methods, then the properties, that ``cls`` itself defines."""
    found = [(name, getattr(cls, name)) for name in vars(cls) if not name.startswith("_")]
    kept = [(n, v) for n, v in found if inspect.isroutine(v) or is_property(v)]
    return sorted(kept, key=lambda item: (not callable(item[1]), item[0]))


def rows(name: str, value: Any) -> list[str]:
    """Return the table rows of one public name: itself, then its methods and properties."""
    if not callable(value):
        return [f"| `{name}` | a constant, {type(value).__name__} |"]
    found = [f"| **`{name}{signature(value)}`** | {first_line(value)} |"]
    if isinstance(value, type) and not issubclass(value, BaseException):
        found += [f"| `.{n}{signature(v)}` | {first_line(v)} |" for n, v in members(value)]
    return found


def page() -> str:
    """Return the whole page."""
    text, seen = [HEAD], dict[int, str]()
    for module in modules():
        text.append(f"## {module.__name__}\n\n{first_line(module)}\n\n| name | |\n|---|---|")
        for name in sorted(module.__all__, key=str.lower):
            value = getattr(module, name)
            if callable(value) and id(value) in seen:
                home = seen[id(value)]
                text.append(f"| `{name}` | see [{home}](#{home.replace('.', '')}) |")
                continue
            seen[id(value)] = module.__name__
            text += rows(name, value)
        text.append("")
    return "\n".join(text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
