import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from pipeline.reduce import Reduction, fit
from pipeline.settings import UsageError
from pipeline.sums import merge, moments


@pytest.fixture
def rows():
    random = np.random.default_rng(3)
    mixed = random.normal(size=(400, 12)) @ random.normal(size=(12, 12)) + 1000 * random.normal(size=12)
    mixed[:, 5] = 0.1  # constant, and not a binary fraction
    return mixed


def in_blocks(rows, *cuts):
    blocks = np.split(rows, cuts)
    total = moments(blocks[0])
    for block in blocks[1:]:
        total = merge(total, moments(block))
    return total


def test_partial_sums_are_those_of_the_whole(rows):
    total = in_blocks(rows, 1, 7, 200)
    assert total.count == 400
    np.testing.assert_allclose(total.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(total.scatter / 399, np.cov(rows.T), rtol=1e-9, atol=1e-9)


def test_a_large_mean_does_not_drown_the_deviation():
    random = np.random.default_rng(1)
    rows = 1e8 + random.normal(size=(1000, 3))
    reduction = fit(in_blocks(rows, 100, 500), components=1, variance=0.5)
    np.testing.assert_allclose(reduction.deviation, rows.std(axis=0, ddof=1), rtol=1e-6)


def test_fit_equals_scikit_learn(rows):
    reduction = fit(in_blocks(rows, 100, 101), components=4, variance=0.5)
    scaled = StandardScaler().fit_transform(rows) * np.sqrt(399 / 400)  # scikit-learn divides by n, Spark by n - 1
    pca = PCA(n_components=11, svd_solver="full").fit(scaled)
    np.testing.assert_allclose(reduction.ratios[:11], pca.explained_variance_ratio_, atol=1e-9)
    signs = np.sign(np.sum(reduction.components * pca.components_[:4].T, axis=0))
    np.testing.assert_allclose(reduction.components * signs, pca.components_[:4].T, atol=1e-8)
    np.testing.assert_allclose(reduction.project(rows) * signs, pca.transform(scaled)[:, :4], atol=1e-7)


def test_a_constant_feature_counts_as_zero(rows):
    reduction = fit(moments(rows), components=3, variance=0.5)
    assert reduction.deviation[5] == 0
    np.testing.assert_allclose(reduction.components[5], 0, atol=1e-12)
    assert reduction.ratios[11] == pytest.approx(0, abs=1e-12)
    assert np.isfinite(reduction.project(rows)).all()


def test_the_sign_is_fixed(rows):
    components = fit(moments(rows), components=5, variance=0.5).components
    assert (components[np.abs(components).argmax(axis=0), range(5)] > 0).all()


@pytest.mark.parametrize("share", [0.3, 0.8, 0.95, 1.0])
def test_variance_keeps_the_fewest_components_that_reach_it(rows, share):
    reduction = fit(moments(rows), components=None, variance=share)
    k, cumulative = reduction.components.shape[1], np.cumsum(reduction.ratios)
    assert cumulative[k - 1] >= share - 1e-9
    assert k == 1 or cumulative[k - 2] < share
    assert k <= 12


@pytest.mark.parametrize(
    ("count", "components", "words"),
    [(400, 13, "--components 13: 400 images of 12 features have at most 12"), (5, 6, "5 images"), (1, None, "two")],
)
def test_what_cannot_be_reduced_is_said(rows, count, components, words):
    with pytest.raises(UsageError, match=words):
        fit(moments(rows[:count]), components=components, variance=0.95)


def test_equal_images_have_nothing_to_explain():
    with pytest.raises(UsageError, match="same features"):
        fit(moments(np.ones((5, 3))), components=None, variance=0.95)


def test_entries_of_a_component_that_are_next_to_nothing_are_nothing():
    components = np.array([[1.0, 1e-39], [1e-39, 1.0]])
    reduction = Reduction(np.zeros(2), np.ones(2), components, np.array([0.5, 0.5]))
    rows = np.array([[2.0, 0.0], [0.0, 3.0]], np.float32)
    np.testing.assert_array_equal(reduction.project(rows), rows)
    assert components[0, 1] == 1e-39, "the saved ones are as they were fitted"
