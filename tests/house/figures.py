"""Prints the house figures of the code; exits with 1 when one is beyond its budget. `make lint` runs it."""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator

from sources import Module, modules

LONGEST_FUNCTION, LONGEST_FILE, LONGEST_CONFIG, MOST_ARGUMENTS = 50, 400, 100, 8
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_names(module: Module) -> Iterator[ast.AST]:
    """The module itself, its public classes and functions, and the public methods of those classes."""
    yield module.tree
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (part for part in node.body if isinstance(part, Function) and not part.name.startswith("_"))


def functions(module: Module) -> Iterator[tuple[Function, int]]:
    """Every function with its length in lines, from `def` to its last line."""
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            yield node, (node.end_lineno or node.lineno) - node.lineno + 1


def arguments(function: Function) -> int:
    """How many arguments a function declares, without self and cls."""
    named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([argument for argument in named if argument.arg not in ("self", "cls")])


def main() -> int:
    """Measure, print, and compare with the budgets."""
    code = [module for module in modules().values() if not module.is_config]
    configs = [module for module in modules().values() if module.is_config]
    lengths = {f"{module.where}:{node.lineno} {node.name}": length
               for module in code for node, length in functions(module)}
    lines = {module.where: len(module.file.read_text().splitlines()) for module in code}
    config_lines = {module.where: len(module.file.read_text().splitlines()) for module in configs}
    public = [(module, node) for module in code for node in public_names(module)]
    bare = [f"{module.where}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', 'module')}" for module, node in public
            if not ast.get_docstring(node)]  # type: ignore[arg-type]
    public_functions = [(module, node) for module, node in public if isinstance(node, Function)]
    unannotated = [f"{module.where}:{node.lineno} {node.name}" for module, node in public_functions
                   if node.returns is None]
    long_functions = over(lengths, LONGEST_FUNCTION)
    many = {f"{module.where}:{node.lineno} {node.name}": arguments(node) for module in code
            for node, _ in functions(module)}
    documented = 1 - len(bare) / len(public)
    annotated = 1 - len(unannotated) / max(len(public_functions), 1)
    median = statistics.median(lengths.values())
    kept = [
        say(f"docstrings on public names   {documented:7.1%}  (>= 95 %)", documented >= 0.95, bare),
        say(f"return annotations           {annotated:7.1%}  (100 %)", not unannotated, unannotated),
        say(f"functions over {LONGEST_FUNCTION} lines      {len(long_functions) / len(lengths):7.1%}  (<= 2 %)",
            len(long_functions) <= 0.02 * len(lengths), long_functions),
        say(f"median lines of a function   {median:7.1f}  (< 15)", median < 15, []),
        say(f"files over {LONGEST_FILE} lines         {len(over(lines, LONGEST_FILE)):7}  (0)",
            not over(lines, LONGEST_FILE), over(lines, LONGEST_FILE)),
        say(f"configs over {LONGEST_CONFIG} lines       {len(over(config_lines, LONGEST_CONFIG)):7}  (0)",
            not over(config_lines, LONGEST_CONFIG), over(config_lines, LONGEST_CONFIG)),
        say(f"functions over {MOST_ARGUMENTS} arguments   {len(over(many, MOST_ARGUMENTS)):7}  (where possible 0)",
            True, []),
    ]
    print(f"{len(code)} files, {sum(lines.values())} lines, {len(lengths)} functions, {len(configs)} config files")
    return 0 if all(kept) else 1


def over(sizes: dict[str, int], budget: int) -> list[str]:
    """The entries beyond a budget, the largest first."""
    return [f"{name}: {size}" for name, size in sorted(sizes.items(), key=lambda item: -item[1]) if size > budget]


def say(line: str, kept: bool, offenders: list[str]) -> bool:
    """Print one figure; when its budget is broken, also what breaks it."""
    print(("  " if kept else "X ") + line)
    for offender in () if kept else offenders:
        print(f"      {offender}")
    return kept


if __name__ == "__main__":
    sys.exit(main())
