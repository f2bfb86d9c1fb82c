"""Scores image files or TFRecords with an exported SavedModel, in an Apache Beam pipeline.

python -m ede_keras.beam --model=serving/ede/1 --input='parts/**.png' --output=scores/parts
python -m ede_keras.beam --model=serving/ede/1 --input='a/*.jpg' --input='b/*'
    --output=scores/ab --format=parquet --runner=FlinkRunner --flink_master=host:8081

All other flags are Beam's pipeline options; by default the pipeline runs on this machine. The
output is `<output>-scores-*` and `<output>-dead_letters-*`, which lists the inputs that could not
be scored and the reasons. If the output is local, `<output>-data.json` has the numbers of both.
"""

import csv
import io
import os
import sys

import apache_beam as beam
import pyarrow
from absl import flags, logging
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineResult

from ede_keras import beam as ours
from ede_keras.beam.transforms import resolve
from ede_keras.cli import command
from ede_keras.data.summary import count_reasons
from ede_keras.errors import InputError
from ede_keras.utils.files import write_json

FLAGS = flags.FLAGS
KINDS = {"scores": ours.Score, "dead_letters": ours.DeadLetter}
# Namespaces of the counters: of all rows, and of dead letters by reason.
ROWS, REASONS = "ede_keras", "ede_keras.left_out"
PARQUET_TYPES = {str: pyarrow.string(), float: pyarrow.float32(), int: pyarrow.int32()}


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model", None, "Folder of an exported version, such as serving/ede/1.", required=True
    )
    flags.DEFINE_multi_string(
        "input",
        None,
        "File pattern with *, **, ? and [...], in quotes.",
        required=True,
    )
    flags.DEFINE_string(
        "feature",
        None,
        "Read the input as TFRecords of tf.train.Examples; this feature, such as image/encoded, "
        "holds the encoded image.",
    )
    flags.DEFINE_string("output", None, "Prefix of the output files.", required=True)
    flags.DEFINE_enum("format", "csv", ("csv", "parquet"), "Format of the output files.")
    flags.DEFINE_integer("batch_size", 64, "Largest number of images in a batch.", lower_bound=1)


