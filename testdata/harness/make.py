"""Write rolling.json: what lm-eval's own ``hf`` model says of texts, for the stored run.

pip install lm_eval transformers accelerate
python testdata/harness/make.py
"""

import json
import tempfile
from importlib.metadata import version
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

import lslm

HERE = Path(__file__).parent
TEXTS = [
    "The cat sees the dog, says the cat – 17.\nThe hen likes the fox, says the hen – 3.",
    " a white beginning, and an end \n",
    "größer – 東京, " * 8,
    "x",
    "The eel hears the gnu. " * 20,
]


def main() -> None:
    """Export the stored run, score the texts, write the sums."""
    with tempfile.TemporaryDirectory() as folder:
        lslm.export_model(HERE.parent / "run/version-1", output=Path(folder, "hf"))
        model = HFLM(pretrained=str(Path(folder, "hf")), device="cpu", dtype="float32")
        requests = [
            Instance(request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=0)
            for text in TEXTS
        ]
        sums = model.loglikelihood_rolling(requests, disable_tqdm=True)
    versions = {name: version(name) for name in ("lm_eval", "transformers", "torch")}
    rows = [{"text": t, "loglikelihood": s} for t, s in zip(TEXTS, sums, strict=True)]
    content = {"versions": versions, "max_length": model.max_length, "rows": rows}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (HERE / "rolling.json").write_text(text + "\n", encoding="utf-8")


main()
