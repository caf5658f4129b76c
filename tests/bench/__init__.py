"""`make bench`: the node beside its peers, on the same machine in the same go.

One server at a time runs alone on core 0; the load client, the publisher and the broker share core 1.
What counts is the CPU of the server's process, kernel part included, over a window of steady traffic.
"""
