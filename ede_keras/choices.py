"""The names that arguments and flags can take, apart from what they stand for.

Commands check their flags by them before they wait for TensorFlow.
"""

# Built-in data sets, and the protocol of each by default.
DATASETS = {
    "digits": "split80",
    "mnist": "split80",
    "fmnist": "split80",
    "cifar10": "official",
    "cifar100": "cifar100_siblings",
    "cifar100_coarse": "official",
    "coil100": "coil30",
}
PROTOCOLS = ("split80", "official", "cifar100_siblings", "coil30")
# Layouts of a folder of images, in words.
LAYOUTS = {
    "split": "train/ and test/, as in MVTec AD and GANomaly",
    "classes": "a subfolder for each class",
    "normals": "all images are normal",
}
RAW_FORMATS = ("none", "npy", "tiff")  # of anomaly maps as numbers

VARIANTS = ("full", "twin_ede", "single_ede", "autoencoder")
EDE = "ede"
RIVALS = (
    "vae",
    "deep_svdd",
    "ganomaly",
    "anogan",
    "gpnd",
    "ocgan",
    "dagpr",
    "pixelcnn",
    "anonagn",
    "puzzle_ae",
    "piad",
    "addpa",
    "one_class_svm",
    "kernel_density",
    "pca",
    "isolation_forest",
    "nearest_neighbour",
)
LITE0 = "efficientnet_lite0"

NORMS = ("l1", "l2")
SCHEDULES = ("inverse_epoch", "floored_inverse_epoch")
UPDATES = ("joint", "alternate")
PHASE2_FORMS = ("printed", "bounded", "cooperative", "restoration")
PHASE2_UPDATES = ("all", "decoders", "ede2")
SCORES = ("latent", "image")

# Keras' names of dtype policies. In float16 small gradients would vanish without a scaled loss.
PRECISIONS = ("float32", "mixed_bfloat16")

AUTO = "auto"  # a recipe, and whether to compile with XLA
STRATEGIES = ("one", "mirrored", "multi_worker")
