"""Models in Hugging Face's layout: published weights in, runs out.

:func:`import_model` makes a run of a folder, :func:`export_model` a folder of a run, and
:func:`open_folder` reads one without copying. ``architectures`` has what config.json says,
``names`` what tensors are called.
"""

from __future__ import annotations

from lslm.huggingface.architectures import exports_as
from lslm.huggingface.folder import Folder, is_folder, open_folder
from lslm.huggingface.transfer import (
    ExportResult,
    ImportResult,
    export_model,
    import_model,
    open_model,
)

__all__ = [
    "ExportResult",
    "Folder",
    "ImportResult",
    "export_model",
    "exports_as",
    "import_model",
    "is_folder",
    "open_folder",
    "open_model",
]
