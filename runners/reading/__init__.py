"""A user's own images in any of the usual layouts: `read` gives a `Source`, `sentence` says what was found."""

from runners.reading.reader import read
from runners.reading.source import Source, sentence

__all__ = ["Source", "read", "sentence"]
