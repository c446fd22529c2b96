"""Makes `sources`, the module that the house checks share, importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
