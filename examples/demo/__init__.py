"""The main job on real input: migrate, load a real catalogue, answer four questions through their indexes.

python -m examples.demo [--url URL] [--schema SCHEMA]
"""
