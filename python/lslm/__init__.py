"""lslm: raw text to a measured language model."""

from lslm._lslm import TokenDataset, __version__
from lslm.exceptions import FormatError, LslmError, MismatchError

__all__ = ["FormatError", "LslmError", "MismatchError", "TokenDataset", "__version__"]
