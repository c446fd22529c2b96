"""mmengine child registries under the scope "clipapps".

Our own configs name classes directly and need no lookup. A class given by name (text-style configs, plain dicts) is
looked for among what is imported already, then in the core's modules, then in the projects' modules, those first
whose name the class name begins with; importing stops as soon as the name is known, so one project never pays for the
heavy packages of another.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from mmengine import registry as root
from mmengine.registry import Registry

from clipapps.project import Project, discover

_CORE_MODULES = ("clipapps.clip", "clipapps.toyworld", "clipapps.data.transforms", "clipapps.data.video.datasets",
                 "clipapps.engine.runner", "clipapps.visualization.segmentation",
                 "clipapps.visualization.instances")


class LazyRegistry(Registry):
    """A registry that imports the modules which may define a name only when the name is unknown."""

    def import_from_location(self) -> None:
        """Nothing: mmengine would import every location at the first lookup."""

    def get(self, key: str) -> Any:
        """The class or function registered under `key`, or None."""
        scope, name = self.split_scope_key(key)
        if "." in name and (found := _imported(key if scope == self.scope else f"{self.scope}.{key}")) is not None:
            return found
        if scope in (None, self.scope) and not self._is_known(name):
            for module in _modules_for(name):
                with contextlib.suppress(ImportError):  # a plugin without its extra hurts nobody else
                    importlib.import_module(module)
                if self._is_known(name):
                    break
        return super().get(key)

    def _is_known(self, name: str) -> bool:
        node: Registry | None = self
        while node is not None:
            if name in node._module_dict:
                return True
            node = node.parent
        return "." in name  # a dotted path is imported by mmengine itself


def _imported(path: str) -> Any:
    """What a dotted path inside this package names; None for other paths.

    mmengine takes the first word, "clipapps", for a scope and imports the rest: beside a checkout that finds
    "projects.denseclip.models" a second time, under another name.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{path}.".startswith(f"{error.name}."):
            return None
        raise


def _modules_for(name: str) -> Iterator[str]:
    yield from _CORE_MODULES
    projects = [project for project in discover().values() if isinstance(project, Project)]
    for project in sorted(projects, key=lambda p: not name.lower().startswith(p.name.lower())):
        yield from project.modules


def _child(parent: Registry) -> LazyRegistry:
    return LazyRegistry(parent.name, parent=parent, scope="clipapps")


MODELS = _child(root.MODELS)
DATASETS = _child(root.DATASETS)
TRANSFORMS = _child(root.TRANSFORMS)
METRICS = _child(root.METRICS)
HOOKS = _child(root.HOOKS)
LOOPS = _child(root.LOOPS)
RUNNERS = _child(root.RUNNERS)
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS)
VISUALIZERS = _child(root.VISUALIZERS)
# mmengine warns at every build when a scope lacks one of its registries, so the rest exists too, empty.
_OTHERS = [_child(getattr(root, name)) for name in (
    "DATA_SAMPLERS", "EVALUATOR", "FUNCTIONS", "INFERENCERS", "LOG_PROCESSORS", "MODEL_WRAPPERS", "OPTIMIZERS",
    "OPTIM_WRAPPERS", "OPTIM_WRAPPER_CONSTRUCTORS", "TASK_UTILS", "VISBACKENDS", "WEIGHT_INITIALIZERS")]
