//! gRPC from end to end: with Google's own library on both sides, and its words for failures.

#[path = "grpc/failures.rs"]
mod failures;
#[path = "grpc/library.rs"]
mod library;
