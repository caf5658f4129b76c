"""A node of several processes: a thin parent with the admin port, and workers that serve clients.

Each worker is a whole node of its own, with its own feed, ring and listener on the shared client port
(SO_REUSEPORT). They meet in a small shared memory (`table`), where each writes its own row and reads the
others', and each has a line to the parent (`line`) for reports and orders. What the kernel must do for
them: a worker dies with its parent, and what a dead worker held is free again.
"""
