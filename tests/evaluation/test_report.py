"""The report shows what the scores are."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import tensorflow as tf
from commands import read_rows
from makers import write_folder, write_image

from ede_keras.evaluation import report


class Page(HTMLParser):
    """Pictures, tables and headings of a page; fails if the page links to another file."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.rows, self.headings, self._in = [], [], [], None
        self.feed(text)
        self.data = json.loads(re.search(r"const data = (.*);", text)[1])

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("src", "href"):
            if name in attributes:
                kind, _, content = attributes[name].partition(",")
                assert kind == "data:image/png;base64"
                self.pictures.append((attributes["alt"], base64.b64decode(content)))
        if tag == "tr":
            self.rows.append([])
        self._in = tag

    def handle_data(self, text):
        if self._in in ("td", "th") and text.strip():
            self.rows[-1].append(text.strip())
        if self._in == "h2" and text.strip():
            self.headings.append(text.strip())


@pytest.fixture(scope="module")
def evaluated(run_command, run_dir, tmp_path_factory):
    """The output folder of an evaluation with a report."""
    folder = tmp_path_factory.mktemp("report")
    run_command("evaluate.py", f"--run_dir={run_dir}", "--report", f"--output_dir={folder}")
    return folder


def test_the_page_shows_the_scores(evaluated):
    text = (evaluated / "evaluation.html").read_text()
    page = Page(text)
    rows = read_rows(evaluated / "evaluation.csv")
    pairs = [(row["true_label"], row["label"]) for row in rows]
    for truth, name in (("0", "normal images"), ("1", "anomalous images")):
        counts = [str(pairs.count((truth, label))) for label in ("0", "1")]
        assert [name, *counts] in page.rows
    np.testing.assert_allclose(page.data["scores"], [float(r["score"]) for r in rows], atol=1e-6)
    assert page.data["truth"] == [int(row["true_label"]) for row in rows]
    metrics = json.loads((evaluated / "evaluation.json").read_text())
    share = metrics["terms"]["pretext"]["share"]
    (row,) = [row for row in page.rows if row[0] == "pretext"][:1]
    assert row[1:3] == ["3", f"{share:.3g}"]
    assert f"{100 * metrics['auroc']:.1f} of 100 pairs" in text
    assert ["latent_dim", "4"] in page.rows and ["seed", "0"] in page.rows
    assert {"Most anomalous", "Least anomalous"} <= set(page.headings)
    # The image with the highest score comes first in its gallery.
    most = text[text.index("Most anomalous") :]
    assert (
        re.search(r"<figcaption>(\d+):", most)[1]
        == max(rows, key=lambda r: float(r["score"]))["index"]
    )


def test_pictures_are_in_the_page_and_in_files(evaluated):
    pictures = Page((evaluated / "evaluation.html").read_text()).pictures
    shapes = {}
    for name, png in pictures:
        shapes.setdefault(name, set()).add(tf.io.decode_png(png).shape[:2].as_list()[0])
    assert all(shapes[name] == {8} for name in ("image", "reconstruction", "residual", "overlay"))
    files = {path.name: path.read_bytes() for path in evaluated.glob("*.png")}
    assert set(files) == {f"evaluation-{p}.png" for p in ("scores", "roc", "precision_recall")}
    assert set(files.values()) <= {png for _, png in pictures}


def test_names_are_escaped_and_true_labels_are_optional(run_command, run_dir, tmp_path):
    folder = tmp_path / "parts"
    write_folder(folder, "plain", n=3, size=8, channels=1)
    write_image(folder / "<b>&amp;.png", np.zeros((8, 8, 1), np.uint8))
    flags = (f"--run_dir={run_dir}", f"--dataset={folder}", "--report", f"--output_dir={tmp_path}")
    run_command("evaluate.py", *flags)
    text = (tmp_path / "evaluation-parts.html").read_text()
    page = Page(text)
    assert "&lt;b&gt;&amp;amp;.png" in text and "<b>&amp" not in text
    assert page.data["truth"] is None
    assert [row[0] for row in page.rows[1:2]] == ["all images"]
    assert not {"All thresholds", "False alarms", "Missed anomalies"} & set(page.headings)
    assert not (tmp_path / "evaluation-parts-roc.png").exists()


def test_selection_of_galleries():
    scores = np.array([5.0, 1, 4, 2, 3])
    found = report.select_galleries(scores, (scores > 2.5).astype(int), np.array([0, 1, 1, 0, 0]))
    found = {title: chosen.tolist() for title, chosen in found.items()}
    assert found == {
        "False alarms": [0, 4],
        "Missed anomalies": [1],
        "Most anomalous": [0, 2, 4, 3, 1],
        "Least anomalous": [1, 3, 4, 2, 0],
    }


@pytest.mark.slow
def test_missing_packages_are_reported_before_scoring(run_command, run_dir):
    code = (
        "import sys, runpy; sys.modules['jinja2'] = None; "
        f"sys.argv = ['evaluate.py', '--report', '--run_dir={run_dir}']; "
        "runpy.run_path('evaluate.py', run_name='__main__')"
    )
    done = run_command("-c", code, check=False)
    assert done.returncode == 1 and "pip install 'ede-keras[report]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed")
def test_in_a_browser(evaluated, tmp_path):
    """The counts follow the slider, and a narrow screen does not scroll sideways."""
    text = (evaluated / "evaluation.html").read_text()
    scores, truth = (np.array(Page(text).data[name]) for name in ("scores", "truth"))
    threshold = float(np.median(scores))
    moved = (
        f"<script>range.value = {threshold}; range.dispatchEvent(new Event('input'));"
        "document.title = document.documentElement.scrollWidth + '/' + innerWidth;</script>"
    )
    (tmp_path / "moved.html").write_text(text + moved)
    browser = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900")
    address = (tmp_path / "moved.html").as_uri()
    done = subprocess.run(
        [*browser, "--dump-dom", address], capture_output=True, text=True, timeout=120
    )
    page = Page(done.stdout)
    expected = [
        [str(np.sum((truth == kind) & ((scores > threshold) == called))) for called in (0, 1)]
        for kind in (0, 1)
    ]
    assert [row[1:] for row in page.rows[1:3]] == expected
    assert ", set here; the model's own is" in done.stdout
    width, room = re.search(r"<title>(\d+)/(\d+)</title>", done.stdout).groups()
    assert int(width) <= int(room)
