//! Load generator: HTTP/1.1, TCP, PostgreSQL.
