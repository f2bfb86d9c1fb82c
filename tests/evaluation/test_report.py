"""The report shows what the scores are, and every image."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import tracemalloc
from html.parser import HTMLParser

import numpy as np
import pytest
from commands import read_rows, slow
from makers import make_backbone, write_folder, write_image
from PIL import Image
from test_thumbnails import make_noisy

from ede_keras.backbones.backbone import Backbone, choose_maps
from ede_keras.evaluation import report
from ede_keras.evaluation.metrics import compare_terms, compute_metrics
from ede_keras.evaluation.overlays import CONTOUR, MASK, draw_overlay
from ede_keras.evaluation.regions import find_regions
from ede_keras.utils import scratch

needs_chromium = pytest.mark.skipif(
    not shutil.which("chromium"), reason="Chromium is not installed"
)
DESK, PHONE = 1440, 390  # pixels
ODD_NAMES = [
    "<b>bold</b> &amp; \"quoted\" 'twice'.png",
    "</script><script>document.title='hacked'</script>.png",
    "größe/部品-10.png",
    "größe/部品-9.png",
    "broken \udcff name.png",  # a byte that is no text
]


def as_shown(names):
    return [name.replace("\udcff", "\\udcff") for name in names]


class Page(HTMLParser):
    """Plots, tables, headings and data of a page; fails if the page links to another file."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.rows, self.headings, self._in = {}, [], [], None
        self.feed(text)
        self.data, self.images = (
            json.loads(re.search(rf'<script[^>]* id="{name}">(.*?)</script>', text, re.S)[1])
            for name in ("data", "images")
        )

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("src", "href"):
            if name in attributes:
                kind, _, content = attributes[name].partition(",")
                assert kind == "data:image/png;base64"
                self.pictures[attributes["alt"]] = base64.b64decode(content)
        if tag == "tr":
            self.rows.append([])
        self._in = tag

    def handle_data(self, text):
        if self._in in ("td", "th") and text.strip():
            self.rows[-1].append(text.strip())
        if self._in == "h2" and text.strip():
            self.headings.append(text.strip())

    def view(self, row, name):
        """A picture of an image: uint8 (h, w, 1 or 3)."""
        file = base64.b64decode(row["views"][self.data["views"].index(name)])
        picture = Image.open(io.BytesIO(file))
        assert picture.format == "JPEG"
        return np.atleast_3d(np.asarray(picture))


def drive(path, script, width=DESK):
    """What a function's body returns in the browser, once the page has been built."""
    page, around = path.with_name("driven.html"), path.with_name("around.html")
    page.write_text(
        f"""{path.read_text()}<script>(() => {{
          let found;
          try {{ found = (() => {{{script}}})(); }} catch (error) {{ found = String(error); }}
          parent.postMessage(JSON.stringify(found), "*");
        }})();</script>"""
    )
    # In a frame, because a window of Chromium is never as narrow as a phone.
    around.write_text(
        "<script>onmessage = (event) => { document.body.dataset.found = event.data; };</script>"
        f'<iframe src="{page.name}" width="{width}" height="900" style="border: 0"></iframe>'
    )
    browser = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom")
    done = subprocess.run([*browser, around.as_uri()], capture_output=True, text=True, timeout=120)
    for file in (page, around):
        file.unlink()
    (found,) = re.findall(r'data-found="([^"]*)"', done.stdout)
    return json.loads(html.unescape(found))


# What a reader does: chooses a value in the form, and reads the names in the gallery.
HELPERS = """
const set = (name, value) => {
  const field = document.querySelector(`[name=${name}]`);
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};
const names = () => [...document.querySelectorAll(".gallery .name")].map((n) => n.textContent);
const shown = () => document.querySelector("#shown").textContent;
const go = (label) => document.querySelector(`.pager [aria-label="${label} page"]`).click();
"""


