"""The main job on real input: migrate, load a real catalogue, answer four questions, decide who may use what and why.

python -m examples.demo [--url URL] [--schema SCHEMA]
"""
