//! The PostgreSQL connection pool engine.
