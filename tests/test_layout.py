"""The layout of the package: its imports point one way, as docs/pages/layout.md draws them."""

import ast
import graphlib
import importlib

import pytest
from commands import ROOT

PACKAGE = ROOT / "ede_keras"
# From the ground up. A part may import from lower floors only, not from its own.
FLOORS = [
    {"choices", "errors", "version"},
    {"utils"},
    {"layers", "data", "backbones"},
    {"models"},
    {"rivals"},
    {"training"},
    {"evaluation", "serving"},
    {"library"},
    {"cli"},
    {"beam"},
    # Short import paths to what lies deeper.
    {"__init__", "callbacks", "client", "datasets", "export", "protocols", "recipes"},
]
# Models take arrays, wherever these come from.
NOT_ALLOWED = {("models", "data"), ("rivals", "data"), ("training", "data")}
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}


def name_module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


MODULES = {name_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def find_imports(path):
    """The modules of the package that a module imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            within = {f"{node.module}.{name.name}" for name in node.names}
            modules = within & MODULES.keys()
            found |= modules
            if modules != within:  # a name of the module itself
                found.add(node.module)
    ours = {name for name in found if name.split(".")[0] == "ede_keras"}
    return {"ede_keras.__init__" if name == "ede_keras" else name for name in ours}


IMPORTS = {module: find_imports(path) for module, path in MODULES.items()}


def part_of(module):
    return module.split(".")[1]


def is_allowed(importer, imported):
    """Whether a part may import another one."""
    if (importer, imported) in NOT_ALLOWED:
        return False
    return importer == imported or FLOOR[imported] < FLOOR[importer]


def test_every_part_has_a_floor():
    assert {part_of(module) for module in MODULES} == set(FLOOR)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    for imported in IMPORTS[module]:
        assert is_allowed(part_of(module), part_of(imported)), f"{module} imports {imported}"


def test_no_import_goes_round():
    graphlib.TopologicalSorter(IMPORTS).prepare()  # raises a CycleError


def test_serving_takes_of_data_the_decoding_of_files_alone():
    taken = {i for m in MODULES if part_of(m) == "serving" for i in IMPORTS[m]}
    images = "ede_keras.data.images"
    allowed = {f"{images}.conversion", f"{images}.decoding"}
    assert {i for i in taken if part_of(i) == "data"} == allowed


def test_files_are_short():
    """Files of the package stay short enough to be read in one go."""
    lines = {str(path): len(path.read_text().splitlines()) for path in MODULES.values()}
    assert {path: n for path, n in lines.items() if n > 300} == {}


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("models", "layers", True),
        ("models", "data", False),
        ("layers", "data", False),
        ("utils", "models", False),
        ("cli", "beam", False),
        ("serving", "evaluation", False),
    ],
)
def test_the_rule_itself(importer, imported, allowed):
    assert is_allowed(importer, imported) == allowed


@pytest.mark.parametrize("name", ["callbacks", "client", "datasets", "protocols", "recipes"])
def test_a_short_import_path_gives_what_lies_deeper(name):
    short = importlib.import_module(f"ede_keras.{name}")
    for name in short.__all__:
        home = next(
            m for m in sorted(IMPORTS[short.__name__]) if name in vars(importlib.import_module(m))
        )
        assert getattr(short, name) is getattr(importlib.import_module(home), name)
