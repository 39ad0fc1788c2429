"""Whatever goes wrong on a page in a browser, gathered."""

from typing import Any

# Whether an item of a list stands in the middle of the window.
FILLED = """() => [...document.querySelectorAll("#units li")].some((item) => {
  const box = item.getBoundingClientRect();
  return box.top < 500 && box.bottom > 300;
})"""


class Watched:
    """What went wrong on a page: errors on the console, refused by policy or not, and requests that left `root`."""

    def __init__(self, page: Any, root: str) -> None:
        self.wrong: list[str] = []
        page.on("console", lambda message: message.type in ("error", "warning") and self.wrong.append(message.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda sent: sent.url.startswith(root) or self.wrong.append(f"request to {sent.url}"))
        page.on("requestfailed", self._failed)
        page.on("dialog", lambda dialog: (self.wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))

    def _failed(self, sent: Any) -> None:
        if "ERR_ABORTED" not in sent.failure:  # the page was left meanwhile
            self.wrong.append(f"no answer from {sent.url}: {sent.failure}")
