"""Which module may import which: arrows inwards, no circle, one place a heavy package, nothing runs foreign code."""

from __future__ import annotations

import ast
import sys

import pytest
from sources import ROOT, Module, modules

# From the outside in. A module imports from its own row and from rows below it.
LAYERS = (
    ("cli", "__main__", "demos"),
    ("web",),   # parts of the demo page, for the tabs of projects
    ("inference",),
    ("engine",),
    ("clip", "data", "toyworld", "evaluation", "visualization"),
    ("registry", "project", "safe_load"),
    ("errors",),
)
LAYER_OF = {part: depth for depth, row in enumerate(LAYERS) for part in row}

# Package -> the one module that imports it. The others that the house knows have no module yet: any one may be theirs.
PLACES = {"open_clip": "clipapps.clip.open_clip_models", "gradio": "clipapps.web.parts"}
ONE_LAZY_PLACE = ("open3d", "decord", "diffusers")

LIGHT = ("clipapps", "clipapps.errors", "clipapps.project", "clipapps.cli", "clipapps.cli.main", "clipapps.cli.parsing",
         "clipapps.cli.environment")
MAY_LOAD = {"clipapps/safe_load.py", "clipapps/engine/checkpoint.py"}
FORBIDDEN_CALLS = {
    "torch.load", "torch.jit.load", "pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "joblib.load",
    "marshal.loads", "yaml.load", "yaml.unsafe_load", "eval", "exec", "mmengine.runner.load_checkpoint",
    "mmengine.runner.checkpoint.load_checkpoint", "mmengine.runner.CheckpointLoader.load_checkpoint",
    "mmengine.runner.checkpoint._load_checkpoint", "mmengine.fileio.load", "mmengine.load",
}

ALL = pytest.mark.parametrize("module", modules().values(), ids=lambda module: module.where)


def part_of_core(name: str) -> str | None:
    """The core's part that a module belongs to: "clip" for clipapps.clip.backbone; None for projects and others."""
    words = name.split(".")
    if words[0] != "clipapps" or len(words) < 2 or words[1] == "projects":
        return None
    return words[1]


def project_of(name: str) -> str | None:
    words = name.split(".")
    return words[2] if words[:2] == ["clipapps", "projects"] and len(words) > 2 else None


@ALL
def test_arrows_point_inwards(module: Module):
    part, project = part_of_core(module.name), project_of(module.name)
    assert part is None or part in LAYER_OF, f"{part} has no layer: add it to LAYERS"
    for found in module.imports:
        says = f"{module.where}:{found.line} imports {found.target}"
        target_part, target_project = part_of_core(found.target), project_of(found.target)
        assert found.top not in ("projects", "demos", "tests"), says
        if project is None:
            assert target_project is None, f"{says}: the core knows no project"
        elif target_project is not None:
            assert target_project == project, f"{says}: projects do not know each other"
        if project is not None:
            assert target_part not in ("cli", "demos", "__main__"), says
        elif part is not None and target_part is not None:
            assert LAYER_OF[part] <= LAYER_OF[target_part], f"{says}: an arrow outwards"
        if found.target == "clipapps" and found.name and part is not None:
            assert found.name.startswith("__"), f"{says}: inside the core name the module, not the public shortcut"


def test_no_circle_at_module_level():
    known = modules()
    graph = {name: {found.target for found in module.imports if not found.late and found.target in known} - {name}
             for name, module in known.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, "circle: " + " -> ".join([*path[path.index(name):], name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize(("package", "place"), PLACES.items())
def test_package_is_imported_in_its_one_place(package, place):
    users = {module.name for module in modules().values() for found in module.imports if found.top == package}
    assert users == {place}


@pytest.mark.parametrize("package", ONE_LAZY_PLACE)
def test_heavy_package_is_imported_in_one_module_and_late(package):
    users = [(module, found) for module in modules().values() for found in module.imports if found.top == package]
    assert len({module.name for module, _ in users}) <= 1
    assert all(found.late for _, found in users)


@ALL
def test_only_pages_import_parts_of_pages(module: Module):
    is_page = part_of_core(module.name) in ("web", "demos") or module.name.endswith(".demo")
    for found in module.imports:
        assert is_page or part_of_core(found.target) != "web", f"{module.where}:{found.line} would load gradio"


@pytest.mark.parametrize("module", [
    module for module in modules().values()
    if part_of_core(module.name) in ("cli", "__main__") or module.name in LIGHT
    or (module.file.name == "__init__.py" and module.file.parent.parent == ROOT / "projects")],
    ids=lambda module: module.where)
def test_light_modules_import_only_light_ones(module: Module):
    for found in module.imports:
        light = found.top in sys.stdlib_module_names or found.top == "packaging" or found.target in LIGHT
        assert light or found.late, f"{module.where}:{found.line} imports {found.target} at module level"


@ALL
def test_nothing_reads_files_that_can_run_code(module: Module):
    """Weights go through the safe loader; numpy archives never with pickles; no eval."""
    names = _meanings(module)
    for call in (node for node in ast.walk(module.tree) if isinstance(node, ast.Call)):
        words = ast.unparse(call.func).split(".")
        full = ".".join([names.get(words[0], words[0]), *words[1:]])
        where = f"{module.where}:{call.lineno} calls {full}"
        assert module.where in MAY_LOAD or full not in FORBIDDEN_CALLS, where
        if full == "numpy.load":
            allowed = [word.value for word in call.keywords if word.arg == "allow_pickle"]
            assert all(isinstance(value, ast.Constant) and value.value is False for value in allowed), where


def _meanings(module: Module) -> dict[str, str]:
    """Local name -> full dotted name, for what the module imports."""
    meanings = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            meanings |= {alias.asname or alias.name.partition(".")[0]: alias.name if alias.asname
                         else alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            meanings |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return meanings


@pytest.mark.parametrize(("name", "source", "check"), [
    ("clipapps.data.probe", "from clipapps.engine import runner", test_arrows_point_inwards),
    ("clipapps.engine.probe", "def f():\n    from clipapps.projects import denseclip", test_arrows_point_inwards),
    ("clipapps.engine.probe", "import importlib\nimportlib.import_module('clipapps.projects.denseclip')",
     test_arrows_point_inwards),
    ("clipapps.projects.pretrain.probe", "from ..denseclip import PROJECT", test_arrows_point_inwards),
    ("clipapps.projects.pretrain.probe", "import projects.pretrain", test_arrows_point_inwards),
    ("clipapps.novelty", "", test_arrows_point_inwards),
    ("clipapps.cli.probe", "import torch", test_light_modules_import_only_light_ones),
    ("clipapps.data.probe", "import torch as t\nt.load('x')", test_nothing_reads_files_that_can_run_code),
    ("clipapps.data.probe", "from pickle import loads\nloads(b'')", test_nothing_reads_files_that_can_run_code),
    ("clipapps.data.probe", "import numpy as np\nnp.load('x', allow_pickle=True)",
     test_nothing_reads_files_that_can_run_code),
])
def test_the_checks_above_find_what_they_look_for(name, source, check):
    class Planted(Module):
        tree = ast.parse(source)
        where = f"{name}.py"

    with pytest.raises(AssertionError):
        check(Planted(name, ROOT / f"{name.replace('.', '/')}.py"))
