"""The Kubernetes API as the operator sees it: plain dicts in and out, one tree of errors.

The generated client (`kubernetes.aio`) supplies login, TLS and transport; its models do not cross
this boundary. Only what the operator does is here: server-side apply, merge patches, the scale
subresource, lists in pages, watches.
"""
