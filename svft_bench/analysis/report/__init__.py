"""The report: all records as one self-contained page."""
