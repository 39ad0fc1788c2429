"""Build the wheel, look into it, and use it in a clean environment outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOLDS = (  # what a wheel must bring along, by how the names end
    "licenses/LICENSE",
    "licenses/CREDITS.md",
    "pixelward/py.typed",
    "pixelward/nets/zfnet64.safetensors",
    "pixelward/nets/zfnet.py",
    "pixelward/nets/zfnet64.json",
    "pixelward/nets/zfnet64.md",
    "pixelward/web/templates/unit.html",
    "pixelward/web/static/pixelward.css",
    "pixelward/web/static/layer.js",
    "pixelward/web/static/lists.js",
    "pixelward/web/templates/live/page.html",
    "pixelward/web/live/static/live.js",
    "pixelward/web/live/static/htmx.min.js",
    "pixelward/web/live/htmx.licence.txt",
)

# Run in the clean environment: the network is there, and is the installed one; pictures of blobs in many colours.
PREPARE = """
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import pixelward as pw

assert Path(pw.__file__).is_relative_to(sys.prefix), pw.__file__
net = pw.load("zfnet64")
assert sum(parameter.numel() for parameter in net.parameters()) > 2_000_000
random = np.random.default_rng(0)
Path("pictures").mkdir()
for number in range(12):
    small = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((96, 80)).save(f"pictures/{number}.png")
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pixelward-wheel-") as name:
        work = Path(name)
        run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(work), str(ROOT), where=work)
        (wheel,) = work.glob("*.whl")
        look_inside(wheel)
        use(wheel, work)
    print("the wheel is whole, and works where it is installed")


def look_inside(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as inside:
        names = inside.namelist()
    lacking = [ending for ending in HOLDS if not any(name.endswith(ending) for name in names)]
    strange = [name for name in names if not name.startswith(("pixelward/", "pixelward-"))]
    if lacking or strange:
        sys.exit(f"{wheel.name} lacks {lacking} and holds beside the package {strange}")


def use(wheel: Path, work: Path) -> None:
    environment = work / "environment"
    binaries = environment / "bin"
    pins = ["-c", str(ROOT / "constraints.txt"), str(wheel)]
    if shutil.which("uv"):
        run("uv", "venv", "--quiet", "--python", sys.executable, str(environment), where=work)
        run("uv", "pip", "install", "--quiet", "--python", str(binaries / "python"), *pins, where=work)
    else:
        run(sys.executable, "-m", "venv", str(environment), where=work)
        run(str(binaries / "python"), "-m", "pip", "install", "--quiet", *pins, where=work)
    run(str(binaries / "python"), "-c", PREPARE, where=work)
    pixelward = str(binaries / "pixelward")
    run(pixelward, "scan", "zfnet64", "pictures", "-o", "atlas", where=work)
    run(pixelward, "draw", "atlas", "zfnet64", where=work)
    run(pixelward, "export", "atlas", "-o", "site", where=work)
    run(pixelward, "info", "atlas", "--verify", where=work)
    missing = [path for path in ("site/index.html", "site/static/pixelward.css") if not (work / path).is_file()]
    if missing:
        sys.exit(f"the installed pixelward exported no {missing}")


def run(*words: str, where: Path) -> None:
    """Run a command outside the checkout, with nothing of this environment in its own."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(words, cwd=where, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
