"""lslm: raw text to a measured language model."""

from lslm._lslm import StreamDecoder, Tokenizer, __version__
from lslm.exceptions import FormatError, LslmError, MismatchError

__all__ = [
    "FormatError",
    "LslmError",
    "MismatchError",
    "StreamDecoder",
    "Tokenizer",
    "__version__",
]
