"""Class names of the built-in datasets, in the order of the published labels."""

_CIFAR100_TREE = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}

# The published labels number both levels alphabetically, so they follow from the tree above.
_COARSE = sorted(_CIFAR100_TREE)
_SUPERCLASS = {
    fine: coarse for coarse, name in enumerate(_COARSE) for fine in _CIFAR100_TREE[name].split()
}
_FINE = sorted(_SUPERCLASS)

_NAMES: dict[str, list[str]] = {
    "digits": list("0123456789"),
    "mnist": list("0123456789"),
    "fmnist": [
        "t-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle-boot",
    ],
    "cifar10": [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ],
    "cifar100": _FINE,
    "cifar100_coarse": _COARSE,
}


def class_names(dataset: str) -> dict[int, str]:
    """Returns the class names of a built-in dataset.

    Args:
        dataset: One of `ede_keras.data.datasets.BUILT_IN`.

    Returns:
        Dict of label to name, in the order of the labels. The labels of COIL-100 start at 1, all
        others at 0.

    Example:
        >>> class_names("cifar10")[3]
        'cat'
    """
    if dataset == "coil100":
        return {label: f"obj{label}" for label in range(1, 101)}
    return dict(enumerate(_NAMES[dataset]))


def cifar100_superclass(fine_label: int) -> int:
    """Returns the superclass of a CIFAR-100 class.

    Args:
        fine_label: Label of the class, 0-99.

    Returns:
        Label of its superclass, 0-19.

    Reference: Jia & Liu 2023, Section 4, Table 4.
    """
    return _SUPERCLASS[_FINE[fine_label]]


def cifar100_fine_labels(coarse_label: int) -> list[int]:
    """Returns the labels of the five classes in a CIFAR-100 superclass.

    Args:
        coarse_label: Label of the superclass, 0-19.

    Returns:
        Five labels, 0-99, in ascending order.
    """
    return [fine for fine in range(len(_FINE)) if cifar100_superclass(fine) == coarse_label]
