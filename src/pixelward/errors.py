"""The one error that a user of Pixelward sees: what was given, what is allowed, what to do next."""


class PixelwardError(ValueError):
    """Bad input, told in one line of three parts.

    The parts are kept as attributes so that a page or a program can show them apart.
    """

    def __init__(self, *, given: str, allowed: str, next_step: str) -> None:
        super().__init__(f"given: {given} - allowed: {allowed} - next step: {next_step}")
        self.given = given
        self.allowed = allowed
        self.next_step = next_step

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from keywords, so that the error survives a process boundary."""
        return _rebuild, (type(self), self.given, self.allowed, self.next_step)


def _rebuild(kind: type[PixelwardError], given: str, allowed: str, next_step: str) -> PixelwardError:
    return kind(given=given, allowed=allowed, next_step=next_step)
