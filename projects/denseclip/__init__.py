"""DenseCLIP: language-guided dense prediction with context-aware prompting (CVPR 2022, arXiv 2112.01518)."""

from clipapps.project import Project

PROJECT = Project(
    name="denseclip",
    package=__name__,
    summary="Language-guided semantic segmentation with context-aware prompting (DenseCLIP)",
    modules=("clipapps.projects.denseclip.models", "clipapps.projects.denseclip.datasets"),
    extra="seg",
)
