//! The admin API that data plane, manager and CLI share.
