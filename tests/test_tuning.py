"""Studies: spaces, budgets, noise, results, and workers that die."""

import contextlib
import dataclasses
import json
import math
import os
import random
import shutil
import signal
import statistics
import subprocess
import time
import warnings
from pathlib import Path

import optuna
import pytest
import torch
from optuna.trial import FixedTrial

import lslm
from lslm.config import Config, get_value, load_config, replace
from lslm.exceptions import FormatError, Interrupted, MismatchError
from lslm.tuning import trial as trial_module
from lslm.tuning import worker
from lslm.tuning.budget import Budget, count_flops, count_parameters, parse_budget
from lslm.tuning.noise import Repeated, compare, t_quantile
from lslm.tuning.plan import DEFAULT, Plan
from lslm.tuning.results import verdict_on
from lslm.tuning.shape import with_held_width
from lslm.tuning.space import load_space, parse_space, space_names

SMALL = {
    "model__width": 16,
    "model__layers": 1,
    "model__heads": 2,
    "model__sequence_length": 32,
    "batch_size": 8,
    "validation_tokens": 1000,
    "train__threads": 1,
}
SPACE = """
[optim.lr]
low = 0.005
high = 0.05
log = true

[schedule.name]
choices = ["wsd", "linear"]

[schedule.decay_fraction]
low = 0.2
high = 1.0
when = { "schedule.name" = "wsd" }
"""


def study(folder, data, **options):
    """Run a small study of random draws."""
    given = {
        "n_trials": 3,
        "budget": "4k",
        "top": 1,
        "n_seeds": 2,
        "space": parse_space(SPACE, "s"),
    }
    given |= {"sampler": "random", "pruner": "none", "progress": False} | SMALL | options
    return lslm.tune(output=folder, data=data, **given)


def outcomes(result):
    """What does not depend on time and place, by trial."""
    return {
        t.name: (t.outcome, t.bits_per_byte, dict(t.values), dict(t.curve), t.n_tokens)
        for t in result.trials
    }


# ---- spaces


@pytest.mark.parametrize("name", space_names())
def test_the_spaces_of_the_package_hold_the_shipped_configurations(name):
    space = load_space(name)
    values = space.values_of(load_config("tiny"), 4096)
    assert {"optim.lr", "schedule.name", "train.batch_size"} <= values.keys()
    for parameter in space.parameters:
        assert parameter.hold or parameter.choices or parameter.low < parameter.high


def test_conditions_decide_which_parameters_a_trial_has():
    space = parse_space(SPACE, "s")
    drawn = {"optim.lr": 0.01, "schedule.name": "wsd", "schedule.decay_fraction": 0.5}
    assert space.suggest(FixedTrial(drawn), Config()) == drawn
    drawn = {"optim.lr": 0.01, "schedule.name": "linear"}
    assert space.suggest(FixedTrial(drawn), Config()) == drawn


def test_a_condition_may_name_a_key_that_is_not_tuned():
    text = '[optim.momentum]\nlow = 0.8\nhigh = 0.99\nwhen = { "optim.name" = ["muon", "sgd"] }'
    space = parse_space(text, "s")
    assert space.values_of(Config(), 0) == {"optim.momentum": 0.95}
    assert space.values_of(replace(Config(), optim="adamw"), 0) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[optim.rate]\nlow = 1\nhigh = 2", "optim.rate cannot be tuned"),
        ("[train.seed]\nlow = 1\nhigh = 2", "train.seed cannot be tuned"),
        ("[optim.lr]\nlow = 1", "give both"),
        ("[optim.lr]\nlow = 2\nhigh = 1", "low first"),
        ("[optim.lr]\nlow = 0\nhigh = 1\nlog = true", "log needs low > 0"),
        ("[optim.lr]\nlow = 1\nhigh = 2\nchoices = [1]", "exactly one of them"),
        ("[optim.lr]", "exactly one of them"),
        ("[optim.lr]\nlo = 1", "lo: not one of"),
        ('[model.layers]\nhold = "flops"', "only model.width"),
        ("[tokenizer.vocab_size]\nlow = 1\nhigh = 2", "must have choices"),
        ('[optim.lr]\nchoices = [1]\nwhen = { "optim.x" = 1 }', "no such key"),
        (
            '[optim.lr]\nchoices = [1]\nwhen = { "optim.eps" = 1 }\n[optim.eps]\nchoices = [1]',
            "must stand before",
        ),
        ("", "has no parameter"),
    ],
)
def test_a_space_that_cannot_be_drawn_from_is_named(text, said):
    with pytest.raises(ValueError, match=said):
        parse_space(text, "s")


