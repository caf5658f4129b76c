"""What a person sees and asks of running fleets, from outside the cluster: `kubectl wsfleet`.

The operator's own parts are used for it: the same calls to the API server, the same way to the nodes'
admin ports, the same names. What is seen becomes a value (`view`, `nodes`), which `wsfleet.cli` shows as a
table or as JSON; what is asked becomes an annotation, which the operator acts on (`asks`).
"""
