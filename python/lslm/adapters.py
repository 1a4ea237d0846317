"""The loader in torch's tools; ``docs/loader.md`` shows each of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lslm.data import TokenLoader

__all__ = ["TextState"]


class TextState:
    """A loader's state as one text, for :mod:`torch.distributed.checkpoint`.

    ::

        dcp.save({"model": model, "loader": TextState(loader)}, checkpoint_id=folder)
        dcp.load({"model": model, "loader": TextState(loader)}, checkpoint_id=folder)

    It takes states apart and reads the parts that the present one has: of a schedule of two
    segments, a loader at its beginning would get the first.
    """

    def __init__(self, loader: TokenLoader[Any]) -> None:
        self._loader = loader

    def state_dict(self) -> dict[str, str]:
        """Return the state of the loader, as JSON in one text."""
        return {"state": json.dumps(self._loader.state_dict())}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Move the loader to a state; the errors are those of the loader."""
        self._loader.load_state_dict(json.loads(state["state"]))
