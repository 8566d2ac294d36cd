//! `rewrite`: the endpoint is asked for another path or host.

use std::sync::Arc;

use bs9_config::PathRewrite;

use super::{
    Draft, InvalidAuthority,
    parts::{Groups, PathParts, RequestParts},
    prefix::Prefix,
    text::Text,
};

#[derive(Debug)]
pub(super) struct Rewrite {
    path: Option<PathChange>,
    host: Option<Text>,
}

#[derive(Debug)]
enum PathChange {
    /// Stands for the route's prefix.
    Prefix { prefix: Prefix, new: Box<str> },
    /// Stands for the whole path.
    Whole(Text),
    /// Stands for what is found.
    Found { groups: Arc<Groups>, new: Text },
}

impl Rewrite {
    pub(super) fn compile(wanted: &bs9_config::Rewrite, path: &PathParts) -> Result<Self, String> {
        let change = |wanted: &PathRewrite| {
            Ok::<_, String>(match wanted {
                PathRewrite::Prefix(new) => {
                    let PathParts::Segments { prefix: Some(prefix), .. } = path else {
                        return Err("the route's path is no prefix".to_owned());
                    };
                    PathChange::Prefix { prefix: prefix.clone(), new: (&**new).into() }
                }
                PathRewrite::Whole(pattern) => PathChange::Whole(Text::compile(pattern, path)?),
                PathRewrite::Regex { regex, with } => {
                    let groups = Groups::compile(regex)?;
                    let new = Text::compile(with, &PathParts::Groups(Arc::clone(&groups)))?;
                    PathChange::Found { groups, new }
                }
            })
        };
        Ok(Self {
            path: wanted.path.as_ref().map(change).transpose()?,
            host: wanted.host.as_ref().map(|host| Text::compile(host, path)).transpose()?,
        })
    }

    pub(super) fn apply(
        &self,
        parts: &RequestParts<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<(), InvalidAuthority> {
        // Not of `OPTIONS *`.
        if let Some(change) = &self.path
            && parts.path.starts_with('/')
        {
            change.apply(parts, draft);
        }
        match &self.host {
            Some(host) => draft.set_host(|out| host.write(parts, out)),
            None => Ok(()),
        }
    }
}

impl PathChange {
    fn apply(&self, parts: &RequestParts<'_>, draft: &mut Draft<'_>) {
        match self {
            Self::Prefix { prefix, new } => {
                draft.set_path(parts.query, |out| prefix.replace(parts.path, new, out));
            }
            Self::Whole(new) => draft.set_path(parts.query, |out| new.write(parts, out)),
            Self::Found { groups, new } => {
                let found = groups.find(parts.path);
                if !found.is_match() {
                    return;
                }
                let place = found.group(0);
                draft.set_path(parts.query, |out| {
                    out.extend_from_slice(&parts.path.as_bytes()[..place.start]);
                    new.write_with(parts, Some(&found), out);
                    out.extend_from_slice(&parts.path.as_bytes()[place.end..]);
                });
            }
        }
    }
}
