"""Measure training, evaluation and generation on a CUDA device, and keep a dated record.

    python benches/gpu.py                 # into benches/record/DATE-MACHINE-GPU.json
    python benches/gpu.py --print-only    # nothing written

Three things are measured, all through the public API, starting from text:

- tokens per second of models of GPT-2's size (124 million parameters, which other trainers publish
  figures for) with half a million tokens per update; the share of the GPU's peak follows from
  ``Transformer.flops_per_token``, which counts both halves of attention;
- time and validation loss of ten million parameters on tinyshakespeare, letters as tokens;
  nanoGPT's README has 1.4697 nats in three minutes of an A100;
- the loss of that model on the whole validation text, on the GPU and on the CPU.

Needs the corpora of ../shared/data or ``LSLM_DATA``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from compare.vocabularies import unpack
from machine import DATA, record_path, write_record

import lslm
from lslm.config import load_config
from lslm.model import Transformer
from lslm.report import read_metrics

PEAK = {"NVIDIA H200": 989e12, "NVIDIA H100 80GB HBM3": 989e12}
"""Dense bfloat16 operations a second, by the vendor's datasheet."""
SHAPE = ["width=768", "layers=12", "heads=6", "sequence_length=1024", "vocab_size=50304"]
GPT2 = [
    *("width=768", "layers=12", "heads=12", "sequence_length=1024", "vocab_size=50304"),
    *("activation=gelu", "norm=layer", "positions=learned", "qk_norm=false", "tied=true"),
    *("bias=true", "init=gpt2", "optim=adamw", "lr=6e-4"),
]
SHAKESPEARE = [
    *("width=384", "layers=6", "heads=6", "sequence_length=256", "batch_size=64"),
    *("steps=1000", "dropout=0.3", "weight_decay=0.2"),
    *("validate_every=100", "validation_tokens=0"),
]


def speed(name: str, data: Path, folder: Path, settings: list[str]) -> Iterator[tuple[str, dict]]:
    """Yield tokens per second after the first steps, the share of the peak, and the memory."""
    torch.cuda.reset_peak_memory_stats()
    run = folder / name.replace("/", "-").replace(" ", "-")
    wanted = [f"data={data}", f"out={run}", "batch_size=512", "steps=12"]
    wanted += ["validate_every=12", "checkpoint_every=12"]
    start = time.perf_counter()
    config = load_config(None, [*wanted, *settings])
    lslm.train(config, progress=False)
    seconds = time.perf_counter() - start
    rates = [row.tokens_per_second for row in read_metrics(run / "metrics.jsonl")]
    figure = {"median": round(statistics.median(rates[3:])), "unit": "tokens/s"}
    figure |= {"min": round(min(rates[3:])), "max": round(max(rates[3:])), "runs": len(rates[3:])}
    figure |= {"first_step_s": round(512 * 1024 / rates[0], 1), "whole_run_s": round(seconds, 1)}
    with torch.device("meta"):
        flops = Transformer(config.model).flops_per_token()
    peak = PEAK.get(torch.cuda.get_device_name())
    if peak is not None:
        figure["share_of_peak"] = round(figure["median"] * flops / peak, 3)
    figure["memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
    yield name, figure


def quality(folder: Path) -> Iterator[tuple[str, dict]]:
    """Yield time and losses on tinyshakespeare, and the speeds of evaluation and generation."""
    text = (DATA / "english/tinyshakespeare.txt").read_text(encoding="utf-8")
    cut = len(text) * 9 // 10
    parts = {}
    for part, content in {"train": text[:cut], "validation": text[cut:]}.items():
        (folder / f"{part}.txt").write_text(content, encoding="utf-8", newline="")
        parts[part] = str(folder / f"{part}.txt")
    letters = lslm.train_tokenizer([parts["train"]], vocab_size=257, progress=False)
    for part, path in parts.items():
        lslm.tokenize(
            [path],
            output=folder / part,
            tokenizer=letters,
            validation_fraction=0,
            progress=False,
        )
    data = [f"data={folder / 'train'}", f"validation={folder / 'validation' / 'train'}"]
    for compiled in ("false", "true"):
        run = folder / f"shakespeare-{compiled}"
        start = time.perf_counter()
        lslm.train(
            load_config(None, [*data, *SHAKESPEARE, f"out={run}", f"compile={compiled}"]),
            progress=False,
        )
        seconds = time.perf_counter() - start
        losses = [row.validation_loss for row in read_metrics(run / "metrics.jsonl")]
        losses = [loss for loss in losses if loss is not None]
        yield (
            f"tinyshakespeare/compile={compiled}",
            {
                "median": round(seconds, 1),
                "unit": "s",
                "best_validation_loss": round(min(losses), 4),
                "validation_losses": [round(loss, 4) for loss in losses],
            },
        )
    held_out = folder / "validation" / "train"
    for device in ("cuda", "cpu"):
        start = time.perf_counter()
        result = lslm.evaluate(run, data=held_out, device=device)
        figure = {"median": round(result.n_tokens / (time.perf_counter() - start))}
        yield f"evaluate/{device}", figure | {"unit": "tokens/s", "loss": round(result.loss, 4)}
    start = time.perf_counter()
    lslm.generate(run, prompt="ROMEO:", max_tokens=250, stop_at_eos=False)
    yield "generate", {"median": round(250 / (time.perf_counter() - start)), "unit": "tokens/s"}


def figures(folder: Path) -> Iterator[tuple[str, dict]]:
    ranks, data = unpack(DATA, folder / "vocabularies") / "gpt2.tiktoken", folder / "data"
    tokenizer = lslm.Tokenizer.from_tiktoken(
        ranks, pattern="gpt2", special_tokens={"<|endoftext|>": 50_256}
    )
    lslm.tokenize(
        [str(DATA / "english/enwiki.jsonl.zst")], output=data, tokenizer=tokenizer, progress=False
    )
    for name, settings in {
        "train/124M/compiled": [*SHAPE, "compile=true", "micro_batch_size=64"],
        "train/124M/compiled, 128 sequences": [*SHAPE, "compile=true", "micro_batch_size=128"],
        "train/124M/not compiled": [*SHAPE, "micro_batch_size=32"],
        "train/gpt2-124M/compiled": [*GPT2, "compile=true", "micro_batch_size=64"],
    }.items():
        yield from speed(name, data, folder, settings)
    yield from quality(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--print-only", action="store_true", help="write no record")
    arguments = parser.parse_args()
    device = torch.cuda.get_device_name()
    path = None if arguments.print_only else record_path(device)
    kept = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in figures(Path(folder)):
            kept[name] = figure
            print(name, json.dumps(figure), flush=True)
    if path is not None:
        write_record(path, {"gpu": device, "figures": kept})


if __name__ == "__main__":
    main()
