"""Class names in label order."""

from __future__ import annotations

from collections.abc import Sequence

from clipapps.errors import ConfigError, did_you_mean

KINETICS400 = "kinetics400"


def resolve_class_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names as given, or the list "kinetics400", which torchvision ships.

    Raises:
        ConfigError: an unknown list, no name, or an empty one.
    """
    if isinstance(names, str):
        if names != KINETICS400:
            raise ConfigError(f"There is no list of class names called {names!r}.{did_you_mean(names, [KINETICS400])} "
                              f"Known: {KINETICS400}. Or give the names themselves.")
        from torchvision.models.video import S3D_Weights

        names = S3D_Weights.KINETICS400_V1.meta["categories"]
    stripped = tuple(name.strip() for name in names)
    if not stripped or not all(stripped):
        raise ConfigError("Class names are a list of at least one name, and none of them is empty.")
    return stripped
