//! PostgreSQL frontend/backend protocol: bytes in, messages out. No sockets, no clock.
