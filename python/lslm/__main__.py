"""The command ``lslm``, also as ``python -m lslm``."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.

    An error is one line on standard error; ``LSLM_TRACEBACK=1`` prints the traceback instead.
    """
    if hasattr(signal, "SIGTERM"):
        # SIGTERM stops like Ctrl-C: half-written files are removed, finished ones stay
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    from lslm.cli import app

    try:
        app()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # standard output was closed (lslm … | head): without this, Python prints an error at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (OSError, ValueError, KeyError, ImportError) as error:
        if os.environ.get("LSLM_TRACEBACK"):
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(1)


def _one_line(error: BaseException) -> str:
    """Return the message of ``error``, with the file of an error of the operating system."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error)


if __name__ == "__main__":
    main()
