"""The reference bench for parameter-efficient fine-tuning in the singular basis."""

__version__ = "0.1.0"
