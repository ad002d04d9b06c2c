"""The generic, metadata-driven CRUD engine: register a SQLAlchemy model, get its endpoints."""
