"""Words that a built-in CLIP was trained with."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from clipapps.clip.tiny import builtin_weights
from clipapps.engine import checkpoint
from clipapps.toyworld import known_words, split_words


def warn_of_unknown_words(names: Sequence[str], arch: str, advice: str) -> list[str]:
    """Words in names that a built-in CLIP never saw, each once; a warning names them, too.

    Args:
        names: class names; arch: a built-in architecture; advice: what to take instead, the warning's last words.

    >>> warn_of_unknown_words(["a red star", "zebra crossing"], "tiny-rn", "take another CLIP")
    ['zebra', 'crossing']
    """
    file = builtin_weights(arch)
    seen = checkpoint.read_metadata(file).get("seen_words", "").split() if file.is_file() else []
    known = set(seen) or known_words()
    unknown = list(dict.fromkeys(word for name in names for word in split_words(name) if word not in known))
    if unknown:
        logging.getLogger("clipapps").warning("The tiny CLIP knows only the toy world; it never saw: %s. Expect no "
                                              "sense there; %s.", ", ".join(unknown), advice)
    return unknown