class WriteRows(beam.PTransform):
    """Writes a collection of named tuples to files `<prefix>-00000-of-00001.<format>`.

    Args:
        prefix: Prefix of the files.
        kind: Type of the rows, `Score` or `DeadLetter`.
        file_format: "csv" or "parquet".
    """

    def __init__(self, prefix: str, kind: type, file_format: str):
        super().__init__()
        self.prefix = prefix
        self.columns = kind.__annotations__
        self.file_format = file_format

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Adds the transform to the pipeline."""
        if self.file_format == "csv":
            header = to_csv(self.columns)
            write_text = beam.io.WriteToText(self.prefix, file_name_suffix=".csv", header=header)
            return rows | beam.Map(to_csv) | write_text
        schema = pyarrow.schema(
            [(name, PARQUET_TYPES[kind]) for name, kind in self.columns.items()]
        )
        write = beam.io.WriteToParquet(self.prefix, schema, file_name_suffix=".parquet")
        return rows | beam.Map(lambda row: row._asdict()) | write


def to_csv(row):  # without annotations, which Beam would read as its type hints
    """Formats a row as a line of CSV, without the line break."""
    line = io.StringIO()
    csv.writer(line).writerow(row)
    return line.getvalue().removesuffix("\r\n")


def check_arguments(options: list[str]) -> None:
    """Checks the flags before the pipeline starts.

    Args:
        options: The arguments left for Beam.

    Raises:
        InputError: No file matches, output exists, or an argument is not a flag.
    """
    # The shell expands an unquoted pattern: its first file becomes --input, the others are loose.
    if loose := [option for option in options if not option.startswith("-")]:
        raise InputError(
            "Expected --name=value, with file patterns in quotes. "
            f"Received: {len(loose)} more arguments, the first {loose[0]!r}"
        )
    for pattern in FLAGS.input:
        if os.path.isdir(resolve(pattern)):
            raise InputError(f"Expected a pattern, such as {pattern}/**. Received: a folder")
        if not has_match(pattern):
            raise InputError(f"No file matches --input. Received: {pattern}")
    if FLAGS.output.endswith("/"):
        raise InputError(
            f"--output must be a prefix of file names, not a folder. Received: {FLAGS.output}"
        )
    if any(has_match(f"{FLAGS.output}-{name}-*") for name in KINDS):
        raise InputError(
            f"The output files exist already; choose another --output. Received: {FLAGS.output}"
        )


def has_match(pattern: str) -> bool:
    """Returns whether at least one file matches a pattern."""
    try:
        return bool(FileSystems.match([resolve(pattern)], limits=[1])[0].metadata_list)
    except (BeamIOError, ValueError) as error:
        raise InputError(f"Cannot search for files. Received: {pattern} ({error})") from error


def count_rows(rows: beam.PCollection, name: str) -> beam.PCollection:
    """Counts the rows of a collection in the metric `name`, and returns them."""
    return rows | f"Count {name}" >> beam.Map(_count_row, Metrics.counter(ROWS, name))


def _count_row(row, counter):
    counter.inc()
    return row


def _count_reason(letter):
    # For an error only its type: messages may all differ, and the runner keeps each counter.
    Metrics.counter(REASONS, letter.reason.split(": ")[0]).inc()
    return letter


def main(argv: list[str]) -> None:
    """Runs the pipeline that the flags describe; the arguments left in `argv` are Beam's."""
    logging.set_verbosity(logging.WARNING)
    check_arguments(argv[1:])
    score = ours.ScoreImages(FLAGS.model, FLAGS.batch_size)
    read = ours.ReadExamples(FLAGS.feature) if FLAGS.feature else ours.ReadImages()
    p = beam.Pipeline(options=PipelineOptions(argv[1:]))
    contents, unread = p | beam.Create(FLAGS.input) | read
    scores, unscored = contents | score
    dead_letters = (unread, unscored) | beam.Flatten() | beam.Map(_count_reason)
    inputs = (contents, unread) | "Inputs" >> beam.Flatten()
    count_rows(inputs, "inputs")
    for (name, kind), rows in zip(KINDS.items(), (scores, dead_letters), strict=True):
        write = WriteRows(resolve(f"{FLAGS.output}-{name}"), kind, FLAGS.format)
        count_rows(rows, name) | f"Write {name}" >> write
    result = p.run()
    result.wait_until_finish()
    report(result)


def read_counters(result: PipelineResult, namespace: str) -> dict[str, int]:
    """The counters of a namespace, by name; none on a runner that has no counters."""
    found = result.metrics().query(MetricsFilter().with_namespace(namespace))["counters"]
    return {counter.key.metric.name: counter.result for counter in found}


def report(result: PipelineResult) -> None:
    """Prints how many inputs were seen, scored and left out for each reason.

    If the output is local, it also writes these counts to `<output>-data.json`. It exits with an
    error if an input is lost.
    """
    counts = read_counters(result, ROWS)
    if not counts.get("inputs"):
        print("The inputs were not counted: there were none, or this runner has no counters.")
        return
    seen, used, n_left_out = (counts.get(name, 0) for name in ("inputs", *KINDS))
    reasons = read_counters(result, REASONS)
    source = ", ".join(FLAGS.input)
    print(f"{used} of {seen} inputs scored from {source}")
    for line in count_reasons(reasons, "input"):
        print(f"  left out: {line}")
    if reasons:
        print(f"  they are listed in {FLAGS.output}-dead_letters-*.{FLAGS.format}")
    if "://" not in FLAGS.output:
        # As the other commands write it, but without the names: a counter has none.
        left_out = {reason: {"files": n} for reason, n in reasons.items()}
        content = {"source": source, "seen": seen, "used": used, "left_out": left_out}
        write_json(resolve(f"{FLAGS.output}-data.json"), content)
    if seen != used + n_left_out:
        sys.exit(
            "Error: Some inputs have neither a score nor a dead letter. Run the command again."
        )


def run() -> None:
    """Runs the command."""
    define_flags()
    command.run(main, others=True)


if __name__ == "__main__":
    run()
