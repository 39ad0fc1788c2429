"""What to do about what is refused, and which reasons belong together, by the words of the reason."""

from __future__ import annotations

GRADIENT = 'use rules="gradient"'
ATTENTION = "attention"
WEIGHTS = "it makes the weights of an attention"  # of its softmax

_KEPT = "name the factor to keep fixed: rules={{**pw.DECONVNET, pw.PRODUCT: pw.keep_fixed({})}}"
_OF_ATTENTION = ("as in attention", "attention: what it multiplies with", WEIGHTS)  # words in a reason
# Words in a reason, and the remedy.
_REMEDIES = (
    ("(training mode)", "call eval() first"),
    ("random numbers", "call eval() first"),
    ("was changed in place", "join the parts with torch.cat or torch.where instead"),
    (
        "both factors are gates",
        f"{_KEPT.format(0)} for one of them, with a rule for the function that made the other",
    ),
    *((f"its {what} computed from the picture", _KEPT.format(1)) for what in ("weights are", "scale is", "slope is")),
    *((words, GRADIENT) for words in _OF_ATTENTION),
    (
        "computed from the picture that autograd does not follow",
        f"{GRADIENT}; a mask is followed where it is x > 0 of the tensor x that it masks, not of x.detach() or x.data",
    ),
)


def remedy(reason: str | None) -> str | None:
    """What to do about a refusal for this reason, or None where that depends on the operation."""
    return next((what for words, what in _REMEDIES if reason is not None and words in reason), None)


def family(reason: str) -> str:
    """What reasons that belong together share: those of an attention are one. Every other reason stands alone."""
    return ATTENTION if any(words in reason for words in _OF_ATTENTION) else reason
