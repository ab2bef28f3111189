"""What the project costs: README.md."""

from runners.process.system import refuse_windows

refuse_windows()
