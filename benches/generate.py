"""Time generation beside transformers and nanoGPT's loop, after comparing ids with the formula.

    python benches/generate.py [--tokens 256] [--rounds 5] [--threads 1] [--top-k 200] [--json FILE]

The shape is 6 layers of width 384, 6 heads and 50,304 ids, one prompt, sampled. Before anything is
timed, greedy ids of each way are compared with those of the naive loop, which computes all
positions for every token. Rounds are interleaved; the figures are CPU and wall milliseconds a
token, medians. transformers takes part where it is installed. nanoGPT's loop is written here from
its description: all positions for each token, logits of the last one only, top-k by a threshold,
and torch.multinomial; its model is the same as ours of GPT-2's shape.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import torch

import lslm
from lslm.checkpoint import save_checkpoint
from lslm.config import Config, to_toml
from lslm.generation import generate_ids
from lslm.model import ModelConfig, Transformer
from lslm.next_token import Sampling

SIZES = {"vocab_size": 50_304, "sequence_length": 1024, "width": 384, "layers": 6, "heads": 6}
SHAPES = {
    "gpt2": ModelConfig.gpt2(**SIZES),
    "qwen3": ModelConfig(
        **SIZES, activation="swiglu", qk_norm_weight=True, norm_eps=1e-6, init="gpt2"
    ),
}
PROMPT = [50, 1000, 49_999, 7]
TEMPERATURE = 0.8
CHECKED = 64
"""Greedy ids that are compared before timing: so many that a shortlist takes part."""


def nanogpt_loop(model, tokens, top_k, generator):
    """Return ids as nanoGPT's ``generate`` chooses them; ``top_k`` 1 is greedy."""
    ids = torch.tensor([PROMPT])
    with torch.no_grad():
        for _ in range(tokens):
            x = model.hidden(ids[:, -model.config.sequence_length :])[:, -1]
            logits = torch.nn.functional.linear(x, model.head_weight) / TEMPERATURE
            if top_k:
                smallest = torch.topk(logits, top_k).values[:, -1:]
                logits = logits.masked_fill(logits < smallest, -torch.inf)
            token = torch.multinomial(logits.softmax(-1), 1, generator=generator)
            ids = torch.cat([ids, token], 1)
    return ids[0, len(PROMPT) :].tolist()


def ours(model, tokens, top_k):
    sampling = Sampling(temperature=TEMPERATURE, top_k=top_k or None)
    return list(generate_ids(model, PROMPT, max_tokens=tokens, sampling=sampling))


def exported(model, folder):
    """Return transformers' model of the same weights."""
    import transformers

    run = folder / "run"
    run.mkdir()
    tokenizer = lslm.train_tokenizer(texts=["a b"], vocab_size=257, progress=False)
    tokenizer.save(run / "tokenizer.json")
    (run / "config.toml").write_text(to_toml(Config(model=model.config)))
    save_checkpoint(run, 0, model, [], {"tokenizer": tokenizer.fingerprint, "validation": None})
    lslm.export_model(run, output=folder / "hf", progress=False)
    return transformers.AutoModelForCausalLM.from_pretrained(folder / "hf")


def transformers_loop(peer, tokens, top_k):
    options = {"do_sample": True, "temperature": TEMPERATURE, "top_k": top_k}
    if top_k == 1:
        options = {"do_sample": False}
    with torch.no_grad():
        ids = peer.generate(
            torch.tensor([PROMPT]), attention_mask=torch.ones(1, len(PROMPT)), pad_token_id=0,
            max_new_tokens=tokens, min_new_tokens=tokens, eos_token_id=None, **options,
        )  # fmt: skip
    return ids[0, len(PROMPT) :].tolist()


def ways(name, folder):
    """Return each way of generating by its name, with (tokens, top_k) as arguments."""
    torch.manual_seed(0)
    model = Transformer(SHAPES[name]).eval()
    with torch.no_grad():  # sharp enough that greedy ids are not a tie
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    generator = torch.Generator().manual_seed(0)
    result = {
        "lslm": lambda n, k: ours(model, n, k),
        "nanoGPT's loop": lambda n, k: nanogpt_loop(model, n, k, generator),
    }
    if find_spec("transformers"):
        peer = exported(model, folder)
        result["transformers"] = lambda n, k: transformers_loop(peer, n, k)
    expected = list(generate_ids(model, PROMPT, max_tokens=CHECKED, cached=False))
    for way, function in result.items():
        if function(CHECKED, 1) != expected:
            raise SystemExit(f"{name}: greedy ids of {way} differ from those of the formula")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for option, default in {"tokens": 256, "rounds": 5, "threads": 1, "top-k": 200}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            functions = ways(name, Path(folder))
            times: dict[str, list[tuple[float, float]]] = {way: [] for way in functions}
            for _ in range(options.rounds):
                for way, function in functions.items():
                    start = time.process_time(), time.perf_counter()
                    function(options.tokens, options.top_k)
                    times[way].append(
                        (time.process_time() - start[0], time.perf_counter() - start[1])
                    )
        base = statistics.median(cpu for cpu, _ in times["lslm"])
        for way, each in times.items():
            cpu, wall = (statistics.median(part) for part in zip(*each, strict=True))
            row = {"shape": name, "way": way, "cpu_ms": 1e3 * cpu / options.tokens}
            row |= {"wall_ms": 1e3 * wall / options.tokens, "times_lslm": cpu / base}
            rows.append(row)
            print(
                f"{name:6} {way:15} CPU {row['cpu_ms']:7.2f} ms a token, wall "
                f"{row['wall_ms']:7.2f}, × lslm {row['times_lslm']:.2f}",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps({"options": vars(options), "rows": rows}, default=str))


if __name__ == "__main__":
    main()