def test_a_space_that_is_missing_or_not_toml(tmp_path):
    with pytest.raises(FileNotFoundError, match="the package has default, rates"):
        load_space("defualt")
    (tmp_path / "s.toml").write_text("[a")
    with pytest.raises(FormatError):
        load_space(tmp_path / "s.toml")


# ---- budgets and shapes


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("2M", Budget(amount=2e6, unit="tokens")),
        ("1e6 tokens", Budget(amount=1e6, unit="tokens")),
        ("1_000", Budget(amount=1000, unit="tokens")),
        ("1e15FLOPs", Budget(amount=1e15, unit="flops")),
        ("3PFLOPs", Budget(amount=3e15, unit="flops")),
        ("90s", Budget(amount=1.5, unit="minutes")),
        ("5min", Budget(amount=5, unit="minutes")),
        ("2h", Budget(amount=120, unit="minutes")),
    ],
)
def test_budgets_are_tokens_flops_or_time(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["", "0", "-1", "1x", "2 hours", "M", "1e99", "nan"])
def test_what_is_not_a_budget_is_named(text):
    with pytest.raises(ValueError, match="is not a budget"):
        parse_budget(text)


def test_equal_flops_are_fewer_steps_of_a_larger_model():
    small = replace(load_config("tiny"), batch_size=4)
    large = replace(small, width=384)
    budget = parse_budget("1e12FLOPs")
    for config in (small, large):
        steps = budget.apply(config, 2048).train.steps
        cost = count_flops(replace(config, vocab_size=2048).model) * 4 * 128
        assert abs(steps * cost - 1e12) <= cost / 2
    assert parse_budget("10k").apply(small, 2048).train.steps == round(10_000 / (4 * 128))


def test_counts_are_those_of_the_model():
    shape = replace(load_config("tiny"), vocab_size=500, layers=3, activation="swiglu").model
    with torch.device("meta"):
        model = lslm.Transformer(shape)
    assert count_flops(shape) == model.flops_per_token()
    assert count_parameters(shape) == model.n_parameters()


@pytest.mark.parametrize("hold", ["flops", "parameters"])
@pytest.mark.parametrize("layers", [1, 2, 5, 12])
def test_the_held_width_is_the_nearest(hold, layers):
    count = count_flops if hold == "flops" else count_parameters
    base = replace(load_config("tiny"), width=256, heads=8, kv_heads=4)
    found = with_held_width(
        replace(base, layers=layers), base, hold, vocab_size=1000, base_vocab_size=2000
    )
    assert found.model.width == 32 * found.model.heads
    assert found.model.heads % (found.model.kv_heads or found.model.heads) == 0
    goal = count(replace(base, vocab_size=2000).model)

    def distance(heads):
        kv = heads // 2 if heads % 2 == 0 else 0
        one = replace(found, vocab_size=1000, width=32 * heads, heads=heads, kv_heads=kv)
        return abs(count(one.model) - goal)

    assert distance(found.model.heads) == min(distance(heads) for heads in range(1, 40))


# ---- noise


@pytest.mark.parametrize(
    ("degrees", "published"),
    # 97.5 % points of Student's distribution, NIST/SEMATECH e-Handbook 1.3.6.7.2
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (8, 2.306), (9, 2.262), (30, 2.042)],
)
def test_quantiles_are_those_of_published_tables(degrees, published):
    assert round(t_quantile(0.975, degrees), 3) == published


def repeated(name, *losses, complexity=1):
    return Repeated(name=name, losses=losses, complexity=(complexity,))


