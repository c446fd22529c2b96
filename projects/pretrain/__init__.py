"""Contrastive image-text pre-training of the tiny CLIP that ships with the package, and what it can do zero-shot."""

from clipapps.project import PredictOption, Project, comma_separated

PROJECT = Project(
    name="pretrain",
    package=__name__,
    summary="Contrastive pre-training of the tiny CLIP on the toy world, and zero-shot classification with any CLIP",
    modules=("clipapps.projects.pretrain.models", "clipapps.projects.pretrain.metrics"),
    inferencer="clipapps.projects.pretrain.inferencer:ZeroShotClassifier",
    predict_options=(
        PredictOption("classes", "class names, separated by commas", comma_separated, "NAMES"),
        PredictOption("template", "sentence around each name, {} stands for it", str, "TEXT"),
        PredictOption("arch", "CLIP architecture (default: tiny-rn)", str, "ARCH"),
        PredictOption("clip_weights", "its weights: builtin, an open_clip tag, or a file", str, "W"),
        PredictOption("top", "how many classes are told (default: 5)", int, "N"),
    ),
)
