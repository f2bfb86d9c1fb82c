"""Simple methods of scikit-learn on the same splits: what a detector has to beat."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.svm import OneClassSVM

# Chosen as the recipes are, on tasks made of the training parts with seed 100: one setting for all
# sets.
RECONSTRUCTED_VARIANCE = 0.8  # what the principal components keep
GAMMA = 3  # of scikit-learn's "scale"
BANDWIDTH = 0.2  # of the root of the pixels' summed variances
DENSITY_VARIANCE = 0.95  # kernels in fewer dimensions are faster, and no worse


def _one_class_svm(x_train, seed):
    del seed  # no random numbers in it
    gamma = GAMMA / (x_train.shape[1] * x_train.var())
    machine = OneClassSVM(nu=0.1, gamma=gamma).fit(x_train)
    return lambda x: -machine.decision_function(x)


def _kernel_density(x_train, seed):
    """Gaussian kernels on principal components."""
    bandwidth = BANDWIDTH * np.sqrt(x_train.var(axis=0).sum())
    pca = PCA(DENSITY_VARIANCE, random_state=seed).fit(x_train)
    density = KernelDensity(bandwidth=bandwidth).fit(pca.transform(x_train))
    return lambda x: -density.score_samples(pca.transform(x))


def _pca(x_train, seed):
    """The squared residual of the principal components' reconstruction."""
    pca = PCA(RECONSTRUCTED_VARIANCE, random_state=seed).fit(x_train)
    return lambda x: np.square(x - pca.inverse_transform(pca.transform(x))).mean(axis=1)


def _isolation_forest(x_train, seed):
    forest = IsolationForest(random_state=seed).fit(x_train)
    return lambda x: -forest.score_samples(x)


def _nearest_neighbour(x_train, seed):
    """The Euclidean distance to the nearest normal image."""
    del seed  # no random numbers in it
    neighbours = NearestNeighbors(n_neighbors=1).fit(x_train)
    return lambda x: neighbours.kneighbors(x)[0][:, 0]


# Each fits on (n, pixels) in [0, 1] and gives the function of scores, higher for more anomalous.
METHODS = {
    "one_class_svm": _one_class_svm,
    "kernel_density": _kernel_density,
    "nearest_neighbour": _nearest_neighbour,
    "pca": _pca,
    "isolation_forest": _isolation_forest,
}


def score(method, split, seed):
    """The scores of a split's test images by one of `METHODS`, float64 `(n,)`.

    It learns from all normal images, those that the detector holds out too: it needs no
    threshold.
    """
    normal = np.concatenate([split.x_train, split.x_val])
    x_train, x_test = (x.reshape(len(x), -1) / np.float32(255) for x in (normal, split.x_test))
    return METHODS[method](x_train, seed)(x_test)