def test_the_simplest_within_one_standard_error_is_recommended():
    best = repeated("best", 1.00, 1.02, 1.04, complexity=3)
    near = repeated("near", 1.01, 1.03, 1.05, complexity=1)
    far = repeated("default", 1.11, 1.13, 1.15, complexity=0)
    found = compare([far, near, best], "default")
    assert found.sigma == pytest.approx(statistics.stdev([1.00, 1.02, 1.04]))
    assert (found.best, found.recommended, found.degrees) == ("best", "near", 6)
    assert [row.name for row in found.rows] == ["best", "near", "default"]
    half = 2.447 * 0.02 * math.sqrt(2 / 3)  # t of 6 degrees of freedom
    assert found.rows[0].interval == pytest.approx((-0.11 - half, -0.11 + half), abs=1e-4)
    assert [row.is_tie for row in found.rows] == [True, True, False]
    assert [row.verdict for row in found.rows] == ["better", "better", "tie"]


def test_what_is_inside_the_noise_is_a_tie_and_the_default_stays():
    found = compare(
        [repeated("default", 1.0, 1.2, complexity=0), repeated("0001", 0.98, 1.19)], "default"
    )
    assert (found.best, found.recommended) == ("0001", "default")
    assert all(row.is_tie and row.verdict == "tie" for row in found.rows)


def test_the_verdict_counts_in_sigmas_and_says_what_is_excluded():
    # σ of seeds 1 apart is 0.7071; the interval is ± 4.303 σ, of 2 degrees and 2 seeds each
    better = [repeated("default", 20.0, 21.0), repeated("0001", 10.0, 11.0)]
    assert verdict_on(compare(better, DEFAULT)) == (
        "Trial 0001 is better than the configuration itself: -10.0000 bits per byte (-14.1 σ), "
        "95 % interval -13.0424 to -6.9576; σ = 0.7071 from seed to seed."
    )
    tie = [repeated("default", 1.0, 2.0), repeated("0001", 0.0, 1.0)]
    assert verdict_on(compare(tie, DEFAULT)) == (
        "Trial 0001 and the configuration itself are a tie: -1.0000 bits per byte (-1.4 σ), 95 % "
        "interval -4.0424 to +2.0424; σ = 0.7071 from seed to seed. An advantage above 4.0424 "
        "(5.7 σ) is excluded."
    )
    default = [repeated("default", 1.0, 2.0), repeated("0001", 11.0, 12.0)]
    said = verdict_on(compare(default, DEFAULT))
    assert said.startswith("No trial was better than the configuration itself; the next is 0001: +")
    assert said.endswith("An advantage is excluded.")
    alone = verdict_on(compare([repeated("default", 1.0, 2.0)], DEFAULT))
    assert alone == (
        "No trial was better than the configuration itself; σ = 0.7071 from seed to seed."
    )
    equal = [repeated("default", 1.0, 1.0), repeated("0001", 1.0, 1.0)]
    assert "(" not in verdict_on(compare(equal, DEFAULT))  # no σ to count in


def test_a_configuration_without_a_loss_is_never_recommended():
    found = compare([repeated("default", complexity=0), repeated("0001", 1.0, 1.1)], "default")
    assert found.recommended == "0001"
    assert found.rows[-1].name == "default"


# ---- studies


