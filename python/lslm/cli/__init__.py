"""The command ``lslm``: one verb for each step from text to a measured language model.

Every verb calls one public function of the same name and prints what it returns, so whatever the
command line can do, Python can do too. The verbs are in eight modules:

- :mod:`lslm.cli.text`: clean, train-tokenizer, tokenize, encode, decode.
- :mod:`lslm.cli.slices`: finish.
- :mod:`lslm.cli.artifacts`: inspect, verify.
- :mod:`lslm.cli.model`: train, generate, demo; :mod:`lslm.cli.evaluation`: eval.
- :mod:`lslm.cli.weights`: export, import.
- :mod:`lslm.cli.analysis`: analyze.
- :mod:`lslm.cli.tuning`: tune, scaling.

:mod:`lslm.cli.options` defines the options that several verbs share, :mod:`lslm.cli.show` prints
tables and JSON, :mod:`lslm.cli.dialogue` text as it is generated.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import lslm
from lslm.cli import analysis, artifacts, evaluation, model, slices, text, tuning, weights

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Ended", "app"]


class Ended(BaseException):
    """Carries an interrupt or a closed pipe past typer, which would exit silently."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__(str(reason))
        self.reason = reason


@contextlib.contextmanager
def _past_typer() -> Iterator[None]:
    """Raise ``Ended`` for what ``__main__`` reports and typer would catch."""
    try:
        yield
    except (KeyboardInterrupt, BrokenPipeError) as error:
        raise Ended(error) from error


class _Verbs(TyperGroup):
    """The group of all verbs."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the command line, which prints the help."""
        with _past_typer():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        with _past_typer():
            return super().invoke(ctx)


app = typer.Typer(
    name="lslm",
    cls=_Verbs,
    help="Raw text to a measured language model: clean, tokenize, train, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_GROUPS = (text, slices, artifacts, model, evaluation, analysis, tuning, weights)
for verbs in (group.verbs for group in _GROUPS):
    app.add_typer(verbs)


def _print_version(requested: bool) -> None:
    """Print the version and exit, if ``--version`` was given."""
    if requested:
        print(f"lslm {lslm.__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Declare the options of ``lslm`` itself."""
