"""Simple methods of scikit-learn on the same splits: what a detector has to beat."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

# Principal components that keep this share of the normal images' variance.
VARIANCE = 0.95


def _one_class_svm(x_train, seed):
    del seed  # no random numbers in it
    scaled = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1, gamma="scale")).fit(x_train)
    return lambda x: -scaled.decision_function(x)


def _kernel_density(x_train, seed):
    """Gaussian kernels on whitened principal components, Scott's bandwidth."""
    reduced = make_pipeline(
        PCA(VARIANCE, whiten=True, random_state=seed), KernelDensity(bandwidth="scott")
    ).fit(x_train)
    return lambda x: -reduced.score_samples(x)


def _pca(x_train, seed):
    """The squared residual of the principal components' reconstruction."""
    pca = PCA(VARIANCE, random_state=seed).fit(x_train)
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
