"""`python -m pixelward`: the command line, where its script is not on the path."""

from pixelward.cli import app

if __name__ == "__main__":
    app(prog_name="pixelward")
