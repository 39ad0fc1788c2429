"""Fills the table of twins: importing this module reads all of them."""

import twins_activations
import twins_convolutions
import twins_gates
import twins_linear
import twins_moves
import twins_norms
import twins_places
import twins_pools
from twins import TWINS

FILES = (
    twins_activations,
    twins_convolutions,
    twins_pools,
    twins_norms,
    twins_gates,
    twins_linear,
    twins_moves,
    twins_places,
)
CASES = [case for cases in TWINS.values() for case in cases]