def test_a_study_recommends_a_configuration_that_trains_to_its_loss(tmp_path, data):
    result = study(tmp_path / "study", data, top=0)
    assert result.outcomes == {"finished": 3}
    assert result.verdict.startswith("Not repeated")
    best = min(result.trials, key=lambda t: t.bits_per_byte)
    assert result.recommended == best.name
    again = lslm.train(tmp_path / "study/best.toml", out=tmp_path / "again", progress=False)
    assert again.validation.bits_per_byte == best.bits_per_byte
    text = (tmp_path / "study/trials.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["name"] for row in rows] == [DEFAULT, "0001", "0002"]
    assert lslm.TuneResult.from_dict(result.as_dict()).trials == result.trials


def test_trials_are_ordinary_runs_and_the_first_is_the_configuration(tmp_path, data):
    result = study(tmp_path / "study", data, top=0, n_trials=1)
    plain = lslm.train(
        data=data, out=tmp_path / "plain", steps=16, progress=False, validate_every=2,
        **SMALL,
    )  # fmt: skip
    assert result.trials[0].loss == plain.validation.loss
    own = lslm.evaluate(tmp_path / "study/trials/default", progress=False)
    assert own.loss == pytest.approx(result.trials[0].loss, rel=1e-6)


def test_repetitions_have_fresh_seeds(tmp_path, data):
    result = study(tmp_path / "study", data)
    seeds = {t.seed for t in result.trials if t.repeats}
    assert seeds == {1, 2}
    assert result.sigma > 0
    losses = [t.bits_per_byte for t in result.trials if t.repeats == result.recommended]
    assert result.bits_per_byte == pytest.approx(statistics.mean(losses))
    page = (tmp_path / "study/report.html").read_text()
    assert result.verdict.replace("+", "+") in page
    assert "<script" not in page


def test_trials_behind_are_pruned_and_can_be_continued(tmp_path, data):
    space = parse_space("[optim.lr]\nchoices = [0.02, 1e-6]", "s")
    result = study(tmp_path / "study", data, pruner="asha", n_trials=6, top=0, space=space)
    pruned = [t for t in result.trials if t.outcome == "pruned"]
    assert pruned
    assert all(t.values["optim.lr"] == 1e-6 and t.n_tokens < 4096 for t in pruned)
    run = tmp_path / "study/trials" / pruned[0].name
    assert lslm.train(out=run, resume=True, progress=False).n_tokens == 4096


def test_divergence_memory_and_impossible_models_are_results(tmp_path, data, monkeypatch):
    space = parse_space('[optim.name]\nchoices = ["sgd"]\n[optim.lr]\nchoices = [1e30]', "s")
    result = study(tmp_path / "nan", data, n_trials=2, top=0, space=space, optim__lr=0.02)
    assert [t.outcome for t in result.trials] == ["finished", "diverged"]
    assert "not finite" in result.trials[1].reason or "nan" in result.trials[1].reason
    space = parse_space("[model.heads]\nchoices = [7]", "s")
    result = study(tmp_path / "shape", data, n_trials=2, top=0, space=space)
    assert [t.outcome for t in result.trials] == ["finished", "invalid"]

    def train(config, **options):
        if Path(config.train.out).name == "0001":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lslm.train(config, **options)

    monkeypatch.setattr(trial_module, "train", train)
    result = study(tmp_path / "memory", data, n_trials=3, top=0)
    assert [t.outcome for t in result.trials] == ["finished", "out of memory", "finished"]
    assert result.trials[1].reason == "CUDA out of memory"


def test_a_study_grows_but_does_not_change(tmp_path, data):
    folder = tmp_path / "study"
    first = study(folder, data, n_trials=2, top=0)
    with pytest.raises(ValueError, match="already holds a study"):
        study(folder, data)
    more = lslm.tune(output=folder, resume=True, n_trials=3, progress=False)
    assert outcomes(more).items() >= outcomes(first).items()
    assert outcomes(more) == outcomes(study(tmp_path / "at once", data, n_trials=3, top=0))
    for change, said in [({"budget": "8k"}, "budget"), ({"model__width": 32}, "config")]:
        with pytest.raises(MismatchError, match=f"another {said}"):
            lslm.tune(output=folder, resume=True, progress=False, **change)
    with pytest.raises(ValueError, match="the study has 3"):
        lslm.tune(output=folder, resume=True, n_trials=1, progress=False)


def test_a_study_in_vocabularies_compares_the_same_documents(tmp_path, data):
    space = parse_space("[tokenizer.vocab_size]\nchoices = [257, 300]", "s")
    result = study(tmp_path / "study", data, n_trials=4, top=0, space=space, seed=1)
    sizes = {t.values["tokenizer.vocab_size"] for t in result.trials}
    assert sizes == {257, 300}
    texts = []
    for size in sizes:
        folder = tmp_path / "study/data" / f"vocab-{size}" / "validation"
        dataset = lslm.TokenDataset(folder)
        tokenizer = lslm.Tokenizer.load(folder / "tokenizer.json")
        assert tokenizer.vocab_size == size
        texts.append([tokenizer.decode(dataset[i]) for i in range(len(dataset))])
    assert texts[0] == texts[1]
    old = lslm.TokenDataset(Path(data) / "validation")
    assert old.document_span(len(texts[0]) - 1)[1] >= 1000  # the documents of 1,000 tokens


# ---- workers that die


def forked(work):
    """Start ``work`` in a copy of this process; return its id. torch is loaded already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads, since Python 3.12
        child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):
            work()
            code = 0
        os._exit(code)
    return child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("n_kills", "n_trials"), [(5, 4), pytest.param(20, 10, marks=pytest.mark.slow)]
)
def test_killed_workers_lose_no_trial_and_count_none_twice(tmp_path, data, n_kills, n_trials):
    undisturbed = study(tmp_path / "undisturbed", data, n_trials=n_trials)
    folder = tmp_path / "study"
    with pytest.raises(Interrupted):  # the plan, without a trial
        study(folder, data, n_trials=n_trials, progress=interrupt)
    plan, rng = Plan.load(folder), random.Random(0)
    kills, deadline = 0, time.monotonic() + 250
    workers = {}
    while time.monotonic() < deadline:
        while len(workers) < 2:
            child = forked(lambda: worker.work(folder, plan))
            workers[child] = time.monotonic() + rng.uniform(0.2, 1.5)
        for child, until in list(workers.items()):
            if kills < n_kills and time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
                kills += 1
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                del workers[child]
                if os.waitstatus_to_exitcode(status) == 0:
                    deadline = 0  # all trials have results
        time.sleep(0.02)
    for child in workers:
        os.waitpid(child, 0)
    found = lslm.tune(output=folder, resume=True, progress=False)
    assert kills > 0
    assert outcomes(found) == outcomes(undisturbed)
    assert found.best == undisturbed.best
    assert (found.sigma, found.verdict) == (undisturbed.sigma, undisturbed.verdict)


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_trial_that_kills_its_worker_each_time_is_given_up(tmp_path, data, monkeypatch):
    def train(config, **options):
        if Path(config.train.out).name == "0001":
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory is exhausted
        return lslm.train(config, **options)

    monkeypatch.setattr(trial_module, "train", train)
    folder = tmp_path / "study"
    with pytest.raises(Interrupted):
        study(folder, data, top=0, n_trials=2, progress=interrupt)
    plan, deaths = Plan.load(folder), 0
    while os.waitstatus_to_exitcode(os.waitpid(forked(lambda: worker.work(folder, plan)), 0)[1]):
        deaths += 1
    result = lslm.tune(output=folder, resume=True, progress=False)
    assert deaths == 5
    assert [t.outcome for t in result.trials] == ["finished", "died"]


def test_a_stopped_study_says_how_to_go_on(tmp_path, data):
    folder = tmp_path / "study"
    seen = []

    def stop(_stage, done, _total, _unit):
        seen.append(done)
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="lslm tune --resume"):
        study(folder, data, top=0, progress=stop)
    result = lslm.tune(output=folder, resume=True, progress=False)
    assert outcomes(result) == outcomes(study(tmp_path / "other", data, top=0))
    assert {t.name for t in result.trials if t.n_attempts == 2} == {"0001"}


def test_trials_of_equal_time_say_that_they_are_not_comparable(tmp_path, data):
    result = study(tmp_path / "study", data, budget="3s", n_trials=2, top=0, validate_every=5)
    assert result.outcomes == {"finished": 2}
    assert all(trial.n_tokens for trial in result.trials)
    page = (tmp_path / "study/report.html").read_text()
    assert "not comparable" in page


def test_optuna_reads_the_study(tmp_path, data):
    study(tmp_path / "study", data, top=0)
    (tmp_path / "study/notes.txt").write_text("a")
    for pattern in ("", "*", "**/*"):  # and nothing else of it is a document
        assert lslm.Corpus(tmp_path / "study" / pattern).inputs == (
            str(tmp_path / "study/notes.txt"),
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = optuna.load_study(
            study_name="lslm", storage=f"sqlite:///{tmp_path / 'study/study.db'}"
        )
    assert len(loaded.trials) == 3
    assert loaded.best_value == min(t.value for t in loaded.trials)


@pytest.fixture
def server(tmp_path):
    """The URL of a PostgreSQL server of its own, on a socket in a folder."""
    pytest.importorskip("psycopg")
    found = shutil.which("initdb")
    if found is None:
        pytest.skip("no PostgreSQL")
    programs, folder = Path(found).resolve().parent, tmp_path / "server"
    folder.mkdir()
    user = {}
    if os.geteuid() == 0:  # which the server refuses
        user = {"user": "nobody", "extra_groups": []}
        shutil.chown(folder, "nobody")
        for parent in folder.parents[:3]:
            parent.chmod(0o755)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **user}
    command = [programs / "initdb", "-D", folder / "db", "-A", "trust", "-U", "lslm", "--no-sync"]
    subprocess.run(command, check=True, **quiet)
    options = ["-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    process = subprocess.Popen([programs / "postgres", "-D", folder / "db", *options], **quiet)
    ready = [programs / "pg_isready", "-h", folder, "-q"]
    for _ in range(200):
        if subprocess.run(ready, check=False).returncode == 0:
            break
        time.sleep(0.1)
    yield f"postgresql+psycopg://lslm:secret@/postgres?host={folder}"
    process.send_signal(signal.SIGINT)  # SIGTERM would wait for connections
    process.wait()


@pytest.mark.slow
def test_a_study_on_a_database_server_survives_a_kill(tmp_path, data, server):
    wanted = study(tmp_path / "sqlite", data, top=0)
    folder = tmp_path / "study"
    with pytest.raises(Interrupted):  # the plan, without a trial
        study(folder, data, top=0, storage=server, progress=interrupt)
    plan = Plan.load(folder)
    assert plan.url == server.replace(":secret", "")
    workers = [forked(lambda: worker.work(folder, plan)) for _ in range(2)]
    time.sleep(1)
    os.kill(workers[0], signal.SIGKILL)
    for child in workers:
        os.waitpid(child, 0)
    found = lslm.tune(output=folder, resume=True, progress=False)
    assert outcomes(found) == outcomes(wanted)
    assert not (folder / "study.db").exists()
    second = study(tmp_path / "second", data, top=0, n_trials=1, storage=server)
    assert len(second.trials) == 1  # the server keeps studies apart
    files = [path for path in tmp_path.glob("s*/**/*") if path.is_file() and path.suffix != ".db"]
    assert files
    assert not [path for path in files if b"secret" in path.read_bytes()]


def test_the_password_of_a_database_is_in_no_file(tmp_path, data):
    with pytest.raises(Interrupted):  # the plan, without a trial
        study(tmp_path / "study", data, progress=interrupt)
    plan = Plan.load(tmp_path / "study")
    for url, public in [
        ("postgresql+psycopg://me:s3cret@host:5432/db", "postgresql+psycopg://me@host:5432/db"),
        ("postgresql://me@host/db?password=s3cret&sslmode=require", "sslmode=require"),
        ("mysql://me:s3cret@host/db", "mysql://me@host/db"),
    ]:
        given = dataclasses.replace(plan, url=url)
        given.save(tmp_path)
        assert "s3cret" not in (tmp_path / "study.json").read_text() + repr(given)
        assert Plan.load(tmp_path).url.endswith(public)


def test_a_database_that_is_none_is_one_line_without_the_password(tmp_path, data):
    with pytest.raises(ValueError, match="not the URL of a database"):
        study(tmp_path / "study", data, storage="s3cret")
    pytest.importorskip("psycopg")
    url = f"postgresql+psycopg://me:s3cret@/db?host={tmp_path}"
    with pytest.raises(ValueError, match="me@/db") as caught:
        study(tmp_path / "study", data, storage=url)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path, data):
    alone = study(tmp_path / "alone", data, n_trials=4)
    shared = study(tmp_path / "shared", data, n_trials=4, n_workers=2)
    assert outcomes(shared) == outcomes(alone)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_trials": 0}, "n_trials = 0"),
        ({"n_workers": 0}, "n_workers = 0"),
        ({"sampler": "grid"}, "use one of tpe, random"),
        ({"budget": "1 fortnight"}, "is not a budget"),
    ],
)
def test_options_out_of_range_are_errors(tmp_path, data, options, said):
    with pytest.raises(ValueError, match=said):
        study(tmp_path / "study", data, **options)


def test_values_of_a_trial_are_those_of_its_run(tmp_path, data):
    result = study(tmp_path / "study", data, top=0)
    for one in result.trials:
        config = load_config(tmp_path / "study/trials" / one.name / "config.toml")
        assert {key: get_value(config, key) for key in one.values} == dict(one.values)
