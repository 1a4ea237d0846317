"""A loader in other tools resumes in the middle, at the very next batch."""

import logging
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lslm.adapters import TextState
from lslm.data import TokenLoader, write_dataset

torch = pytest.importorskip("torch")
STEPS, HALF = 10, 5
pytestmark = pytest.mark.filterwarnings("ignore")  # those of other packages, among each other


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "d"
    write_dataset(folder, [range(20 * i, 20 * i + 20) for i in range(400)], vocab_size=8000)
    return folder


@pytest.fixture(scope="module")
def expected(path):
    return [batch.inputs.clone() for batch in islice(load(path), 2 * STEPS)]


def load(path, **options):
    return TokenLoader(path, **{"batch_size": 2, "sequence_length": 8} | options)


def check(batches, expected):
    batches = [batch[0] if isinstance(batch, tuple) else batch for batch in batches]
    assert len(batches) == len(expected)
    assert all(map(torch.equal, batches, expected))


def test_dataloader(path, expected):
    from torch.utils.data import DataLoader

    loader = load(path)
    check(islice(DataLoader(loader, batch_size=None), HALF), expected[:HALF])
    resumed = load(path)
    resumed.load_state_dict(loader.state_dict())
    check(islice(DataLoader(resumed, batch_size=None), HALF), expected[HALF:STEPS])


def test_stateful_dataloader(path, expected):
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    data = stateful.StatefulDataLoader(load(path), batch_size=None)
    check(islice(data, HALF), expected[:HALF])
    state = data.state_dict()
    data = stateful.StatefulDataLoader(load(path), batch_size=None)
    data.load_state_dict(state)
    check(islice(data, HALF), expected[HALF:STEPS])


def test_accelerate(path, expected, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    from torch.utils.data import DataLoader

    for part in (expected[:HALF], expected[HALF:STEPS]):
        accelerator, loader = accelerate.Accelerator(cpu=True), load(path)
        accelerator.register_for_checkpointing(loader)
        if part is not expected[:HALF] and (tmp_path / "state").exists():
            accelerator.load_state(tmp_path / "state")
        check(islice(loader, HALF), part)
        accelerator.save_state(tmp_path / "state")
    prepared = accelerator.prepare(DataLoader(load(path), batch_size=None))
    skipping = accelerate.skip_first_batches(prepared, HALF)
    check(islice(skipping, HALF), expected[HALF:STEPS])


def test_lightning(path, expected, tmp_path):
    lightning = pytest.importorskip("pytorch_lightning")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), []

        def training_step(self, batch, _):
            self.seen.append(batch[0].clone())
            return self.weight * batch[0].float().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    checkpoint = None
    for end, part in ((HALF, expected[:HALF]), (STEPS, expected[HALF:STEPS])):
        module, off = Module(), {"logger": False, "enable_progress_bar": False}
        off |= {"enable_model_summary": False, "enable_checkpointing": False}
        trainer = lightning.Trainer(
            max_steps=end, accelerator="cpu", default_root_dir=tmp_path, **off
        )
        # with a length, Lightning does not read ahead
        trainer.fit(module, load(path, steps=STEPS), ckpt_path=checkpoint, weights_only=False)
        check(module.seen, part)
        checkpoint = tmp_path / "half.ckpt"
        trainer.save_checkpoint(checkpoint)


def test_trainer(path, expected, tmp_path):
    pytest.importorskip("accelerate")
    transformers = pytest.importorskip("transformers")
    from torch.utils.data import DataLoader, IterableDataset

    class Rows(IterableDataset):
        def __iter__(self):
            for inputs, targets in load(path):
                yield {"input_ids": inputs, "labels": targets, "shift_labels": targets}

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self):
            return DataLoader(Rows(), batch_size=None)

    config = transformers.GPT2Config(vocab_size=8000, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    for end, part in ((HALF, expected[:HALF]), (STEPS, expected[HALF:STEPS])):
        model, seen = transformers.GPT2LMHeadModel(config), []
        model.register_forward_pre_hook(
            lambda _, __, given, seen=seen: seen.append(given["input_ids"].clone()),
            with_kwargs=True,
        )
        arguments = transformers.TrainingArguments(
            output_dir=tmp_path, max_steps=end, save_steps=HALF, use_cpu=True, report_to=[],
            disable_tqdm=True, seed=end,
        )  # fmt: skip
        Trainer(model, arguments).train(resume_from_checkpoint=end > HALF)
        check(seen, part)


def test_distributed_checkpoint_on_other_ranks(path, expected, tmp_path):
    import torch.distributed.checkpoint as dcp

    def ranks(n):
        return [load(path, batch_size=6 // n, rank=rank, world_size=n) for rank in range(n)]

    whole = load(path, batch_size=6)
    whole.skip(4, 5)
    expected = [batch.inputs.clone() for batch in islice(whole, 9)]
    first = ranks(2)
    for loader in first:
        loader.skip(4, 5)
    state, at = None, 0
    for loaders in (first, ranks(1), ranks(3)):
        for rank, loader in enumerate(loaders):
            if state is not None:
                dcp.load({"loader": TextState(loader)}, checkpoint_id=state, no_dist=True)
            rows = expected[0].size(0) // len(loaders)
            part = [batch[rank * rows : (rank + 1) * rows] for batch in expected[at : at + 3]]
            check(islice(loader, 3), part)
        at, state = at + 3, tmp_path / str(len(loaders))
        dcp.save({"loader": TextState(loaders[-1])}, checkpoint_id=state, no_dist=True)


def test_nanogpt(path, tmp_path):
    """The lines of the page in a loop that fetches ahead, stopped and resumed."""
    page = Path(__file__).parent.parent / "docs" / "loader.md"
    code = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)[:2]
    for name in ("train", "val"):
        np.arange(8000, dtype=np.uint16).tofile(tmp_path / f"{name}.bin")

    def trained(steps, saved=None):
        space = {"batch_size": 2, "block_size": 8, "device": "cpu", "data_dir": tmp_path}
        for block in code:
            exec(block, space)
        loader, seen = space["loaders"]["train"], []
        if saved is not None:
            loader.load_state_dict(saved)
        X, _ = space["get_batch"]("train")
        for _ in range(steps):
            seen.append(X)
            X, _ = space["get_batch"]("train")
        return seen, space["position"](loader)

    expected, _ = trained(STEPS)
    first, saved = trained(HALF)
    check(first + trained(HALF, saved)[0], expected)


def test_steps_are_the_length(path, expected):
    loader = load(path, steps=7)
    assert len(loader) == 7
    check(loader, expected[:7])
    assert list(loader) == []
    loader = load(path, steps=7)
    state = [batch.state for batch in islice(loader, 4)][-1]
    resumed = load(path, steps=7)
    resumed.load_state_dict(state)
    check(resumed, expected[4:7])
    with pytest.raises(ValueError, match="steps and epochs"):
        load(path, steps=7, epochs=1)
