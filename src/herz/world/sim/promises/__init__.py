"""Synthetic ground truth for promises: how services slow each other down, and what of it is seen.

Everything here is made up and labelled so: queues that are simulated customer by customer, behind
knees of contention. The form is not that of any model that learns from it.
"""
