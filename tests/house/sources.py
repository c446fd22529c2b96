"""The project's own source files as parsed modules, and what each imports; shared by the house checks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"clipapps": ROOT / "clipapps", "clipapps.projects": ROOT / "projects", "clipapps.demos": ROOT / "demos"}


#: scripts that use the package as anybody does: neither installed nor a part of the house
SCRIPTS = (ROOT / "demos" / "heads",)


def is_ours(file: Path) -> bool:
    """Whether a file of the three roots belongs to this distribution: a folder below with a pyproject.toml does not."""
    folders = [ROOT / folder for folder in list(file.relative_to(ROOT).parents)[:-1]]
    return not any(folder in SCRIPTS or (folder / "pyproject.toml").is_file() for folder in folders)


@dataclass(frozen=True)
class Import:
    """One imported name: `target` is the module (ours resolved to the file that is meant), `late` inside a function."""

    target: str
    name: str | None
    line: int
    late: bool

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]


@dataclass(frozen=True)
class Module:
    """One source file under its importable name."""

    name: str
    file: Path

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.file.read_text(), str(self.file))

    @property
    def where(self) -> str:
        return str(self.file.relative_to(ROOT))

    @property
    def is_config(self) -> bool:
        return "configs" in self.file.relative_to(ROOT).parts[:-1]

    @cached_property
    def imports(self) -> list[Import]:
        return list(_imports(self, self.tree, late=False))


@cache
def modules() -> dict[str, Module]:
    """Importable name -> module, for every Python file of the three roots."""
    found = {}
    for package, folder in PACKAGES.items():
        for file in filter(is_ours, sorted(folder.rglob("*.py"))):
            parts = file.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])
            found[name] = Module(name, file)
    return found


def _imports(module: Module, node: ast.AST, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue  # nothing is imported there when the program runs
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, None, child.lineno, late)
        elif isinstance(child, ast.ImportFrom):
            yield from _from_import(module, child, late)
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith("import_module"):
            if child.args and isinstance(child.args[0], ast.Constant):
                yield Import(str(child.args[0].value), None, child.lineno, late)
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _imports(module, child, late or inside)


def _from_import(module: Module, node: ast.ImportFrom, late: bool) -> Iterator[Import]:
    base = node.module or ""
    if node.level:
        package = module.name if module.file.name == "__init__.py" else module.name.rpartition(".")[0]
        parts = package.split(".")
        base = ".".join([*parts[:len(parts) - node.level + 1], *([base] if base else [])])
    for alias in node.names:
        deeper = f"{base}.{alias.name}"
        yield (Import(deeper, None, node.lineno, late) if deeper in modules()
               else Import(base, alias.name, node.lineno, late))
