import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pipeline.discriminant import SHRINKAGES, ClassSums, Sample, fit, softmax

VIEWS = 3


def drawn(*, classes=4, images=90, components=10, apart=1.0, seed=0):
    """Images of classes about means of their own, with views of fruits, and what each fruit adds to its views."""
    random = np.random.default_rng(seed)
    fruits = np.arange(images) // VIEWS
    labels = random.permutation(np.arange(fruits[-1] + 1) % classes)[fruits]
    own = random.normal(size=(fruits[-1] + 1, components))[fruits]
    means = apart * random.normal(size=(classes, components))
    return means[labels] + own + 0.5 * random.normal(size=(images, components)), labels, fruits


def summed(rows, labels, classes):
    counts = np.bincount(labels, minlength=classes)
    means = np.stack([rows[labels == number].mean(axis=0) if count else rows[0] for number, count in enumerate(counts)])
    within = rows - means[labels]
    return ClassSums(counts, means, within.T @ within)


def fitted(rows, labels, fruits, classes):
    return fit(summed(rows, labels, classes), Sample(rows, labels, fruits.astype(float)))


@pytest.mark.parametrize(("images", "components", "classes"), [(90, 10, 4), (60, 80, 5), (60, 6, 2)])
def test_it_is_scikit_learns_discriminant_at_the_chosen_shrinkage(images, components, classes):
    rows, labels, fruits = drawn(images=images, components=components, classes=classes)
    rows += 1000  # a mean far from zero drowns nothing
    found = fitted(rows, labels, fruits, classes)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=found.shrinkage).fit(rows, labels)
    odds = theirs.decision_function(rows)
    odds = odds[:, None] if classes == 2 else odds[:, 1:] - odds[:, :1]
    # scikit-learn divides the scatter by n, not by n - c, has the classes' shares as priors, and no temperature.
    odds -= np.log(theirs.priors_[1:] / theirs.priors_[0])
    wanted = odds * (images - classes) / images / found.temperature
    scores = rows @ found.coefficients.T + found.intercepts
    np.testing.assert_allclose(scores[:, 1:] - scores[:, :1], wanted, atol=1e-6)


def test_shrinkage_and_temperature_are_those_that_tell_fruits_that_were_left_out():
    classes, images, components = 4, 60, 12
    rows, labels, fruits = drawn(classes=classes, images=images, components=components, apart=0.6, seed=5)
    found = fitted(rows, labels, fruits, classes)
    freedom, scatter = images - classes, summed(rows, labels, classes).scatter
    target = np.trace(scatter) / freedom / components * np.eye(components)
    tried = []
    for shrinkage in SHRINKAGES:
        likelihoods = np.empty((images, classes))
        for fruit in np.unique(fruits):
            out = fruits == fruit
            rest = summed(rows[~out], labels[~out], classes)
            precision = np.linalg.inv((1 - shrinkage) * rest.scatter / freedom + shrinkage * target)
            off = rows[out][:, None] - rest.means
            likelihoods[out] = -np.einsum("ijk,kl,ijl->ij", off, precision, off) / 2
        for sharpness in np.geomspace(0.01, 10, 300):
            right = softmax(sharpness * likelihoods)[np.arange(images), labels]
            tried.append((-np.log(right).mean(), shrinkage, 1 / sharpness))
    _, shrinkage, temperature = min(tried)
    assert found.shrinkage == shrinkage
    assert found.temperature == pytest.approx(temperature, rel=0.1), "but for Platt's prior, it is the best"


def test_probabilities_are_as_sure_as_they_are_right():
    rows, labels, fruits = drawn(classes=6, images=900, components=40, apart=0.35, seed=2)
    known = fruits < 150
    found = fitted(rows[known], labels[known], fruits[known], 6)
    chances = softmax(rows[~known] @ found.coefficients.T + found.intercepts)
    right = chances.argmax(axis=1) == labels[~known]
    sureness = chances.max(axis=1)
    assert 0.5 < right.mean() < 0.95
    assert abs(sureness.mean() - right.mean()) < 0.05
    sharper = softmax(found.temperature * (rows[~known] @ found.coefficients.T + found.intercepts))
    assert sharper.max(axis=1).mean() > sureness.mean() + 0.05, "what the covariance alone says is too sure"


@pytest.mark.parametrize("apart", [0.0, 1.0, 100.0])
def test_a_class_with_few_images_or_none(apart):
    rows, labels, fruits = drawn(classes=4, images=60, components=8, apart=apart)
    chosen = (labels != 1) & ((labels != 2) | (np.arange(60) == np.flatnonzero(labels == 2)[0]))
    found = fitted(rows[chosen], labels[chosen], fruits[chosen], 4)
    chances = softmax(rows @ found.coefficients.T + found.intercepts)
    assert np.isfinite(chances).all()
    assert (chances[:, 1] == 0).all(), "nobody says a class that was never seen"
    assert np.isfinite(found.coefficients).all()


def test_one_image_a_class_is_told_by_the_nearest():
    rows = np.diag([1.0, 2.0, 3.0, 4.0])
    found = fitted(rows, np.arange(4), np.arange(4), 4)
    assert (softmax(rows @ found.coefficients.T + found.intercepts).argmax(axis=1) == range(4)).all()


def test_where_every_class_is_one_fruit_its_images_are_left_out_one_by_one():
    rows, labels, _ = drawn(images=60)
    one = fitted(rows, labels, labels, 4)
    each = fitted(rows, labels, np.arange(60), 4)
    np.testing.assert_array_equal(one.coefficients, each.coefficients)


def test_fruits_of_one_name_in_several_classes_are_several():
    rows, labels, _ = drawn(images=240, apart=0.6)
    numbers = np.array([np.sum(labels[:place] == label) // VIEWS for place, label in enumerate(labels)])
    alike, apart = (fitted(rows, labels, names, 4) for names in (numbers, numbers + 1000 * labels))
    assert (alike.shrinkage, alike.temperature) == (apart.shrinkage, pytest.approx(apart.temperature))


def test_equal_images_of_a_class_and_a_component_that_is_constant():
    rows, labels = np.repeat(np.eye(3), 4, axis=0), np.repeat(np.arange(3), 4)
    found = fitted(rows, labels, np.arange(12), 3)
    chances = softmax(rows @ found.coefficients.T + found.intercepts)
    assert np.isfinite(chances).all()
    assert (chances.argmax(axis=1) == labels).all()
