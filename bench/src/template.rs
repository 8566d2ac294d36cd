//! Configuration files with `{{name}}` places to fill in.

use anyhow::{bail, ensure};

/// Fills in every place of `template`.
///
/// # Errors
/// When a place stays empty or a value has no place: either is a mistake in
/// the template, and a contender must not run on a configuration with one.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut text = template.to_owned();
    for (name, value) in values {
        let place = format!("{{{{{name}}}}}");
        ensure!(text.contains(&place), "the template has no {place}");
        text = text.replace(&place, value);
    }
    if let Some((_, rest)) = text.split_once("{{") {
        bail!("nothing to fill in at {:?}", rest.split("}}").next().unwrap_or(rest));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled_and_every_value_has_one() {
        let filled = fill("listen {{at}}; {{at}} {{n}};", &[("at", "x:1"), ("n", "3")]).unwrap();
        assert_eq!(filled, "listen x:1; x:1 3;");
        assert!(fill("{{at}} {{n}}", &[("at", "x")]).is_err());
        assert!(fill("{{at}}", &[("at", "x"), ("n", "3")]).is_err());
    }
}
