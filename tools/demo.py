"""make demo: six photographs cut into tiles, through the bundled network, into an atlas and a gallery of it.

A run that is interrupted keeps every photograph that it has finished, and the next one goes on from there. Everything
is written below demo/; `make clean` removes it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import skimage.data

import pixelward as pw
from pixelward.meter import Meter

DEMO = Path(__file__).resolve().parents[1] / "demo"
SIZE, STRIDE = 64, 48  # of tiles, in pixels

# Photographs inside scikit-image, and whom to thank for them; CREDITS.md says more.
PHOTOGRAPHS = {
    "astronaut.png": "Eileen Collins, NASA, public domain",
    "chelsea.png": "Chelsea the cat, Stefan van der Walt, CC0",
    "coffee.png": "Coffee cup, Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0",
    "hubble_deep_field.jpg": "Hubble eXtreme Deep Field, NASA, public domain",
    "retina.jpg": "Human retina, Mikael Häggström, CC0",
    "rocket.jpg": "Falcon 9 carrying DSCOVR, SpaceX, public domain",
}


def main() -> None:
    pictures, atlas, site = DEMO / "pictures", DEMO / "atlas", DEMO / "site"
    pictures.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        shutil.copyfile(Path(skimage.data.__file__).parent / name, pictures / name)

    net = pw.load("zfnet64")
    with Meter("scan", "tiles") as meter:
        scanned = pw.scan(net, pictures, atlas, tiles=(SIZE, STRIDE), model="zfnet64", report=meter)
    print(f"scanned {scanned.pictures_seen} tiles of {len(PHOTOGRAPHS)} photographs")
    with Meter("draw", "tiles") as meter:
        pw.draw(scanned, net, report=meter)
    print(f"drew {sum(layer.channels for layer in scanned.layers)} units of {len(scanned.layers)} layers")
    credits = [f"{name}: {credit}; from scikit-image" for name, credit in PHOTOGRAPHS.items()]
    with Meter("export", "pages") as meter:
        index = pw.export(scanned, site, credits=credits, report=meter)

    print()
    print(f"atlas:   {atlas}")
    print(f"gallery: {index}")
    print("Open the gallery in a browser, or serve it with:")
    print(f"  {sys.executable} -m http.server -d {site}")


if __name__ == "__main__":
    try:
        main()
    except pw.PixelwardError as error:
        sys.exit(f"{error}\n`make clean` removes what earlier runs left.")
    except KeyboardInterrupt:
        sys.exit(130)
