"""Images that are named one by one, or by patterns."""

import pytest
from makers import write_folder

from ede_keras.data.datasets import list_folder, load_dataset
from ede_keras.errors import InputError


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "parts", "plain", n=3, size=8)
    (tmp_path / "parts" / "notes.txt").write_text("no image")
    return tmp_path / "parts"


def names_of(dataset):
    return dataset.paths_train.tolist()


def test_a_pattern(folder):
    found = load_dataset(f"{folder}/*.png")
    assert names_of(found) == ["000.png", "001.png", "002.png"] and found.name == "parts"
    assert found.layout == "images" and found.x_train.shape == (3, 32, 32, 3)
    everything = list_folder(f"{folder}/*")
    assert names_of(everything) == names_of(found)
    assert everything.summary.left_out == {"notes.txt": "not an image"}


def test_several_files_and_patterns(folder, tmp_path):
    other = write_folder(tmp_path / "more/inner", "plain", n=1, size=8)
    found = list_folder([f"{folder}/002.png", f"{tmp_path}/more/**/*.png", f"{folder}/002.png"])
    assert names_of(found) == ["parts/002.png", "more/inner/000.png"]
    assert all(path.is_file() for path in found.x_train) and found.name == tmp_path.name
    one = list_folder(f"{other}/000.png")
    assert one.layout == "image" and names_of(one) == ["000.png"]


def test_a_name_with_brackets_is_a_name(folder):
    (folder / "000.png").rename(folder / "a[1].png")
    assert names_of(list_folder(f"{folder}/a[1].png")) == ["a[1].png"]


@pytest.mark.parametrize(
    ("names", "layout", "said"),
    [
        (["{}/*.bmp"], None, "a pattern that matches image files"),
        (["{}/000.png", "{}"], None, "Several data sets must all be image files"),
        (["{}/*.png"], "classes", "`layout` works only with a folder"),
        (["{}/*.txt"], None, "must be an image that can be read"),
    ],
)
def test_what_is_refused(folder, names, layout, said):
    with pytest.raises(InputError, match=said):
        load_dataset([name.format(folder) for name in names], layout=layout)
