"""Preemption: which pods of lower priority make room for a pod that fits nowhere."""
