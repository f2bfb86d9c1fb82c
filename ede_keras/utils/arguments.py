"""Dataclasses of arguments: each field defines type, default, range and meaning in one place."""

import dataclasses
import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from ede_keras.errors import InputError
from ede_keras.utils.checks import check_choice, check_range


class Range(NamedTuple):
    """The values that a number may have; none may be infinite."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def __contains__(self, value: Any) -> bool:
        return self.least <= value <= self.most and self.above < value < self.below

    def __str__(self) -> str:
        if self.least > -math.inf and self.most < math.inf:
            return f"from {self.least:g} to {self.most:g}"
        start = f"above {self.above:g}" if self.above > -math.inf else f"at least {self.least:g}"
        return f"{start}, {'finite' if self.below == math.inf else f'below {self.below:g}'}"


def argument(
    default: Any,
    meaning: str,
    *,
    choices: Sequence[str] = (),
    within: Range | None = None,
    by_shape: Callable[[Sequence[int]], Any] | None = None,
    default_text: str | None = None,
) -> Any:
    """A field of a dataclass of arguments.

    Args:
        default: Its default; None if it depends on the images.
        meaning: What it is, for `--help` and the page of settings.
        choices: The strings that it may be.
        within: The range of a number.
        by_shape: Gives the default from `(height, width, channels)` of the images.
        default_text: That default in words.
    """
    metadata = {
        "meaning": meaning,
        "choices": tuple(choices),
        "within": within,
        "by_shape": by_shape,
        "default_text": default_text,
    }
    return dataclasses.field(default=default, metadata=metadata)


_KINDS = {
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    bool: (bool, "True or False"),
    str: (str, "a string"),
}


class Arguments:
    """The base of a frozen dataclass whose fields are made by `argument`."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the arguments, in order."""
        return tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """The values by name."""
        return {name: getattr(self, name) for name in self.names()}

    @classmethod
    def resolve(cls, image_shape: Sequence[int], **given: Any) -> Self:
        """All arguments for images of a shape; what is None or not given gets its default.

        Raises:
            InputError: An argument is unknown, of another type or out of range.
        """
        if unknown := sorted(set(given) - set(cls.names())):
            raise InputError(
                f"Arguments must be among {', '.join(cls.names())}. Received: {', '.join(unknown)}"
            )
        values = {}
        for field in dataclasses.fields(cls):  # type: ignore[arg-type]
            value = given.get(field.name)
            if value is None:
                by_shape = field.metadata["by_shape"]
                value = by_shape(image_shape) if by_shape else field.default
            if isinstance(value, np.generic):
                value = value.item()  # configs are saved as JSON
            check_argument(field, value)
            values[field.name] = value
        return cls(**values)


def kind_of(field: dataclasses.Field) -> type:
    """The type of an argument: int, float, bool or str."""
    return next(kind for kind in (bool, int, float, str) if kind in _types(field))


def _types(field: dataclasses.Field) -> tuple[Any, ...]:
    """The types of a field, those of a union one by one; a class in quotes is left out."""
    if isinstance(field.type, str):
        return str, type(None)
    return getattr(field.type, "__args__", (field.type,))


def check_argument(field: dataclasses.Field, value: Any) -> None:
    """Raises an `InputError` unless the value fits its field."""
    if value is None and type(None) in _types(field):
        return
    if isinstance(field.type, str):
        # As "str | Backbone | None": the class by its name, since its module needs TensorFlow.
        names = {kind.strip() for kind in field.type.split("|")} - {"str"}
        if names & {kind.__name__ for kind in type(value).__mro__}:
            return
    kind, expected = _KINDS[kind_of(field)]
    fits = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    check_range(field.name, fits, repr(value), expected)
    if field.metadata["choices"]:
        check_choice(field.name, value, field.metadata["choices"])
    if (within := field.metadata["within"]) is not None:
        expected = str(within).removesuffix(", finite") if kind_of(field) is int else str(within)
        check_range(field.name, value in within, value, expected)


def describe_default(field: dataclasses.Field) -> str:
    """The default of an argument in words."""
    text = field.metadata["default_text"] or str(field.default)
    return text.lower() if kind_of(field) is bool else text


def constructor_signature(constructor: Callable, arguments: type[Arguments]) -> inspect.Signature:
    """The signature of `EDE.__init__` with the fields of its arguments, for `help` and editors."""
    signature = inspect.signature(constructor)
    image_shape, *others = list(signature.parameters.values())[1:-1]
    keyword = inspect.Parameter.KEYWORD_ONLY
    fields = [p.replace(kind=keyword) for p in inspect.signature(arguments).parameters.values()]
    return signature.replace(parameters=[image_shape, *fields, *others])
