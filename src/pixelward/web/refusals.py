"""What the server refuses with a status of its own: errors as all others, and how the answer is headed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pixelward.errors import PixelwardError


class Refusal(PixelwardError):
    """A refusal with its HTTP status."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = ""  # "" for the usual one of the status
    headers: ClassVar[Mapping[str, str]] = {}
    everywhere: ClassVar[bool] = False  # whether every page is refused likewise


class Busy(Refusal):
    """So many wait already that one more would wait too long."""

    status = 503
    title = "The network is busy"
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "3"}


class Crowded(Busy):
    """So many pictures arrive already that one more would wait too long."""

    title = "Too many pictures arrive at once"


class Superseded(Refusal):
    """The same visitor asked for something newer meanwhile."""

    status = 409


class TooLarge(Refusal):
    """More bytes or pixels than are taken."""

    status = 413


class Gone(Refusal):
    """A picture that is not kept, any more or ever."""

    status = 410


class Moved(Refusal):
    """A picture that was scanned and is not what or where it was."""

    status = 410
    title = "The picture is not there any more"


class Unreadable(Refusal):
    """An atlas that vanished, is not finished or is damaged."""

    status = 503

    @classmethod
    def of(cls, error: PixelwardError) -> Unreadable:
        return cls(given=error.given, allowed=error.allowed, next_step=error.next_step)


class Vanished(Unreadable):
    """An atlas that is not where it was."""

    everywhere = True


class Unfinished(Refusal):
    """A body that did not come, or not in time."""

    status = 408
    title = "The picture did not arrive"


class OtherNetwork(Refusal):
    """The atlas was scanned anew, and the network at hand does not fit it any more."""

    status = 503
    title = "The atlas is of another scan now"


class Impossible(Refusal):
    """What the network or its layer does not allow."""

    status = 422
    title = "This cannot be done"

    @classmethod
    def of(cls, error: PixelwardError) -> Impossible:
        return cls(given=error.given, allowed=error.allowed, next_step=error.next_step)
