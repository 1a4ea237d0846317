"""The command ``lslm``, also as ``python -m lslm``."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["main"]

WAITING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1", "OMP_WAIT_POLICY": "passive"}
"""How long OpenMP's idle threads spin: turns of GNU's runtime, milliseconds of LLVM's and Intel's;
the policy is for others. Compared by ``benches/waiting.py``."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 128 + n stopped by signal n.

    130 is Ctrl-C, 143 SIGTERM, 129 SIGHUP. An error is one line on standard error;
    ``LSLM_TRACEBACK=1`` prints the traceback instead.
    """
    let_idle_threads_sleep(os.environ)
    # These stop like Ctrl-C: half-written files are removed, finished ones stay.
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it
            signal.signal(number, _interrupt)
    # rich's own exits with 1
    Console.on_broken_pipe = _raise_closed  # type: ignore[assignment,method-assign]
    from lslm.cli import Ended, app

    code: str | int | None = 0
    try:
        app()
    except SystemExit as end:  # how typer ends
        code = end.code
    except Ended as ended:
        code = _code_of(ended.reason)
    except BrokenPipeError:
        pass  # lslm … | head
    except (OSError, ValueError, KeyError, ArithmeticError, ImportError) as error:
        if os.environ.get("LSLM_TRACEBACK"):
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        code = 1
    sys.exit(_flush() or code)


def let_idle_threads_sleep(environment: MutableMapping[str, str]) -> None:
    """Have threads of OpenMP that wait for work sleep soon, unless ``environment`` says otherwise.

    By default each spins for milliseconds after every loop, which doubles the load of a busy
    machine of two cores. OpenMP reads this once, when torch is loaded; processes started from here
    inherit it.
    """
    if not any(name in environment for name in WAITING):
        environment.update(WAITING)


def _interrupt(number: int, _: object) -> None:
    """Raise ``Interrupted``: the handler of signal ``number``."""
    from lslm.exceptions import Interrupted

    raise Interrupted("stopped", number)


def _raise_closed(_: Console) -> NoReturn:
    """Raise ``BrokenPipeError``, as ``print`` does where standard output was closed."""
    raise BrokenPipeError


def _code_of(reason: BaseException) -> int:
    """Return the exit code after a signal, which is said, or after a closed pipe, which is not."""
    if isinstance(reason, BrokenPipeError):
        return 0
    print(str(reason) or "stopped", file=sys.stderr)
    return int(getattr(reason, "signal_number", signal.SIGINT)) + 128


def _flush() -> int:
    """Write what is left for standard output; return 1 after an error, 0 if it was closed.

    At the end of the process Python would print an error of its own.
    """
    code = 0
    try:
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"error: standard output: {error.strerror}", file=sys.stderr)
            code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _one_line(error: BaseException) -> str:
    """Return the message of ``error``, with the file of an error of the operating system."""
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    text = str(error)
    if text.endswith("get it again"):  # what a broken input is told with
        text += ", or read the others with --on-bad-file skip"
    return text


if __name__ == "__main__":
    main()
