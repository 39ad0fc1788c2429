"""Conformance over other people's networks: torchvision's and timm's, each against an oracle of its own.

`networks.py` says which and builds them, `oracle.py` is the other way to the same projections, `judge.py` compares,
`peers.py` asks Captum and zennit for the same. `tools/run_zoo.py` runs them all (`make zoo`),
`tests/test_zoo.py` a sample.
"""
