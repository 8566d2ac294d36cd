//! What of a request decides where it goes: a hash, or a cookie that names an endpoint.

use std::{collections::HashMap, net::IpAddr, num::NonZeroU64, time::Duration};

use bs9_config::{HashKey, SameSite};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustc_hash::FxHashMap;
use sha2::Sha256;

use super::{Cluster, Member, consistent};
use crate::http1::RequestHead;

/// Where a request should go. Nowhere in particular, by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Affinity {
    /// The hash that decides.
    pub(super) key: Option<NonZeroU64>,
    /// The member that a cookie names.
    pub(super) pinned: Option<u32>,
}

impl Affinity {
    /// Goes where `bytes` lead.
    pub fn of(bytes: &[u8]) -> Self {
        Self { key: NonZeroU64::new(consistent::hash(bytes)), pinned: None }
    }

    /// Whether anything is said at all.
    pub(super) fn is_none(self) -> bool {
        self.key.is_none() && self.pinned.is_none()
    }
}

impl Cluster {
    /// Where a request should go that came from `client`.
    #[inline]
    pub(crate) fn affinity(&self, head: &RequestHead<'_>, client: Option<IpAddr>) -> Affinity {
        if self.consistent.is_none() && self.sticky.is_none() {
            return Affinity::default();
        }
        self.affinity_of(head, client)
    }

    fn affinity_of(&self, head: &RequestHead<'_>, client: Option<IpAddr>) -> Affinity {
        let mut affinity = match &self.config.hash {
            _ if self.consistent.is_none() => Affinity::default(),
            HashKey::Source => return self.with_cookie(self.affinity_of_client(client), head),
            HashKey::Path => Affinity::of(head.target.path().as_bytes()),
            HashKey::Header(name) => head.header(name).map(Affinity::of).unwrap_or_default(),
            HashKey::Cookie(name) => cookie(head, name).map(Affinity::of).unwrap_or_default(),
        };
        affinity = self.with_cookie(affinity, head);
        affinity
    }

    fn with_cookie(&self, affinity: Affinity, head: &RequestHead<'_>) -> Affinity {
        let pinned = self.sticky.as_ref().and_then(|sticky| sticky.member(head));
        Affinity { pinned, ..affinity }
    }

    /// Where a connection should go that came from `client`.
    pub(crate) fn affinity_of_client(&self, client: Option<IpAddr>) -> Affinity {
        if self.consistent.is_none() {
            return Affinity::default();
        }
        match client.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => Affinity::of(&ip.octets()),
            Some(IpAddr::V6(ip)) => Affinity::of(&ip.octets()),
            None => Affinity::default(),
        }
    }

    /// The field that tells a client to stay with `member`, unless it was sent there by its
    /// cookie.
    pub(crate) fn cookie_for(&self, affinity: Affinity, member: usize) -> Option<&[u8]> {
        let sticky = self.sticky.as_ref()?;
        (affinity.pinned != Some(member as u32)).then(|| &*sticky.lines[member])
    }
}

/// `sticky`, compiled.
#[derive(Debug)]
pub(super) struct Cookies {
    name: Box<str>,
    members: FxHashMap<u128, u32>,
    /// `Set-Cookie` by member.
    lines: Box<[Box<[u8]>]>,
}

impl Cookies {
    pub(super) fn compile(config: &bs9_config::Cluster, members: &[Member]) -> Option<Self> {
        let sticky = config.sticky.as_ref()?;
        let secret = sticky.secret.as_ref().map_or(&*config.name, |secret| secret.reveal());
        let mut attributes = format!("; Path={}; HttpOnly", sticky.path);
        if let Some(max_age) = sticky.max_age {
            attributes.push_str(&format!("; Max-Age={}", Duration::as_secs(&max_age)));
        }
        if sticky.secure {
            attributes.push_str("; Secure");
        }
        attributes.push_str(match sticky.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        let ids: Vec<u128> = members
            .iter()
            .map(|member| id(secret, &config.name, &member.endpoint.name()))
            .collect();
        let line = |id: &u128| {
            let line = format!("Set-Cookie: {}={id:032x}{attributes}\r\n", sticky.cookie);
            line.into_bytes().into_boxed_slice()
        };
        let mut by_id: FxHashMap<u128, u32> = HashMap::default();
        by_id.extend(ids.iter().enumerate().map(|(at, id)| (*id, at as u32)));
        Some(Self {
            name: (&*sticky.cookie).into(),
            members: by_id,
            lines: ids.iter().map(line).collect(),
        })
    }

    fn member(&self, head: &RequestHead<'_>) -> Option<u32> {
        let value = std::str::from_utf8(cookie(head, &self.name)?).ok()?;
        let id = (value.len() == 32).then(|| u128::from_str_radix(value, 16).ok())??;
        self.members.get(&id).copied()
    }
}

/// What an endpoint is called in a cookie: nobody can tell its address from it who does not
/// know the secret.
fn id(secret: &str, cluster: &str, address: &str) -> u128 {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .expect("a key of HMAC may have any length");
    mac.update(cluster.as_bytes());
    mac.update(b"\0");
    mac.update(address.as_bytes());
    let bytes = mac.finalize().into_bytes();
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[..16]);
    u128::from_be_bytes(id)
}

