"""Other methods, with the same interface as `EDE`, to compare it with.

Each is built, trained, calibrated, saved and exported as an `EDE`; `train.py --method=NAME` does
it all.
"""

from ede_keras.rivals.addpa import ADDPA
from ede_keras.rivals.anogan import AnoGAN
from ede_keras.rivals.anonagn import AnoNAGN
from ede_keras.rivals.dagpr import DAGPR
from ede_keras.rivals.deep_svdd import DeepSVDD
from ede_keras.rivals.ganomaly import GANomaly
from ede_keras.rivals.gpnd import GPND
from ede_keras.rivals.isolation_forest import IsolationForest
from ede_keras.rivals.kernel_density import KernelDensity
from ede_keras.rivals.nearest_neighbour import NearestNeighbour
from ede_keras.rivals.ocgan import OCGAN
from ede_keras.rivals.one_class_svm import OneClassSVM
from ede_keras.rivals.pca import PrincipalComponents
from ede_keras.rivals.piad import PIAD
from ede_keras.rivals.pixelcnn import PixelCNN
from ede_keras.rivals.puzzle_ae import PuzzleAE
from ede_keras.rivals.rival import Rival, Training
from ede_keras.rivals.vae import VAE

RIVALS: dict[str, type[Rival]] = {
    "vae": VAE,
    "deep_svdd": DeepSVDD,
    "ganomaly": GANomaly,
    "anogan": AnoGAN,
    "gpnd": GPND,
    "ocgan": OCGAN,
    "dagpr": DAGPR,
    "pixelcnn": PixelCNN,
    "anonagn": AnoNAGN,
    "puzzle_ae": PuzzleAE,
    "piad": PIAD,
    "addpa": ADDPA,
    "one_class_svm": OneClassSVM,
    "kernel_density": KernelDensity,
    "pca": PrincipalComponents,
    "isolation_forest": IsolationForest,
    "nearest_neighbour": NearestNeighbour,
}

__all__ = ["RIVALS", "Rival", "Training", *(rival.__name__ for rival in RIVALS.values())]
