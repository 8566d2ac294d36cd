//! The manager: the sidecar that watches the data plane and keeps services alive.
