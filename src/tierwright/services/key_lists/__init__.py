"""Lists of feature keys in the registries: what they may hold, whoever writes them, and which hold something else."""
