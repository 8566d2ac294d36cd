//! From a service's description to the unit files that stand for it.
//!
//! Pure but for looking around once ([`Surroundings`]): the same description on the
//! same machine makes the same text, so a difference of texts is a difference that
//! matters. Every instance has a unit file of its own (`api@1.service`), because
//! each has its own port, and during a reload two descriptions run side by side.

mod environment;
mod hardening;
mod marker;
mod program;
mod quote;
mod render;
mod surroundings;

pub(crate) use environment::{own_variables, secret_text};
pub(crate) use hardening::{relaxations, sandbox};
pub(crate) use marker::Marker;
pub(crate) use program::{Program, ProgramError};
pub(crate) use render::{UnitText, render, search_path, without_secrets};
pub(crate) use surroundings::{Surroundings, is_executable};

/// The unit of an instance, counted from 1.
pub(crate) fn unit_name(service: &str, instance: u32) -> String {
    format!("{service}@{instance}.service")
}

/// The service and instance of a unit's name.
pub(crate) fn parse_unit_name(unit: &str) -> Option<(&str, u32)> {
    let (service, instance) = unit.strip_suffix(".service")?.rsplit_once('@')?;
    let number: u32 = instance.parse().ok()?;
    // `api@01` is another unit than `api@1`.
    (number > 0 && instance == number.to_string() && !service.is_empty())
        .then_some((service, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_units_say_whose_they_are() {
        let cases = [
            ("api@1.service", Some(("api", 1))),
            ("a.b-c@512.service", Some(("a.b-c", 512))),
            ("api@01.service", None),
            ("api@0.service", None),
            ("api@.service", None),
            ("api.service", None),
            ("@1.service", None),
        ];
        for (unit, expected) in cases {
            assert_eq!(parse_unit_name(unit), expected, "{unit}");
        }
        assert_eq!(unit_name("api", 2), "api@2.service");
    }
}
