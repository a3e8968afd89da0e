"""Measurements that anyone can repeat: ``python -m skclsgen.benchmark speed``."""
