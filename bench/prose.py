"""The words of docs/performance.md. They hold no number: each is filled in from the code that it is a fact of."""

from __future__ import annotations

import math

from bench import growth, passes
from bench.rows import FULL
from pixelward.batch import BATCHES
from pixelward.core import groups, sparse, transposed
from pixelward.core.memory import BLOCK
from pixelward.core.projector import PICTURES

STANDS = 0.8  # of a floor, above which a goal stands as met
FACTS = {
    "stands": f"{STANDS:.0%}",
    "bare": passes.BATCH,
    "batch": BATCHES["cpu"],
    "pictures": PICTURES,
    "block": f"{BLOCK >> 20} MiB",
    "many": growth.MANY,
    "fewest": groups.FEWEST,
    "together": f"{groups.TOGETHER:,}",
    "few": FULL.small_layers,
    "deep": FULL.small_layers + growth.DEEP["deep"].more,
    "dense": round(1 / sparse.SHARE),
    "columns": sparse.COLUMNS,
    "numbers": f"{transposed.NUMBERS:,}",
    "weights": f"{sparse.DENSE:,}",
    "side": math.isqrt(growth.MANY - 1) + 1,  # of a sheet, in tiles
}
ALIKE = {True: "in rows of its own, of the same rounds", False: "which is not measured here yet"}

INTRODUCTION = """# Performance

How fast Pixelward is beside its peers, and how far from what the processor can do. `make bench` measures this and
writes this page; nothing here is written by hand. Ratios come first: absolute times are one machine's, and other work
on it stretches both sides.
"""

REVISIONS = """A revision names the code that was measured; with a + there were changes of `src/` or `bench/` that no
commit held. Rows without one were measured before revisions were written down, or outside of a checkout.
"""

WHAT = """## What is measured

- **Gallery.** The strongest hits of every unit of every convolutional layer go down to the pixels, the way up
  included. Pixelward runs each picture through the network once, as far as something has to be recorded of it (the
  activations are known from the scan), and sends all hits that chose it down together, each in the window that it can
  reach of the picture, in the batches of `pixelward draw`'s projector; reading pictures, tiles and sheets are left out
  on both sides. Of the deep networks some hits a layer and batch of pictures stand for all, and all layers go at once,
  where `draw` takes a group of layers after the other, each of which runs its pictures again. Captum's
  `NeuronDeconvolution` is called as its users do (one unit, one picture a call) on random hits of every layer, and
  for ZFNet also in batches of several sizes, with channels first and last, of which the best counts. Response norms,
  which the deconvnet passes by, Captum differentiates, and on the way up it meets torch's own form of them, which takes
  longer than ours: of ZFNet's and GoogLeNet's ratio a part is that. Weights are random but for GoogLeNet's, so that
  hits lie in fewer pictures than those of a trained network would, and more of them share one way up.
- **Pass.** A scan, from the files to the finished atlas, beside the bare forward pass of the same network over the same
  pictures, decoded ahead by the same loader (which hashes nothing, as a scan does of every file); and beside
  zennit-crp's search on the same network, layers and pictures,
  which also runs backwards, for relevance, and decodes between its batches. The bare pass is as users write it, its
  pictures with their channels first, in batches of {bare} or of the scan's own size, whichever is faster: the goal is
  for this one. A scan lays its pictures with their channels last where the network gives the same, at which the same
  convolutions are faster, and has a quicker response norm: so it can take less time than that bare pass. Nearer to like
  for like is the bare pass with network and batches in `channels_last`, {alike}.
- **Growth.** The time and the peak memory of a process with one thing changed, as Linux tells it of that process alone,
  with all that Python and its libraries hold. Tiles of a drawing wait for their sheets on the disk, and hits go on in
  smaller groups as their signals grow: on a processor those of more than {fewest} that cross a step together have at
  most {together} numbers in the largest, and what waits where they part, or has arrived at the pixels, comes on top.
  What still grows with k are the sheets ({side} by {side} tiles of k = {many}): the floor of that row is the base
  with as many of these as are written at once, each measured in a process of its own. Written one after the other
  they took less memory and a third longer. A part of every difference is what the C library keeps between blocks of
  several sizes. One layer more is measured beside {few} layers and beside {deep}. A scan with a larger k is to be
  nearly free, as its goal says; a drawing has more hits to draw in the same measure, and is to take longer in less
  than that.
- **Reading.** One unit's hits, from an atlas that was opened anew for it, one time after the other; the files are in
  the system's own cache, and the process has read atlases before.
- **Floor.** The multiply-adds of the convolutions that a gallery needs (the way up of every picture once, to its last
  pool, gate or norm; for every hit the convolutions of its dense cone, in windows as far as these lie on the maps, the
  first a slice of the weights), divided by the best rate reached in the same run, by torch's own convolutions, forward,
  transposed and by the phases of the stride, with channels first and last, in several batch sizes, or by the form that
  is used here: once for any shape of that network, once for each shape (the most expensive of each way; the others at
  the best of all), since small maps and few channels go at a fraction of the best rate. The share of the floor is the
  floor's time over ours: at the whole of it nothing but these multiply-adds is left, no unpooling, rectifying, adding.
  A pass needs the way up of every picture, to the last layer that is scanned, and its floor is that alone. The
  ratio at a floor is the one that nothing but these multiply-adds would reach, and so the most that any dense way
  could at such rates. Zeros after unpooling are counted: a way that leaves them out, as ours does where few numbers are
  left, may go below, and reaches a share the more easily.
- **Goals and floors.** A goal that is missed may stand as met where more than {stands} of the floor is reached. That
  floor is each shape's: it asks for the rate that torch's convolutions reach on this machine *for such shapes*. The
  other one takes the best rate of any shape for all, for windows of a few cells and few channels too. A rate is of one
  measure's run and shapes: another's of the same network may reach more, at which the shares would be smaller.

Contestants take turns, every round in a fresh order. A ratio is the median of the rounds' ratios; its spread is the
smallest and largest of them. Of reading it is the limit over the median of all reads.
"""

