"""Service levels: what was promised, and a model that says where it will be kept.

What decides is here and needs only numpy; what learns is in `learning`.
"""
