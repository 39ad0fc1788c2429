"""What `make bench` measures: Pixelward beside its peers, on this machine. No part of the package, no test.

A measure (one file each) gives rows; `run.py` runs measures and keeps their rows in `results.json`; `page.py` makes
`docs/performance.md` of them, with the words of `prose.py`. Peers and torchvision are installed in an environment of
their own, `.venv-bench`.
"""

import sys
import time
from pathlib import Path

STARTED = time.monotonic()  # before torch and the peers are imported
ROOT = Path(__file__).parents[1]
# The tests' made-up atlas, and the way to import torchvision beside a torch without CUDA.
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]