TRIED = """## What was tried

All of it gives the same hits and projections; the tests held that while it was changed.

In use, for the galleries:

- Windows of recorded switches, walked without autograd: no activations are kept, and a hit costs its own cone.
- Work sorted by picture: one way up serves all units of all layers that chose it, and ends at the last step of which
  something differs from picture to picture. Values are known from the scan.
- Signals, pictures and switches with their channels last. Weights are turned once for the ordinary convolution that is
  the transpose where the stride is one, and kept.
- Zeros left out. Unpooling fills places with zeros, and rectifying some of the others. Where at most one of {dense}
  numbers is left, as some places tell, of a signal of {columns} channels or more in `float32`, the product with
  {weights} weights or more is a sum of a few of their rows for every place, as torch adds up embeddings. Else it is
  dense; so are convolutions in groups, of single pixels and to few channels, and those of maps so large that one
  signal's product has more than {numbers} numbers. A unit's first step is without zeros, too, under the same bounds.
- A step to few channels, as the first convolution's to the pixels: earlier as one convolution for all phases of the
  stride, then as one product of all places with all weights, added up in as many slices as the kernel has places; now
  as one convolution along the rows, added up in as many slices as strides begin in its rows. A step from few places,
  and one of single pixels: a product.
- A norm by learnt statistics above a convolution taken into its weights, which are scaled once for all layers; not
  under a bound on memory, for they are kept beside the network's own.
- Unpooling in one pass, by flat places; switches read off autograd's record by a table of differences in the place of
  divisions.
- A response norm as a sum of slices of its channels, a few pictures at a time, in the place of torch's pool over three
  axes.
- Pictures run up so few at once that no map takes more than {block}. Larger blocks of memory go back to the system when
  they are freed, and have to be zeroed by it when they are asked for again.
- Windows cut where they leave the picture. Along each axis a map is split in up to three runs of places, and full
  batches of hits of one region have windows of one, smaller size. {pictures} pictures' hits go together, to fill them.
- Masks only at values where signals can leave their maps. The way down of a layer (which steps, which windows, their
  batch) worked out once for all batches.
- Hits at once by the size of their signals, in smaller and smaller groups as these grow, in powers of two, since
  kernels are set up anew for other lengths.

In use, for the pass: the same response norm; batches of {batch}; maxima and their places in one way through maps whose
channels lie last, of others the maxima alone, and places only for those that enter the strongest; a thread that decodes
ahead; pictures with their channels last; the network stopped after the last layer.

Not in use:

- Leaving out the zeros by torch's sparse matrices, and in the step to the pixels: finding the numbers that are left
  takes as long there as a dense convolution along the rows.
- Lower precision: the numbers would not be the same.

"""

HOW = """## How to run it

```sh
make bench
make bench-short
make bench BENCH='--only gallery-zfnet'
```

The first measures all rows and takes an hour or more; the second the same rows with small samples, in under three
minutes on two free cores, and says how long it took; the third some measures anew, and keeps the other rows with their
own date and load (`--only` takes beginnings of names; `--list` names them). The peers are installed into an environment
of their own, `.venv-bench`. Let nothing else run meanwhile. Results stand in `bench/results.json`, those of the short
mode in `build/`: per row `name`, `ratio`, `goal`, `floor_share`, `seconds`, and when, on what, how and at which
revision of the code it was measured. No test asserts a time. `python -m bench.page` writes this page anew from the
results, without measuring.

The short mode tells whether something broke, not by how much. It has one round, so no spread, and absolute times that
one hiccup doubles. Its galleries take as many hits a picture as the full ones, so that one way up serves as many; but
of the deep networks only a first, a middle and a last layer stand for all, and these are cheap, middling and dear out
of proportion. Its scans have a single batch, so that their start (reading the network, trying the layout, writing the
atlas) weighs on the ratio, which is smaller than over many pictures. Its floors time fewer shapes at one size of batch:
the best rate found is lower, and so the shares of the floor are higher.

## What is not measured

- A GPU. The code path was never run on one, and so nothing is known of its speed there, nor whether its projections and
  hits agree with a processor's. It takes its device from the network's parameters; batches of a scan are pinned and
  copied without blocking, and TF32 is off. The loops look at no number there while they go on, which is tested with
  tensors that have none; what still looks is named in [development.md](development.md).
- Reading and decoding pictures for the galleries, and writing their sheets (the growth rows include both).
- The system's own cache of files is not emptied.
"""
