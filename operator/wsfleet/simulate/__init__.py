"""A fleet in a model: the operator's own decisions on traces, beside an HPA and one who knows the future.

`compare(make_scenario(name, rate), setup, seed)` is the entrance. Needs numpy (the extra `simulate`), which
nothing else of the operator imports.
"""
