"""Whether rounding alone explains how a unit's hits differ from those of exact numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def unexplained(hits: Sequence[tuple[float, int, int, int]], maps: np.ndarray, k: int, within: float) -> list[str]:
    """What is wrong with the first k hits of a unit, a line each: nothing where all that changed places are ties.

    hits: (value, picture, y, x), as they were found. maps: the unit's exact ones, (pictures, h, w) float64. within: how
    far a value may be from the exact one, and how far apart the exact values of two places are that count as tied.
    """
    peaks, found = maps.max((1, 2)), []
    for value, picture, y, x in hits:
        exact = maps[picture, y, x]
        if value <= 0 or abs(value - exact) > within:
            found.append(f"picture {picture}: {value}, where there is {exact}")
        if exact < peaks[picture] - within:
            found.append(f"picture {picture}: the place of {exact}, though there is {peaks[picture]}")
    values, order = [hit[0] for hit in hits], [hit[1] for hit in hits]
    if values != sorted(values, reverse=True) or len(set(order)) < len(order) or len(order) > k:
        found.append(f"no first {k} in order: {values} of pictures {order}")
    left_out = sorted(set(range(len(peaks))) - set(order), key=lambda picture: -peaks[picture])
    weakest = np.inf
    for picture in [*order, *left_out]:
        if peaks[picture] > weakest + within:
            found.append(f"picture {picture}: {peaks[picture]}, behind {weakest}")
        weakest = min(weakest, peaks[picture])
    if len(order) < k:
        found += [f"picture {picture}: {peaks[picture]}, left out" for picture in left_out if peaks[picture] > within]
    return found
