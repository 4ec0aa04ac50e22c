"""One short file for each verb of the command line: parse, call, print.

In: the words after the verb. Out: text, and an exit code. May import every other room.
"""
