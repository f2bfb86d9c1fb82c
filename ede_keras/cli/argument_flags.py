"""A flag for every argument of a recipe, made from the fields that define the arguments."""

import dataclasses
import math
from collections.abc import Callable

from absl import flags

from ede_keras.models.arguments import EDEArguments, TrainingArguments
from ede_keras.utils.arguments import Range, describe_default, kind_of


def recipe_fields() -> list[dataclasses.Field]:
    """The fields of both dataclasses of arguments."""
    return [*dataclasses.fields(TrainingArguments), *dataclasses.fields(EDEArguments)]


def define_argument_flags() -> None:
    """Defines a flag for each argument. Unset, it is None and the recipe's value holds."""
    for field in recipe_fields():
        text = f"{field.metadata['meaning']} In recipe default: {describe_default(field)}."
        kind = kind_of(field)
        if field.metadata["choices"]:
            flags.DEFINE_enum(field.name, None, field.metadata["choices"], text)
        elif kind in (bool, str):
            define_plain = flags.DEFINE_bool if kind is bool else flags.DEFINE_string
            define_plain(field.name, None, text)
        else:
            define: Callable = flags.DEFINE_integer if kind is int else flags.DEFINE_float
            within = field.metadata["within"] or Range()
            least, most = (b if math.isfinite(b) else None for b in (within.least, within.most))
            define(field.name, None, text, lower_bound=least, upper_bound=most)


def given_arguments(values: flags.FlagValues) -> dict[str, object]:
    """The arguments that the user set, by name."""
    given = {field.name: values[field.name].value for field in recipe_fields()}
    return {name: value for name, value in given.items() if value is not None}
