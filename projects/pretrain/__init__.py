"""Contrastive image-text pre-training of the tiny CLIP that ships with the package."""

from clipapps.project import Project

PROJECT = Project(
    name="pretrain",
    package=__name__,
    summary="Contrastive pre-training of the tiny CLIP on the toy world",
    modules=("clipapps.projects.pretrain.models", "clipapps.projects.pretrain.metrics"),
)
