"""mmengine child registries under the scope "clipapps".

Classes are looked up by name only in text-style configs; our own configs name classes directly. On the first
miss the core's modules and then the projects' modules are imported (see `clipapps.project`).
"""

from __future__ import annotations

from mmengine import registry as root
from mmengine.registry import Registry

_CORE_MODULES = ["clipapps.clip", "clipapps.data", "clipapps.toyworld", "clipapps.engine", "clipapps.evaluation",
                 "clipapps.visualization"]


def _child(parent: Registry) -> Registry:
    return Registry(parent.name, parent=parent, scope="clipapps", locations=_CORE_MODULES)


MODELS = _child(root.MODELS)
DATASETS = _child(root.DATASETS)
TRANSFORMS = _child(root.TRANSFORMS)
METRICS = _child(root.METRICS)
HOOKS = _child(root.HOOKS)
LOOPS = _child(root.LOOPS)
RUNNERS = _child(root.RUNNERS)
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS)
VISUALIZERS = _child(root.VISUALIZERS)
