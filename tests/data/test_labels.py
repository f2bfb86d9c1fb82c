import numpy as np
import pytest

from ede_keras.data.labels import cifar100_fine_labels, cifar100_superclass, class_names

# The published table of fine to coarse labels, taken from the data files.
FINE_TO_COARSE = [
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11,
    6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5,
    5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17,
    10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13,
    16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
]  # fmt: skip


def test_cifar100_superclasses_are_the_publishers():
    assert [cifar100_superclass(fine) for fine in range(100)] == FINE_TO_COARSE


def test_every_superclass_has_its_five_classes():
    families = [cifar100_fine_labels(coarse) for coarse in range(20)]
    assert all(len(family) == 5 for family in families)
    assert sorted(np.concatenate(families).tolist()) == list(range(100))


def test_cifar100_family_by_name():
    fine, coarse = class_names("cifar100"), class_names("cifar100_coarse")
    assert coarse[14] == "people"
    people = {fine[i] for i in cifar100_fine_labels(14)}
    assert people == {"baby", "boy", "girl", "man", "woman"}


@pytest.mark.parametrize(
    ("name", "first", "n", "some"),
    [
        ("digits", 0, 10, {7: "7"}),
        ("mnist", 0, 10, {7: "7"}),
        ("fmnist", 0, 10, {0: "t-shirt", 6: "shirt", 9: "ankle-boot"}),
        ("cifar10", 0, 10, {0: "airplane", 3: "cat", 9: "truck"}),
        ("cifar100", 0, 100, {0: "apple", 13: "bus", 99: "worm"}),
        ("cifar100_coarse", 0, 20, {0: "aquatic_mammals", 19: "vehicles_2"}),
        ("coil100", 1, 100, {1: "obj1", 100: "obj100"}),
    ],
)
def test_class_names(name, first, n, some):
    names = class_names(name)
    assert list(names) == list(range(first, first + n))
    assert len(set(names.values())) == n
    assert {label: names[label] for label in some} == some
