"""What one run is and how it happens: frozen, validated specifications (`spec`) and the settings of a command.

In: plain dicts. Out: `RunSpec`, `Settings`, or one sentence that names the value. Imports
pydantic, and nothing of ours.
"""
