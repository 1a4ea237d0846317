"""Scaling fits and learning-rate ranges."""

import itertools
import json

import numpy as np
import pytest

import lslm
from lslm.config import Config, replace
from lslm.exceptions import MismatchError
from lslm.tuning.family import family_configs
from lslm.tuning.power_law import PowerLaw, bootstrap, fit_power_law
from lslm.tuning.rates import range_test

# Hoffmann et al. 2022, appendix D.3
CHINCHILLA = PowerLaw(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
GRID = list(itertools.product((1e7, 3e7, 1e8, 3e8), (2e8, 6e8, 2e9)))
SMALL = {
    "model__width": 32,
    "model__layers": 1,
    "model__heads": 2,
    "model__sequence_length": 32,
    "batch_size": 4,
    "validation_tokens": 1000,
    "train__threads": 1,
}


def test_the_fit_finds_a_published_law_again():
    n, d = (list(column) for column in zip(*GRID, strict=True))
    found = fit_power_law(n, d, CHINCHILLA.loss(np.array(n), np.array(d)).tolist())
    for name, value in vars(CHINCHILLA).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-4)


def test_the_best_size_is_the_lowest_point_of_its_curve():
    flops = 1e19
    sizes = np.geomspace(1e6, 1e11, 20_000)
    lowest = sizes[np.argmin(CHINCHILLA.loss(sizes, flops / (6 * sizes)))]
    assert CHINCHILLA.best_size(flops) == pytest.approx(lowest, rel=1e-3)


def test_intervals_hold_what_they_are_intervals_of():
    n, d = (np.array(column) for column in zip(*GRID, strict=True))
    inside = 0
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(0, 0.002, len(n))
        loss = (CHINCHILLA.loss(n, d) * np.exp(noise)).tolist()
        law = fit_power_law(n.tolist(), d.tolist(), loss)
        laws, _ = bootstrap(law, n.tolist(), d.tolist(), loss, n_samples=60, seed=seed)
        drawn = [float(one.loss(1e9, 1e10)) for one in laws]
        low, high = np.percentile(drawn, [2.5, 97.5])
        inside += low <= CHINCHILLA.loss(1e9, 1e10) <= high
    assert inside >= 4


@pytest.mark.parametrize(
    ("n", "d", "said"),
    [
        ([1.0] * 8, [1.0] * 8, "8 runs are too few"),
        ([1.0, 2.0, 1.0] * 3, [1.0, 2.0, 3.0] * 3, "2 model sizes"),
        ([1.0, 2.0, 3.0] * 3, [1.0, 1.0, 1.0] * 3, "1 numbers of tokens"),
    ],
)
def test_what_cannot_be_fitted_is_an_error(n, d, said):
    with pytest.raises(ValueError, match=said):
        fit_power_law(n, d, [1.0] * len(n))


def test_a_family_is_trained_fitted_and_checked(tmp_path, data):
    options = {"data": data, "n_tokens": 600, "n_sizes": 3, "progress": False} | SMALL
    result = lslm.scaling(output=tmp_path / "family", **options)
    assert len(result.runs) == 9
    assert result.held_out.flops > max(run.flops for run in result.runs)
    assert result.held_out.n_tokens == 128 * round(8 * 600 / 128)
    assert result.intervals["alpha"][0] <= result.alpha <= result.intervals["alpha"][1]
    page = (tmp_path / "family/report.html").read_text()
    assert f"{result.held_out.loss:.4f}" in page
    assert json.loads((tmp_path / "family/scaling.json").read_text())["beta"] == result.beta
    folders = sorted((tmp_path / "family/runs").iterdir())
    again = lslm.scaling(runs=folders, output=tmp_path / "again")
    assert again.predicted == result.predicted
    with pytest.raises(ValueError, match="9 runs"):
        lslm.scaling(runs=folders[:9], output=tmp_path / "few")
    other = tmp_path / "other"
    validation = f"{data}/train"
    lslm.train(data=data, validation=validation, out=other, steps=2, progress=False, **SMALL)
    with pytest.raises(MismatchError, match="different tokens"):
        lslm.scaling(runs=[*folders, other], output=tmp_path / "mixed")


def test_sizes_that_are_not_distinct_are_an_error(tmp_path):
    config = replace(Config(), width=8, heads=4)
    with pytest.raises(ValueError, match="not distinct"):
        family_configs(config, tmp_path, 4, 1000)


def test_a_range_test_separates_rates_that_work_from_those_that_do_not(tmp_path, data):
    result = range_test(data=data, output=tmp_path / "range", progress=False, **SMALL)
    assert result.low < result.highest
    assert result.points[0].lr == pytest.approx(0.02 * 1e-3)
    losses = {point.lr: point.mean for point in result.points}
    assert losses[result.highest] == min(losses.values())
    assert (tmp_path / "range/range-test.html").is_file()
    from lslm.tuning.space import parse_space

    (parameter,) = parse_space(result.toml(), "found").parameters
    assert (parameter.key, parameter.log) == ("optim.lr", True)
