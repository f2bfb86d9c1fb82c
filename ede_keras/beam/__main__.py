"""Scores image files or TFRecords by an exported SavedModel, in an Apache Beam pipeline.

python -m ede_keras.beam --model=serving/ede/1 --input='parts/**.png' --output=scores/parts
python -m ede_keras.beam --model=serving/ede/1 --input='a/*.jpg' --input='b/*'
    --output=scores/ab --format=parquet --runner=FlinkRunner --flink_master=host:8081

All other flags are Beam's pipeline options: by default it runs on this machine. Writes
`<output>-scores-*` and `<output>-dead_letters-*`, what could not be scored and why.
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

from ede_keras import beam as ours
from ede_keras.beam.transforms import resolve
from ede_keras.cli import common
from ede_keras.errors import InputError

flags.DEFINE_string(
    "model", None, "A version that ede_keras.export wrote, a folder.", required=True
)
flags.DEFINE_multi_string(
    "input", None, "Pattern of files, with *, **, ? and [...]; may be repeated.", required=True
)
flags.DEFINE_string(
    "feature",
    None,
    "The input are TFRecords of tf.train.Examples; this feature, such as image/encoded, holds the "
    "encoded image.",
)
flags.DEFINE_string("output", None, "What the files to write begin with.", required=True)
flags.DEFINE_enum("format", "csv", ("csv", "parquet"), "Of the files to write.")
flags.DEFINE_integer("batch_size", 64, "Images that are scored at once.", lower_bound=1)

FLAGS = flags.FLAGS
KINDS = {"scores": ours.Score, "dead_letters": ours.DeadLetter}
PARQUET_TYPES = {str: pyarrow.string(), float: pyarrow.float32(), int: pyarrow.int32()}


class WriteRows(beam.PTransform):
    """Writes a collection of named tuples to files `<prefix>-00000-of-00001.<format>`."""

    def __init__(self, prefix, kind, file_format):
        super().__init__()
        self.prefix = prefix
        self.columns = kind.__annotations__
        self.file_format = file_format

    def expand(self, rows):
        if self.file_format == "csv":
            write = beam.io.WriteToText(
                self.prefix, file_name_suffix=".csv", header=to_csv(self.columns)
            )
            return rows | beam.Map(to_csv) | write
        types = [(name, PARQUET_TYPES[kind]) for name, kind in self.columns.items()]
        write = beam.io.WriteToParquet(
            self.prefix, pyarrow.schema(types), file_name_suffix=".parquet"
        )
        return rows | beam.Map(lambda row: row._asdict()) | write


def to_csv(row):
    """A row as a line of CSV, without its end."""
    line = io.StringIO()
    csv.writer(line).writerow(row)
    return line.getvalue().removesuffix("\r\n")


def check(options):
    """Raises `InputError` for what would end in no or in mixed results."""
    # An unquoted pattern that the shell has spelled out: its first file would be all of the input.
    if loose := [option for option in options if not option.startswith("-")]:
        raise InputError(
            "Expected --name=value, and patterns of files in quotes. "
            f"Received: {len(loose)} more arguments, the first {loose[0]!r}"
        )
    for pattern in FLAGS.input:
        if os.path.isdir(resolve(pattern)):
            raise InputError(f"Expected a pattern, such as {pattern}/**. Received: the folder")
        if not matches(pattern):
            raise InputError(f"No file matches the input. Received: {pattern}")
    if FLAGS.output.endswith("/"):
        raise InputError(f"Expected the beginning of files' names. Received: {FLAGS.output}")
    if any(matches(f"{FLAGS.output}-{name}-*") for name in KINDS):
        raise InputError(f"The output is there already; choose another. Received: {FLAGS.output}")


def matches(pattern):
    """Whether a file matches."""
    try:
        return bool(FileSystems.match([resolve(pattern)], limits=[1])[0].metadata_list)
    except (BeamIOError, ValueError) as error:
        raise InputError(f"{pattern} cannot be looked for: {error}") from error


def count(rows, name):
    """The rows, counted in a metric."""
    return rows | f"Count {name}" >> beam.Map(_count, Metrics.counter("ede_keras", name))


def _count(row, counter):
    counter.inc()
    return row


def main(argv):
    logging.set_verbosity(logging.WARNING)
    check(argv[1:])
    score = ours.ScoreImages(FLAGS.model, FLAGS.batch_size)
    read = ours.ReadExamples(FLAGS.feature) if FLAGS.feature else ours.ReadImages()
    p = beam.Pipeline(options=PipelineOptions(argv[1:]))
    contents, unread = p | beam.Create(FLAGS.input) | read
    scores, unscored = contents | score
    buried = (unread, unscored) | beam.Flatten()
    inputs = (contents, unread) | "Inputs" >> beam.Flatten()
    count(inputs, "inputs")
    for (name, kind), rows in zip(KINDS.items(), (scores, buried), strict=True):
        write = WriteRows(resolve(f"{FLAGS.output}-{name}"), kind, FLAGS.format)
        count(rows, name) | f"Write {name}" >> write
    result = p.run()
    result.wait_until_finish()
    print_counts(result)


def print_counts(result):
    """Prints how many images came and what became of them; an image that is lost is an error."""
    found = result.metrics().query(MetricsFilter().with_namespace("ede_keras"))["counters"]
    counts = {counter.key.metric.name: counter.result for counter in found}
    if not counts.get("inputs"):
        print("No image came, or this runner does not count them: see the two outputs.")
        return
    n = {name: counts.get(name, 0) for name in ("inputs", *KINDS)}
    for name, number in n.items():
        print(f"{name:<22}{number}")
    if n["inputs"] != sum(n[name] for name in KINDS):
        sys.exit("Error: Expected a score or a dead letter of every input; the counts differ.")


if __name__ == "__main__":
    common.run(main, others=True)
