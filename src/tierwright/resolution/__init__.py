"""What a tenant may use, decided over plain data: no I/O, no tables, nothing that changes."""
