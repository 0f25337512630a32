"""What a host does with the tables: ask who may use what, and write it down. Sessions in, plain results out."""