/// The value of the first cookie of this name (RFC 6265 section 4.2.1).
fn cookie<'h>(head: &RequestHead<'h>, name: &str) -> Option<&'h [u8]> {
    let fields = head.headers().filter(|(field, _)| field.eq_ignore_ascii_case("cookie"));
    fields.flat_map(|(_, value)| value.split(|byte| *byte == b';')).find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http1::{HeadLimits, HeaderStorage, Parsed, parse_request};

    fn cluster(keys: &str) -> Arc<Cluster> {
        let toml =
            format!("[clusters.app]\n{keys}\nendpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\n");
        let config = bs9_config::parse_str("test.toml", &toml).unwrap_or_else(|e| panic!("{e}"));
        Cluster::compile(&config.clusters["app"], None, None, 1)
    }

    fn asked(cluster: &Cluster, target: &str, fields: &str, client: &str) -> Affinity {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut storage = HeaderStorage::new();
        let parsed = parse_request(text.as_bytes(), &HeadLimits::default(), &mut storage);
        let Ok(Parsed::Complete(head)) = parsed else { panic!("a whole head") };
        cluster.affinity(&head, Some(client.parse().unwrap()))
    }

    #[test]
    fn a_hash_is_of_what_the_configuration_names() {
        let key =
            |cluster: &Cluster, target, fields, client| asked(cluster, target, fields, client).key;
        let header = cluster("balance = \"maglev\"\nhash = { header = \"X-User\" }");
        let anna = key(&header, "/", "X-USER: anna\r\n", "1.1.1.1");
        assert!(anna.is_some());
        assert_eq!(anna, key(&header, "/b", "x-user: anna\r\n", "2.2.2.2"));
        assert_ne!(anna, key(&header, "/", "x-user: otto\r\n", "1.1.1.1"));
        assert_eq!(key(&header, "/", "", "1.1.1.1"), None);

        let cookie = cluster("balance = \"ring-hash\"\nhash = { cookie = \"id\" }");
        let seven = key(&cookie, "/", "Cookie: a=1; id=7; b=2\r\n", "1.1.1.1");
        assert!(seven.is_some());
        assert_eq!(seven, key(&cookie, "/", "Cookie: xid=9\r\nCookie: id=\"7\"\r\n", "1.1.1.1"));
        assert_eq!(key(&cookie, "/", "Cookie: idx=7\r\n", "1.1.1.1"), None);

        let path = cluster("balance = \"maglev\"\nhash = \"path\"");
        assert_eq!(key(&path, "/a?x=1", "", "1.1.1.1"), key(&path, "/a?x=2", "", "2.2.2.2"));
        assert_ne!(key(&path, "/a", "", "1.1.1.1"), key(&path, "/b", "", "1.1.1.1"));

        let source = cluster("balance = \"maglev\"");
        let one = key(&source, "/", "", "1.1.1.1");
        assert_eq!(one, key(&source, "/x", "", "::ffff:1.1.1.1"));
        assert_ne!(one, key(&source, "/", "", "1.1.1.2"));
        assert_eq!(key(&cluster(""), "/", "", "1.1.1.1"), None);
    }

    #[test]
    fn a_cookie_names_an_endpoint_and_nothing_else_does() {
        let cluster = cluster("sticky = { secret = \"s\", max_age = \"1h\", secure = true }");
        let line = cluster.cookie_for(Affinity::default(), 1).unwrap();
        let line = String::from_utf8(line.to_vec()).unwrap();
        assert!(
            line.ends_with("; Path=/; HttpOnly; Max-Age=3600; Secure; SameSite=Lax\r\n"),
            "{line}"
        );
        let value = line.split(['=', ';']).nth(1).unwrap();
        let told = asked(&cluster, "/", &format!("Cookie: bs9-endpoint={value}\r\n"), "1.1.1.1");
        assert_eq!(told.pinned, Some(1));
        assert_eq!(cluster.cookie_for(told, 1), None, "it is set once");
        assert!(cluster.cookie_for(told, 0).is_some(), "it had to go elsewhere");
        for wrong in ["", "1", "10.0.0.2:80", &"0".repeat(32), &value[1..]] {
            let fields = format!("Cookie: bs9-endpoint={wrong}\r\n");
            assert_eq!(asked(&cluster, "/", &fields, "1.1.1.1").pinned, None, "{wrong}");
        }
        let other = id("t", "app", "10.0.0.2:80");
        assert_ne!(format!("{other:032x}"), value, "another secret makes another name");
    }
}
