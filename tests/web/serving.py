"""An application behind a real port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from pixelward.web.serve import _listen


@contextmanager
def serving(application: FastAPI) -> Iterator[str]:
    """The address of a server of it, in a thread."""
    listening = _listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
