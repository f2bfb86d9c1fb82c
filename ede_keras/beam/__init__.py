"""Scores many images on many machines with Apache Beam. Needs the extra `ede-keras[beam]`."""

try:
    import apache_beam  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"ede_keras.beam needs Apache Beam: pip install 'ede-keras[beam]'. Received: {error}",
        name=__name__,  # makes `python -m ede_keras.beam` print one line instead of a traceback
    ) from error

from ede_keras.beam.transforms import DeadLetter, ReadExamples, ReadImages, Score, ScoreImages

__all__ = ["DeadLetter", "ReadExamples", "ReadImages", "Score", "ScoreImages"]
