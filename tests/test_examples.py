"""The examples say what they should."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"

WORKED = """
A layer in whole numbers
  pooled maps on the way up
      5   1
      5   6
  1) the strongest activation alone, down to the pixels
      0   0   0   0
      0   0   0   0
      0   0   6  12
      0  -6   6   0
  2) all four activations
      5  10  -1   1
      5   5  11   0
     -5   0   6  12
      5  -6   1   0
  3) a signed signal from a layer above, unpooled
      0   0   0  -3
      4   0   0   0
      0   2   0   0
      0   0   1   0
     rectified
      0   0   0   0
      4   0   0   0
      0   2   0   0
      0   0   1   0
     filtered: the picture
      4   8   0   0
      4   2   4   0
     -2  -2   1   2
      2  -1  -1   0
     had it not been rectified
      4   8   3  -3
      4   2   1   0
     -2  -2   1   2
      2  -1  -1   0
  4) the mistake: case 1 with stride 2 in place of unpooling
      0   0   0   0
      0   0   6  12
      0  -6   6   0
      0   6   0  -6
"""


def test_one_layer_prints_the_readers_case_and_the_worked_example(capsys):
    runpy.run_path(str(EXAMPLES / "one_layer.py"), run_name="__main__")
    readers, worked = capsys.readouterr().out.split("\n\n")
    title, picture, _, *rows = readers.splitlines()
    assert title == ("The reader's case: 6 maps of 24x24, unpooled and rectified; a convolution with k=3, p=1; float64")
    assert picture.endswith("gives a picture of (3, 24, 24)")
    differences = {name.strip(): float(value) for name, value in (row.rsplit(" ", 1) for row in rows)}
    assert differences["torch's conv_transpose2d itself"] == 0
    assert differences["conv2d, channels swapped, filters flipped on both axes"] < 1e-12
    assert differences["conv2d, channels swapped, not flipped"] > 10
    assert differences["conv2d, channels swapped, flipped on one axis"] > 10
    assert f"\n{worked}" == WORKED
