"""Every argument is said once; what is set on a built model acts or is refused."""

import dataclasses
import inspect

import numpy as np
import pytest

import ede_keras
from ede_keras.errors import InputError
from ede_keras.models.arguments import EDEArguments, TrainingArguments
from ede_keras.models.detector import AnomalyDetector
from ede_keras.models.ede import EDE
from ede_keras.models.parts import NETWORKS
from ede_keras.models.recipes import get_recipe
from ede_keras.models.trainer import TwoPhaseTrainer
from ede_keras.models.variants import VARIANTS
from ede_keras.utils.arguments import Range, argument


def test_the_constructors_signature_names_every_argument():
    names = list(inspect.signature(EDE).parameters)
    assert names == ["image_shape", *EDEArguments.names(), *NETWORKS, "name"]
    model = EDE((8, 8, 1))
    assert set(model.get_config()) == {"image_shape", "name", *EDEArguments.names()}


def test_defaults_by_shape():
    grey, colour = (EDEArguments.resolve((28, 28, channels)) for channels in (1, 3))
    assert (grey.base_width, grey.mirror, grey.pretext_views) == (16, False, 4)
    assert (colour.base_width, colour.mirror, colour.pretext_views) == (32, True, 16)
    assert EDEArguments.resolve((16, 9, 1)).image_size == 16
    assert EDEArguments.resolve((28, 28, 1), base_width=5).base_width == 5


def test_numbers_of_numpy_are_saved_as_pythons():
    given = {"latent_dim": np.int64(4), "omega1": np.float64(0.5), "mirror": np.True_}
    found = EDEArguments.resolve((8, 8, 1), **given).to_dict()
    assert [type(found[name]) for name in given] == [int, float, bool]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("latent_dim", "3", "`latent_dim` must be a whole number. Received: latent_dim='3'"),
        ("latent_dim", 3.5, "`latent_dim` must be a whole number"),
        ("latent_dim", True, "`latent_dim` must be a whole number"),
        ("latent_dim", 0, "`latent_dim` must be at least 1. Received: latent_dim=0"),
        ("mirror", 1, "`mirror` must be True or False"),
        ("omega1", "a", "`omega1` must be a number"),
        ("omega1", float("nan"), "`omega1` must be from 0 to 1"),
        ("contamination", 1, "`contamination` must be at least 0, below 1"),
        ("norm", "l3", "`norm` must be one of l1, l2"),
        ("image_size", 20, "multiple of 8"),
        ("latent_dims", 3, "Arguments must be among .*Received: latent_dims"),
    ],
)
def test_wrong_arguments(name, value, message):
    with pytest.raises(InputError, match=message):
        EDE((8, 8, 1), **{name: value})
    with pytest.raises(InputError, match=message):
        get_recipe("default", (8, 8, 1), **{name: value})


@pytest.mark.parametrize(("name", "value"), [("learning_rate", 0.0), ("epochs", 0), ("beta_1", 1)])
def test_wrong_arguments_of_training(name, value):
    with pytest.raises(InputError, match=f"`{name}` must be"):
        get_recipe("default", (8, 8, 1), **{name: value})


def test_ranges_in_words():
    assert str(Range(least=1)) == "at least 1, finite"
    assert str(Range(least=0, most=1)) == "from 0 to 1"
    assert str(Range(above=0)) == "above 0, finite"
    assert str(Range(least=0, below=1)) == "at least 0, below 1"
    assert float("inf") not in Range(least=1) and 0 not in Range(above=0)


def test_a_new_argument_is_one_field():
    @dataclasses.dataclass(frozen=True)
    class More(TrainingArguments):
        patience: int = argument(3, "Epochs to wait.", within=Range(least=1))

    assert More.resolve((8, 8, 1)).patience == 3
    with pytest.raises(InputError, match="`patience` must be at least 1"):
        More.resolve((8, 8, 1), patience=0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_set_on_a_built_model_is_refused(build, variant):
    model = build(VARIANTS[variant])
    others = ("omega2", "image_shape", "preprocessor", "anomaly_score", "arguments", "has_phase2")
    for name in (*EDEArguments.names(), *NETWORKS, *others):
        before = getattr(model, name)
        with pytest.raises(
            AttributeError, match=f"`{name}` cannot be changed on a built .*{name}=0.5"
        ):
            setattr(model, name, 0.5)
        assert getattr(model, name) is before


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("threshold", r"call `set_threshold\(value\)`"),
        ("optimizer", r"call `compile\(optimizer=...\)`"),
        ("ede2_optimizer", r"call `compile\(ede2_optimizer=...\)`"),
        ("learning_rate", "pass it to `fit_recipe`, `compile` or `fit`"),
        ("omega1", "build another one with `omega1=...`"),
    ],
)
def test_the_remedy_for_what_is_set_elsewhere(build, name, remedy):
    model = build()
    with pytest.raises(
        AttributeError, match=f"`{name}` cannot be changed on a built EDE.*{remedy}"
    ):
        setattr(model, name, 0.5)
    model.compile("sgd")  # sets both optimizers again
    assert type(model.ede2_optimizer).__name__ == "SGD"


@pytest.mark.parametrize(
    ("variant", "recipe", "given", "reason"),
    [
        ("full", "default", {"pretext": "none", "pretext_views": 2}, "pretext none"),
        ("full", "default_no_pretext", {"memory_size": 2}, "pretext none"),
        ("full", "paper", {"phase_floor": 0.5}, "schedule inverse_epoch"),
        ("twin_ede", "default", {"phase_floor": 0.5}, "this variant"),
        ("single_ede", "default", {"omega1": 0.3}, "this variant"),
        ("autoencoder", "default", {"latent_weight": 2.0}, "this variant"),
    ],
)
def test_an_argument_without_effect_is_refused(variant, recipe, given, reason):
    name = list(given)[-1]
    with pytest.raises(InputError, match=f"`{name}` has no effect with {reason}: leave it out"):
        VARIANTS[variant].from_recipe(recipe, (8, 8, 1), **given)


def test_a_tiled_detectors_own(build):
    model = ede_keras.TiledDetector(build(), (12, 16, 1))
    for name in ("stride", "contamination", "detector"):
        with pytest.raises(AttributeError, match="build another one"):
            setattr(model, name, 3)


@pytest.mark.parametrize(
    ("part", "name", "arguments"),
    [
        (TwoPhaseTrainer, "decoders", None),
        (TwoPhaseTrainer, "ede_networks", (0,)),
        (TwoPhaseTrainer, "phase1", (None, True)),
        (AnomalyDetector, "score_weights", None),
        (AnomalyDetector, "relative_size", None),
    ],
)
def test_contracts_say_what_is_missing(part, name, arguments):
    """Of the two halves of a model, each of which leaves something to its subclass."""
    half = object.__new__(part)
    with pytest.raises(NotImplementedError, match=f"{part.__name__} must define {name}"):
        getattr(half, name)(*arguments)
