"""A second, slow implementation of the protocols and of the model, for the tests of evaluation.

Windows are written down from the published descriptions, one loop each, without the code under
test; the forward pass is numpy in float64.
"""

import numpy as np
import torch

from lslm.model import ModelConfig, Transformer


def windows(protocol, documents, T, eos, bos=None):
    """Yield (inputs, targets, scored): lists of ids, and which targets count.

    ``documents`` are lists of ids without ``eos``; ``bos`` is what a tokenizer puts before a text.
    """
    name, _, number = protocol.partition(":")
    if name in ("disjoint", "stride"):
        tokens = [token for document in documents for token in [*document, eos]]
        yield from one_token_of_context(tokens, eos, T, int(number or T))
    elif name == "document":
        for document in documents:
            yield from one_token_of_context([*document, eos], eos, T, int(number or T))
    elif name == "lm-eval":
        for document in documents:
            yield from rolling(document, eos, T)
    elif name == "hf-stride":
        tokens = [token for document in documents for token in document]
        yield from strided(tokens, T, int(number or T // 2))
    else:
        tokens = [token for document in documents for token in document]
        yield from second_halves(tokens, T, bos)


def one_token_of_context(tokens, before, T, stride):
    """Each target with the largest context of at most T tokens that its window has."""
    sequence, scored = [before, *tokens], 1
    while scored < len(sequence):
        stop = min(len(sequence), T + 1 if scored == 1 else scored + stride)
        begin = max(0, stop - 1 - T)
        targets = sequence[begin + 1 : stop]
        yield (
            sequence[begin : stop - 1],
            targets,
            [begin + 1 + i >= scored for i in range(len(targets))],
        )
        scored = stop


def rolling(tokens, prefix, T):
    """lm-eval 0.4: rolling windows with one token of context, made disjoint."""
    predicted = 0
    while predicted < len(tokens):
        if predicted == 0:
            n = min(T, len(tokens))
            context, continuation = [prefix, *tokens[: n - 1]], tokens[:n]
            predicted = n
        else:
            n = min(T, len(tokens) - predicted)
            end = predicted + n
            context, continuation = tokens[end - T - 1 : end - 1], tokens[end - n : end]
            predicted = end
        context = context[: len(context) - (len(continuation) - 1)]
        whole = context + continuation
        inputs, targets = whole[:-1], whole[1:]
        yield inputs, targets, [i >= len(context) - 1 for i in range(len(targets))]


def strided(tokens, T, stride):
    """transformers' guide on the perplexity of fixed-length models: labels masked but the last."""
    previous_end = 0
    for begin in range(0, len(tokens), stride):
        end = min(begin + T, len(tokens))
        labels = list(tokens[begin:end])
        new = end - previous_end
        labels[:-new] = [None] * len(labels[:-new])
        inputs, targets = list(tokens[begin : end - 1]), labels[1:]
        yield inputs, [0 if t is None else t for t in targets], [t is not None for t in targets]
        previous_end = end
        if end == len(tokens):
            break


def second_halves(tokens, T, bos=None):
    """llama.cpp's perplexity: chunks of T tokens, of which those after the first half count.

    With a begin token, the text is tokenized with it, and it overwrites the first of each chunk.
    """
    tokens = tokens if bos is None else [bos, *tokens]
    for chunk in range(len(tokens) // T):
        part = list(tokens[chunk * T : (chunk + 1) * T])
        part[0] = part[0] if bos is None else bos
        first = T // 2
        yield part[:-1], part[1:], [i >= first for i in range(T - 1)]


def random_model(vocab_size=257, T=16, layers=1, seed=0):
    """Return a float64 model whose predictions are far from uniform."""
    config = ModelConfig(vocab_size=vocab_size, sequence_length=T, width=16, layers=layers, heads=2)
    model, generator = Transformer(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model.double()


class NumpyModel:
    """The default architecture, computed in float64 from a state dict."""

    def __init__(self, model):
        self.config = model.config
        self.weights = {name: t.double().numpy() for name, t in model.state_dict().items()}

    def log_probabilities(self, ids):
        """Return log p (B, T, V) of the next id after each of ``ids`` (B, T)."""
        w, c = self.weights, self.config
        x = w["embedding.weight"][ids]
        for layer in range(c.layers):
            p = f"blocks.{layer}."
            x = x + self.attention(norm(x, w[p + "attention_norm.weight"]), p + "attention.")
            h = norm(x, w[p + "feed_forward_norm.weight"]) @ w[p + "feed_forward.up.weight"].T
            x = x + np.maximum(h, 0) ** 2 @ w[p + "feed_forward.down.weight"].T
        logits = norm(x, w["norm.weight"]) @ w["head.weight"].T
        top = logits.max(-1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))

    def attention(self, x, p):
        w, c = self.weights, self.config
        B, T, _ = x.shape
        D = c.width // c.heads
        q, k, v = (
            (x @ w[f"{p}{name}.weight"].T).reshape(B, T, c.heads, D).transpose(0, 2, 1, 3)
            for name in ("query", "key", "value")
        )
        eps = np.finfo(np.float64).eps
        q, k = (y / np.sqrt((y**2).mean(-1, keepdims=True) + eps) for y in (q, k))
        angles = np.arange(T)[:, None] * c.rope_base ** -(np.arange(0, D, 2) / D)
        q, k = rotated(q, angles), rotated(k, angles)
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(D)
        scores[..., np.triu(np.ones((T, T), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        y = (weights @ v).transpose(0, 2, 1, 3).reshape(B, T, -1)
        return y @ w[p + "output.weight"].T


def norm(x, weight):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * weight


def rotated(x, angles):
    a, b = np.split(x, 2, -1)
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def total(model, protocol, documents, T, eos, bos=None):
    """Return the sum of nats and the number of targets, windows of equal length at a time."""
    groups = {}
    for window in windows(protocol, documents, T, eos, bos):
        if window[0]:
            groups.setdefault(len(window[0]), []).append(window)
    nats, n = 0.0, 0
    batches = [group[i : i + 512] for group in groups.values() for i in range(0, len(group), 512)]
    for members in batches:
        inputs, targets, scored = (np.array(column) for column in zip(*members, strict=True))
        log_p = model.log_probabilities(inputs)
        taken = np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
        nats -= float(taken[scored.astype(bool)].sum())
        n += int(scored.sum())
    return nats, n
