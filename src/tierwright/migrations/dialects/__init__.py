"""One small class per dialect: everything that SQLite and PostgreSQL do differently."""
