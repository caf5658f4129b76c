"""One look at one fleet: read the wish, make what is owned, see what is there, decide, act, tell.

Every look starts from what is there and is safe to repeat; what must outlive the process is in the
fleet's status. `fleet.py` holds all fleets, `look.py` is the order of a look, the other modules are its
parts.
"""
