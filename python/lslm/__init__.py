"""lslm: raw text to a measured language model."""

from lslm._lslm import Cleaner, CleanResult, StreamDecoder, TokenDataset, Tokenizer, __version__
from lslm.exceptions import FormatError, LslmError, MismatchError

__all__ = [
    "CleanResult",
    "Cleaner",
    "FormatError",
    "LslmError",
    "MismatchError",
    "StreamDecoder",
    "TokenDataset",
    "Tokenizer",
    "__version__",
]
