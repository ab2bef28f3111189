"""One question per file; the file name is the study's name."""