@pytest.fixture(scope="module")
def build_calibrated(build):
    """Builds a model for images that have a light spot if they are anomalous."""

    def build_calibrated(images, **arguments):
        model = build(
            compile_arguments={}, image_shape=images.shape[1:], contamination=0.0, **arguments
        )
        model.calibrate(np.asarray(images[: max(len(images) // 4, 4)]))
        return model

    return build_calibrated


def make_spotted(n, size, channels=3):
    """n noisy images with a light spot at an edge in every other; labels; masks `(256, 256)`."""
    base = make_noisy(size, channels, sigma=6)
    rng = np.random.default_rng(1)
    labels = np.arange(n) % 2
    masks = {}
    images = np.empty((n, *base.shape), np.uint8)
    for i, label in enumerate(labels):
        images[i] = np.clip(base + rng.normal(0, 3, base.shape), 0, 255)
        if label:
            images[i, : size[0] // 3, : size[1] // 3] = 255
            masks[i] = np.zeros((256, 256), bool)
            masks[i][:85, :85] = True
    return images, labels, masks


def score(model, images, ids, true_labels, masks):
    """`(ScoredImages, metrics)` as the command makes them."""
    terms = model.compute_terms(images)
    scores, labels = map(np.array, model.combine_terms(terms))
    parts = {name: np.array(part) for name, part in model.weigh_terms(terms).items()}
    scored = report.ScoredImages(images, ids, scores, labels, true_labels, parts, masks)
    metrics = {
        **compute_metrics(scores, labels, true_labels),
        "terms": compare_terms(parts, labels, true_labels),
        "threshold": model.threshold,
    }
    return scored, metrics


CONFIG = {"dataset": "parts", "normal_name": "good"}


@pytest.fixture
def write(tmp_path):
    """Writes a report and reads it back: `(path, Page)`."""

    def write(model, scored, metrics):
        path = tmp_path / "page.html"
        report.write_report(path, model, scored, metrics, CONFIG)
        assert path.stat().st_size < 30_000_000
        assert not list(tmp_path.glob(".*"))
        return path, Page(path.read_text())

    return write


@pytest.fixture(scope="module")
def spotted(build_calibrated, tmp_path_factory):
    """50 images of 24 x 40 pixels: a path, its page, the model, the images, and their metrics."""
    images, true_labels, masks = make_spotted(50, (24, 40))
    model = build_calibrated(images[::2])
    ids = np.array([f"{'bad' if label else 'ok'}/{i}.png" for i, label in enumerate(true_labels)])
    ids = np.array([*ODD_NAMES, *ids[len(ODD_NAMES) :]])
    scored, metrics = score(model, images, ids, true_labels, {ids[i]: m for i, m in masks.items()})
    scored.labels[:] = true_labels
    scored.labels[[1, 3, 0, 2, 4, 6]] ^= 1  # mistakes of both kinds
    metrics["false_alarms"] = {"expected": 0.04, "low": 0.001, "high": 0.148, "n_held_out": 23}
    path = tmp_path_factory.mktemp("spotted") / "page.html"
    report.write_report(path, model, scored, metrics, CONFIG)
    return path, Page(path.read_text()), model, scored


@pytest.fixture(scope="module")
def evaluated(run_command, run_dir, tmp_path_factory):
    """The output folder of an evaluation with a report."""
    folder = tmp_path_factory.mktemp("report")
    run_command("evaluate.py", f"--run_dir={run_dir}", "--report", f"--output_dir={folder}")
    return folder


def test_the_page_of_a_command_shows_the_scores(evaluated):
    text = (evaluated / "evaluation.html").read_text()
    page = Page(text)
    rows = read_rows(evaluated / "evaluation.csv")
    pairs = [(row["true_label"], row["label"]) for row in rows]
    for truth, name in (("0", "normal images"), ("1", "anomalous images")):
        counts = [str(pairs.count((truth, label))) for label in ("0", "1")]
        assert [name, *counts] in page.rows
    scores = np.array([row["score"] for row in rows], "float32")
    np.testing.assert_array_equal(np.array(page.data["scores"], "float32"), scores)
    assert page.data["truth"] == [int(row["true_label"]) for row in rows]
    assert page.data["labels"] == [int(row["label"]) for row in rows]
    assert [row["name"] for row in page.images] == [row["index"] for row in rows]
    for row in page.images:
        np.testing.assert_allclose(sum(row["parts"]), scores[row["i"]], rtol=1e-3, atol=1e-3)
    metrics = json.loads((evaluated / "evaluation.json").read_text())
    assert page.data["terms"] == list(metrics["terms"])
    share = metrics["terms"]["pretext"]["share"]
    (row,) = [row for row in page.rows if row[0] == "pretext"][:1]
    assert row[1:3] == ["3", f"{share:.3g}"]
    assert f"{100 * metrics['auroc']:.1f} of 100 pairs" in text
    assert ["latent_dim", "4"] in page.rows and ["seed", "0"] in page.rows
    assert f"{metrics['pixel_threshold']:.4g}" in text
    plots = {path.name: path.read_bytes() for path in evaluated.glob("*.png")}
    assert set(plots) == {f"evaluation-{p}.png" for p in ("scores", "roc", "precision_recall")}
    assert set(plots.values()) == {*page.pictures.values()}


def test_every_image_is_there_with_its_pictures_and_regions(spotted):
    _, page, model, scored = spotted
    assert page.data["views"] == ["image", "reconstruction", "overlay"]
    assert [row["i"] for row in page.images] == list(range(50))
    maps = model.predict(scored.images, verbose=0)["anomaly_map"]
    reconstructed = model.reconstruct(scored.images)
    threshold = model.pixel_threshold
    assert 0 < threshold < np.inf
    n_regions = []
    for row in page.images:
        i = row["i"]
        regions = find_regions(maps[i], threshold)
        n_regions.append(len(regions))
        assert row["n_regions"] == len(regions)
        assert len(row["regions"]) == min(len(regions), 20)
        for found, expected in zip(row["regions"], regions, strict=False):
            assert found == pytest.approx(expected, rel=1e-4)
        for name, expected in (
            ("image", scored.images[i]),
            ("reconstruction", reconstructed[i]),
        ):
            picture = page.view(row, name)
            assert picture.shape == (24, 40, 3)
            assert np.abs(picture.astype(float) - expected).mean() < 8
        large = scored.images[i].repeat(4, axis=0).repeat(4, axis=1)
        mask = scored.masks.get(scored.ids[i])
        expected = draw_overlay(large, maps[i], 2 * threshold, threshold, mask)
        assert np.abs(page.view(row, "overlay").astype(float) - expected).mean() < 10
        for colour, is_there in ((CONTOUR, regions), (MASK, mask is not None)):
            near = np.abs(page.view(row, "overlay").astype(int) - colour).max(axis=-1) < 60
            assert not is_there or near.any()
    assert max(n_regions) > 0


def test_the_summary_says_how_often_false_alarms_are_to_be_expected(spotted):
    text = spotted[0].read_text()
    assert (
        "4.0% are expected to be labelled anomalous, and with 95% confidence between 0.1% and "
        "14.8%: the threshold comes from 23 held-out images."
    ) in text
    assert "expected to be labelled" not in report.summarize({"auroc": None}, np.zeros(3, int))


def test_names_of_any_kind(spotted):
    path, page, _, _ = spotted
    assert [row["name"] for row in page.images[:5]] == as_shown(ODD_NAMES)
    text = path.read_text()
    assert text.count("</script>") == 3 and "<b>bold" not in text


def test_names_are_escaped_and_true_labels_are_optional(run_command, run_dir, tmp_path):
    folder = tmp_path / "<i>parts"
    write_folder(folder, "plain", n=3, size=8, channels=1)
    write_image(folder / "<b>&amp;.png", np.zeros((8, 8, 1), np.uint8))
    flags = (f"--run_dir={run_dir}", f"--dataset={folder}", "--report", f"--output_dir={tmp_path}")
    run_command("evaluate.py", *flags)
    text = (tmp_path / "evaluation-<i>parts.html").read_text()
    page = Page(text)
    assert "<b>&amp" not in text and "<i>parts" not in text
    assert "<b>&amp;.png" in {row["name"] for row in page.images}
    assert page.data["truth"] is None
    assert [row[0] for row in page.rows[1:2]] == ["all images"]
    assert "All thresholds" not in page.headings
    assert not {'name="truth"', 'name="mistakes"'} & {*re.findall(r'name="\w+"', text)}
    assert not (tmp_path / "evaluation-<i>parts-roc.png").exists()


@pytest.mark.slow
def test_masks_come_from_the_folder(run_command, tmp_path):
    """By the command, with the masks and the true labels of a folder."""
    folder = write_folder(tmp_path / "parts", "mvtec", n=4, size=32)
    mask = np.zeros((32, 32, 3), "uint8")
    mask[8:24, 8:24] = 255
    for path in (folder / "ground_truth/hole").iterdir():
        write_image(path, mask)
    flags = ("--recipe=default", "--epochs=1", "--min_steps=2", "--base_width=2", "--latent_dim=4")
    run_command("train.py", f"--dataset={folder}", f"--output_dir={tmp_path}", *flags)
    run = tmp_path / "parts/good/0"
    run_command("evaluate.py", f"--run_dir={run}", "--report")
    page = Page((run / "evaluation.html").read_text())
    for row in page.images:
        near = np.abs(page.view(row, "overlay").astype(int) - MASK).max(axis=-1) < 60
        # The contour of the map may cover a part of it.
        assert (near.sum() > 20) == row["name"].startswith("test/hole/")


@pytest.mark.parametrize("n", [1, 2])
def test_few_images_without_true_labels(build_calibrated, write, n):
    images, _, _ = make_spotted(8, (8, 8), channels=1)
    model = build_calibrated(images)
    scored, metrics = score(model, images[:n], np.arange(n), None, {})
    _, page = write(model, scored, metrics)
    assert len(page.images) == len(page.data["scores"]) == n
    assert page.view(page.images[0], "image").shape == (8, 8, 1)
    assert page.view(page.images[0], "overlay").shape == (160, 160, 3)
    assert page.data["low"] < metrics["threshold"] < page.data["high"]


def test_a_model_that_is_not_calibrated_and_parts_that_are_not_finite(build, write):
    images, _, _ = make_spotted(3, (8, 8), channels=1)
    model = build()
    scored, metrics = score(model, images, np.arange(3), None, {})
    next(iter(scored.parts.values()))[0] = np.nan
    _, page = write(model, scored, metrics)
    assert page.data["threshold"] is None
    assert page.images[0]["parts"][0] is None
    assert all(row["n_regions"] == 0 and row["regions"] == [] for row in page.images)


def test_a_model_with_a_backbone_has_no_reconstruction(build_calibrated, write):
    images, true_labels, _ = make_spotted(8, (40, 48))
    backbone = Backbone(choose_maps(make_backbone()), mean=127.0, scale=128.0)
    model = build_calibrated(images, backbone=backbone, image_size=64, memory_size=20)
    path, page = write(model, *score(model, images, np.arange(8), true_labels, {}))
    assert page.data["views"] == ["image", "overlay"]
    assert all(len(row["views"]) == 2 for row in page.images)
    assert page.view(page.images[0], "overlay").shape == (120, 144, 3)
    assert "reconstruction by" not in path.read_text()


def test_of_very_many_images_the_mistakes_come_first(monkeypatch):
    monkeypatch.setattr("ede_keras.evaluation.report_rows.MAX_IMAGES", 3)
    scores = np.array([5.0, 1, 4, 2, 3], "float32")
    labels = (scores > 2.5).astype("int32")
    some = report.ScoredImages(np.empty(5), np.arange(5), scores, labels, None, {}, {})
    assert report.select_shown(some).tolist() == [0, 2, 4]
    known = report.ScoredImages(
        np.empty(5), np.arange(5), scores, labels, np.array([1, 1, 1, 0, 0]), {}, {}
    )
    assert report.select_shown(known).tolist() == [0, 1, 4]


@pytest.mark.slow
def test_5000_images_fit_into_30_megabytes(tmp_path, monkeypatch, build_calibrated):
    """Images with the noise of a camera; they are larger than what is in memory."""
    n, size = 5000, (48, 96)
    monkeypatch.setattr("ede_keras.evaluation.report_rows.BATCH_PIXELS", 2**17)
    base = make_noisy(size)
    rng = np.random.default_rng(0)
    images = scratch.store(
        (base + rng.integers(0, 30, base.shape) for _ in range(n)), base.shape, "uint8"
    )
    model = build_calibrated(images[:8])
    ids = np.array([f"line 7/camera-left/2024-05-17/part-{i:06d}.png" for i in range(n)])
    scored, metrics = score(model, images, ids, np.arange(n) % 2, {})
    path = tmp_path / "page.html"
    model.compute_maps(images[:1]), model.reconstruct(images[:1])
    tracemalloc.start()
    report.write_report(path, model, scored, metrics, CONFIG)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6 < images.nbytes
    assert 15e6 < path.stat().st_size < 30e6
    page = Page(path.read_text())
    assert [row["name"] for row in page.images] == ids.tolist()
    assert min(page.view(page.images[0], "overlay").shape[:2]) >= 40
    if shutil.which("chromium"):
        script = HELPERS + "go('Last'); return [shown(), names().length, document.images.length];"
        found = drive(path, script)
        assert found == ["Images 4993 to 5000 of 5000", 8, 3 + 8 * 3]


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


@needs_chromium
def test_a_page_of_the_gallery(spotted):
    """The first page has the 24 highest scores, each with all that is known of it."""
    path, page, _, scored = spotted
    script = """
    return [...document.querySelectorAll(".gallery figure")].map((figure) => ({
      text: figure.innerText,
      pictures: [...figure.querySelectorAll("img")].map((img) => [img.alt, img.src.slice(0, 23)]),
      bars: [...figure.querySelectorAll(".parts li")].map((line) => line.innerText.split("\\n")),
      regions: [...figure.querySelectorAll(".regions tbody tr")].map((row) => row.cells.length),
      title: document.title,
    }));
    """
    figures = drive(path, script)
    order = np.lexsort((np.arange(50), -scored.scores))[:24]
    assert len(figures) == 24
    kinds = ("normal", "anomalous")
    for figure, i in zip(figures, order, strict=True):
        (name,) = as_shown(scored.ids[[i]])
        text = figure["text"]
        assert name in text
        assert f": {kinds[scored.labels[i]]}, true label {kinds[scored.true_labels[i]]}" in text
        assert ("false alarm" in text) == (scored.labels[i] > scored.true_labels[i])
        assert ("missed" in text) == (scored.labels[i] < scored.true_labels[i])
        alts = [name, f"reconstruction of {name}", f"anomaly map over {name}"]
        assert [alt for alt, _ in figure["pictures"]] == alts
        assert {address for _, address in figure["pictures"]} == {"data:image/jpeg;base64,"}
        for (term, value), (expected, part) in zip(
            figure["bars"], scored.parts.items(), strict=True
        ):
            assert term == expected
            assert float(value.replace("−", "-")) == pytest.approx(part[i], rel=1e-3)
            assert value.startswith("+" if part[i] > 0 else "−")
        assert figure["regions"] == [5] * len(page.images[i]["regions"])
        assert figure["title"] == "Anomalies: parts"


@needs_chromium
def test_order_filters_and_pages(spotted):
    path, _, _, scored = spotted
    script = """
    const found = [];
    const note = () => found.push([shown(), names()]);
    note(); go("Next"); note(); go("Last"); note(); go("Previous"); note(); go("First"); note();
    set("sort", "lowest"); note();
    set("sort", "name"); note();
    set("text", "部品"); note();
    set("text", "no such name"); note();
    set("text", ""); set("truth", 1); note();
    set("verdict", 0); note();
    set("truth", ""); set("verdict", ""); set("mistakes", "false alarm"); note();
    set("mistakes", "missed"); note();
    set("mistakes", "any"); note();
    return found;
    """
    found = drive(path, HELPERS + script)
    named = np.array(as_shown(scored.ids))
    descending = named[np.lexsort((np.arange(50), -scored.scores))].tolist()
    parts = ("1 to 24", "25 to 48", "49 to 50", "25 to 48", "1 to 24")
    assert [shown for shown, _ in found[:5]] == [f"Images {part} of 50" for part in parts]
    pages = [descending[:24], descending[24:48], descending[48:], descending[24:48]]
    assert [names for _, names in found[:4]] == pages
    assert found[5][1] == descending[::-1][:24]
    numbers = [name for name in found[6][1] if name.startswith("bad/")]
    assert numbers[:4] == ["bad/5.png", "bad/7.png", "bad/9.png", "bad/11.png"]
    assert found[7][1] == ["größe/部品-9.png", "größe/部品-10.png"]
    assert found[8] == ["No image fits. Choose other filters.", []]
    assert found[9][0] == "Images 1 to 24 of 25"
    assert {*found[10][1]} == {*named[(scored.true_labels == 1) & (scored.labels == 0)]}
    assert {*found[11][1]} == {*named[(scored.true_labels == 0) & (scored.labels == 1)]}
    assert {*found[12][1]} == {*found[10][1]}
    assert {*found[13][1]} == {*found[11][1], *found[12][1]}


@needs_chromium
def test_the_counts_and_the_mark_follow_the_slider(spotted):
    path, page, _, scored = spotted
    threshold = float(np.median(scored.scores))
    script = f"""
    const range = document.querySelector("[type=range]");
    const read = () => {{
      const box = document.querySelector(".histogram").getBoundingClientRect();
      const mark = document.querySelector("#mark").getBoundingClientRect();
      const share = (mark.left - box.left) / box.width;
      const cells = [...document.querySelectorAll("#counts td")].map((cell) => cell.textContent);
      return [share, cells, document.querySelector("#slider p").textContent];
    }};
    const found = [read()];
    range.value = {threshold};
    range.dispatchEvent(new Event("input"));
    return [...found, read()];
    """
    own, moved = drive(path, script)
    left, width = page.data["axes"]
    for (share, cells, _), value in ((own, page.data["threshold"]), (moved, threshold)):
        expected = (value - page.data["low"]) / (page.data["high"] - page.data["low"])
        assert share == pytest.approx(left + width * expected, abs=0.003)
        assert cells == [
            str(np.sum((scored.true_labels == kind) & ((scored.scores > value) == called)))
            for kind in (0, 1)
            for called in (0, 1)
        ]
    assert "the model's own" in own[2] and ", set here; the model's own is" in moved[2]


@needs_chromium
@pytest.mark.parametrize("above", [slow(-1e4), 1e4, np.inf])
def test_a_threshold_beyond_all_scores(build_calibrated, write, above):
    images, _, _ = make_spotted(8, (8, 8), channels=1)
    model = build_calibrated(images)
    model.set_threshold(above)
    path, _ = write(model, *score(model, images, np.arange(8), None, {}))
    found = drive(
        path,
        """
        const range = document.querySelector("[type=range]");
        const mark = document.querySelector("#mark");
        const cells = [...document.querySelectorAll("#counts td")].map((cell) => cell.textContent);
        return [Number(range.value), mark.hidden, parseFloat(mark.style.left), cells];
        """,
    )
    assert found[3] == (["0", "8"] if above < 0 else ["8", "0"])
    assert found[1] == (above == np.inf)
    if not found[1]:
        assert found[0] == pytest.approx(above, rel=1e-3)
        assert 4 < found[2] < 96 and (found[2] > 90) == (above > 0)


@needs_chromium
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_it_fits_the_screen(spotted, width):
    """No sideways scrolling, a visible focus, and an enlarged image that fits too."""
    script = """
    const style = (element) => getComputedStyle(element);
    document.querySelectorAll("details").forEach((details) => { details.open = true; });
    const columns = style(document.querySelector(".gallery")).gridTemplateColumns.split(" ");
    const button = document.querySelector(".views button");
    button.focus({ focusVisible: true });
    const outline = style(button).outlineStyle;
    button.click();
    const dialog = document.querySelector("dialog");
    const box = dialog.getBoundingClientRect();
    const page = document.documentElement;
    return [innerWidth, page.scrollWidth <= page.clientWidth, columns.length, outline, dialog.open,
      box.left >= 0 && box.right <= innerWidth && dialog.scrollWidth <= dialog.clientWidth,
      [...dialog.querySelectorAll("img")].every((img) => img.alt && img.width > 100)];
    """
    found = drive(spotted[0], script, width)
    assert found == [width, True, 1 if width == PHONE else 3, "solid", True, True, True]
