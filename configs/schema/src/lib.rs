//! Configuration of bs9: raw files, validated model, difference between two models.
