//! The data-plane host: shards, sockets, buffers, time, snapshots, drain.
